"""Words of a text, and the vocabulary that each source extends by its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.data.lines import compose
from regard.data.tokenizer import BOS, EOS, UNK
from regard.data.words import JOIN, NAMES, SHAPES, SPELLINGS, Vocabulary, join, outside, pieces, split
from regard.errors import UserError


@pytest.mark.parametrize(
    "word",
    [
        "O'Neil", "1,250.50", "1,000,000", "10:30", "3.14", "os.path.join", "user_name", "a.b-c@host.com", "6/21",
        "https://host.org/a?b=c", "AT&T", "Zoë", "नमस्ते", "v2.0", "Müller-Lüdenscheidt",
    ],
)  # fmt: skip
def test_names_and_numbers_are_one_word(word: str) -> None:
    assert split(f"see {word}, or ({word}).")[1] == compose(word)
    assert split(word) == [compose(word)]


def test_punctuation_is_apart_and_unspaced_scripts_are_single_characters() -> None:
    assert split("Stop. (Now!)") == ["Stop", ".", "(", "Now", "!", ")"]
    assert split("東京へ行く。") == list("東京へ行く。")
    assert split("say 'so'") == ["say", "'", NAMES[JOIN], "so", NAMES[JOIN], "'"]
    assert split(" \n ") == []


@given(st.text(st.sampled_from("aB1 .,:'-(/@\n東京かeéÅ<>&")))
def test_joined_words_are_the_text(text: str) -> None:
    assert join(split(text)) == " ".join(text.split())


@given(st.text())
def test_any_text_is_joined_but_for_white_space(text: str) -> None:
    assert "".join(join(split(text)).split()) == "".join(text.split())


def test_names_of_special_tokens_in_a_text_are_text() -> None:
    text = "the <pad> and <join> tags <eos>"
    vocabulary = Vocabulary.train([text], min_frequency=1)
    numbers, extra = vocabulary.source(text)
    assert (extra, numbers.count(EOS)) == ({}, 1)
    assert join(vocabulary.words(numbers, extra)) == text


def test_words_of_a_source_extend_the_vocabulary() -> None:
    vocabulary = Vocabulary.train(["one one two", "one two", "one three three"])
    assert [len(vocabulary), *vocabulary.words([len(NAMES), len(NAMES) + 1], {})] == [len(NAMES) + 2, "one", "two"]
    numbers, extra = vocabulary.source("Rex one Ada Rex")
    rex, ada = (len(vocabulary) + outside(name) for name in ("Rex", "Ada"))
    assert (numbers[0], numbers[2], numbers[3]) == (rex, ada, rex)
    assert extra == {rex: "Rex", ada: "Ada"}
    assert vocabulary.target("Ada two Bob", extra) == [ada, len(NAMES) + 1, UNK, EOS]
    assert vocabulary.target("Ada") == [UNK, EOS]
    assert vocabulary.source("one two one", limit=2)[0] == [len(NAMES), len(NAMES) + 1, EOS]


def test_words_with_the_same_hash_have_different_numbers() -> None:
    first, *_ = names = [f"w{number:x}" for number in range(20_000) if outside(f"w{number:x}") == outside("w0")][:3]
    vocabulary = Vocabulary.train(["one one"], min_frequency=1)
    text = " ".join([*names, first])
    numbers, extra = vocabulary.source(text)
    assert (len(names), len(set(numbers)), numbers[0]) == (3, 4, numbers[3])
    assert join(vocabulary.words(numbers, extra)) == text
    numbers, extra = vocabulary.source(" ".join(f"w{number:x}" for number in range(SHAPES * SPELLINGS + 9)))
    assert (len(extra), numbers.count(UNK)) == (SHAPES * SPELLINGS, 9)


def test_the_most_frequent_words_are_kept() -> None:
    vocabulary = Vocabulary.train(["c b a a a", "c b", "c"], size=len(NAMES) + 2, min_frequency=1)
    assert vocabulary.words(range(len(NAMES), len(vocabulary)), {}) == ["c", "b"]


def test_a_vocabulary_is_saved(tmp_path: Path) -> None:
    vocabulary = Vocabulary.train(["é e\u0301 東 東"], min_frequency=1)
    vocabulary.save(tmp_path / "v.json")
    loaded = Vocabulary.load(tmp_path / "v.json")
    assert loaded.source("東 é x") == vocabulary.source("東 é x")


@pytest.mark.parametrize("content", ["", "[]", '{"words": 3}', '{"words": [1]}', "\x00"])
def test_a_damaged_vocabulary_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "v.json").write_text(content)
    with pytest.raises(UserError, match=r"v\.json: not a vocabulary"):
        Vocabulary.load(tmp_path / "v.json")
    with pytest.raises(UserError, match="no such file"):
        Vocabulary.load(tmp_path / "w.json")


def test_pieces_mark_words_after_a_space() -> None:
    words = split("f(x) is <a>")
    assert "".join(pieces(words)).replace("▁", " ").strip() == "f(x) is <a>"
    assert pieces(["a", NAMES[EOS], NAMES[BOS]]) == ["▁a", "<eos>", "<bos>"]
