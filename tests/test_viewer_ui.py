"""The viewer's user interface, in headless Chromium, with a source whose weights are a formula."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from browser import MODULES, STATIC, WEB, served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WIDE = {"width": 1280, "height": 900}
Open = Callable[..., "Page"]


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
    left, top, right, bottom = 84, 54, 52, 40
    return {
        "x": left + x * (box["width"] - left - right) + box["x"],
        "y": top + y * (box["height"] - top - bottom) + box["y"],
    }


def test_a_thumbnail_shows_its_head_and_a_click_on_the_map_its_query(look: Open) -> None:
    page = look("kind=text&length=40&layers=3&heads=4")
    page.get_by_role("button", name="encoder.layers.2.attention, head 3", exact=True).click()
    heading = page.get_by_role("heading", name="encoder.layers.2.attention, head 3")
    heading.wait_for()
    assert heading.is_visible()
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


def _saved(page: Page, name: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).click()
    return Path(waiting.value.path()).read_bytes()


def test_the_map_is_saved_as_it_is_seen(look: Open) -> None:
    page = look("kind=text&length=40#query=12&scale=log")
    svg = _saved(page, "Save the map as SVG").decode()
    drawing = ElementTree.fromstring(svg)
    texts = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "encoder.layers.0.attention, head 0"
    assert texts[-1] == page.locator(".regard-what").inner_text()
    image = next(drawing.iter("{http://www.w3.org/2000/svg}image")).attrib["href"]
    with Image.open(io.BytesIO(base64.b64decode(image.split(",")[1]))) as opened:
        saved = np.asarray(opened.convert("RGB"))
    box = page.locator(".regard-canvas").bounding_box()
    assert box is not None
    with Image.open(io.BytesIO(page.screenshot(full_page=True))) as opened:
        seen = np.asarray(opened.convert("RGB"))
    x, y = round(box["x"]) + 84, round(box["y"]) + 54
    part = seen[y : y + saved.shape[0], x : x + saved.shape[1]]
    # But for lines around the selected query, and an edge whose pixels are shared.
    different = (np.abs(part.astype(int) - saved) > 8).any(-1)
    assert different.mean() < 0.03
    with Image.open(io.BytesIO(_saved(page, "Save the map as PNG"))) as opened:
        assert opened.size == (2 * int(drawing.attrib["width"]), 2 * int(drawing.attrib["height"]))


def test_the_texts_are_saved_as_they_are_seen(look: Open) -> None:
    page = look("kind=pair&length=18#query=4&pins=2.6")
    _caption(page, "Query 4")
    drawing = ElementTree.fromstring(_saved(page, "Save the text as SVG").decode())
    texts = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"Queries", "looks", "Keys", "ينظر", "Pinned", "Position", "0.137"} <= set(texts)
    grounds = page.evaluate(
        "[...document.querySelectorAll('[role=option]')].map(one => getComputedStyle(one).backgroundColor)"
    )
    fills = [node.attrib["fill"] for node in drawing.iter("{http://www.w3.org/2000/svg}rect")]
    assert set(grounds) <= set(fills)


def test_the_row_is_saved_with_all_weights(look: Open) -> None:
    page = look("kind=text&length=40#query=12")
    _caption(page, "Query 12")
    rows = list(csv.DictReader(io.StringIO(_saved(page, "Save the selected weights as CSV").decode())))
    exact = page.evaluate("source.row(0, 0, 12).then(row => [...row.values])")
    assert [float(row["weight"]) for row in rows] == pytest.approx(exact, rel=1e-6)
    assert [row["label"] for row in rows] == page.evaluate("source.axes[0].labels")
    assert {row["known"] for row in rows} == {"exact"}


def test_a_label_that_looks_like_a_formula_is_quoted_in_the_table(look: Open) -> None:
    page = look("kind=formula&length=10#query=5")
    _caption(page, "Query 5")
    text = _saved(page, "Save the selected weights as CSV").decode()
    assert text.splitlines()[1].startswith('0,"\'=SUM(""A1"")",')


def test_sinks_are_hidden_and_their_mass_is_told(look: Open) -> None:
    page = look("kind=text&length=40#query=12&pooling=max")
    _caption(page, "Query 12")
    page.get_by_role("checkbox", name="Hide sinks").check()
    _caption(page, "hidden keys had")
    first = page.evaluate("source.row(0, 0, 12).then(row => row.values[0])")
    assert f"hidden keys had {100 * first:.0f} %" in page.locator(".regard-caption").inner_text()
    assert "Hidden key: 0 “the”" in page.get_by_text("Hidden key:").inner_text()
    assert page.locator(".regard-table tbody tr").first.inner_text().startswith("12")


def test_the_difference_of_two_heads(look: Open) -> None:
    page = look("kind=text&length=40#query=12")
    page.get_by_label("Minus").select_option(label="encoder.layers.1.attention, head 2")
    _caption(page, "differences of weights")
    exact = page.evaluate(
        "Promise.all([source.row(0, 0, 12), source.row(1, 2, 12)])"
        ".then(([a, b]) => [...a.values].map((value, at) => value - b.values[at]))"
    )
    largest = sorted(exact, key=abs, reverse=True)[:12]
    assert _weights(page) == pytest.approx(largest, rel=5e-3, abs=1e-4)
    page.locator(".regard-what", has_text="one difference of weights, exact").wait_for()


def test_words_sum_over_the_keys_pieces_and_average_over_the_querys(look: Open) -> None:
    page = look("kind=text&length=40#query=20")
    _caption(page, "Query 20")
    page.get_by_role("checkbox", name="By words").check()
    _caption(page, "by words")
    rows = page.evaluate(
        "Promise.all([source.row(0, 0, 19), source.row(0, 0, 20)]).then(r => r.map(o => [...o.values]))"
    )
    mean = (np.array(rows[0]) + np.array(rows[1])) / 2
    words = page.evaluate("source.axes[0].words")
    sums = np.bincount(words, weights=mean)
    assert _weights(page) == pytest.approx(sorted(sums, reverse=True)[:12], rel=5e-3, abs=1e-4)


def test_hits_of_a_search_are_stepped_through(look: Open) -> None:
    page = look("kind=text&length=40")
    labels = page.evaluate("source.axes[0].labels")
    hits = [at for at, label in enumerate(labels) if "at" in label]
    page.keyboard.press("/")
    page.keyboard.type("AT")
    assert page.locator("[role=option].regard-hit").count() == len(hits)
    for hit in hits[:2]:
        page.keyboard.press("Enter")
        _caption(page, f"Query {hit} ")
    page.keyboard.press("Shift+Enter")
    _caption(page, f"Query {hits[0]} ")


def test_pins_are_compared_and_let_go(look: Open) -> None:
    page = look("kind=text&length=40")
    for at in (5, 30):
        page.locator("[role=option]").nth(at).click(modifiers=["Control"])
    page.locator(".regard-pin").nth(1).wait_for()
    assert page.locator(".regard-pin").count() == 2
    page.get_by_role("button", name="Unpin query 5").click()
    page.locator(".regard-pin").nth(1).wait_for(state="detached")
    assert "30" in page.locator(".regard-pin").inner_text()
    page.wait_for_function("() => location.hash.includes('pins=30')")


def test_a_patch_under_the_pointer_is_previewed(look: Open) -> None:
    page = look("kind=picture&layers=1&heads=1")
    canvas = page.locator(".regard-pictures canvas")
    page.wait_for_function("() => document.querySelector('.regard-pictures canvas').clientHeight > 200")
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 4.5 / 8, box["y"] + box["height"] * 2.5 / 8)
    _caption(page, "Query 20 “2, 4”")
    page.mouse.click(box["x"] + box["width"] * 4.5 / 8, box["y"] + box["height"] * 2.5 / 8)
    page.wait_for_function("() => location.hash.includes('query=20')")
    assert "20 “2, 4” is selected" in (canvas.get_attribute("aria-label") or "")


def test_colours_are_clipped_by_the_brush_of_the_colour_bar(look: Open) -> None:
    page = look("kind=text&length=40")
    low = page.get_by_role("slider", name="Colours begin at")
    before = page.locator(".regard-colours span").first.inner_text()
    low.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.locator("[aria-label='Colours begin at'][aria-valuenow='0.20']").wait_for()
    assert low.get_attribute("aria-valuenow") == "0.20"
    assert page.locator(".regard-colours span").first.inner_text() != before
    page.wait_for_function("() => location.hash.includes('low=0.2')")


def test_weights_that_cannot_be_had_are_told_so(look: Open) -> None:
    page = look("kind=text&length=40&weights=none#query=5")
    _caption(page, "Only pooled maps were saved.")
    assert "from a coarser map" in page.locator(".regard-what").inner_text()
    assert page.get_by_role("button", name="CSV").is_disabled()


@pytest.mark.parametrize("kind", ["text", "pair", "picture"])
def test_a_phone_needs_no_scrolling_sideways(look: Open, kind: str) -> None:
    page = look(f"kind={kind}&length=30#query=4", viewport={"width": 360, "height": 740})
    _caption(page, "Query 4")
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_a_page_at_200_percent_needs_no_scrolling_sideways(look: Open) -> None:
    page = look("kind=text&length=30#query=4", viewport={"width": 640, "height": 450}, device_scale_factor=2)
    assert page.evaluate("document.documentElement.scrollWidth") == 640


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["text", "pair", "picture"])
def test_nothing_hinders_accessibility(look: Open, kind: str, scheme: str) -> None:
    axe = MODULES / "axe-core" / "axe.min.js"
    if not axe.exists():
        pytest.skip("needs `npm ci` in tests/web")
    # Its rules include a contrast of 4.5 for all texts, of shaded tokens too.
    page = look(f"kind={kind}&length=30#query=14&pins=3&find=at&words=true", color_scheme=scheme)
    _caption(page, "Query 14")
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run().then(result => result.violations.map(one => [one.id, one.nodes.map(n => n.html)]))"
    )
    assert found == []


def test_a_viewer_that_is_destroyed_leaves_nothing(look: Open) -> None:
    page = look("kind=text&length=30#query=4")
    page.evaluate("viewer.destroy()")
    assert page.locator("main").inner_html() == ""
    page.keyboard.press("ArrowDown")
    page.wait_for_timeout(300)
    assert page.evaluate("location.hash") == "#query=4"


def test_the_overview_moves_the_part_and_a_brush_chooses_another(look: Open) -> None:
    page = look("kind=text&length=32768&layers=1&heads=1#map=8000_12096_8000_12096")
    box = page.locator(".regard-overview").bounding_box()
    assert box is not None
    size = box["width"] / 32768

    def shows(*region: float, within: float = 1) -> None:
        page.wait_for_function(
            """([region, within]) => {
              const parts = (new URLSearchParams(location.hash.slice(1)).get("map") ?? "").split("_").map(Number);
              return region.every((at, index) => Math.abs(at - parts[index]) <= within);
            }""",
            arg=[region, within],
        )

    page.mouse.move(box["x"] + 10000 * size, box["y"] + 10000 * size)
    page.mouse.down()
    page.mouse.move(box["x"] + 20000 * size, box["y"] + 22000 * size)
    page.mouse.up()
    shows(20000, 24096, 18000, 22096)
    page.mouse.move(box["x"] + 2000 * size, box["y"] + 4000 * size)
    page.mouse.down()
    page.mouse.move(box["x"] + 6000 * size, box["y"] + 9000 * size)
    page.mouse.up()
    shows(4000, 9000, 2000, 6000)
    # In the map itself, Shift and dragging choose a rectangle; here its lower right quarter.
    start, end = _plot(page, 0.5, 0.5), _plot(page, 0.999, 0.999)
    page.keyboard.down("Shift")
    page.mouse.move(start["x"], start["y"])
    page.mouse.down()
    page.mouse.move(end["x"], end["y"])
    page.mouse.up()
    page.keyboard.up("Shift")
    shows(6500, 9000, 4000, 6000, within=40)


def test_dragging_moves_the_map_and_the_place_under_the_pointer_stays(look: Open) -> None:
    page = look("kind=text&length=1000&layers=1&heads=1#map=400_500_300_400")
    page.locator(".regard-what", has_text="one weight, exact").wait_for()
    start, end = _plot(page, 0.5, 0.5), _plot(page, 0.25, 0.75)
    page.mouse.move(start["x"], start["y"])
    readout = page.locator(".regard-readout")
    readout.filter(has_text=re.compile(r"^450 ")).wait_for()
    assert readout.inner_text().startswith("450 ")
    page.mouse.down()
    page.mouse.move(end["x"], end["y"], steps=4)
    page.mouse.up()
    page.mouse.move(end["x"] + 1, end["y"] + 1)
    readout.filter(has_text=re.compile(r"^450 “\w+” → 350 “\w+”: ")).wait_for()
    assert re.match(r"450 “\w+” → 350 “\w+”: ", readout.inner_text())
    page.mouse.wheel(0, -300)
    page.mouse.move(end["x"], end["y"])
    readout.filter(has_text=re.compile(r"^450 ")).wait_for()
    assert readout.inner_text().startswith("450 ")


def test_the_readout_is_the_value_of_the_cell(look: Open) -> None:
    page = look("kind=text&length=1000&layers=1&heads=1")
    for pooling, word in (("mean", "mean"), ("max", "largest")):
        page.get_by_role("radio", name=pooling).check()
        page.locator(".regard-what", has_text=f"{word} of 2 × 2 weights, pooled").wait_for()
        at = _plot(page, 0.4, 0.6)
        page.mouse.move(at["x"], at["y"])
        page.wait_for_timeout(300)
        page.mouse.move(at["x"] + 0.2, at["y"])
        value = page.evaluate(
            f"source.tile(0, 0, {{q0: 600, q1: 602, k0: 400, k1: 402}}, 1, 1, '{pooling}').then(map => map.values[0])"
        )
        shown = page.locator(".regard-readout").inner_text().split("”: ")[1].split(" (")[0].replace(" ", "")
        assert float(shown.replace("−", "-")) == pytest.approx(value, rel=0.06)


def test_playing_steps_through_the_queries(look: Open) -> None:
    page = look("kind=text&length=3&layers=1&heads=1")
    page.get_by_role("button", name="Play").click()
    for at in range(3):
        _caption(page, f"Query {at} ")
    page.get_by_role("button", name="Play").wait_for()


def test_two_sides_are_joined_by_curves(look: Open) -> None:
    page = look("kind=pair&length=6#query=2")
    _caption(page, "Query 2")
    joined = page.locator(".regard-joined")
    joined.locator("path").first.wait_for()
    strong = [float(one.get_attribute("opacity") or 1) for one in joined.locator("path").all()]
    assert sum(opacity > 0.2 for opacity in strong) == 4
    joined.locator("g[data-side=key] text").nth(3).click()
    _caption(page, "Key 3")


def test_the_part_of_a_long_text_follows_what_is_selected(look: Open) -> None:
    page = look("kind=text&length=32768&layers=1&heads=1#query=20000")
    _caption(page, "Query 20000")
    assert page.locator("[role=option][aria-selected=true]").get_attribute("data-at") == "20000"
    page.get_by_role("button", name="Later").click()
    shown = page.get_by_text("20,250–20,749 of 32,768")
    shown.wait_for()
    assert shown.is_visible()
    page.locator(".regard-table button").first.click()
    page.mouse.move(0, 0)
    _caption(page, "Key 0")
    page.get_by_text("0–499 of 32,768").wait_for()
