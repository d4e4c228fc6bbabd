"""Built-in texts to classify: requests about a topic, which one word decides, among names, dates and numbers."""

from __future__ import annotations

import random

import numpy as np

from regard.data.cldr import FAMILIES, plain
from regard.data.texts import Texts, keys_of
from regard.data.word_features import words_of

TOPICS = {
    "calendar": ("appointment", "birthday", "deadline", "holiday", "meeting", "reminder"),
    "language": ("dictionary", "grammar", "phrase", "pronunciation", "spelling", "vocabulary"),
    "money": ("budget", "discount", "exchange", "fee", "invoice", "refund"),
    "travel": ("airport", "flight", "hotel", "luggage", "ticket", "train"),
    "weather": ("forecast", "humidity", "rain", "snow", "storm", "temperature"),
}
"""The words that decide each class; a text has exactly one of them."""

_OTHER = ("address", "colour", "letter", "name", "number", "picture")
"""Words of no topic."""

_FRAMES = (
    "Can you tell me about the {word} for {a} and {b}, please?",
    "{a} or {b}: which {word} is it?",
    "I need the {word} that was noted on {a}, not {b}.",
    "After {a}, {b} and {c}, what happened with our {word}?",
    "Is {a} the right {word}, or should I ask about {b}?",
    "Please send {a}, {b} and the {word} to the office.",
    "My {word} says {a}, but the letter says {b} and {c}.",
    "Between {a} and {b} there was a {word}; who knows more?",
    "Where do I find {a}, {b}, {c} and the {word}?",
    "We talked about {a}; add {b} to the {word} as well.",
)


_MOST = 3
"""The largest number of requests in a text with several labels."""


def requests(count: int, *, seed: int = 0) -> Texts:
    """``count`` different texts of five classes, in an order that depends on the seed.

    Each text is a sentence with two or three dates, prices, measures or names from the CLDR, and a word that decides
    its class. Sentences and names are the same for all classes, so that nothing else tells the class.

    Raises:
        UserError: Babel is not installed.

    >>> texts = requests(3)
    >>> texts.names
    ('calendar', 'language', 'money', 'travel', 'weather')
    """
    source = random.Random(f"{seed} requests")
    names = tuple(TOPICS)
    rows: dict[str, tuple[int, str]] = {}
    while len(rows) < count:
        label = source.randrange(len(names))
        word = source.choice(TOPICS[names[label]])
        rows[_sentence(source, word)] = (label, word)
    texts = tuple(rows)
    return Texts(
        texts=texts, labels=np.array([label for label, _ in rows.values()]), names=names, keys=keys_of(texts),
        deciding=np.array([words_of(text).index(word) for text, (_, word) in rows.items()]),
    )  # fmt: skip


def requests_of_several_topics(count: int, *, seed: int = 0) -> Texts:
    """``count`` different texts with none to three of the labels of `requests`, one sentence for each.

    A text without a label is a sentence with a word that is of no topic; see `requests`.

    >>> texts = requests_of_several_topics(100)
    >>> sorted(set(texts.labels.sum(1).tolist()))
    [0, 1, 2, 3]
    """
    source = random.Random(f"{seed} several")
    names = tuple(TOPICS)
    rows: dict[str, dict[int, str]] = {}
    while len(rows) < count:
        labels = source.sample(range(len(names)), source.randint(0, _MOST))
        words = {label: source.choice(TOPICS[names[label]]) for label in labels}
        rows[" ".join(_sentence(source, word) for word in words.values() or [source.choice(_OTHER)])] = words
    texts = tuple(rows)
    deciding = np.full((count, len(names)), -1)
    for row, (text, words) in zip(deciding, rows.items(), strict=True):
        places = words_of(text)
        for label, word in words.items():
            row[label] = places.index(word)
    return Texts(texts=texts, labels=deciding >= 0, names=names, keys=keys_of(texts), deciding=deciding)


def _sentence(source: random.Random, word: str) -> str:
    a, b, c = (_filler(source) for _ in range(3))
    return source.choice(_FRAMES).format(word=word, a=a, b=b, c=c)


def _filler(source: random.Random) -> str:
    family = source.choice(FAMILIES)
    return plain(family.write("en", *family.draw(source)))
