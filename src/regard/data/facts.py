"""Built-in questions: passages of facts about territories from the Unicode CLDR, made by templates with Babel.

Languages and their shares of the population, currencies, and time zones. A passage has sentences about several
territories, which each name their territory, so that the sentence that decides a question and the span of its answer
are known. A fifth of the questions has no answer in its passage. The territories are divided into those of the
training, the validation and the test split, so that no fact of the test split occurs in the training data.
"""

from __future__ import annotations

import datetime
import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Any, Literal

from regard.data.questions import Question, Span
from regard.errors import require

Split = Literal["train", "valid", "test"]

_UNANSWERED = 0.2
"""The share of the questions without an answer."""

_WITH_ARTICLE = re.compile(
    r"(United |British Indian|Caribbean Netherlands|French Southern|Isle of)|.*( Islands| Republic| Territories)$"
    r"|(Netherlands|Philippines|Bahamas|Maldives|Comoros|Gambia|Seychelles)$"
)
"""Names of territories that have an article within a sentence."""


@dataclass(frozen=True)
class _Kind:
    """A kind of facts: how they are written, and what is asked about them.

    Attributes:
        name: of the kind.
        topic: a passage has at most one fact of a topic about a territory, or one for each language.
        sentences: wordings, in which values are in braces.
        questions: the value that is asked for → wordings of the question.
    """

    name: str
    topic: str
    sentences: tuple[str, ...]
    questions: Mapping[str, tuple[str, ...]]


