"""CTC in decoding, compared with sums over all paths."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from regard.decode import Step, align, beam_search, joint

BLANK, A, B, EOS = range(4)
LABELS = (A, B)


def _steps(count: int, seed: int = 0) -> torch.Tensor:
    """Log-probabilities of ``count`` steps; EOS is no label of CTC."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(1, count, 4, generator=generator, dtype=torch.float64)
    logits[..., EOS] = -torch.inf
    return logits.log_softmax(-1)


def _sequences(steps: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of each sequence of labels, by all paths."""
    sums: dict[tuple[int, ...], float] = {}
    for path in itertools.product((BLANK, *LABELS), repeat=steps.shape[1]):
        labels = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
        probability = math.exp(sum(float(steps[0, at, label]) for at, label in enumerate(path)))
        sums[labels] = sums.get(labels, 0.0) + probability
    return sums


@pytest.mark.parametrize("padding", [0, 3])
def test_scores_of_prefixes_are_sums_over_all_paths(padding: int) -> None:
    steps = _steps(5)
    sums = _sequences(steps)
    assert sum(sums.values()) == pytest.approx(1)
    padded = F.pad(steps, (0, 0, 0, padding), value=-1.0)
    for length in range(4):
        for labels in itertools.product(LABELS, repeat=length):
            step, state = joint(None, None, padded, torch.tensor([5]), weight=1.0, blank=BLANK, eos=EOS)
            score = 0.0
            for token, following in zip((EOS, *labels), (*labels, EOS), strict=True):
                result = step(torch.tensor([token]), state)
                state, score = result.state, score + float(result.logits[0, following])
                if following != EOS:
                    begun = labels[: labels.index(following) + 1] if len(set(labels)) == len(labels) else None
                    if begun is not None:
                        expected = sum(p for other, p in sums.items() if other[: len(begun)] == begun)
                        assert score == pytest.approx(math.log(expected), abs=1e-9)
            if labels not in sums:  # two equal labels need a blank between them
                assert score == -math.inf
                continue
            assert score == pytest.approx(math.log(sums[labels]), abs=1e-9)
            loss = F.ctc_loss(
                steps[0][:, None], torch.tensor([labels]), torch.tensor([5]), torch.tensor([length]), reduction="sum"
            )
            assert -float(loss) == pytest.approx(score)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_a_wide_joint_search_finds_the_best_of_all_sequences(weight: float) -> None:
    steps = torch.cat([_steps(4, seed) for seed in (1, 2, 3)])
    table = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    table[:, BLANK] = -torch.inf
    table = table.log_softmax(-1)  # of the next token, after each token

    def model(tokens: torch.Tensor, state: torch.Tensor) -> Step:
        return Step(table[tokens], state)

    lengths = torch.tensor([4, 4, 4])
    step, state = joint(model, torch.zeros(3), steps, lengths, weight=weight, blank=BLANK, eos=EOS)
    results = beam_search(
        step, state, torch.full((3,), EOS), eos=EOS, max_length=5, beam=20, length_penalty=0.0, normalized=True
    )
    for row, [best, *_] in enumerate(results):
        scores = {}
        for labels, probability in _sequences(steps[row : row + 1]).items():
            own = sum(float(table[a, b]) for a, b in itertools.pairwise((EOS, *labels, EOS)))
            scores[labels] = weight * math.log(probability) + (1 - weight) * own
        assert tuple(best.tokens) == max(scores, key=lambda labels: scores[labels])
        assert best.score == pytest.approx(max(scores.values()), abs=1e-5)


def test_long_inputs_do_not_underflow() -> None:
    steps = torch.full((1, 3000, 4), -40.0, dtype=torch.float64)
    steps[..., BLANK] = 0
    steps[0, 10::100, A], steps[0, 10::100, BLANK] = 0, -40
    step, state = joint(None, None, steps.log_softmax(-1), torch.tensor([3000]), weight=1.0, blank=BLANK, eos=EOS)
    [[best]] = beam_search(step, state, torch.tensor([EOS]), eos=EOS, max_length=40, beam=1, normalized=True)
    assert best.tokens == [A] * 30
    assert best.score == pytest.approx(0, abs=1e-6)


def test_the_alignment_is_the_best_of_all_paths() -> None:
    for seed, labels in enumerate([(A,), (A, B), (A, A), (B, A, B), ()]):
        steps = _steps(5, seed)
        best, expected = -math.inf, None
        for path in itertools.product((BLANK, *LABELS), repeat=5):
            if tuple(label for label, _ in itertools.groupby(path) if label != BLANK) == labels:
                score = sum(float(steps[0, at, label]) for at, label in enumerate(path))
                if score > best:
                    runs = [(label, len(list(group))) for label, group in itertools.groupby(path)]
                    ends = list(itertools.accumulate(length for _, length in runs))
                    spans = [(end - n, end) for end, (label, n) in zip(ends, runs, strict=True) if label != BLANK]
                    best, expected = score, spans
        assert [tuple(span) for span in align(steps[0].numpy(), labels, BLANK)] == expected
    with pytest.raises(ValueError, match="3 do not fit into 4 steps"):
        align(np.zeros((4, 4)), [A, A, A], BLANK)


def test_weights_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, and 1 without a model, got 0\.5"):
        joint(None, None, _steps(2), torch.tensor([2]), weight=0.5, blank=BLANK, eos=EOS)
