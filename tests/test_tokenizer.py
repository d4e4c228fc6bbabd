"""Tokenizers: exact round trips, readable pieces, reproducible files, and files that are not tokenizers."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.tokenizer import EOS, SIGNS, UNK, Tokenizer
from regard.errors import UserError

TEXTS = [f"On Monday, November {day}, the café near the river opens at {day}:30." for day in range(1, 29)] * 3


@pytest.fixture(scope="module", params=["byte", "word", "char"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train(TEXTS, kind=request.param, size=400)


BYTE = Tokenizer.train(TEXTS, kind="byte", size=400)


@given(st.text())
def test_the_byte_tokenizer_round_trips_every_text(text: str) -> None:
    composed = BYTE.decode(BYTE.encode(text))
    assert unicodedata.normalize("NFD", composed) == unicodedata.normalize("NFD", text)


def test_text_is_composed_in_training_and_in_use(tokenizer: Tokenizer, tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", TEXTS[0])
    assert decomposed != TEXTS[0]
    tokenizer.save(tmp_path / "t.json")
    for instance in (tokenizer, Tokenizer.load(tmp_path / "t.json")):
        assert instance.encode(decomposed) == instance.encode(TEXTS[0])
    retrained = Tokenizer.train([unicodedata.normalize("NFD", text) for text in TEXTS], kind=tokenizer.kind, size=400)
    assert retrained.encode(TEXTS[0]) == tokenizer.encode(TEXTS[0])


@pytest.mark.parametrize("text", [TEXTS[0], "On November 27, the river 3:30.", "café 12 café"])
def test_known_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert UNK not in tokenizer.encode(text)


@pytest.mark.parametrize("text", ["12 mai 2026", "le 12 mai", "5,00 € (oui) 3:30", "« oui » ! 😀 a.b 100%", "A1 B2"])
def test_spaces_around_digits_and_punctuation_round_trip(text: str) -> None:
    for kind in ("byte", "word"):
        tokenizer = Tokenizer.train([text] * 2, kind=kind, size=400)  # type: ignore[arg-type]
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_digit_is_a_piece_and_frequent_words_are_pieces(tokenizer: Tokenizer) -> None:
    pieces = tokenizer.pieces(tokenizer.encode("On Monday, 27"))
    assert pieces == (list("On Monday, 27") if tokenizer.kind == "char" else ["▁On", "▁Monday", ",", "▁", "2", "7"])


def test_pieces_are_readable() -> None:
    pieces = BYTE.pieces([*BYTE.encode("café é漢"), EOS])
    assert "".join(pieces) == "▁café▁é⟨e6⟩⟨bc⟩⟨a2⟩<eos>"


def test_special_tokens_in_a_text_are_encoded_as_text(tokenizer: Tokenizer) -> None:
    assert EOS not in tokenizer.encode("the <eos> river")
    assert BYTE.decode(BYTE.encode("the <eos> river")) == "the <eos> river"


def test_new_characters_are_unknown_to_the_word_tokenizer() -> None:
    word = Tokenizer.train(TEXTS, kind="word", size=400)
    assert UNK in word.encode("漢")
    assert word.decode([*word.encode("the river"), EOS]) == "the river"


def test_the_same_texts_give_the_same_file(tokenizer: Tokenizer, tmp_path: Path) -> None:
    second = Tokenizer.train(TEXTS, kind=tokenizer.kind, size=400)
    for name, instance in (("a", tokenizer), ("b", second)):
        instance.save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    loaded = Tokenizer.load(tmp_path / "a")
    assert (loaded.kind, len(loaded)) == (tokenizer.kind, len(tokenizer))
    assert loaded.encode_batch(TEXTS[:5]) == [tokenizer.encode(text) for text in TEXTS[:5]]
    assert loaded.encode("<eos>") == tokenizer.encode("<eos>")
    assert len(loaded) <= 400


def test_files_that_are_not_tokenizers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    with pytest.raises(UserError, match="no such file"):
        Tokenizer.load(path)
    path.write_text("{")
    with pytest.raises(UserError, match="not a tokenizer"):
        Tokenizer.load(path)
    BYTE.save(path)
    path.write_text(path.read_text().replace(SIGNS[0], "<nothing>"))
    with pytest.raises(UserError, match="tokens 0 to 3 must be <pad>, <bos>, <eos>, <unk>"):
        Tokenizer.load(path)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected byte, word, char, got 'syllable'"):
        Tokenizer.train(TEXTS, kind="syllable")  # type: ignore[arg-type]
