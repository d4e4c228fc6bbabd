"""Tokens that decoding excludes: those that are never written, and those that would repeat an n-gram."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from regard.decode import Step, beam_search, excluding, greedy, without_repeats

EOS = 0


def _biased(tokens: torch.Tensor, state: Any) -> Step:
    """Likes 1 best, then 2, then 3; counts its steps in the state."""
    return Step(torch.tensor([0.0, 9.0, 8.0, 7.0]).expand(len(tokens), -1), state + 1)


def _grams(tokens: list[int], size: int) -> list[tuple[int, ...]]:
    return [tuple(tokens[at : at + size]) for at in range(len(tokens) - size + 1)]


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("beam", [1, 4])
def test_no_n_gram_is_written_twice(size: int, beam: int) -> None:
    step, state = without_repeats(_biased, torch.zeros(2), size, EOS)
    first = torch.tensor([3, 1])
    if beam == 1:
        hypotheses = greedy(step, state, first, eos=EOS, max_length=60)
    else:
        lists = beam_search(step, state, first, eos=EOS, max_length=60, beam=beam, length_penalty=0.0)
        hypotheses = [best for best, *_ in lists]
    for start, hypothesis in zip(first.tolist(), hypotheses, strict=True):
        grams = _grams([start, *hypothesis.tokens], size)
        assert hypothesis.finished
        assert len(set(grams)) == len(grams)
        if beam == 1:  # goes on until each continuation of the last tokens has been written
            assert len(grams) >= 2 * size + 1


def test_the_state_of_the_model_is_kept() -> None:
    step, state = without_repeats(_biased, torch.zeros(1), 2, EOS)
    result = step(torch.tensor([1]), state)
    assert result.state.state.tolist() == [1.0]
    assert result.state.tokens.tolist() == [[1]]
    assert step(torch.tensor([1]), result.state).logits.tolist() == [[0.0, -math.inf, 8.0, 7.0]]


def test_a_token_beyond_the_logits_is_left_alone() -> None:
    """Sources of a batch extend the vocabulary by different numbers of words."""
    sizes = iter([8, 8, 4])
    step, state = without_repeats(lambda tokens, state: Step(torch.zeros(1, next(sizes)), state), None, 1, EOS)
    for token in (6, 2):
        state = step(torch.tensor([token]), state).state
    assert step(torch.tensor([3]), state).logits.tolist() == [[0.0, 0.0, -math.inf, -math.inf]]


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="size: must be at least 1, got 0"):
        without_repeats(_biased, None, 0, EOS)


def test_excluded_tokens_are_never_written() -> None:
    best = greedy(excluding(_biased, [1, 2]), torch.zeros(1), torch.tensor([1]), eos=EOS, max_length=3)[0]
    assert best.tokens == [3, 3, 3]
    assert best.score == pytest.approx(3 * (7 - math.log(math.exp(7) + 1)), abs=1e-5)
