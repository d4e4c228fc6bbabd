"""Parts of labelled examples, such as folds, have the same share of each label, and equal examples are together."""

from __future__ import annotations

import numpy as np
import pytest

from regard.data.fold import Fold, fold_problem
from regard.data.stratify import stratified

FIFTHS = [0.2] * 5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("counts", [(50, 50), (97, 13, 6, 1), (3, 3, 4)])
def test_folds_of_classes_differ_by_at_most_one(counts: tuple[int, ...], seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    parts = stratified(labels[:, None].tolist(), FIFTHS, seed=seed)
    sizes = [np.bincount(parts[labels == label], minlength=5) for label in range(len(counts))]
    assert all(np.ptp(size) <= 1 for size in sizes)
    assert np.ptp(sum(sizes)) <= 2


def _several(count: int, seed: int) -> list[list[int]]:
    """Examples with several labels or none, some of them rare."""
    random = np.random.default_rng(seed)
    chances = np.array([0.5, 0.3, 0.1, 0.05, 0.02])
    return [np.flatnonzero(random.random(5) < chances).tolist() for _ in range(count)]


@pytest.mark.parametrize("seed", range(3))
def test_folds_of_several_labels_have_about_the_same_share_of_each(seed: int) -> None:
    labels = _several(1000, seed)
    parts = stratified(labels, FIFTHS, seed=seed)
    assert np.ptp(np.bincount(parts)) <= 2
    for label in range(5):
        sizes = np.bincount([part for part, own in zip(parts, labels, strict=True) if label in own], minlength=5)
        assert np.ptp(sizes) <= 3


def test_a_rare_label_goes_where_most_of_it_is_lacking() -> None:
    labels = [[0]] * 40 + [[0, 1]]
    assert stratified(labels, [0.1, 0.9], seed=0)[-1] == 1
    assert np.bincount(stratified([[0], []] * 20, [0.1, 0.9], seed=0)).tolist() == [4, 36]


def test_equal_examples_are_in_one_part_and_the_seed_decides() -> None:
    labels, keys = [[at % 3] for at in range(300)], [at % 100 for at in range(300)]
    parts = stratified(labels, FIFTHS, seed=1, keys=keys)
    assert all(len(set(parts[key::100].tolist())) == 1 for key in range(100))
    assert np.array_equal(parts, stratified(labels, FIFTHS, seed=1, keys=keys))
    assert not np.array_equal(parts, stratified(labels, FIFTHS, seed=2, keys=keys))


@pytest.mark.parametrize("text", ["", "2", "0/5", "6/5", "1/1", "a/b", "1/5/2", "-1/5", "1.5/5"])
def test_what_is_no_fold_is_refused(text: str) -> None:
    assert "data.fold: expected K/N, such as 1/5" in (fold_problem(text, None) or "")


def test_a_fold_is_the_validation_set() -> None:
    assert Fold.parse("5/5") == (5, 5)
    assert fold_problem("1/5", None) is fold_problem(None, "valid.tsv") is None
    assert "cannot be used with --data.valid" in (fold_problem("1/5", "valid.tsv") or "")
