"""The built-in corpus: known pairs, its dependence on the seed, its size, and its splits."""

from __future__ import annotations

import datetime
import random
import subprocess
import sys

import pytest

from regard.data import cldr


@pytest.fixture(scope="module")
def train() -> list[tuple[str, str]]:
    return cldr.corpus(20_000, seed=3, split="train")


KNOWN = [
    ("full date", (datetime.date(2026, 11, 20),), "Friday, November 20, 2026", "vendredi 20 novembre 2026"),
    ("medium date", (datetime.date(2026, 12, 1),), "Dec 1, 2026", "1 déc. 2026"),
    ("short date", (datetime.date(2026, 3, 4),), "3/4/26", "04/03/2026"),
    ("date and time", (datetime.date(2026, 11, 20), datetime.time(15, 5)),
     "Friday, November 20, 2026 at 3:05 PM", "vendredi 20 novembre 2026 à 15:05"),
    ("interval", (datetime.date(2026, 5, 3), datetime.date(2026, 5, 5)), "May 3 – 5, 2026", "3–5 mai 2026"),
    ("distance in time", ("day", -3), "3 days ago", "il y a 3 jours"),
    ("distance in time", ("month", 40), "in 40 months", "dans 40 mois"),
    ("number", (1234.5,), "1,234.5", "1 234,5"),
    ("percent", (0.125,), "12.5%", "12,5 %"),
    ("currency", (1234.5, "USD"), "$1,234.50", "1 234,50 $US"),
    ("currency name", (5.0, "JPY"), "5 Japanese yen", "5 yens japonais"),
    ("unit", (12.0, "length-kilometer"), "12 kilometers", "12 kilomètres"),
    ("place and date", ("JP", datetime.date(2026, 7, 14)), "Japan, July 14, 2026", "14 juillet 2026, Japon"),
    ("place and share", ("DE", 0.5, 7), "50% (Germany: 7)", "Allemagne : 7 (50 %)"),
    ("language", ("de", "AT"), "German (Austria)", "allemand (Autriche)"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "values", "english", "french"), KNOWN, ids=[row[2] for row in KNOWN])
def test_known_pairs(name: str, values: cldr.Values, english: str, french: str) -> None:
    family = next(family for family in cldr.FAMILIES if family.name == name)
    assert " ".join(family.write("en", *values).split()) == english
    assert " ".join(family.write("fr", *values).split()) == french


def test_the_corpus_depends_on_the_seed_only() -> None:
    code = "from regard.data.cldr import corpus; print(corpus(50, seed=4, split='valid'))"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": str(n)}, capture_output=True, text=True, check=True
        )
        for n in (1, 2)
    ]
    assert runs[0].stdout == runs[1].stdout == f"{cldr.corpus(50, seed=4, split='valid')}\n"
    assert cldr.corpus(50, seed=5, split="valid") != cldr.corpus(50, seed=4, split="valid")


def test_splits_share_no_text_for_any_seeds(train: list[tuple[str, str]]) -> None:
    valid, test = cldr.corpus(900, seed=3, split="valid"), cldr.corpus(900, seed=8, split="test")
    sides = [{english for english, _ in pairs} for pairs in (train, valid, test)]
    assert [len(side) for side in sides] == [20_000, 900, 900]
    assert len(set.union(*sides)) == 20_000 + 900 + 900


def test_one_english_text_has_one_french_text() -> None:
    source = random.Random(0)
    seen: dict[str, str] = {}
    for _ in range(30_000):
        family = source.choice(cldr.FAMILIES)
        values = family.draw(source)
        english, french = (" ".join(family.write(locale, *values).split()) for locale in ("en", "fr"))
        assert seen.setdefault(english, french) == french


def test_texts_are_short_and_have_plain_spaces_only(train: list[tuple[str, str]]) -> None:
    for pair in train:
        for text in pair:
            assert 0 < len(text) < 80
            assert not set(text) & {"\u00a0", "\u202f", "\t", "\n"}


def test_there_are_more_than_200_000_pairs() -> None:
    days = {cldr._day(random.Random(i)) for i in range(20_000)}
    assert len(days) > 14_000  # of 36,525
    # Dates with times are enough: each minute of each day is another text.
    family = next(family for family in cldr.FAMILIES if family.name == "date and time")
    texts = {
        family.write("en", day, datetime.time(h, m)) for day in list(days)[:20] for h in range(24) for m in range(60)
    }
    assert len(texts) == 20 * 1440
    assert len(days) * 1440 > 200_000


def test_examples_are_of_the_test_split() -> None:
    examples = cldr.examples()
    assert len(set(examples)) == 3
    assert {cldr.split_of(text) for text in examples} == {"test"}


def test_an_unknown_split_raises() -> None:
    with pytest.raises(ValueError, match="split: expected train, valid, test, got 'all'"):
        cldr.corpus(1, split="all")  # type: ignore[arg-type]


def test_more_pairs_than_the_corpus_has_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cldr, "FAMILIES", [family for family in cldr.FAMILIES if family.name == "distance in time"])
    with pytest.raises(ValueError, match="2,000 distinct pairs of the test split were not reached, only"):
        cldr.corpus(2000, split="test")
