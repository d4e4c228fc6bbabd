"""A fingerprint of the data that a run is trained on, so that a run does not continue with other data unnoticed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from regard.data.progress import Advance, progress
from regard.errors import UserError
from regard.training import checkpoint

_FILE = "data.json"
_SHOWN = 5
"""The number of names of a list that an error shows."""


@dataclass(frozen=True)
class Long:
    """A field of an example that is not held in memory: its content in blocks."""

    blocks: Iterable[bytes]


Row = tuple[str | bytes | Long, ...]
"""One training example, such as a source and a target sentence."""


def row_digest(row: Row, advance: Advance = lambda size: None) -> bytes:
    """Identifies an example, in 16 bytes; ``advance`` is called with the bytes that are done since its last call.

    >>> row_digest(("ab", "c")) == row_digest(("ab", Long([b"c"]))) != row_digest(("a", "bc"))
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for field in row:
        if not isinstance(field, Long):
            content = field.encode("utf-8", "surrogatepass") if isinstance(field, str) else field
            field = Long((content,))
        size = 0
        for block in field.blocks:
            digest.update(block)
            advance(len(block))
            size += len(block)
        digest.update(size.to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
    return digest.digest()


@dataclass(frozen=True)
class Part:
    """A set of examples.

    Attributes:
        count: how many there are.
        content: a digest of the examples that does not depend on their order.
        order: a digest that does.
    """

    count: int
    content: str
    order: str

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Part:
        """The digests of these examples."""
        count, total, order = 0, 0, hashlib.blake2b(digest_size=16)
        with progress("computing the fingerprint") as advance:
            for row in rows:
                digest = row_digest(row, advance)
                order.update(digest)
                total += int.from_bytes(digest, "little")
                count += 1
        return cls(count, f"{total % 2**128:032x}", order.hexdigest())


@dataclass(frozen=True)
class Fingerprint:
    """Digests that identify the data of a run.

    Attributes:
        unit: the name of the examples, such as ``"images"``.
        train: of the training examples.
        valid: of the validation examples.
        classes: the names of the classes, in the order of their numbers; empty if there are none.
    """

    unit: str
    train: Part
    valid: Part
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, unit: str, train: Iterable[Row], valid: Iterable[Row], classes: Sequence[str] = ()) -> Fingerprint:
        """The fingerprint of these examples."""
        return cls(unit, Part.of(train), Part.of(valid), tuple(classes))


def save(folder: Path, fingerprint: Fingerprint) -> None:
    """Write the fingerprint to the folder of a new run, with digests of the files that are in it already.

    Those files, such as tokenizers, were made from the data and belong to the weights: see `check_files`.
    """
    files = {path.name: _digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    checkpoint.write_json(folder / _FILE, {**asdict(fingerprint), "files": files})


def check_files(run: Path) -> None:
    """Check that the run's own files, such as tokenizers, are those that its weights were trained with.

    Raises:
        UserError: one is missing or has changed.
    """
    path = run / _FILE
    files = checkpoint.read_json(path).get("files")
    if not isinstance(files, dict):
        raise UserError(f"{path}: is not the fingerprint of a run's data (it has no files)")
    for name, digest in files.items():
        if not (run / name).exists():
            raise UserError(f"{run / name}: no such file; the run cannot be used without it")
        if _digest(run / name) != digest:
            raise UserError(f"{run / name}: has changed since the run began, and its weights do not fit it; restore it")


def check_resume(run: Path, now: Fingerprint, notify: Callable[[str], None]) -> None:
    """Check that training can continue with the data ``now``; another order of them is only reported by ``notify``.

    Raises:
        UserError: examples or classes have changed.
    """
    before = _load(run)
    changed = _changed_classes(before, now)
    for name, old, new in (("training", before.train, now.train), ("validation", before.valid, now.valid)):
        changed += _changed_part(f"{name} {now.unit}", old, new)
    if changed:
        raise UserError(
            f"{run}: cannot resume, because its data have changed since the run began: {'; '.join(changed)}; "
            "restore them, or train a new run in another folder"
        )
    if before.train.order != now.train.order:
        notify(
            f"{run}: the training {now.unit} are the same as before, but in another order: "
            "training resumes, but not with exactly the steps of an uninterrupted run"
        )


def same_data(runs: Sequence[Path]) -> bool:
    """Whether runs have the same training and validation examples, so that none learned what another set aside."""
    return len({(one.train.content, one.valid.content) for one in map(_load, runs)}) == 1


def check_validation(run: Path, now: Fingerprint) -> None:
    """Check that a run is scored on the validation examples that its training set aside.

    Raises:
        UserError: the examples or the classes have changed, so that some may have been trained on.
    """
    before = _load(run)
    changed = _changed_classes(before, now)
    changed += _changed_part(f"validation {now.unit}", before.valid, now.valid)
    if changed:
        raise UserError(
            f"{run}: its data have changed since the run began: {'; '.join(changed)}; "
            "restore them, or name the data to score on with --data"
        )


def _load(run: Path) -> Fingerprint:
    """The fingerprint that `save` wrote. Raises UserError: it is missing or damaged."""
    path = run / _FILE
    content = checkpoint.read_json(path)
    try:
        train, valid = (Part(**content[name]) for name in ("train", "valid"))
        return Fingerprint(content["unit"], train, valid, tuple(content["classes"]))
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: is not the fingerprint of a run's data ({error})") from error


def _changed_classes(before: Fingerprint, now: Fingerprint) -> list[str]:
    removed = [name for name in before.classes if name not in now.classes]
    added = [name for name in now.classes if name not in before.classes]
    parts = [f"{_names(names)} {change}" for names, change in ((removed, "removed"), (added, "added")) if names]
    if not parts and before.classes != now.classes:
        parts = ["in another order"]
    return [f"classes: {', '.join(parts)}"] if parts else []


def _changed_part(name: str, before: Part, now: Part) -> list[str]:
    if before.count != now.count:
        return [f"{name}: {now.count:,} instead of {before.count:,}"]
    return [f"{name}: {now.count:,} as before, but not the same ones"] if before.content != now.content else []


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more


def _digest(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
