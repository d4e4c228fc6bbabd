"""Decoding: compared with all sequences, with a second implementation of beam search, and row by row."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from regard.decode import Hypothesis, Step, beam_search, filter_logits, greedy, sample, select

EOS, FIRST = 2, 0


class Markov:
    """Its logits depend on sentence, step and previous token; its attention rows are the tokens fed so far."""

    def __init__(self, sentences: int, vocabulary: int, steps: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        self.table = 1.5 * torch.randn(sentences, steps, vocabulary, vocabulary, generator=generator)
        self.rows: list[int] = []

    def start(self) -> dict[str, Any]:
        sentences, steps = self.table.shape[:2]
        place = (torch.arange(sentences), torch.zeros(sentences, dtype=torch.int64))
        return {"place": place, "fed": [torch.full((sentences, steps), -1.0), None]}

    def first(self) -> Tensor:
        return torch.full((len(self.table),), FIRST)

    def step(self, tokens: Tensor, state: dict[str, Any]) -> Step:
        (sentence, time), fed = state["place"], state["fed"][0]
        self.rows.append(len(tokens))
        fed = fed.scatter(1, time[:, None], tokens[:, None].float())
        return Step(self.table[sentence, time, tokens], {"place": (sentence, time + 1), "fed": [fed, None]}, fed)

    def decoded(self, decode: Callable[..., Any], max_length: int, **options: Any) -> Any:
        return decode(self.step, self.start(), self.first(), eos=EOS, max_length=max_length, **options)

    def scores(self, sentence: int) -> Callable[[list[int]], float]:
        logs = self.table[sentence].double().log_softmax(-1).tolist()
        return lambda seq: sum(logs[at][old][new] for at, (old, new) in enumerate(pairwise([FIRST, *seq])))


def penalty(length: int, alpha: float) -> float:
    return float(((5 + length) / 6) ** alpha)


def emitted(hypothesis: Hypothesis) -> list[int]:
    return hypothesis.tokens + [EOS] * hypothesis.finished


def check(model: Markov, sentence: int, hypothesis: Hypothesis, alpha: float = 0.0) -> None:
    """The score of any hypothesis is that of its tokens, and its attention rows are those of its path."""
    sequence = emitted(hypothesis)
    assert EOS not in hypothesis.tokens
    assert hypothesis.score == pytest.approx(model.scores(sentence)(sequence), abs=1e-4)
    assert hypothesis.rank == pytest.approx(hypothesis.score / penalty(len(sequence), alpha))
    fed = [FIRST, *sequence]
    steps = model.table.shape[1]
    assert hypothesis.weights is not None
    assert hypothesis.weights.tolist() == [fed[: at + 1] + [-1] * (steps - at - 1) for at in range(len(sequence))]


def ranked(model: Markov, sentence: int, sequences: list[list[int]], alpha: float) -> list[list[int]]:
    score = model.scores(sentence)
    return sorted(sequences, key=lambda sequence: -score(sequence) / penalty(len(sequence), alpha))


def plain_beam(model: Markov, sentence: int, max_length: int, beam: int, alpha: float, best: int) -> list[list[int]]:
    """Beam search on lists, one sentence at a time, which never stops early."""
    score = model.scores(sentence)
    live: list[list[int]] = [[]]
    finished: list[list[int]] = []
    for _ in range(max_length):
        candidates = [[*body, token] for body in live for token in range(model.table.shape[-1])]
        candidates.sort(key=lambda sequence: -score(sequence))
        finished += [sequence for sequence in candidates[:beam] if sequence[-1] == EOS]
        live = [sequence for sequence in candidates if sequence[-1] != EOS][:beam]
    return ranked(model, sentence, finished or live, alpha)[:best]


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(3))
def test_a_beam_of_all_sequences_gives_the_exact_best(seed: int, alpha: float) -> None:
    model = Markov(3, 4, 5, seed)
    everything = [[*body, EOS] for length in range(5) for body in product([0, 1, 3], repeat=length)]
    for sentence, hypotheses in enumerate(model.decoded(beam_search, 5, beam=4**4, length_penalty=alpha, best=7)):
        assert [emitted(hypothesis) for hypothesis in hypotheses] == ranked(model, sentence, everything, alpha)[:7]
        for hypothesis in hypotheses:
            check(model, sentence, hypothesis, alpha)


@pytest.mark.parametrize("alpha", [0.0, 1.0, 3.0])
@pytest.mark.parametrize(("beam", "best"), [(1, 1), (2, 1), (3, 3), (11, 2)])
def test_beam_search_gives_the_same_as_one_that_never_stops_early(beam: int, best: int, alpha: float) -> None:
    for seed in range(4):
        model = Markov(3, 5, 7, seed)
        for sentence, hypotheses in enumerate(
            model.decoded(beam_search, 7, beam=beam, length_penalty=alpha, best=best)
        ):
            expected = plain_beam(model, sentence, 7, beam, alpha, best)
            assert [emitted(hypothesis) for hypothesis in hypotheses] == expected
            for hypothesis in hypotheses:
                check(model, sentence, hypothesis, alpha)


@pytest.mark.parametrize(("decode", "options"), [(greedy, {}), (beam_search, {"beam": 1}), (beam_search, {"beam": 3})])
def test_a_batch_gives_the_same_as_each_sentence_alone(decode: Any, options: dict[str, Any]) -> None:
    model = Markov(7, 5, 11, 0)
    for sentence, batched in enumerate(model.decoded(decode, 11, **options)):
        one = Markov(1, 1, 1, 0)
        one.table = model.table[sentence : sentence + 1]
        (alone,) = one.decoded(decode, 11, **options)
        batched, alone = (batched[0], alone[0]) if decode is beam_search else (batched, alone)
        assert (batched.tokens, batched.score) == (alone.tokens, pytest.approx(alone.score))


@pytest.mark.parametrize("rounded", [False, True])  # rounded logits have ties
def test_a_beam_of_one_without_penalty_is_greedy(rounded: bool) -> None:
    for seed in range(5):
        model = Markov(13, 17 if rounded else 7, 5, seed)
        if rounded:
            model.table = (model.table / 2).round()
        expected = model.decoded(greedy, 5)
        assert {hypothesis.finished for hypothesis in expected} == {True, False}
        for sentence, (one,) in enumerate(model.decoded(beam_search, 5, beam=1, length_penalty=0.0)):
            assert (one.tokens, one.finished) == (expected[sentence].tokens, expected[sentence].finished)
            check(model, sentence, one)
            check(model, sentence, expected[sentence])


def test_finished_sentences_leave_the_batch() -> None:
    model = Markov(3, 5, 7, 0)
    model.table[0, 0, :, EOS] = 50.0  # ends with its first token
    model.table[1, :, :, EOS] = -50.0  # never ends
    model.table[2, 2, :, EOS] = 50.0  # ends with its third token
    results = model.decoded(beam_search, 7, beam=2, length_penalty=0.0)
    assert [len(hypotheses[0].tokens) for hypotheses in results] == [0, 7, 2]
    assert model.rows == [3, 4, 4, 2, 2, 2, 2]  # one row per sentence in the first step, then two


def test_a_length_penalty_can_prefer_a_longer_hypothesis() -> None:
    # "eos" has probability 0.4 and "1 eos" 0.6 × 0.6 = 0.36; with its score divided by (5 + 2) / 6, "1 eos" is first.
    model = Markov(1, 3, 2, 0)
    model.table[0, 0, FIRST] = torch.tensor([-math.inf, math.log(0.6), math.log(0.4)])
    model.table[0, 1, 1] = torch.tensor([math.log(0.4), -math.inf, math.log(0.6)])
    for alpha, tokens, rank in [(0.0, [], math.log(0.4)), (1.0, [1], math.log(0.36) * 6 / 7)]:
        ((best,),) = model.decoded(beam_search, 2, beam=2, length_penalty=alpha)
        assert best.tokens == tokens
        assert best.rank == pytest.approx(rank)


def test_unfinished_hypotheses_are_returned_only_if_none_finished() -> None:
    model = Markov(2, 5, 3, 1)
    model.table[0, :, :, EOS] = -math.inf
    model.table[1, :, :, EOS] = 0.0
    model.table[1, 0, :, EOS] = 9.0
    unfinished, finished = model.decoded(beam_search, 3, beam=3, best=3)
    assert [hypothesis.finished for hypothesis in unfinished] == [False] * 3
    assert len({tuple(hypothesis.tokens) for hypothesis in unfinished}) == 3
    assert all(hypothesis.finished for hypothesis in finished)
    for hypothesis in unfinished:
        assert len(hypothesis.tokens) == 3
        check(model, 0, hypothesis, 1.0)
    assert [hypothesis.rank for hypothesis in unfinished] == sorted((h.rank for h in unfinished), reverse=True)


def test_a_vocabulary_of_eos_alone() -> None:
    def step(tokens: Tensor, state: None) -> Step:
        return Step(torch.zeros(len(tokens), 1), state)

    ((hypothesis,),) = beam_search(step, None, torch.zeros(1, dtype=torch.int64), eos=0, max_length=3, beam=2)
    assert hypothesis == Hypothesis([], 0.0, 0.0, True)


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_logits_without_a_distribution_raise(decode: Any, bad: str) -> None:
    model = Markov(3, 5, 4, 0)
    model.table[:, :2, :, EOS] = -math.inf
    model.table[1, 1, :, slice(None) if bad == "-inf" else 3] = float(bad)
    with pytest.raises(ValueError, match=r"^logits: not a distribution"):
        model.decoded(decode, 4)
    with pytest.raises(ValueError, match=r"^logits: expected \(3, vocabulary\), got \(3, 1, 5\)"):
        decode(lambda *given: Step(torch.zeros(3, 1, 5), None), None, model.first(), eos=EOS, max_length=4)


@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_tokens_of_probability_zero_are_never_taken(decode: Any) -> None:
    model = Markov(3, 5, 4, 0)
    model.table[..., [1, 3]] = model.table[:, :, [1, 3]] = -math.inf  # no token can follow them: beams of score −inf
    for result in model.decoded(decode, 4):
        hypothesis = result[0] if decode is beam_search else result
        assert set(hypothesis.tokens) <= {0, 4}
        assert math.isfinite(hypothesis.score)


@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_an_empty_batch_gives_an_empty_list(decode: Any) -> None:
    model = Markov(3, 5, 4, 0)
    empty = select(model.start(), torch.zeros(0, dtype=torch.int64))
    assert decode(model.step, empty, torch.zeros(0, dtype=torch.int64), eos=EOS, max_length=4) == []


@pytest.mark.parametrize("decode", [greedy, sample])
def test_each_row_ends_at_its_own_eos(decode: Any) -> None:
    model = Markov(3, 5, 9, 0)
    model.table[..., EOS] = -math.inf
    model.table[0, 0, :, EOS] = model.table[1, 2, :, EOS] = 1e4
    hypotheses = model.decoded(decode, 4)
    lengths = [(len(hypothesis.tokens), hypothesis.finished) for hypothesis in hypotheses]
    assert lengths == [(0, True), (2, True), (4, False)]
    for sentence, hypothesis in enumerate(hypotheses):
        check(model, sentence, hypothesis)
    model.rows.clear()
    model.table[2, 2, :, EOS] = 1e4
    model.decoded(decode, 9)
    assert model.rows == [3, 2, 2]  # one has ended after the first step, all after the third


def test_samples_of_a_row_do_not_depend_on_when_other_rows_end() -> None:
    model = Markov(5, 7, 9, 0)
    samples = []
    for logit in (-1e4, 1e4):
        model.table[1:, 1, :, EOS] = logit
        samples.append(model.decoded(sample, 9, generator=torch.Generator().manual_seed(3)))
    assert samples[0][0] == samples[1][0]
    assert samples[0][1:] != samples[1][1:]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, [0.5, 0.25, 0.15, 0.1]), ({"temperature": 0.5}, [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
     ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0]), ({"top_p": 0.8}, [5 / 9, 2.5 / 9, 1.5 / 9, 0]),
     ({"top_k": 3, "top_p": 0.6}, [2 / 3, 1 / 3, 0, 0])],
)  # fmt: skip
def test_samples_have_the_frequencies_of_the_filtered_distribution(
    options: dict[str, Any], expected: list[float]
) -> None:
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()
    count = 20_000

    def step(tokens: Tensor, state: None) -> Step:
        return Step(logits.expand(len(tokens), 4), state)

    generator, first = torch.Generator().manual_seed(0), torch.zeros(count, dtype=torch.int64)
    samples = sample(step, None, first, eos=3, max_length=1, generator=generator, **options)
    counts = Counter(hypothesis.tokens[0] if hypothesis.tokens else 3 for hypothesis in samples)
    for token, probability in enumerate(expected):
        deviation = math.sqrt(probability * (1 - probability) / count)
        assert abs(counts[token] / count - probability) <= 4 * deviation
    # The score is that of the unfiltered distribution.
    assert samples[0].score == pytest.approx(float(logits[samples[0].tokens[0] if samples[0].tokens else 3]))


def support(probabilities: list[float], **options: Any) -> list[int]:
    logits = torch.tensor([probabilities]).log()
    filtered = filter_logits(logits, **options)
    kept = filtered > -math.inf
    assert torch.equal(filtered[kept], logits[kept] / options.get("temperature", 1.0))
    return kept[0].nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [("top_p", 1e-6, "1"), ("top_p", 0.39, "1"), ("top_p", 0.41, "13"), ("top_p", 0.64, "13"), ("top_p", 0.66, "134"),
     ("top_p", 0.84, "134"), ("top_p", 0.86, "0134"), ("top_p", 0.96, "01234"), ("top_p", 1.0, "01234"),
     ("top_k", 1, "1"), ("top_k", 2, "13"), ("top_k", 3, "134"), ("top_k", 5, "01234"), ("top_k", 99, "01234")],
)  # fmt: skip
def test_a_filter_keeps_exactly_these_tokens(name: str, value: float, kept: str) -> None:
    assert support([0.1, 0.4, 0.05, 0.25, 0.2], **{name: value}) == [int(token) for token in kept]


def test_filters_combined_and_with_ties() -> None:
    # top_p is a share of what top_k keeps, at the new temperature: 0.4 / 0.65 > 0.6, and 0.16 / 0.265 < 0.63.
    assert support([0.1, 0.4, 0.05, 0.25, 0.2], top_k=2, top_p=0.6) == [1]
    assert support([0.1, 0.4, 0.05, 0.25, 0.2], top_p=0.63, temperature=0.5) == [1, 3]
    assert len(support([0.25] * 4, top_k=3)) == 3
    assert support([0.25] * 4, top_p=0.6) == [0, 1, 2]
    assert support([0.5, 0.0, 0.5], top_k=3, top_p=0.99) == [0, 2]


@pytest.mark.parametrize(
    ("decode", "name", "value"),
    [(sample, "temperature", 0.0), (sample, "temperature", -1.0), (sample, "temperature", math.nan),
     (sample, "top_k", 0), (sample, "top_p", 0.0), (sample, "top_p", 1.1), (sample, "top_p", math.nan),
     (beam_search, "beam", 0), (beam_search, "best", 0), (beam_search, "best", 6),
     (beam_search, "length_penalty", -0.1), (beam_search, "max_length", 0), (greedy, "max_length", 0),
     (beam_search, "eos", -1), (beam_search, "eos", 3), (greedy, "eos", 3),
     (greedy, "first", torch.zeros(1, 1, dtype=torch.int64)), (greedy, "first", torch.zeros(1))],
)  # fmt: skip
def test_errors_name_an_argument_out_of_range(decode: Any, name: str, value: Any) -> None:
    model = Markov(1, 3, 2, 0)
    arguments: dict[str, Any] = {"first": model.first(), "eos": EOS, "max_length": 2} | {name: value}
    with pytest.raises(ValueError, match=f"^{name}: "):
        decode(model.step, model.start(), **arguments)


@pytest.mark.parametrize("decode", [greedy, beam_search, sample])
def test_decoding_records_no_gradients(decode: Any) -> None:
    weight = torch.ones(5, requires_grad=True)

    def step(tokens: Tensor, state: Tensor) -> Step:
        return Step(weight.expand(len(tokens), 5) * state, state * weight[0], state * weight[0])

    (result,) = decode(step, torch.ones(1, 1), torch.zeros(1, dtype=torch.int64), eos=2, max_length=3)
    assert not (result[0] if decode is beam_search else result).weights.requires_grad


class Pair(NamedTuple):
    keys: Tensor
    rest: Any


class Cache:
    def __init__(self, entries: list[int]):
        self.entries = entries

    def select(self, rows: Tensor) -> Cache:
        return Cache([self.entries[row] for row in rows.tolist()])


def test_select_takes_rows_of_nested_states() -> None:
    keys = torch.arange(6).view(3, 2)
    state = {"a": Pair(keys, [None, (keys + 10, Cache([5, 6, 7]))]), "b": ()}
    selected = select(state, torch.tensor([2, 0, 2, 2]))
    assert type(selected["a"]) is Pair
    assert selected["a"].keys.tolist() == [[4, 5], [0, 1], [4, 5], [4, 5]]
    assert selected["a"].rest[0] is None
    assert selected["a"].rest[1][0].tolist() == [[14, 15], [10, 11], [14, 15], [14, 15]]
    assert selected["a"].rest[1][1].entries == [7, 5, 7, 7]
    assert selected["b"] == ()
    with pytest.raises(TypeError, match="got int"):
        select({"step": 3}, torch.tensor([0]))
