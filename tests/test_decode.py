"""Decoding: against brute force, against a plain second beam search, and row by row."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from regard.decode import Hypothesis, Step, StepFunction, beam_search, filter_logits, greedy, sample, select

EOS, FIRST = 2, 0


class Markov:
    """Logits by sentence, step, and previous token; the attention row spells the tokens that were fed so far."""

    def __init__(self, sentences: int, vocabulary: int, steps: int, seed: int, scale: float = 1.5):
        generator = torch.Generator().manual_seed(seed)
        self.table = scale * torch.randn(sentences, steps, vocabulary, vocabulary, generator=generator)
        self.rows: list[int] = []

    def start(self) -> dict[str, Any]:
        sentences, steps = self.table.shape[:2]
        return {
            "place": (torch.arange(sentences), torch.zeros(sentences, dtype=torch.int64)),
            "fed": [torch.full((sentences, steps), -1.0), None],
        }

    def first(self) -> Tensor:
        return torch.full((len(self.table),), FIRST)

    def step(self, tokens: Tensor, state: dict[str, Any]) -> Step:
        (sentence, time), fed = state["place"], state["fed"][0]
        self.rows.append(len(tokens))
        fed = fed.scatter(1, time[:, None], tokens[:, None].float())
        state = {"place": (sentence, time + 1), "fed": [fed, None]}
        return Step(self.table[sentence, time, tokens], state, fed)

    def alone(self, sentence: int) -> Markov:
        other = Markov(1, 1, 1, 0)
        other.table = self.table[sentence : sentence + 1]
        return other

    def score(self, sentence: int, sequence: list[int]) -> float:
        logs = self.table[sentence].double().log_softmax(-1)
        steps = zip([FIRST, *sequence], sequence, strict=False)
        return sum(float(logs[at, before, after]) for at, (before, after) in enumerate(steps))


def penalty(length: int, alpha: float) -> float:
    return float(((5 + length) / 6) ** alpha)


def emitted(hypothesis: Hypothesis) -> list[int]:
    return hypothesis.tokens + [EOS] * hypothesis.finished


def check(model: Markov, sentence: int, hypothesis: Hypothesis, alpha: float = 0.0) -> None:
    """What must hold of any hypothesis: its score is its tokens' and its attention was looked at on its own path."""
    sequence = emitted(hypothesis)
    assert EOS not in hypothesis.tokens
    assert hypothesis.score == pytest.approx(model.score(sentence, sequence), abs=1e-4)
    assert hypothesis.rank == pytest.approx(hypothesis.score / penalty(len(sequence), alpha))
    fed = [FIRST, *sequence]
    steps = model.table.shape[1]
    expected = [fed[: at + 1] + [-1] * (steps - at - 1) for at in range(len(sequence))]
    assert hypothesis.weights is not None
    assert hypothesis.weights.tolist() == expected


def all_finished(vocabulary: int, max_length: int) -> list[list[int]]:
    others = [token for token in range(vocabulary) if token != EOS]
    return [[*body, EOS] for length in range(max_length) for body in product(others, repeat=length)]


def plain_beam(model: Markov, sentence: int, max_length: int, beam: int, alpha: float, best: int) -> list[list[int]]:
    """Beam search on lists, one sentence at a time, which never stops early."""
    live, ended = [[]], []
    for _ in range(max_length):
        grown = [[*body, token] for body in live for token in range(model.table.shape[-1])]
        grown.sort(key=lambda sequence: -model.score(sentence, sequence))
        ended += [sequence for sequence in grown[:beam] if sequence[-1] == EOS]
        live = [sequence for sequence in grown if sequence[-1] != EOS][:beam]
    ended = ended or live
    return sorted(ended, key=lambda s: -model.score(sentence, s) / penalty(len(s), alpha))[:best]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_as_wide_as_all_sequences_finds_the_exact_best(seed: int, alpha: float) -> None:
    model, max_length = Markov(3, 4, 5, seed), 5
    found = beam_search(
        model.step, model.start(), model.first(), eos=EOS, max_length=max_length, beam=4**4, length_penalty=alpha, best=7
    )
    sequences = all_finished(4, max_length)
    for sentence, hypotheses in enumerate(found):
        order = sorted(sequences, key=lambda s: -model.score(sentence, s) / penalty(len(s), alpha))
        assert [emitted(hypothesis) for hypothesis in hypotheses] == order[:7]
        for hypothesis in hypotheses:
            assert hypothesis.finished
            check(model, sentence, hypothesis, alpha)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("beam", "best"), [(1, 1), (2, 1), (3, 3), (11, 2)])
