"""The viewer's user interface, in headless Chromium, with a source whose weights are a formula."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from browser import MODULES, STATIC, WEB, chromium, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE = {"width": 1280, "height": 900}
Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def look(browser: Browser, address: str) -> Iterator[Open]:
    """Opens a page of the viewer; an error in it fails the test."""
    errors: list[str] = []
    pages = []

    def opened(query: str = "", **options: Any) -> Page:
        page = browser.new_page(**{"viewport": WIDE} | options)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.goto(f"{address}?{query}")
        page.wait_for_function(
            "() => document.querySelector('.regard-what').textContent.startsWith('Each cell')", timeout=15000
        )
        pages.append(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert not errors


def _caption(page: Page, text: str) -> None:
    page.locator(".regard-caption", has_text=text).wait_for(timeout=5000)


def _weights(page: Page) -> list[float]:
    texts = page.locator(".regard-table tbody td:last-child").all_inner_texts()
    return [float(text.replace(" ", "").replace("−", "-")) for text in texts]


def _plot(page: Page, x: float, y: float) -> dict[str, float]:
    """A point of the map: (0, 0) is its first query and key, (1, 1) its last."""
    box = page.locator(".regard-canvas").bounding_box()
    assert box is not None
    left, top, right, bottom = (84, 54, 40, 40) if box["width"] >= 420 else (60, 54, 28, 40)
    return {
        "x": left + x * (box["width"] - left - right) + box["x"],
        "y": top + y * (box["height"] - top - bottom) + box["y"],
    }


def test_a_thumbnail_shows_its_head_and_a_click_on_the_map_its_query(look: Open) -> None:
    page = look("kind=text&length=40&layers=3&heads=4")
    page.get_by_role("button", name="encoder.layers.2.attention, head 3", exact=True).click()
    assert page.get_by_role("heading", name="encoder.layers.2.attention, head 3").is_visible()
    at = _plot(page, 0.2, 10.5 / 40)
    page.mouse.click(at["x"], at["y"])
    page.mouse.move(0, 0)
    _caption(page, "Query 10 “at”: weights, exact.")
    exact = page.evaluate("source.row(2, 3, 10).then(row => [...row.values].sort((a, b) => b - a).slice(0, 12))")
    assert _weights(page) == pytest.approx(exact, rel=5e-3, abs=1e-4)
    # The text is shaded by these weights: the token with the largest one has the strongest colour.
    grounds = page.evaluate(
        "[...document.querySelectorAll('[role=option]')].map(one => getComputedStyle(one).backgroundColor)"
    )
    blue = [int(ground.strip("rgb()").split(",")[2]) for ground in grounds]
    assert blue.index(min(blue)) == 0
    assert blue[11:] == [255] * 29
    assert page.locator("[role=option][aria-selected=true]").get_attribute("data-at") == "10"


def test_the_address_restores_what_was_seen(look: Open) -> None:
    page = look("kind=text&length=40")
    page.get_by_role("button", name="encoder.layers.1.attention, head 2", exact=True).click()
    page.get_by_role("radio", name="log").check()
    page.locator("[role=option]").nth(7).click()
    page.wait_for_function("() => location.hash.includes('query=7')")
    state = page.evaluate("location.hash")
    again = look(f"kind=text&length=40{state}")
    _caption(again, "Query 7")
    assert again.get_by_role("heading", name="encoder.layers.1.attention, head 2").is_visible()
    assert again.get_by_role("radio", name="log").is_checked()


def test_a_query_that_is_hovered_is_previewed_and_escape_clears(look: Open) -> None:
    page = look("kind=text&length=40")
    page.locator("[role=option]").nth(9).click()
    page.locator("[role=option]").nth(20).hover()
    _caption(page, "Query 20")
    page.mouse.move(0, 0)
    _caption(page, "Query 9")
    page.keyboard.press("Escape")
    _caption(page, "Select a query")
    page.wait_for_function("() => !location.hash.includes('query')")


def test_the_keyboard_alone_is_enough(look: Open) -> None:
    page = look("kind=text&length=40")
    page.keyboard.press("ArrowDown")
    _caption(page, "Query 0")
    page.keyboard.press("PageDown")
    _caption(page, "Query 10")
    page.keyboard.press("]")
    page.get_by_role("heading", name="head 1").wait_for()
    page.keyboard.press("}")
    page.get_by_role("heading", name="encoder.layers.1.attention, head 1").wait_for()
    page.keyboard.press("x")
    page.keyboard.press("End")
    _caption(page, "Key 39")
    page.keyboard.press("?")
    assert page.get_by_role("dialog").is_visible()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()
    _caption(page, "Key 39")
    page.keyboard.press("+")
    page.wait_for_function("() => location.hash.includes('map=')")
    page.keyboard.press("0")
    page.wait_for_function("() => !location.hash.includes('map=')")


def test_zooming_into_a_long_map_asks_for_few_tiles_and_reaches_single_weights(look: Open) -> None:
    page = look("kind=text&length=32768&layers=1&heads=1&wait=5")
    assert page.locator(".regard-what").inner_text() == "Each cell: mean of 64 × 64 weights, pooled."
    at = _plot(page, 0.5, 0.5)
    page.mouse.move(at["x"], at["y"])
    for _ in range(40):
        page.mouse.wheel(0, -120)
    page.locator(".regard-what", has_text="one weight, exact").wait_for(timeout=15000)
    asked = page.evaluate("source.asked")
    assert asked["most"] <= 15
    assert page.locator(".regard-overview").is_visible()
    assert page.locator("[role=option]").count() == 500


def test_no_two_modules_have_a_top_level_name_in_common() -> None:
    """They become one script in a page without a server."""
    names: dict[str, str] = {}
    for path in sorted(STATIC.glob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 300, path.name
        found = re.findall(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", text, re.M)
        found += [
            name.strip()
            for group in re.findall(r"^(?:const|let) \[([^\]]*)\]", text, re.M)
            for name in group.split(",")
        ]
        for name in found:
            assert name not in names, f"{name} is in {names.get(name)} and {path.name}"
            names[name] = path.name


def test_the_types_are_those_that_the_comments_say() -> None:
    tsc = MODULES / ".bin" / "tsc"
    if not tsc.exists() or not shutil.which("node"):
        pytest.skip("needs `npm ci` in tests/web")
    done = subprocess.run([tsc, "--project", WEB / "tsconfig.json"], capture_output=True, text=True)
    assert not done.stdout
    assert done.returncode == 0
