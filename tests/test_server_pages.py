"""The pages of the server, in headless Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import torch

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from browser import MODULES
from regard import looking
from regard.server.limits import Limits
from regard.server.served import open_runs
from regard.server.views import open_views
from regard.tasks import table
from regard.tasks.running import train
from regard.views import STATISTICS, ModelView
from server_running import serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[..., "Page"]


class Made(NamedTuple):
    """Runs and a view on a server, a file for one of them, and what the server is asked for."""

    folder: Path
    image: str
    view: ModelView


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("pages")
    for name in ("classify-text", "classify-image", "match"):
        train(name, table.spec_of(name).demo.tiny(), folder / name)
    spec = table.spec_of("classify-image")
    layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with looking(layer, STATISTICS, inputs=True) as seen:
        layer(*[torch.randn(1, 40, 8)] * 3)
    view = ModelView(seen)
    view.save(folder / "view.safetensors", inputs=True)
    return Made(folder, spec.load().inputs(spec.demo.tiny(), folder)[0], view)


@pytest.fixture(scope="module")
def addresses(made: Made) -> Iterator[dict[bool, str]]:
    """The address of a server, and of one that needs a token."""
    runs = list(open_runs([made.folder / name for name in ("classify-text", "classify-image", "match")], "best"))
    views = list(open_views([made.folder / "view.safetensors"]))
    with serving(runs, Limits(), views=views) as free, serving(runs, Limits(), views=views, token="word") as closed:
        yield {False: f"http://localhost:{free[1]}", True: f"http://localhost:{closed[1]}"}


def _is_mistake(message: Any) -> bool:
    """Whether what the browser says is about the page; it also tells of responses with errors."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


@pytest.fixture
def go(browser: Browser, addresses: dict[bool, str]) -> Iterator[Open]:
    """Opens a page of a server; an error in it, or a request to another server, fails the test."""
    wrong: list[str] = []
    contexts = []

    def opened(path: str, *, token: bool = False, **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda one: wrong.append(one.text) if _is_mistake(one) else None)
        here = (addresses[token], "blob:", "data:")
        page.on("request", lambda request: None if request.url.startswith(here) else wrong.append(request.url))
        page.goto(addresses[token] + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def test_the_start_lists_runs_and_views(go: Open) -> None:
    page = go("/")
    page.locator(".runs").wait_for()
    links = page.locator(".runs a")
    assert links.all_inner_texts() == ["classify-text", "classify-image", "match", "view"]
    links.nth(0).click()
    page.get_by_label("Input").wait_for()


def test_a_text_is_typed_and_looked_into_with_the_keyboard_alone(go: Open) -> None:
    page = go("/runs/classify-text")
    page.get_by_label("Input").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("<img src=x onerror=alert(1)> Is March 3 the right ticket?")
    page.keyboard.press("Control+Enter")
    page.get_by_role("heading", name="Result", exact=True).wait_for()
    rows = page.locator("dd table tr").all_inner_texts()
    shares = [float(row.split("\t")[-1].removesuffix(" %")) for row in rows]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=0.3)
    page.locator(".regard-caption").wait_for()
    assert "<img src=x onerror=alert(1)>" in page.locator("dd").first.inner_text()
    assert page.locator("main img").count() == 0


def test_an_image_is_chosen_and_its_attention_drawn_over_it(go: Open, made: Made) -> None:
    page = go("/runs/classify-image")
    page.get_by_label("Choose a file or drop it here").set_input_files(made.image)
    page.get_by_label("top").evaluate("one => { one.value = 3 }")
    page.get_by_role("button", name="Run").click()
    page.locator(".regard-caption").wait_for()
    assert page.locator("dd table tr").count() == 3
    assert page.locator("dd").first.inner_text() == Path(made.image).name


def test_a_dropped_file_that_is_no_image_is_told(go: Open) -> None:
    page = go("/runs/classify-image")
    page.locator(".drop").wait_for()
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["no image"], "a.png", {type: "text/plain"}));
            document.querySelector(".drop").dispatchEvent(
                new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }"""
    )
    page.get_by_role("button", name="Run").click()
    assert page.get_by_role("alert").inner_text() == "a.png: not a usable image: its content is not an image"


def test_a_model_of_images_and_texts_has_a_form_for_each(go: Open, made: Made) -> None:
    page = go("/runs/match")
    page.get_by_role("heading", name="With a file: image").wait_for()
    form = page.locator("form").nth(1)
    form.get_by_label("Choose a file or drop it here").set_input_files(made.image)
    form.get_by_label("Texts").fill("a red circle\na blue square")
    form.get_by_label("Input").fill("a red circle")
    form.get_by_role("button", name="Run").click()
    page.locator(".regard-caption").wait_for()
    assert page.locator("tbody tr").count() >= 2


def test_a_server_with_a_token_asks_for_it(go: Open) -> None:
    page = go("/runs/classify-text", token=True)
    page.get_by_label("Token of this server").fill("wrong")
    assert page.get_by_role("alert").count() == 0
    page.keyboard.press("Enter")
    assert "expected Bearer and the token" in page.get_by_role("alert").inner_text()
    page.get_by_label("Token of this server").fill("word")
    page.keyboard.press("Enter")
    page.get_by_label("Input").fill("Is March 3 the right ticket?")
    page.get_by_role("button", name="Run").click()
    page.locator(".regard-caption").wait_for()
    page.goto(page.url.replace("/runs/classify-text", "/views/view"))
    page.locator(".regard-caption").wait_for()


def test_a_saved_view_is_looked_at(go: Open, made: Made) -> None:
    page = go("/views/view")
    page.locator("[role=option]").nth(7).click()
    page.locator(".regard-table tbody tr").first.wait_for()
    shown = page.locator(".regard-table tbody td:last-child").first.inner_text()
    weights = made.view.layers[0].view.tile([7], slice(None))[0, 0]
    assert float(shown.replace(" ", "")) == pytest.approx(float(weights.max()), rel=5e-3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hinders_accessibility(go: Open, made: Made, scheme: str) -> None:
    axe = MODULES / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("needs `npm ci` in tests/web")
    page = go("/runs/classify-image", color_scheme=scheme)
    page.get_by_label("Choose a file or drop it here").set_input_files(made.image)
    page.get_by_role("button", name="Run").click()
    page.locator(".regard-caption").wait_for()
    page.get_by_text("Options").click()
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run().then(result => result.violations.map(one => [one.id, one.nodes.map(n => n.html)]))"
    )
    assert found == []


def test_a_narrow_page_does_not_scroll_sideways(go: Open, made: Made) -> None:
    page = go("/runs/classify-image", viewport={"width": 320, "height": 700})
    page.get_by_label("Choose a file or drop it here").set_input_files(made.image)
    page.get_by_role("button", name="Run").click()
    page.locator(".regard-caption").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 320
