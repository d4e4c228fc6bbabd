"""A generated shop, for which the best possible recommendation and the item of the past that decides are known.

Some items are volumes of series, the others are goods in departments. Each choice of a customer is, at random,

- **series**: the next volume of a series, of which the last one was read at least three choices ago;
- **habit**: what always follows a good, bought at least two choices ago;
- **taste**: one of the goods of the customer's favourite department, some of which are more popular;
- **noise**: any item.

Nothing is chosen twice, and the favourite department is not visible: `best` computes its probability from the choices
(Bayes), and so the true probability of each item that can come next. Its hit rate is the best that any model can reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from regard.data.histories import Histories

_SERIES, _HABIT, _TASTE, _NOISE = 0.4, 0.2, 0.25, 0.15
"""The probability of each reason for a choice."""
_WAITS = {"series": 3, "habit": 2}
"""How many choices ago the item that decides was chosen, at least."""
_VOLUMES = 6
_SHORTEST, _LONGEST = 6, 16
"""The number of choices of a customer."""
_TITLES = ("amber", "bridge", "cedar", "dragon", "ember", "falcon", "glacier", "harbour", "island", "jungle", "kestrel",
           "lantern")  # fmt: skip
_DEPARTMENTS = {
    "tea": "green black white mint ginger rose lemon jasmine oolong chai",
    "paint": "red blue ochre teal pink cream olive violet coral grey",
    "seeds": "tomato basil carrot bean poppy clover radish spinach fennel leek",
    "cheese": "brie cheddar gouda feta edam parmesan ricotta halloumi comté emmental",
    "yarn": "wool cotton linen silk alpaca mohair bamboo cashmere hemp merino",
    "bread": "rye spelt sourdough ciabatta focaccia wholemeal brioche naan pita bagel",
}


class Reason(NamedTuple):
    """Why an item was chosen: the kind, and the place in the history of the item that decides, −1 if none does."""

    kind: str
    place: int


@dataclass(frozen=True, eq=False)
class Shop:
    """The items of the shop and how they are related.

    Attributes:
        names: of the items; volumes are ``"amber 1"``, goods such as ``"green tea"``.
        following: the next volume of each item, −1 for a last volume and for goods, int64 ``(items,)``.
        partner: what follows each good by habit, −1 for volumes, int64 ``(items,)``.
        tastes: the probability of each item among the choices by taste, by favourite department, ``(D, items)``.
    """

    names: tuple[str, ...]
    following: np.ndarray
    partner: np.ndarray
    tastes: np.ndarray

    @classmethod
    def build(cls) -> Shop:
        """The shop; it is always the same."""
        volumes = [f"{title} {number}" for title in _TITLES for number in range(1, _VOLUMES + 1)]
        goods = [[f"{word} {name}" for word in words.split()] for name, words in _DEPARTMENTS.items()]
        names = [*volumes, *(name for names in goods for name in names)]
        size, first = len(names), len(volumes)
        following = np.full(size, -1)
        following[:first] = np.where(np.arange(first) % _VOLUMES < _VOLUMES - 1, np.arange(first) + 1, -1)
        partner, random = np.full(size, -1), np.random.default_rng(17)
        circle = random.permutation(np.arange(first, size))
        partner[circle] = np.roll(circle, 1)  # one circle through all goods
        tastes = np.zeros((len(goods), size))
        for number, names_of in enumerate(goods):
            start = first + sum(map(len, goods[:number]))
            popular = 1 / np.arange(1, len(names_of) + 1)
            tastes[number, start : start + len(names_of)] = popular / popular.sum()
        return cls(tuple(names), following, partner, tastes)

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def _usual(self) -> np.ndarray:
        """The probability of each item that does not depend on the history, by favourite department, ``(D, items)``."""
        usual: np.ndarray = _TASTE * self.tastes + _NOISE / len(self)
        return usual

    def reasons(self, history: np.ndarray) -> tuple[tuple[str, float, int, int], ...]:
        """What can follow because of an item of the history: kind, probability, item, place of the item that decides.

        That is the latest one that was chosen long enough ago and whose following item is not yet chosen.
        """
        result, seen, chosen = [], set(history.tolist()), history.tolist()
        for kind, share, relation in (("series", _SERIES, self.following), ("habit", _HABIT, self.partner)):
            for place in range(len(chosen) - _WAITS[kind], -1, -1):
                following = int(relation[chosen[place]])
                if following >= 0 and following not in seen:
                    result.append((kind, share, following, place))
                    break
        return tuple(result)

    def next(self, history: np.ndarray) -> np.ndarray:
        """The probability of each next item for each favourite department, if it were known, ``(D, items)``."""
        chances = self._usual.copy()
        for _, share, item, _ in self.reasons(history):
            chances[:, item] += share
        chances[:, history] = 0.0
        chances /= chances.sum(1, keepdims=True)
        return chances

    def best(self, history: np.ndarray) -> np.ndarray:
        """The true probability of each next item, ``(items,)``: the best ranking. Items of the history have 0."""
        belief = np.full(len(self.tastes), 1 / len(self.tastes))
        for place, item in enumerate(history.tolist()):
            chances = self.next(history[:place])
            belief = belief * chances[:, item]
            belief /= belief.sum()
        probabilities: np.ndarray = belief @ self.next(history)
        return probabilities

    @cached_property
    def _popularity(self) -> np.ndarray:
        """The sums of the probabilities of `tastes` up to each item, ``(D, items)``."""
        sums: np.ndarray = self.tastes.cumsum(1)
        return sums

    def _choice(self, department: int, history: np.ndarray, random: np.random.Generator) -> tuple[int, Reason]:
        """An item, which may be in the history, and its reason."""
        reasons = self.reasons(history)
        drawn = random.random() * (_TASTE + _NOISE + sum(share for _, share, _, _ in reasons))
        for kind, share, item, place in reasons:
            drawn -= share
            if drawn < 0:
                return item, Reason(kind, place)
        if drawn < _TASTE:
            return int(np.searchsorted(self._popularity[department], random.random() * 0.999999)), Reason("taste", -1)
        return int(random.integers(len(self))), Reason("noise", -1)

    def customer(self, random: np.random.Generator) -> tuple[np.ndarray, list[Reason]]:
        """The choices of one customer, and the reason of each."""
        department, history, why = int(random.integers(len(self.tastes))), np.empty(0, np.int64), list[Reason]()
        for _ in range(int(random.integers(_SHORTEST, _LONGEST + 1))):
            item, reason = self._choice(department, history, random)
            while item in history:
                item, reason = self._choice(department, history, random)
            why.append(reason)
            history = np.append(history, item)
        return history, why


@dataclass(frozen=True, eq=False)
class Customers:
    """Generated histories, and the reason of each choice."""

    histories: Histories
    reasons: tuple[Reason, ...]


def customers(count: int, seed: int) -> Customers:
    """The histories of ``count`` customers.

    >>> customers(2, seed=0).histories.describe()
    '2 users, 132 items, 22 choices, 11.0 for each user'
    """
    shop, random = Shop.build(), np.random.default_rng([seed, 3])
    chosen, reasons, bounds = list[np.ndarray](), list[Reason](), [0]
    for _ in range(count):
        history, why = shop.customer(random)
        chosen.append(history)
        reasons += why
        bounds.append(len(reasons))
    names = sorted(shop.names)
    place = {name: at for at, name in enumerate(names)}
    numbers = np.array([place[name] for name in shop.names])
    users = tuple(f"customer {number}" for number in range(1, count + 1))
    histories = Histories(users, tuple(names), numbers[np.concatenate(chosen)], np.array(bounds))
    return Customers(histories, tuple(reasons))


def best_scores(histories: Histories, places: np.ndarray) -> np.ndarray:
    """The true probability of every item as each of these choices, ``(len(places), items)``, from those before it."""
    shop = Shop.build()
    own = {name: at for at, name in enumerate(shop.names)}
    numbers = np.array([own[name] for name in histories.names])
    owners = histories.owners
    rows = [shop.best(numbers[histories.items[histories.bounds[owners[at]] : at]])[numbers] for at in places]
    return np.array(rows)
