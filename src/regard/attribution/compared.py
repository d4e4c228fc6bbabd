"""Scores of several methods over many inputs, with those of a random attribution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.attribution.methods import METHODS, check_methods
from regard.attribution.scores import Scores, replaced, score
from regard.attribution.trace import trace
from regard.errors import UserError

RANDOM = "random"
"""The name of the random attribution."""


@dataclass(frozen=True)
class Compared:
    """The mean scores of each method, with the random attribution last.

    Attributes:
        scores: by the name of the method.
        left_out: methods that are not defined for the model, and why.
        count: the number of inputs.
    """

    scores: dict[str, Scores]
    left_out: dict[str, str]
    count: int


def compare(
    model: nn.Module,
    inputs: Iterable[tuple[Mapping[str, Tensor], Tensor]],
    token: int,
    methods: Sequence[str] = tuple(METHODS),
    *,
    steps: int = 20,
    count: Callable[[], None] = lambda: None,
) -> Compared:
    """Score several methods and a random attribution on the same inputs; the class with the largest logit is explained.

    Args:
        model: see `regard.attribution.attribute`.
        inputs: the arguments of the model for a single input, a batch of one, and which of its positions may be
            removed, boolean ``(L,)``; inputs without such a position are not counted.
        token: what replaces removed tokens.
        methods: names in `METHODS`; one that is not defined for the model is left out.
        steps: see `score`.
        count: called after each input.

    Raises:
        UserError: a method is unknown, no method is defined for the model, or no input has a position to remove.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> model = BertForSequenceClassification(config).eval()
        >>> given = {"input_ids": torch.tensor([[1, 5, 7, 2]])}, torch.tensor([False, True, True, False])
        >>> list(compare(model, [given], token=0, methods=["rollout", "relevance"]).scores)
        ['rollout', 'relevance', 'random']
    """
    check_methods(methods)
    generator = torch.Generator("cpu").manual_seed(0)
    results: dict[str, list[Scores]] = {}
    left_out: dict[str, str] = {}
    for given, candidates in inputs:
        if bool(candidates.any()):
            rows = _defined(model, given, methods, left_out)
            rows[RANDOM] = torch.rand(candidates.shape, generator=generator, device="cpu")
            probability = replaced(model, given, token)
            for name, row in rows.items():
                results.setdefault(name, []).append(score(probability, row.cpu(), candidates, steps=steps))
        count()
    if not results:
        raise UserError("inputs: none has a position that may be removed")
    means = {name: Scores(*torch.tensor(some).mean(0).tolist()) for name, some in results.items()}
    return Compared(means, left_out, len(results[RANDOM]))


def _defined(
    model: nn.Module, given: Mapping[str, Tensor], methods: Sequence[str], left_out: dict[str, str]
) -> dict[str, Tensor]:
    """The attributions by the methods that are defined for the model; the others are added to ``left_out``."""
    seen, rows = trace(model, given), dict[str, Tensor]()
    for method in methods:
        if method in left_out:
            continue
        try:
            with torch.no_grad():
                rows[method] = METHODS[method](seen)[0]
        except UserError as error:
            if len(left_out) == len(methods) - 1:
                raise
            left_out[method] = str(error)
    return rows
