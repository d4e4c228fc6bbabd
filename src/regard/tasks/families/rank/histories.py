"""Histories of a run: read from the user's files or generated, with parts for validation and testing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from regard.data import shop
from regard.data.catalogue import Catalogue
from regard.data.held_out import Divided, divide, last_choices
from regard.data.histories import Histories, without_rare, without_repeats
from regard.data.history_files import HistoryColumns, read_histories, read_titles
from regard.data.split import notice
from regard.errors import UserError
from regard.tasks.families.rank.history_settings import HistoriesConfig
from regard.tasks.task import Notify, own_data
from regard.training import checkpoint
from regard.training.fingerprint import Fingerprint

_FILE = "items.json"


@dataclass(frozen=True, eq=False)
class Cases:
    """Choices to predict, each from all earlier ones of its user.

    Attributes:
        histories: of the users.
        places: the choices, indices of ``histories.items``.
        deciding: the place in its history of the item that decides, −1 if none does, ``(n,)``; None: not known.
    """

    histories: Histories
    places: np.ndarray
    deciding: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def targets(self) -> np.ndarray:
        """The items that were chosen, int64 ``(n,)``."""
        chosen: np.ndarray = self.histories.items[self.places]
        return chosen

    def before(self, rows: Sequence[int]) -> list[np.ndarray]:
        """The items before each of these choices."""
        places = self.places[np.asarray(rows, dtype=np.int64)]
        bounds = self.histories.bounds
        starts = bounds[np.searchsorted(bounds, places, side="right") - 1]
        return [self.histories.items[start:place] for start, place in zip(starts, places, strict=True)]


@dataclass(frozen=True, eq=False)
class HistorySets:
    """The histories of a run.

    Attributes:
        divided: the training histories.
        valid: choices to validate on.
        test: choices to test on; there may be none.
        titles: item → title.
    """

    divided: Divided
    valid: Cases
    test: Cases
    titles: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the items."""
        return self.divided.histories.names


def read_sets(config: HistoriesConfig, seed: int, notify: Notify) -> HistorySets:
    """The user's histories, or those of the built-in shop. Raises UserError: they cannot be used."""
    validation = "the built-in histories have validation choices"
    path = own_data(config.train, config.valid, "the histories of a built-in shop", validation, notify)
    if path is None:
        return _shop(config, seed)
    histories = read_file(path, config, notify)
    if config.core > 1:
        histories = without_rare(histories, config.core)
        notify(f"data.core {config.core}: {histories.describe()}")
    titles = _titles(config, histories.names, notify)
    if config.valid is None:
        return _divided(divide(histories, config.split, config.share), config.split, titles, notify)
    divided = divide(histories, "none")
    other = read_file(config.valid, config, notify)
    valid = known_cases(other, histories.names, config.valid, notify)
    return HistorySets(divided, valid, Cases(histories, divided.test), titles)


def read_file(path: str, config: HistoriesConfig, notify: Notify) -> Histories:
    """The histories of a file, with repeats as the settings say. Raises UserError: they cannot be used."""
    columns = HistoryColumns(config.user, config.item, config.rating, config.time)
    histories, notes = read_histories(
        path, columns, form=config.form, min_rating=config.min_rating, on_bad_line=config.on_bad_line
    )
    for note in notes:
        notify(note)
    return without_repeats(histories) if config.repeats == "merge" else histories


def known_cases(histories: Histories, names: Sequence[str], path: str, notify: Notify) -> Cases:
    """The last choice of each of other users, for a model of the items ``names``. Raises UserError: there is none."""
    known = histories.with_names(names)
    places = last_choices(known)
    if not len(places):
        raise UserError(f"{path}: no user has two items; the last one is predicted from those before it")
    unknown = int((known.items < 0).sum())
    if unknown:
        targets = int((known.items[places] < 0).sum())
        notify(
            f"{path}: {unknown:,} of {len(known.items):,} choices are of unknown items; they are left out of histories,"
            f" and the {targets:,} that are to be predicted count as missed"
        )
    return Cases(known, places)


def fingerprint(sets: HistorySets) -> Fingerprint:
    """Identifies the histories."""
    histories, ends = sets.divided.histories, sets.divided.ends
    titled = [f"{name}\t{sets.titles.get(name, '')}" for name in histories.names]
    train = (
        (user, _text(histories.items[start:end], titled))
        for user, start, end in zip(histories.users, histories.bounds[:-1], ends, strict=True)
    )
    return Fingerprint.of("histories", train, _case_rows(sets.valid))


def save_catalogue(folder: Path, sets: HistorySets) -> None:
    """Write the items of a new run to its folder."""
    catalogue = Catalogue.of(sets.names, sets.titles)
    checkpoint.write_json(folder / _FILE, asdict(catalogue))


def load_catalogue(run: Path) -> Catalogue:
    """The items of a run. Raises UserError: the file is missing or damaged."""
    content = checkpoint.read_json(run / _FILE)
    try:
        return Catalogue(*(tuple(content[name]) for name in ("names", "titles", "words")))
    except (KeyError, TypeError) as error:
        raise UserError(f"{run / _FILE}: is not a list of items ({error})") from error


def _divided(divided: Divided, split: str, titles: Mapping[str, str], notify: Notify) -> HistorySets:
    histories = divided.histories
    if split == "none":
        notify("training on everything: the validation choices are trained on, so their metrics are too optimistic; "
               "choose the number of epochs by a run with --data.split last")  # fmt: skip
    else:
        notify(notice(f"{len(divided.valid):,} choices") + f"; and {len(divided.test):,} for regard eval")
    return HistorySets(divided, Cases(histories, divided.valid), Cases(histories, divided.test), titles)


def _titles(config: HistoriesConfig, names: Sequence[str], notify: Notify) -> dict[str, str]:
    """The titles of items. Raises UserError: the file cannot be used, or has none of the items."""
    if config.titles is None:
        return {}
    titles, notes = read_titles(config.titles, config.on_bad_line)
    for note in notes:
        notify(note)
    known = {name: titles[name] for name in names if name in titles}
    if not known:
        example = next(iter(titles))
        raise UserError(f"data.titles: {config.titles} has no item of the histories, such as {names[0]!r}; its first "
                        f"item is {example!r}")  # fmt: skip
    notify(f"{config.titles}: titles of {len(known):,} of {len(names):,} items")
    return known


def _shop(config: HistoriesConfig, seed: int) -> HistorySets:
    made = shop.customers(config.builtin_users, seed)
    divided = divide(made.histories, "last" if config.split == "time" else config.split)
    deciding = np.array([reason.place for reason in made.reasons])
    valid, test = (Cases(made.histories, places, deciding[places]) for places in (divided.valid, divided.test))
    return HistorySets(divided, valid, test, {name: name for name in made.histories.names})


def _case_rows(cases: Cases) -> Iterator[tuple[str, ...]]:
    names = (*cases.histories.names, "?")  # the last is number −1
    for row, target in enumerate(cases.targets):
        yield _text(cases.before([row])[0], names), names[target]


def _text(items: np.ndarray, names: Sequence[str]) -> str:
    return "\n".join(names[at] for at in items)