def test_beam_is_that_of_a_search_which_never_stops_early(beam: int, best: int, alpha: float) -> None:
    for seed in range(4):
        model = Markov(3, 5, 7, seed)
        found = beam_search(
            model.step, model.start(), model.first(),
            eos=EOS, max_length=7, beam=beam, length_penalty=alpha, best=best,
        )  # fmt: skip
        for sentence, hypotheses in enumerate(found):
            expected = plain_beam(model, sentence, 7, beam, alpha, best)
            assert [emitted(hypothesis) for hypothesis in hypotheses] == expected
            for hypothesis in hypotheses:
                check(model, sentence, hypothesis, alpha)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_batch_is_its_sentences_one_by_one(beam: int) -> None:
    model = Markov(7, 5, 11, 0)
    together = beam_search(model.step, model.start(), model.first(), eos=EOS, max_length=11, beam=beam)
    chosen = greedy(model.step, model.start(), model.first(), eos=EOS, max_length=11)
    for sentence in range(7):
        one = model.alone(sentence)
        (alone,) = beam_search(one.step, one.start(), one.first(), eos=EOS, max_length=11, beam=beam)
        assert together[sentence] == [pytest.approx(alone[0])] if False else together[sentence][0].tokens == alone[0].tokens
        assert together[sentence][0].score == pytest.approx(alone[0].score)
        (other,) = greedy(one.step, one.start(), one.first(), eos=EOS, max_length=11)
        assert chosen[sentence].tokens == other.tokens


def test_one_beam_without_penalty_is_greedy() -> None:
    for seed in range(5):
        model = Markov(13, 7, 5, seed)
        searched = beam_search(
            model.step, model.start(), model.first(), eos=EOS, max_length=5, beam=1, length_penalty=0.0
        )
        chosen = greedy(model.step, model.start(), model.first(), eos=EOS, max_length=5)
        assert {hypothesis.finished for hypothesis in chosen} == {True, False}
        for sentence, ((one,), other) in enumerate(zip(searched, chosen, strict=True)):
            assert (one.tokens, one.finished) == (other.tokens, other.finished)
            check(model, sentence, one)
            check(model, sentence, other)


def test_one_beam_is_greedy_where_logits_tie() -> None:
    model = Markov(17, 29, 7, 0)
    model.table = (model.table / 2).round()
    searched = beam_search(model.step, model.start(), model.first(), eos=EOS, max_length=7, beam=1, length_penalty=0.0)
    chosen = greedy(model.step, model.start(), model.first(), eos=EOS, max_length=7)
    assert [one.tokens for (one,) in searched] == [other.tokens for other in chosen]


def test_done_sentences_leave_the_batch() -> None:
    model = Markov(3, 5, 7, 0)
    model.table[0, 0, :, EOS] = 50.0  # ends at once
    model.table[1, :, :, EOS] = -50.0  # never ends
    model.table[2, 2, :, EOS] = 50.0  # ends with its third token
    found = beam_search(model.step, model.start(), model.first(), eos=EOS, max_length=7, beam=2, length_penalty=0.0)
    assert found[0][0].tokens == []
    assert model.rows[:2] == [3, 4]  # one row each, then two rows for each of two
    assert model.rows[-1] == 2
    assert [len(hypotheses) for hypotheses in found] == [1, 1, 1]


