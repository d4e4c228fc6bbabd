"""Pictures of the viewer for each task: trains the demos, writes the page of an example of each, and photographs it.

`python docs/_gallery/looks.py FOLDER [TASK…]` keeps the runs in the folder, and uses those that are there already. The
pictures are docs/images/look-TASK.png. It needs Playwright and Chromium, and an hour of one core for all tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from regard.tasks.running import load, settings_of, train
from regard.tasks.spec import TaskSpec
from regard.tasks.table import TASKS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = "/usr/bin/chromium"
IMAGES = Path(__file__).parents[1] / "images"
SIZE = 1120, 760
"""Width and height of a picture."""

ADDRESSES = {
    "translate": "query=3&words=true", "summarize": "layer=1&query=2&words=true", "generate": "layer=1&head=2&query=3",
    "answer": "query=3&words=true", "transcribe": "query=4", "detect": "query=0", "match": "query=1",
    "classify-video": "layer=1&query=0",
}  # fmt: skip
"""What is selected on the page of a task; by default the only query."""


def main() -> None:
    """See above."""
    from playwright.sync_api import sync_playwright

    folder, names = Path(sys.argv[1]), sys.argv[2:]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for spec in TASKS:
            if not names or spec.name in names:
                page = written(spec, folder / spec.name)
                photograph(browser, page, ADDRESSES.get(spec.name, "query=0"), IMAGES / f"look-{spec.name}.png")
        browser.close()


def written(spec: TaskSpec, run: Path) -> Path:
    """The page of an example of a task, by a model that its demo trains."""
    if not run.exists():
        train(spec.name, spec.demo.settings(), run)
    item, *_ = spec.load().inputs(settings_of(run), run)
    load(run).look(item).save(run / "look.html")
    return run / "look.html"


def photograph(browser: Browser, page: Path, address: str, image: Path) -> None:
    """Write what a page shows as an image."""
    width, height = SIZE
    with browser.new_page(viewport={"width": width, "height": height}) as opened:
        opened.goto(f"{page.resolve().as_uri()}#{address}")
        opened.locator(".regard-caption").first.wait_for()
        opened.wait_for_timeout(1000)  # tiles of the map
        opened.screenshot(path=image)
    # 128 colours, which are enough for a page and make a file a third as large.
    Image.open(image).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(image, optimize=True)
    print(f"{image}: {image.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
