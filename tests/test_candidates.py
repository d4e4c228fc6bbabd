"""The candidates of a step of decoding: the order of tokens and beams, by the kernels and with PyTorch alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regard.decode import Step, beam_search
from regard.decode.candidates import Extended, best_tokens, extend
from regard.kernels.cpu import library
from threads import use_threads


@pytest.fixture(params=[None, *library.levels], ids=str)
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level of the kernels, and PyTorch alone."""
    monkeypatch.setattr(library, "level", request.param)


def drawn(rows: int, vocabulary: int, seed: int) -> Tensor:
    """Logits with ties and −∞, in rows that are not next to each other in memory."""
    generator = torch.Generator().manual_seed(seed)
    logits = (8 * torch.randn(rows, 2 * vocabulary, generator=generator)).round() / 2
    logits[torch.rand(logits.shape, generator=generator) < 0.3] = -math.inf
    logits[:, vocabulary // 2] = -0.0
    logits[:, 0] = 0.0
    return logits[:, :vocabulary]


@pytest.mark.parametrize("vocabulary", [1, 3, 5, 17, 512, 1023, 8000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_largest_logits_come_first_and_of_equal_ones_the_lowest_token(
    by: None, vocabulary: int, threads: int
) -> None:
    for count in {1, min(2, vocabulary), min(7, vocabulary)}:
        logits = drawn(40, vocabulary, count)
        with use_threads(threads):
            values, tokens, sums = best_tokens(logits, count)
        assert tokens.tolist() == np.argsort(-logits.numpy(), axis=1, kind="stable")[:, :count].tolist()
        assert torch.equal(values, logits.gather(1, tokens))
        assert sums.tolist() == pytest.approx(logits.double().logsumexp(-1).tolist(), rel=3e-7, abs=3e-7)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4, 1e30])
def test_the_log_sum_exp_of_logits_of_any_size(by: None, scale: float) -> None:
    logits = scale * torch.randn(16, 3001, generator=torch.Generator().manual_seed(0))
    exact = logits.double().logsumexp(-1)
    for row in (logits, logits.sort(-1).values, logits.sort(-1, descending=True).values):
        assert best_tokens(row, 1)[2].tolist() == pytest.approx(exact.tolist(), rel=3e-7, abs=1e-6)


@pytest.mark.parametrize("place", [0, 5, 700, 1000])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("normalized", [False, True])
def test_rows_that_are_no_distribution_are_refused_if_they_are_live(
    by: None, place: int, bad: float, normalized: bool
) -> None:
    logits = torch.zeros(2, 1001)
    logits[1, place] = bad
    if bad == -math.inf:
        logits[1] = bad
    extend(torch.tensor([[0.0, -math.inf]]), logits, 2, 0, normalized)
    if bad == -math.inf and normalized:
        return
    with pytest.raises(ValueError, match=r"^logits: not a distribution"):
        extend(torch.zeros(1, 2), logits, 2, 0, normalized)


def plain(scores: Tensor, logits: Tensor, beam: int, eos: int, normalized: bool) -> Extended:
    """`extend` on lists, with the log-sum-exp of `best_tokens` and the same roundings."""
    (sentences, width), number = scores.shape, min(beam, logits.shape[1] - 1) + 1
    sums = best_tokens(logits, 1)[2].numpy()
    parts = torch.zeros(3, sentences, min(beam, width * number), dtype=torch.float64)
    ended: list[tuple[int, float, int]] = []
    tops: list[float] = []
    for sentence in range(sentences):
        every = []
        for row in range(sentence * width, (sentence + 1) * width):
            before, of_row = np.float32(scores.flatten()[row]), logits[row].numpy()
            for token in np.argsort(-of_row, kind="stable")[:number].tolist():
                gain = of_row[token] if normalized else np.float32(of_row[token] - sums[row])
                score = -math.inf if before == -math.inf else float(np.float32(before + gain))
                every.append((score, row, token))
        every.sort(key=lambda one: -one[0])
        ends = [one for one in every[:beam] if one[2] == eos and one[0] > -math.inf]
        ended.extend((sentence, score, row) for score, row, _ in ends)
        live = sorted(((-math.inf if token == eos else score, row, token) for score, row, token in every),
                      key=lambda one: -one[0])[:beam]  # fmt: skip
        parts[:, sentence] = torch.tensor(live, dtype=torch.float64).T
        tops.append(live[0][0])
    return Extended(ended, parts[0], parts[1], parts[2], tops)


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(("width", "beam", "vocabulary"), [(1, 5, 3), (5, 5, 3), (5, 5, 700), (1, 1, 2), (9, 9, 1)])
def test_the_extensions_of_beams_are_those_of_all_candidates(
    by: None, normalized: bool, width: int, beam: int, vocabulary: int
) -> None:
    for seed in range(8):
        logits = drawn(4 * width, vocabulary, seed)
        scores = -torch.arange(4.0 * width).view(4, width).remainder(3) / 2
        scores[1, width // 2 :] = -math.inf
        scores[2, 1:] = -math.inf
        eos = seed % vocabulary
        result, expected = (each(scores, logits, beam, eos, normalized) for each in (extend, plain))
        assert result.ended == expected.ended
        assert list(result.tops) == expected.tops
        assert result.scores.tolist() == expected.scores.tolist()
        assert result.parents.tolist() == expected.parents.tolist()
        assert result.tokens.tolist() == expected.tokens.tolist()


@pytest.mark.parametrize("normalized", [False, True])
def test_kernels_and_pytorch_find_the_same_hypotheses(normalized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(1)
    tables = 2 * torch.randn(6, 40, 40, generator=generator)
    tables[torch.rand(tables.shape, generator=generator) < 0.3] = -math.inf
    tables[:, :, 3] = 0.0
    if normalized:  # eighths are added without rounding, so that there are ties
        tables = (tables.log_softmax(-1) * 8).round() / 8

    def step(tokens: Tensor, sentence: Tensor) -> Step:
        return Step(tables[sentence, tokens], sentence, tables[sentence, tokens])

    def searched() -> list[list[tuple[object, ...]]]:
        results = beam_search(
            step, torch.arange(6), torch.zeros(6, dtype=torch.int64), eos=2, max_length=12, beam=5, best=4,
            normalized=normalized,
        )  # fmt: skip
        return [
            [(one.tokens, one.finished, pytest.approx(one.score, abs=1e-4), one.weights.tolist()) for one in each]
            for each in results
        ]

    expected = searched()
    monkeypatch.setattr(library, "level", None)
    assert searched() == expected
