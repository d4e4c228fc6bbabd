"""The generated shop: its probabilities are those of its choices, so its best ranking cannot be beaten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regard.data.held_out import divide
from regard.data.histories import Histories, histories_of
from regard.data.neighbours import Neighbours
from regard.data.shop import Shop, best_scores, customers
from regard.errors import UserError
from regard.tasks.families.rank.scores import hit_rate, ranks


def test_the_best_probabilities_are_those_of_the_choices() -> None:
    made = customers(400, seed=1)
    histories = made.histories
    last = histories.bounds[1:] - 1
    probabilities = best_scores(histories, last)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    own = probabilities[np.arange(400), histories.items[last]]
    # The mean log-probability is that of its distribution: calibrated, so nothing better is possible.
    entropy = -np.where(probabilities > 0, probabilities * np.log(np.maximum(probabilities, 1e-300)), 0).sum(1)
    assert abs(-np.log(own).mean() - entropy.mean()) < 0.2
    scores = np.where(probabilities > 0, probabilities, -np.inf)
    hit, expected = hit_rate(ranks(scores, histories.items[last]), 10), np.sort(probabilities)[:, -10:].sum(1).mean()
    assert abs(hit - expected) < 0.06


def test_the_deciding_item_is_the_one_before_in_the_series_or_the_partner() -> None:
    made, shop = customers(60, seed=2), Shop.build()
    histories, own = made.histories, {name: at for at, name in enumerate(shop.names)}
    decided = [at for at, reason in enumerate(made.reasons) if reason.place >= 0]
    assert len(decided) > 0.3 * len(made.reasons)
    for at in decided:
        start = histories.bounds[histories.owners[at]]
        item, before = (own[histories.names[histories.items[place]]] for place in (at, start + made.reasons[at].place))
        assert item in (shop.following[before], shop.partner[before])
        assert start + made.reasons[at].place < at
    lags = [at - histories.bounds[histories.owners[at]] - made.reasons[at].place for at in decided]
    assert min(lags) == 2
    assert np.mean(np.array(lags) > 2) > 0.3


def test_nothing_is_chosen_twice_and_a_seed_gives_the_same_customers() -> None:
    histories, again = customers(30, seed=3).histories, customers(30, seed=3).histories
    assert histories.items.tolist() == again.items.tolist()
    for start, end in zip(histories.bounds[:-1], histories.bounds[1:], strict=True):
        assert len(set(histories.items[start:end].tolist())) == end - start


def test_neighbours_are_closer_after_an_item_than_before_it() -> None:
    histories = histories_of([("a", "xyz"), ("b", "xyw"), ("c", "vw")])
    neighbours = Neighbours.of(histories)
    number = {name: at for at, name in enumerate(histories.names)}
    (scores,) = neighbours.scores([np.array([number["x"]])])
    assert histories.names[int(scores.argmax())] == "y"
    assert scores[number["v"]] == scores[number["x"]] == 0
    (back,) = neighbours.scores([np.array([number["y"]])])
    assert back[number["z"]] > back[number["x"]] * 0.5
    # Only what comes before an end is used; an unknown item of a history is passed over.
    shorter = Neighbours.of(histories, ends=np.array([2, 5, 7]))
    assert shorter.scores([np.array([number["z"], -1])]).sum() == 0


def _similarities(histories: Histories) -> np.ndarray:
    """Those of `Neighbours`, by loops over the pairs of choices of each user."""
    size = len(histories.names)
    sums = np.zeros((size, size))
    for start, end in zip(histories.bounds[:-1], histories.bounds[1:], strict=True):
        for one in range(start, end):
            for other in range(max(start, one - 30), min(end, one + 31)):
                if one != other:
                    weight = abs(other - one) ** -0.5 * (1 if other > one else 0.5)
                    sums[histories.items[one], histories.items[other]] += weight
    counts = np.maximum(np.bincount(histories.items, minlength=size), 1)
    sums /= np.outer(counts, counts) ** 0.4
    np.fill_diagonal(sums, 0)
    return sums


@pytest.mark.parametrize("together", [1, 40, 20_000])
def test_neighbours_are_those_of_a_loop_over_all_pairs(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.neighbours._TOGETHER", together)
    random = np.random.default_rng(0)
    long = ("long", [f"item {at}" for at in random.integers(0, 60, 90)])  # longer than the reach, with repeats
    histories = histories_of([long, ("one", ["item 3"]), *((f"u{at}", "abcab"[at:]) for at in range(4))])
    neighbours = Neighbours.of(histories)
    found = np.zeros((len(histories.names),) * 2)
    rows = np.repeat(np.arange(len(found)), np.diff(neighbours.bounds))
    found[rows, neighbours.others] = neighbours.weights
    np.testing.assert_allclose(found, _similarities(histories), rtol=1e-6)
    for start, end in zip(neighbours.bounds[:-1], neighbours.bounds[1:], strict=True):
        assert (np.diff(neighbours.weights[start:end]) <= 0).all()  # the strongest first
    monkeypatch.setattr("regard.data.neighbours._KEPT", 5)
    assert np.diff(Neighbours.of(histories).bounds).max() == 5


def test_histories_of_one_item_have_no_neighbours() -> None:
    for histories in (histories_of([("a", "x"), ("b", "y")]), histories_of([])):
        neighbours = Neighbours.of(histories)
        assert neighbours.bounds.tolist() == [0] * (len(histories.names) + 1)
        assert neighbours.scores([np.arange(len(histories.names))]).sum() == 0


def test_neighbours_are_saved_and_beat_chance_on_the_shop(tmp_path: Path) -> None:
    divided = divide(customers(300, seed=0).histories, "last")
    histories, owners = divided.histories, divided.histories.owners
    neighbours = Neighbours.of(histories, divided.ends)
    before = [histories.items[histories.bounds[owners[at]] : at] for at in divided.valid]
    places = ranks(neighbours.scores(before), histories.items[divided.valid])
    assert hit_rate(places, 10) > 0.2  # chance is 10 of 132
    neighbours.save(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(Neighbours.load(tmp_path / "a.safetensors").scores(before), neighbours.scores(before))
    (tmp_path / "b.safetensors").write_bytes(b"no")
    with pytest.raises(UserError, match="is not a file of neighbours"):
        Neighbours.load(tmp_path / "b.safetensors")