_KINDS = {
    kind.name: kind
    for kind in (
        _Kind(
            "official", "official",
            ("The official language of {place} is {language}.", "{language} is the official language of {place}.",
             "In {place}, {language} is the official language."),
            {"language": ("What is the official language of {place}?", "Which language is official in {place}?",
                          "Name the official language of {place}.")},
        ),
        _Kind(
            "share", "share",
            ("{language} is spoken by {share} of the people in {place}.",
             "In {place}, {share} of the people speak {language}.",
             "Of all people in {place}, {share} speak {language}."),
            {"share": ("What share of the people in {place} speak {language}?",
                       "How many people in {place} speak {language}?", "How common is {language} in {place}?"),
             "language": ("Which language do {share} of the people in {place} speak?",
                          "What is spoken by {share} of the people in {place}?",
                          "Name the language of {share} of the people in {place}.")},
        ),
        _Kind(
            "currency", "money",
            ("The currency of {place} is the {currency}.", "People in {place} pay with the {currency}.",
             "The {currency} is used in {place}."),
            {"currency": ("What is the currency of {place}?", "How do people pay in {place}?",
                          "Which money is used in {place}?")},
        ),
        _Kind(
            "since", "money",
            ("The currency of {place} has been the {currency} since {date}.",
             "The {currency} was introduced in {place} on {date}.", "Since {date}, {place} has used the {currency}."),
            {"date": ("Since when has {place} used the {currency}?", "When was the {currency} introduced in {place}?",
                      "From which day on was the {currency} used in {place}?"),
             "currency": ("What is the currency of {place}?", "How do people pay in {place}?",
                          "Which money is used in {place}?")},
        ),
        _Kind(
            "zone", "zone",
            ("Clocks in {place} show {zone}.", "The time in {place} is {zone}.", "{zone} is used in {place}."),
            {"zone": ("Which time do clocks in {place} show?", "What is the time zone of {place}?",
                      "Which time is used in {place}?")},
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class _Fact:
    """A fact about a territory: its kind, and its values by name."""

    kind: _Kind
    territory: str
    values: Mapping[str, str]

    @property
    def topic(self) -> tuple[str, ...]:
        """What a passage says about a territory at most once."""
        language = (self.values["language"],) if self.kind.name == "share" else ()
        return (self.territory, self.kind.topic, *language)


def questions(count: int, *, seed: int = 0, split: Split) -> list[Question]:
    """``count`` questions of a split; the same seed gives the same ones.

    Raises:
        UserError: Babel is not installed.
    """
    source = random.Random(f"{seed} {split} questions")
    by_territory = {territory: _facts(territory) for territory in _territories(split)}
    return [_question(source, by_territory) for _ in range(count)]


def examples() -> list[Question]:
    """Three questions of the test split, the last one without an answer."""
    made = questions(100, seed=1, split="test")
    answered = [one for one in made if one.answers]
    return [*answered[:2], next(one for one in made if not one.answers)]


def _question(source: random.Random, by_territory: Mapping[str, tuple[_Fact, ...]]) -> Question:
    chosen = source.sample(sorted(by_territory), 3)
    said: dict[tuple[str, ...], _Fact] = {}
    for territory in chosen:
        known = by_territory[territory]
        for fact in source.sample(known, min(len(known), source.randint(2, 3))):
            said.setdefault(fact.topic, fact)
    facts = list(said.values())
    source.shuffle(facts)
    others = [fact for territory in chosen for fact in by_territory[territory] if fact.topic not in said]
    unanswered = bool(others) and source.random() < _UNANSWERED
    asked = source.choice(others if unanswered else facts)
    wanted = source.choice(sorted(asked.kind.questions))
    question, _ = _write(source.choice(asked.kind.questions[wanted]), asked.values)
    sentences: list[str] = []
    answers: tuple[Span, ...] = ()
    evidence, at = None, 0
    for fact in facts:
        sentence, places = _write(source.choice(fact.kind.sentences), fact.values)
        if fact is asked:
            start, end = places[wanted]
            answers, evidence = ((at + start, at + end),), (at, at + len(sentence))
        sentences.append(sentence)
        at += len(sentence) + 1
    return Question(" ".join(sentences), question, answers, evidence)


def _write(template: str, values: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
    """A template with its values, and the place of each of them."""
    text, places = "", {}
    for literal, name, _, _ in Formatter().parse(template):
        text += literal
        if name is not None:
            places[name] = (len(text), len(text) + len(values[name]))
            text += values[name]
    return text[0].upper() + text[1:], places


@cache
def _territories(split: Split) -> tuple[str, ...]:
    """The territories of a split: eight tenths, one tenth and one tenth of all."""
    names = _locale().territories
    known = (code for code in sorted(_global("territory_languages")) if code in names and len(_facts(code)) >= 3)
    return tuple(code for code in known if _split_of(code) == split)


def _split_of(territory: str) -> Split:
    place = hashlib.blake2b(territory.encode(), digest_size=8).digest()[0] % 10
    return "valid" if place == 0 else "test" if place == 1 else "train"


@cache
def _facts(territory: str) -> tuple[_Fact, ...]:
    name = _locale().territories[territory]
    place = f"the {name}" if _WITH_ARTICLE.match(name) else name
    return tuple(
        _Fact(_KINDS[kind], territory, {"place": place, **values}) for kind, values in _values(territory)
    )  # fmt: skip


def _values(territory: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The kind and the values of each fact about a territory."""
    locale, numbers = _locale(), require("babel.numbers", "text", "the built-in questions")
    spoken = _global("territory_languages")[territory]
    official = [code for code, entry in spoken.items() if entry["official_status"] == "official"]
    if len(official) == 1 and official[0] in locale.languages:
        yield "official", {"language": locale.languages[official[0]]}
    shares = set()
    for code, entry in spoken.items():
        percent = entry["population_percent"]
        share = str(numbers.format_percent(percent / 100, "#,##0.##%", locale=locale))
        if code in locale.languages and 0.1 <= percent < 100 and share not in shares:
            shares.add(share)  # so that a share says which language is meant
            yield "share", {"language": locale.languages[code], "share": share}
    current = [(code, start) for code, start, end, tender in _global("territory_currencies").get(territory, ())
               if end is None and tender]  # fmt: skip
    if len(current) == 1 and current[0][0] in locale.currencies:
        code, start = current[0]
        currency = str(numbers.get_currency_name(code, locale=locale))
        yield "currency", {"currency": currency}
        if start is not None:
            dates = require("babel.dates", "text", "the built-in questions")
            date = str(dates.format_date(datetime.date(*start), "long", locale=locale))
            yield "since", {"currency": currency, "date": date}
    zones = {_global("meta_zones").get(zone) for zone in _global("territory_zones").get(territory, ())}
    names = {_zone_name(zone) for zone in zones}
    if len(names) == 1 and None not in names:
        yield "zone", {"zone": str(names.pop())}


def _zone_name(zone: str | None) -> str | None:
    names = _locale().meta_zones.get(zone, {}).get("long", {})
    name: str | None = names.get("standard") or names.get("generic")
    return name


def _global(name: str) -> Any:
    return require("babel.core", "text", "the built-in questions").get_global(name)


@cache
def _locale() -> Any:
    return require("babel", "text", "the built-in questions").Locale.parse("en")
