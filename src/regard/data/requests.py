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
        a, b, c = (_filler(source) for _ in range(3))
        rows[source.choice(_FRAMES).format(word=word, a=a, b=b, c=c)] = (label, word)
    texts = tuple(rows)
    return Texts(
        texts=texts, labels=np.array([label for label, _ in rows.values()]), names=names, keys=keys_of(texts),
        deciding=np.array([words_of(text).index(word) for text, (_, word) in rows.items()]),
    )  # fmt: skip


def _filler(source: random.Random) -> str:
    family = source.choice(FAMILIES)
    return plain(family.write("en", *family.draw(source)))
