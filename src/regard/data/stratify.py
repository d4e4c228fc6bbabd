"""Divides labelled examples into parts, such as the folds of a cross-validation, with the same share of each label."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def stratified(
    labels: Sequence[Sequence[int]], shares: Sequence[float], *, seed: int, keys: Sequence[Hashable] | None = None
) -> np.ndarray:
    """Divide examples with any number of labels into parts at random, and equal examples together.

    The examples of the rarest label are distributed first, each to the part that lacks most of this label (iterative
    stratification, Sechidis et al. 2011). If each example has one label, the numbers of a label in equal parts differ
    by at most one.

    Args:
        labels: the labels of each example; of equal examples, those of the first count.
        shares: the share of the examples that each part gets; their sum is 1.
        seed: of the choice.
        keys: equal for equal examples; None: all differ.

    Returns:
        int ``(n,)``, the part of each example.

    >>> stratified([[0], [0], [0, 1], [0, 1]], [0.5, 0.5], seed=0)
    array([0, 1, 0, 1])
    """
    firsts = first_equal(range(len(labels)) if keys is None else keys)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(firsts == np.arange(len(firsts)))).tolist()
    remaining: dict[int, dict[int, None]] = {}
    for at in order:
        for label in labels[at]:
            remaining.setdefault(label, {})[at] = None
    lacking = {label: [share * len(members) for share in shares] for label, members in remaining.items()}
    lacking_in_all = [share * len(order) for share in shares]
    parts: dict[int, int] = {}

    def assign(at: int, of_label: Sequence[float]) -> None:
        part = max(range(len(shares)), key=lambda part: (of_label[part], lacking_in_all[part]))
        parts[at] = part
        lacking_in_all[part] -= 1
        for label in labels[at]:
            lacking[label][part] -= 1
            remaining.get(label, {}).pop(at, None)

    while remaining:
        rarest = min(remaining, key=lambda label: (len(remaining[label]), label))
        for at in list(remaining[rarest]):
            assign(at, lacking[rarest])
        del remaining[rarest]
    for at in order:
        if at not in parts:  # it has no label
            assign(at, lacking_in_all)
    return np.array([parts[at] for at in firsts.tolist()])


def first_equal(keys: Sequence[Hashable]) -> np.ndarray:
    """For each key, the place of the first one that is equal to it, int ``(n,)``.

    >>> first_equal("abca")
    array([0, 1, 2, 0])
    """
    first: dict[Hashable, int] = {}
    return np.array([first.setdefault(key, at) for at, key in enumerate(keys)], dtype=np.int64)
