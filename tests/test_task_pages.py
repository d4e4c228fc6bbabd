"""Pages of what tasks attended to, in headless Chromium without a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from regard.explain.alignment import Alignment
from regard.explain.documents import by_query, joined
from regard.explain.film import PoseFilm
from regard.explain.words_on_image import WordsOnImage
from regard.viewer.document import Axis, Document
from regard.viewer.page import write_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Open = Callable[[Document, str], "Page"]

PIECES = ("▁Fri", "day", ",", "▁May", "▁", "5", "<eos>")
WEIGHTS = np.random.default_rng(0).dirichlet(np.ones(7), 3)
ALIGNMENT = Alignment(PIECES, ("▁ven", "dredi", "<eos>"), WEIGHTS)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens the page of a document; a request for another address, or an error, fails the test."""
    context = browser.new_context()
    context.set_offline(True)
    heard: list[str] = []

    def show(document: Document, address: str) -> Page:
        write_page(document, tmp_path / "look.html")
        page = context.new_page()
        page.on("request", lambda request: heard.append(request.url))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("console", lambda message: heard.append(message.text))
        page.goto(f"{(tmp_path / 'look.html').as_uri()}#{address}")
        page.locator(".regard-table tbody tr").first.wait_for(timeout=10_000)
        return page

    yield show
    context.close()
    assert [one for one in heard if not one.startswith(("file:", "data:", "blob:"))] == []


def _table(page: Page) -> dict[str, float]:
    rows = page.locator(".regard-table tbody tr").all()
    texts = ((row.locator("button").inner_text(), row.locator("td").last.inner_text()) for row in rows)
    return {label: float(weight.replace(" ", "").replace("−", "-")) for label, weight in texts}


def test_the_address_selects_a_word_and_a_switch_changes_to_words(opened: Open) -> None:
    page = opened(ALIGNMENT.document("Friday, May 5"), "query=1")
    assert page.get_by_role("heading", name="Friday, May 5").is_visible()
    labels = ("Fri", "day", ",", "May", "␣", "5", "<eos>")
    assert _table(page) == pytest.approx(dict(zip(labels, WEIGHTS[1], strict=True)), rel=5e-3, abs=1e-4)
    page.get_by_label("By words").check()
    page.locator(".regard-table", has_text="Friday,").wait_for(timeout=5000)
    words = ALIGNMENT.words()
    expected = dict(zip(words.source, words.weights[0], strict=True))
    assert {label.strip(): weight for label, weight in _table(page).items()} == pytest.approx(
        expected, rel=5e-3, abs=1e-4
    )
    page.wait_for_function("() => location.hash.includes('words=true')")


def test_a_text_is_shown_from_the_right(opened: Open) -> None:
    page = opened(Alignment(("▁שלום", "▁עולם"), ("▁a",), np.array([[0.75, 0.25]])).document("peace"), "query=0")
    assert page.get_by_role("listbox", name="Queries").get_attribute("dir") == "ltr"
    assert page.get_by_role("listbox", name="Keys").get_attribute("dir") == "rtl"
    assert _table(page) == {"שלום": 0.75, "עולם": 0.25}


def test_what_looks_like_a_script_is_text(opened: Open) -> None:
    script = "</script><script>alert(1)</script>"
    page = opened(Alignment((script,), ("▁a",), np.ones((1, 1))).document("<b>"), "query=0")
    assert _table(page) == {script: 1.0}
    assert page.get_by_role("heading", name="<b>").is_visible()


def test_each_alignment_of_a_page_has_its_own_text(opened: Open) -> None:
    other = Alignment(("▁good",), ("▁gut",), np.ones((1, 1)))
    documents = {"1. Friday": ALIGNMENT.document(""), "2. good": other.document("")}
    page = opened(joined("regard", documents), "query=0")
    assert len(_table(page)) == 7
    page.get_by_role("button", name="2. good", exact=True).click()
    page.locator("[role=option]", has_text="gut").wait_for(timeout=5000)
    assert page.locator("[role=option]").all_inner_texts() == ["gut", "good"]


def test_a_picture_is_shaded_by_the_selected_word(opened: Open) -> None:
    weights = np.array([[[0.7, 0.1], [0.1, 0.1]], [[0.1, 0.1], [0.1, 0.7]]])
    one = WordsOnImage("red square", [(0, 3), (4, 10)], weights, np.full((3, 16, 16), 128, np.uint8))
    page = opened(one.document("red square"), "query=1")
    assert next(iter(_table(page))) == "row 2, column 2"
    page.get_by_role("option", name="red").click()
    page.locator(".regard-caption", has_text="“red”").wait_for(timeout=5000)
    assert next(iter(_table(page))) == "row 1, column 1"


def test_the_frames_and_the_joints_of_a_clip_are_two_layers(opened: Open) -> None:
    places = np.array([[0.1, 0.2], [0.3, 0.4]])
    film = PoseFilm(places, np.random.default_rng(0).random((2, 2, 2)), ("hand", "foot"), ((0, 1),))
    document = by_query("wave", Axis(("wave",), unit="class"), [film.keys()])
    page = opened(document, "query=0")
    assert _table(page) == pytest.approx({"frame 2": 0.7, "frame 1": 0.3})
    page = opened(document, "layer=1&query=0")
    assert next(iter(_table(page))) == "frame 2, foot"