def test_the_penalty_can_prefer_what_is_longer() -> None:
    # "eos" has 0.4; "1 eos" has 0.6 × 0.6 = 0.36: behind by score, ahead when divided by ((5 + 2) / 6).
    model = Markov(1, 3, 2, 0)
    model.table[0, 0, FIRST] = torch.tensor([-math.inf, math.log(0.6), math.log(0.4)])
    model.table[0, 1, 1] = torch.tensor([math.log(0.4), -math.inf, math.log(0.6)])
    for alpha, tokens, rank in [(0.0, [], math.log(0.4)), (1.0, [1], math.log(0.36) * 6 / 7)]:
        ((found,),) = beam_search(
            model.step, model.start(), model.first(), eos=EOS, max_length=2, beam=2, length_penalty=alpha
        )
        assert found.tokens == tokens
        assert found.rank == pytest.approx(rank)


def test_unfinished_hypotheses_come_only_where_nothing_finished() -> None:
    model = Markov(2, 5, 3, 1)
    model.table[0, :, :, EOS] = -math.inf
    model.table[1, :, :, EOS] = 0.0
    model.table[1, 0, :, EOS] = 9.0
    cut, whole = beam_search(model.step, model.start(), model.first(), eos=EOS, max_length=3, beam=3, best=3)
    assert [hypothesis.finished for hypothesis in cut] == [False] * 3
    assert {len(hypothesis.tokens) for hypothesis in cut} == {3}
    assert len({tuple(hypothesis.tokens) for hypothesis in cut}) == 3
    assert all(hypothesis.finished for hypothesis in whole)
    for hypothesis in cut:
        check(model, 0, hypothesis, 1.0)
    assert [hypothesis.rank for hypothesis in cut] == sorted((h.rank for h in cut), reverse=True)


def test_beam_wider_than_the_vocabulary() -> None:
    model = Markov(2, 3, 5, 4)
    found = beam_search(model.step, model.start(), model.first(), eos=EOS, max_length=5, beam=19, best=19)
    for sentence, hypotheses in enumerate(found):
        sequences = [tuple(hypothesis.tokens) for hypothesis in hypotheses]
        assert len(set(sequences)) == len(sequences)
        for hypothesis in hypotheses:
            check(model, sentence, hypothesis, 1.0)


def test_a_vocabulary_of_the_end_sign_alone() -> None:
    def step(tokens: Tensor, state: None) -> Step:
        return Step(torch.zeros(len(tokens), 1), state)

    ((found,),) = beam_search(step, None, torch.zeros(1, dtype=torch.int64), eos=0, max_length=3, beam=2)
    assert found == Hypothesis([], 0.0, 0.0, True)


@pytest.mark.parametrize("bad", ["nan", "inf", "all"])
@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_logits_that_are_no_distribution_are_refused(decode: Any, bad: str) -> None:
    model = Markov(3, 5, 4, 0)
    model.table[:, :2, :, EOS] = -math.inf
    if bad == "all":
        model.table[1, 1] = -math.inf
    else:
        model.table[1, 1, :, 3] = float(bad)
    with pytest.raises(ValueError, match="logits: not a distribution"):
        decode(model.step, model.start(), model.first(), eos=EOS, max_length=4)


@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_forbidden_tokens_and_empty_batches(decode: Any) -> None:
    model = Markov(3, 5, 4, 0)
    model.table[..., 1] = model.table[..., 3] = -math.inf
    for found in decode(model.step, model.start(), model.first(), eos=EOS, max_length=4):
        for hypothesis in found if isinstance(found, list) else [found]:
            assert set(hypothesis.tokens) <= {0, 4}
            assert math.isfinite(hypothesis.score)
    nobody = select(model.start(), torch.zeros(0, dtype=torch.int64))
    assert decode(model.step, nobody, torch.zeros(0, dtype=torch.int64), eos=EOS, max_length=4) == []


