"""Sets a part of labelled examples aside for validation: a tenth of each class or label, or a fold."""

from __future__ import annotations

import numpy as np

from regard.data import split
from regard.data.fold import Fold
from regard.data.labelled import Examples, listed, select
from regard.data.stratify import first_equal, stratified
from regard.errors import UserError
from regard.tasks.families.classify.trainable import Sets
from regard.tasks.task import Notify

_SHARE = 0.1


def set_aside(examples: Examples, seed: int, notify: Notify, fold: Fold | None = None) -> Sets[Examples]:
    """Set a part of the examples of each class or label aside for validation, and equal examples together.

    Args:
        examples: the examples.
        seed: of the choice.
        notify: gets messages about the part, about equal examples, and about labels that are in one of the sets only.
        fold: the part; None: a tenth.

    Raises:
        UserError: a class has no two different examples, or there are fewer of them than parts.
    """
    unit, firsts = examples.unit, first_equal(examples.keys)
    distinct = int((firsts == np.arange(len(firsts))).sum())
    if not examples.several:
        _check(examples, firsts)
    if fold is None and not examples.several:
        held_out = split.by_class(examples.labels, share=_SHARE, seed=seed, keys=examples.keys)
    else:
        shares = [_SHARE, 1 - _SHARE] if fold is None else [1 / fold.total] * fold.total
        if fold is None and distinct < 1 / _SHARE:
            raise UserError(
                f"data.train: has {distinct:,} distinct {unit}s, too few to set a tenth aside for validation; name "
                "your own with --data.valid"
            )
        if fold is not None and distinct < fold.total:
            raise UserError(f"data.fold: {fold} has more folds than there are distinct {unit}s, {distinct:,}")
        parts = stratified(examples.numbers, shares, seed=seed, keys=examples.keys)
        held_out = parts == (0 if fold is None else fold.number - 1)
    if distinct < len(firsts):
        notify(f"{len(firsts) - distinct:,} {unit}s are repeats of others; equal ones are on the same side")
    part = f"{held_out.sum():,} of {len(held_out):,} {unit}s"
    notify(split.notice(part) if fold is None else f"validating on fold {fold}: {part}")
    return Sets(select(examples, ~held_out), select(examples, held_out), aside=True)


def absent(sets: Sets[Examples]) -> list[str]:
    """Messages about labels that are not in both sets."""
    unit, messages = sets.train.unit, []
    for counts, kind, result in (
        (sets.train.counts, "training", "they are never learned"),
        (sets.valid.counts, "validation", "their thresholds stay 0.5"),
    ):
        names = [name for name, count in zip(sets.train.names, counts, strict=True) if not count]
        if names:
            messages.append(f"labels without a {kind} {unit}, so {result}: {listed(names)}")
    return messages


def _check(examples: Examples, firsts: np.ndarray) -> None:
    """Check that each class has two different examples. Raises UserError: one has not."""
    different: list[set[int]] = [set() for _ in examples.names]
    for label, first in zip(examples.labels.tolist(), firsts.tolist(), strict=True):
        different[label].add(first)
    for name, own, count in zip(examples.names, different, examples.counts, strict=True):
        if len(own) < 2:
            unit = examples.unit if count == 1 else f"distinct {examples.unit}"
            raise UserError(f"data.train: the class {name!r} has one {unit}, and needs another one for validation")
