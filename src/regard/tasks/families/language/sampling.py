"""Samples the next token from the logits of a language model."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from regard.data.tokenizer import BOS, PAD, UNK
from regard.decode.sample import filter_logits


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled.

    Attributes:
        temperature: the logits are divided by it; 0: always the most probable token.
        top_k: sample from this many of the most probable tokens; None: from all.
        top_p: of these, from the fewest tokens whose probabilities sum to at least this; None: from all.
        penalty: repetition penalty, by which the logits of tokens that have already occurred are divided if positive
            and multiplied if negative (Keskar et al. 2019, arXiv:1909.05858); 1: no penalty.
        seed: random seed; None: PyTorch's global generator.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    penalty: float = 1.0
    seed: int | None = None


def draw(logits: Tensor, past: list[int], sampling: Sampling, generator: torch.Generator | None) -> int:
    """The next token. ``logits``: ``(1, vocabulary)``; ``past``: the tokens so far, for the repetition penalty."""
    logits = logits.clone()
    logits[:, [PAD, BOS, UNK]] = -math.inf
    if sampling.penalty != 1:
        repeated = torch.tensor(sorted(set(past)), device=logits.device)
        values = logits[:, repeated]
        logits[:, repeated] = torch.where(values > 0, values / sampling.penalty, values * sampling.penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = filter_logits(logits, sampling.temperature, sampling.top_k, sampling.top_p)
    return int(torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator))
