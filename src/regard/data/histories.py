"""Histories: what each user chose, in the order of time, in flat arrays."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from regard.errors import UserError


@dataclass(frozen=True, eq=False)
class Histories:
    """The items of each user in the order of time, in flat arrays.

    Attributes:
        users: the names of the users.
        names: the names of the items.
        items: the items of all users, one user after the other: indices of ``names``, int64 ``(n,)``.
        bounds: user u has the items from ``bounds[u]`` to ``bounds[u + 1]``, int64 ``(users + 1,)``.
        times: when each was chosen, float64 ``(n,)``; None: not known.

    >>> history = histories_of([("ann", ["tea", "milk"]), ("bob", ["tea"])])
    >>> history.names, history.items.tolist(), history.bounds.tolist()
    (('milk', 'tea'), [1, 0, 1], [0, 2, 3])
    """

    users: tuple[str, ...]
    names: tuple[str, ...]
    items: np.ndarray
    bounds: np.ndarray
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.users)

    @property
    def lengths(self) -> np.ndarray:
        """The number of items of each user, int64 ``(users,)``."""
        return np.diff(self.bounds)

    @property
    def owners(self) -> np.ndarray:
        """The user of each item, int64 ``(n,)``."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def describe(self) -> str:
        """The numbers of users, items and choices in one line."""
        mean = len(self.items) / max(1, len(self))
        counts = ((len(self), "user"), (len(self.names), "item"), (len(self.items), "choice"))
        parts = (f"{count:,} {unit}{'' if count == 1 else 's'}" for count, unit in counts)
        return f"{', '.join(parts)}, {mean:.1f} for each user"

    def where(self, kept: np.ndarray) -> Histories:
        """The histories without the choices, bool ``(n,)``, that are not ``kept``, and without users who have none."""
        counts = np.bincount(self.owners[kept], minlength=len(self))
        users = tuple(name for name, count in zip(self.users, counts, strict=True) if count)
        bounds = np.concatenate([[0], np.cumsum(counts[counts > 0])])
        return replace(
            self, users=users, items=self.items[kept], bounds=bounds,
            times=None if self.times is None else self.times[kept],
        )  # fmt: skip

    def renumbered(self) -> Histories:
        """The histories with only those names of items that occur."""
        used, items = np.unique(self.items, return_inverse=True)
        return replace(self, names=tuple(self.names[at] for at in used), items=items.astype(np.int64))

    def with_names(self, names: Sequence[str]) -> Histories:
        """The histories with items numbered as in ``names``; an item that is not among them has the number −1."""
        number = {name: at for at, name in enumerate(names)}
        numbers = np.array([number.get(name, -1) for name in self.names], dtype=np.int64)
        return replace(self, names=tuple(names), items=numbers[self.items])


def histories_of(rows: Iterable[tuple[str, Sequence[str]]]) -> Histories:
    """The histories of users with the names of their items."""
    users, items, counts, numbers = [], array("q"), [0], dict[str, int]()
    for user, chosen in rows:
        users.append(user)
        items.extend(numbers.setdefault(name, len(numbers)) for name in chosen)
        counts.append(len(items))
    return sorted_names(users, numbers, np.array(items, dtype=np.int64), np.array(counts))


def without_rare(histories: Histories, count: int) -> Histories:
    """Leave out users with fewer than ``count`` choices and items that were chosen less often, until none is left.

    Raises:
        UserError: nothing is left.
    """
    while True:
        of_items = np.bincount(histories.items, minlength=len(histories.names))
        kept = (of_items[histories.items] >= count) & (histories.lengths[histories.owners] >= count)
        if kept.all():
            break
        histories = histories.where(kept)
    if not len(histories.items):
        raise UserError(f"data.core: no user and item are left that occur {count:,} times each; try a smaller number")
    return histories.renumbered()


def without_repeats(histories: Histories) -> Histories:
    """Keep the first of equal items of each user."""
    keys = histories.owners * max(1, len(histories.names)) + histories.items
    first = np.zeros(len(keys), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    return histories.where(first)


def sorted_names(
    users: Sequence[str], numbers: Mapping[str, int], items: np.ndarray, bounds: np.ndarray,
    times: np.ndarray | None = None,
) -> Histories:  # fmt: skip
    """Histories whose items are numbered by the order of their names, so that other orders of lines do not matter."""
    names = sorted(numbers)
    place = np.empty(len(names), dtype=np.int64)
    place[[numbers[name] for name in names]] = np.arange(len(names))
    return Histories(tuple(users), tuple(names), place[items], bounds.astype(np.int64), times)