@pytest.mark.parametrize("decode", [greedy, sample])
def test_rows_end_by_themselves(decode: Any) -> None:
    model = Markov(3, 5, 9, 0)
    model.table[..., EOS] = -math.inf
    model.table[0, 0, :, EOS] = model.table[1, 2, :, EOS] = 1e4
    found = decode(model.step, model.start(), model.first(), eos=EOS, max_length=4)
    assert [(len(hypothesis.tokens), hypothesis.finished) for hypothesis in found] == [(0, True), (2, True), (4, False)]
    for sentence, hypothesis in enumerate(found):
        check(model, sentence, hypothesis)
    model.rows.clear()
    model.table[2, 2, :, EOS] = 1e4
    decode(model.step, model.start(), model.first(), eos=EOS, max_length=9)
    assert model.rows == [3, 3, 3]  # all are finished after three


def test_what_a_row_draws_does_not_depend_on_when_its_neighbours_end() -> None:
    model = Markov(5, 7, 9, 0)
    drawn = []
    for sooner in (-1e4, 1e4):
        model.table[1:, 1, :, EOS] = sooner
        generator = torch.Generator().manual_seed(3)
        drawn.append(sample(model.step, model.start(), model.first(), eos=EOS, max_length=9, generator=generator))
    assert drawn[0][0] == drawn[1][0]
    assert drawn[0][1:] != drawn[1][1:]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.25, 0.15, 0.1]),
        ({"temperature": 0.5}, [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]),
        ({"top_p": 0.8}, [5 / 9, 2.5 / 9, 1.5 / 9, 0]),
        ({"top_k": 3, "top_p": 0.6}, [2 / 3, 1 / 3, 0, 0]),
    ],
)
def test_frequencies_are_the_probabilities(options: dict[str, Any], expected: list[float]) -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
    count = 20_000

    def step(tokens: Tensor, state: None) -> Step:
        return Step(logits.expand(len(tokens), 4), state)

    generator = torch.Generator().manual_seed(0)
    first = torch.zeros(count, dtype=torch.int64)
    found = sample(step, None, first, eos=3, max_length=1, generator=generator, **options)
    counts = Counter(hypothesis.tokens[0] if hypothesis.tokens else 3 for hypothesis in found)
    for token, probability in enumerate(expected):
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(counts[token] / count - probability) <= 4 * deviation
    # The score is the model's own, whatever was filtered.
    assert found[0].score == pytest.approx(float(logits[found[0].tokens[0] if found[0].tokens else 3]))


def support(probabilities: list[float], **options: Any) -> list[int]:
    filtered = filter_logits(torch.tensor([probabilities]).log(), **options)
    return [token for token, logit in enumerate(filtered[0].tolist()) if logit > -math.inf]


def test_filters_keep_exactly_the_right_tokens() -> None:
    probabilities = [0.1, 0.4, 0.05, 0.25, 0.2]
    assert support(probabilities) == [0, 1, 2, 3, 4]
    assert [support(probabilities, top_k=k) for k in (1, 2, 3, 5, 99)] == [
        [1], [1, 3], [1, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4],
    ]  # fmt: skip
    assert [support(probabilities, top_p=p) for p in (1e-6, 0.39, 0.41, 0.64, 0.66, 0.84, 0.86, 0.96, 1.0)] == [
        [1], [1], [1, 3], [1, 3], [1, 3, 4], [1, 3, 4], [0, 1, 3, 4], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4],
    ]  # fmt: skip
    # Mass is counted among what top_k left, at the new temperature: 0.4 / 0.65 > 0.6, and 0.16 / 0.255 < 0.63.
    assert support(probabilities, top_k=2, top_p=0.6) == [1]
    assert support(probabilities, top_p=0.63, temperature=0.5) == [1, 3]
    assert len(support([0.25] * 4, top_k=3)) == 3
    assert support([0.25] * 4, top_p=0.6) == [0, 1, 2]
    assert support([0.5, 0.0, 0.5], top_k=3, top_p=0.99) == [0, 2]


