"""Alignments, and how they are shown: in the terminal, as an image, in the viewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.explain.alignment import Alignment, is_sign
from regard.explain.draw import save_picture
from regard.explain.terminal import render
from regard.viewer.page import write_page

SOURCE = ("▁Fri", "day", ",", "▁May", "▁", "5", "<eos>")
TARGET = ("▁ven", "dredi", "▁5", "▁mai", "<eos>")
WEIGHTS = np.array(
    [
        [0.6, 0.3, 0.1, 0.0, 0.0, 0.0, 0.0],
        [0.2, 0.6, 0.0, 0.2, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.25, 0.25, 0.5, 0.0],
        [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
    ]
)
ALIGNMENT = Alignment(SOURCE, TARGET, WEIGHTS)


def test_weights_of_words_are_sums_over_the_source_and_means_over_the_target() -> None:
    words = ALIGNMENT.words()
    assert words.source == ("Friday,", "May", "5", "<eos>")
    assert words.target == ("vendredi", "5", "mai", "<eos>")
    expected = [[0.9, 0.1, 0, 0], [0, 0.25, 0.75, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(words.weights, np.array(expected))


def test_links_and_crossings() -> None:
    words = ALIGNMENT.words()
    assert words.links() == {(0, 0), (2, 1), (1, 2)}
    assert words.crossings() == 1


def test_entropy_of_target_rows() -> None:
    even = Alignment(("a", "b"), ("c", "d"), np.array([[0.5, 0.5], [1.0, 0.0]]))
    np.testing.assert_allclose(even.entropy(), [np.log(2), 0.0])


def test_weights_of_a_wrong_shape_raise() -> None:
    with pytest.raises(ValueError, match=r"weights: expected shape \(1, 2\).*got \(2, 1\)"):
        Alignment(("a", "b"), ("c",), np.zeros((2, 1)))


@pytest.mark.parametrize(
    ("piece", "sign"), [("<eos>", True), ("<", False), ("<3>", False), ("a<b>", False), ("<>", False)]
)
def test_only_special_tokens_are_signs(piece: str, sign: bool) -> None:
    assert is_sign(piece) is sign


def _printed(width: int) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(render(ALIGNMENT.words(), width))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_terminal_shows_a_grid_where_it_fits() -> None:
    assert _printed(70) == [
        "          1  2  3  4",
        "vendredi  ██            ← Friday, 90%, May 10%",
        "       5     ░░ ▓▓      ← 5 75%, May 25%",
        "     mai     ██         ← May 100%",
        "   <eos>           ██   ← <eos> 100%",
        "1 Friday,  2 May  3 5  4 <eos>",
    ]


def test_a_narrow_terminal_shows_no_grid() -> None:
    lines = _printed(34)
    assert lines[0] == "vendredi  ← Friday, 90%, May 10%"
    assert all(len(line) <= 20 for line in _printed(20))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".PNG"])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 2), (40, 50)], ids=str)
def test_images_of_every_size_and_format(tmp_path: Path, suffix: str, sizes: tuple[int, int]) -> None:
    source, target = (tuple(f"$w_{at}$漢" for at in range(size)) for size in sizes)
    path = tmp_path / f"a{suffix}"
    save_picture(Alignment(source, target, np.full(sizes[::-1], 0.3)), path, title="a $ b_ 漢")
    start = path.read_bytes()[:400]
    assert b"<svg" in start if suffix == ".svg" else start.startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_an_image_is_written_through_a_link_to_a_file_without_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to("5341")
    save_picture(ALIGNMENT, tmp_path / "a.png")
    assert (tmp_path / "a.png").is_symlink()
    assert (tmp_path / "5341").read_bytes().startswith(b"\x89PNG")


def test_errors_of_images_and_pages_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
        save_picture(ALIGNMENT, tmp_path / "a.gif")
    with pytest.raises(UserError, match="cannot be written"):
        save_picture(ALIGNMENT, tmp_path / "none" / "a.png")
    with pytest.raises(UserError, match="cannot be written"):
        write_page(ALIGNMENT.document(""), tmp_path / "none" / "a.html")


def _pieces_of(text: str) -> tuple[str, ...]:
    tokenizer = Tokenizer.train(["abc"], size=260)
    return tuple(tokenizer.pieces([*tokenizer.encode(text), EOS]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("今天 很好。", ["今", "天", "很", "好", "。"]),
        ("東京タワー", ["東", "京", "タワー"]),
        ("รัก ไทย", ["รั", "ก", "ไ", "ท", "ย"]),
        ("שלום עולם", ["שלום", "עולם"]),
        ("naïve 😀 cat, x", ["naïve", "😀", "cat,", "x"]),
    ],
)
def test_pieces_of_bytes_are_joined_to_words_in_every_script(text: str, words: list[str]) -> None:
    pieces = _pieces_of(text)
    assert any(piece.startswith("⟨") for piece in pieces)
    rows = np.random.default_rng(0).random((len(pieces), len(pieces)))
    rows /= rows.sum(1, keepdims=True)
    by_word = Alignment(pieces, pieces, rows).words()
    assert by_word.source == by_word.target == (*words, "<eos>")
    np.testing.assert_allclose(by_word.weights.sum(1), 1.0)
    by_character = Alignment(pieces, pieces, rows).characters()
    assert "".join(by_character.source).replace("▁", " ") == f" {text}<eos>"
    np.testing.assert_allclose(by_character.weights.sum(1), 1.0)


def test_weights_of_pieces_that_share_a_character_are_split_by_bytes() -> None:
    pieces = ("▁⟨d7⟩", "⟨a9⟩⟨d7⟩", "⟨9c⟩ום", "⟨d7⟩", "<eos>")
    weights = np.array([[0.1, 0.2, 0.3, 0.3, 0.1]] * 5)
    joined = Alignment(pieces, pieces, weights).characters()
    assert joined.source == joined.target == ("▁ש", "ל", "ום", "⟨d7⟩", "<eos>")
    np.testing.assert_allclose(joined.weights, [[0.2, 0.16, 0.24, 0.3, 0.1]] * 5)
    words = Alignment(pieces, pieces, weights).words()
    assert words.source == ("שלום⟨d7⟩", "<eos>")
    np.testing.assert_allclose(words.weights, [[0.9, 0.1]] * 2)


def test_a_long_chain_of_pieces_that_share_characters_is_joined() -> None:
    text = "של" * 30
    codes = [f"⟨{byte:02x}⟩" for byte in text.encode()]
    pieces = ("▁" + codes[0], *(a + b for a, b in zip(codes[1:-1:2], codes[2::2], strict=True)), codes[-1])
    joined = Alignment(pieces, ("a",), np.full((1, len(pieces)), 1 / len(pieces))).characters()
    assert joined.source == (f"▁{text[0]}", *text[1:])
    np.testing.assert_allclose(joined.weights.sum(), 1.0)


def test_the_viewer_shows_characters_instead_of_bytes() -> None:
    pieces = _pieces_of("שלום abc")
    assert pieces[:2] == ("▁⟨d7⟩", "⟨a9⟩")
    queries, keys = Alignment(pieces, ("a", "<eos>"), np.full((2, len(pieces)), 0.1)).document("").axes
    assert keys.labels == ("ש", *"לום", " ", *"abc", "<eos>")
    assert keys.words == (0, 0, 0, 0, 1, 1, 1, 1, 2)
    assert (keys.right_to_left, queries.right_to_left) == (True, False)


def test_the_terminal_shows_right_to_left_text_from_the_right() -> None:
    source = ("שלום", "עולם", "<eos>")
    text = render(Alignment(source, ("peace", "עולם"), np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0]])), 60).plain
    assert [line.rstrip() for line in text.splitlines()] == [
        "       3  2  1",
        "peace        ██   ← \u2067שלום\u2069 100%",
        " \u2067עולם\u2069     ▓▓ ░░   ← \u2067עולם\u2069 75%, \u2067שלום\u2069 25%",
        "3 <eos>  2 \u2067עולם\u2069  1 \u2067שלום\u2069",
    ]


def test_a_legend_of_several_lines_ends_at_the_right() -> None:
    source = ("אב", "גד", "הו", "זח")
    text = render(Alignment(source, ("a",), np.full((1, 4), 0.25)), 36).plain
    assert text.splitlines()[0] == "   4  3  2  1  "
    narrow = render(Alignment(("אב", "גד" * 5, "הו" * 5), ("a",), np.array([[1.0, 0.0, 0.0]])), 28).plain
    lines = [line.replace("\u2067", "").replace("\u2069", "") for line in narrow.splitlines()[-2:]]
    assert lines == [f"2 {'גד' * 5}  1 אב", f"{' ' * 6}3 {'הו' * 5}"]


def test_the_weight_of_a_piece_of_two_words_is_split_between_them() -> None:
    words = Alignment(("▁今天", "好"), ("▁a",), np.array([[0.6, 0.4]])).words()
    assert words.source == ("今", "天", "好")
    np.testing.assert_allclose(words.weights, [[0.3, 0.3, 0.4]])


@pytest.mark.parametrize(
    ("word", "inverted"), [("שלום", True), ("سلام", True), ("peace", False), ("a peace שלום", False)]
)
def test_images_show_right_to_left_text_from_the_right(
    word: str, inverted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr("matplotlib.axes.Axes.invert_xaxis", lambda axes: calls.append(axes))
    save_picture(Alignment((word, "<eos>"), ("a",), np.array([[0.5, 0.5]])), tmp_path / "a.svg")
    assert bool(calls) is inverted


def test_an_alignment_from_its_json_is_bitwise_equal() -> None:
    for alignment in (ALIGNMENT, Alignment(("a", "b"), (), np.zeros((0, 2)))):
        read = Alignment.from_json(alignment.to_json())
        assert (read.source, read.target) == (alignment.source, alignment.target)
        np.testing.assert_array_equal(read.weights, alignment.weights)


@pytest.mark.parametrize("text", ["[]", '{"source": ["a"], "target": ["b"]}', '{"source": ["a"], "weights": [[1]]}'])
def test_json_that_is_not_an_alignment_raises(text: str) -> None:
    with pytest.raises(ValueError, match="expected a list under this name in the JSON object"):
        Alignment.from_json(text)


@pytest.mark.parametrize("weights", [[[1.0]], np.ones((1, 1), dtype=int)], ids=["a list", "whole numbers"])
def test_weights_that_are_not_a_floating_point_array_raise(weights: Any) -> None:
    with pytest.raises(ValueError, match="weights: expected a floating-point NumPy array, got"):
        Alignment(("a",), ("b",), weights)
