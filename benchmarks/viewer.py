"""The viewer: times of frames while a map is moved and zoomed, in headless Chromium.

    python benchmarks/viewer.py [--length 32768] [--seconds 5] [--page FILE.html]

The page of the tests (``tests/web``) shows one head of a synthetic source with as many queries as keys; ``--page`` is a
page of one file with as many, which computes its weights itself. In each frame,
as the browser has one, a pointer moves by 7 pixels or a wheel turns a little: across the map at a level in the middle,
across single weights, and from the whole map to single weights and back. The times between frames are measured in the
page: their median, their 95th percentile and the longest, and the most tiles that were asked for at a time. A worker of
the page computes the tiles. Chromium has no GPU here. The table is printed, for ``benchmarks/results/viewer.txt``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium, served

GESTURES = """
async ([kind, seconds]) => {
  const canvas = document.querySelector(".regard-canvas");
  const box = canvas.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const send = (type, options) => canvas.dispatchEvent(new (type === "wheel" ? WheelEvent : PointerEvent)(type,
    { clientX: x, clientY: y, bubbles: true, cancelable: true, pointerId: 1, ...options }));
  canvas.setPointerCapture = () => {};
  const frame = () => new Promise(requestAnimationFrame);
  const frames = [];
  if (kind === "pan") send("pointerdown", {});
  const end = performance.now() + 1000 * seconds;
  let before = await frame();
  for (let step = 1; before < end; step++) {
    if (kind === "pan") {
      // To and fro, by 7 pixels a frame.
      const place = 7 * (step % 120 < 60 ? step % 120 : 120 - (step % 120));
      send("pointermove", { clientX: x + place, clientY: y + place });
    } else send("wheel", { deltaY: step % 240 < 120 ? -25 : 25 });
    const now = await frame();
    frames.push(now - before);
    before = now;
  }
  send("pointerup", {});
  return frames;
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=32768, help="queries and keys")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each gesture")
    parser.add_argument("--page", type=Path, help="a page as `view.save` writes it, instead of the synthetic source")
    arguments = parser.parse_args()
    print(machine())
    print(f"{'':28}{'frames':>8}{'median':>9}{'95 %':>9}{'longest':>9}{'tiles':>7}   milliseconds a frame")
    half = arguments.length // 2
    for name, kind, span in (
        ("moving, 8 x 8 pooled", "pan", 4096),
        ("moving, single weights", "pan", 512),
        ("zooming in and out", "zoom", 0),
    ):
        region = f"#map={half}_{half + span}_{half}_{half + span}" if span else ""
        with served() as address, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            synthetic = f"{address}?kind=text&layers=1&heads=1&length={arguments.length}&worker=1"
            page.goto((arguments.page.resolve().as_uri() if arguments.page else synthetic) + region)
            page.locator(".regard-what", has_text="Each cell").wait_for(timeout=120_000)
            page.wait_for_timeout(2000)
            frames = np.array(page.evaluate(GESTURES, [kind, arguments.seconds]))
            asked = page.evaluate("globalThis.source?.asked.most ?? 0") or "–"
        middle, high = np.percentile(frames, [50, 95])
        print(f"{name:28}{len(frames):8}{middle:9.1f}{high:9.1f}{frames.max():9.1f}{asked:>7}")


if __name__ == "__main__":
    main()