def test_filters_leave_the_rest_as_it_was() -> None:
    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(filter_logits(logits), logits)
    filtered = filter_logits(logits, 2.0, 5, 0.9)
    kept = filtered > -math.inf
    assert torch.equal(filtered[kept], (logits / 2)[kept])
    assert kept.any(1).all()
    assert not kept.all()


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0}, {"temperature": -1.0}, {"temperature": math.nan}, {"top_k": 0}, {"top_p": 0.0},
        {"top_p": 1.1}, {"top_p": math.nan},
    ],
)  # fmt: skip
def test_sampling_options_out_of_range_are_named(options: dict[str, Any]) -> None:
    model = Markov(1, 3, 1, 0)
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: "):
        sample(model.step, model.start(), model.first(), eos=EOS, max_length=1, **options)
    with pytest.raises(ValueError, match=f"^{name}: "):
        filter_logits(torch.zeros(1, 3), **options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"beam": 0}, "beam"), ({"best": 0}, "best"), ({"best": 6}, "best"), ({"length_penalty": -0.1}, "length_penalty"),
        ({"max_length": 0}, "max_length"), ({"eos": -1}, "eos"), ({"eos": 3}, "eos"),
        ({"first": torch.zeros(1, 1, dtype=torch.int64)}, "first"), ({"first": torch.zeros(1)}, "first"),
    ],
)  # fmt: skip
def test_beam_options_out_of_range_are_named(options: dict[str, Any], name: str) -> None:
    model = Markov(1, 3, 2, 0)
    given: dict[str, Any] = {"first": model.first(), "eos": EOS, "max_length": 2} | options
    with pytest.raises(ValueError, match=f"^{name}: "):
        beam_search(model.step, model.start(), **given)


def test_logits_of_a_wrong_shape_are_refused() -> None:
    step: StepFunction = lambda tokens, state: Step(torch.zeros(len(tokens), 1, 5), state)  # noqa: E731
    with pytest.raises(ValueError, match=r"^logits: expected \(2, vocabulary\), got \(2, 1, 5\)"):
        greedy(step, None, torch.zeros(2, dtype=torch.int64), eos=1, max_length=1)


@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_nothing_is_recorded_for_gradients(decode: Any) -> None:
    weight = torch.ones(5, requires_grad=True)

    def step(tokens: Tensor, state: Tensor) -> Step:
        assert not state.requires_grad
        return Step(weight.expand(len(tokens), 5) * state, state * weight[0], state * weight[0])

    (found,) = decode(step, torch.ones(1, 1), torch.zeros(1, dtype=torch.int64), eos=2, max_length=3)
    found = found[0] if isinstance(found, list) else found
    assert not found.weights.requires_grad


class Pair(NamedTuple):
    keys: Tensor
    rest: Any


class Cache:
    def __init__(self, kept: list[int]):
        self.kept = kept

    def select(self, rows: Tensor) -> Cache:
        return Cache([self.kept[row] for row in rows.tolist()])


def test_select_walks_nested_states() -> None:
    keys = torch.arange(6).view(3, 2)
    state = {"a": Pair(keys, [None, (keys + 10, Cache([5, 6, 7]))]), "b": ()}
    chosen = select(state, torch.tensor([2, 0, 2, 2]))
    assert type(chosen["a"]) is Pair
    assert chosen["a"].keys.tolist() == [[4, 5], [0, 1], [4, 5], [4, 5]]
    assert chosen["a"].rest[0] is None
    assert chosen["a"].rest[1][0].tolist() == [[14, 15], [10, 11], [14, 15], [14, 15]]
    assert chosen["a"].rest[1][1].kept == [7, 5, 7, 7]
    assert chosen["b"] == ()
    assert keys.tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError, match="got int"):
        select({"step": 3}, torch.tensor([0]))
