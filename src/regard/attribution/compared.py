"""Scores of several methods over many inputs, with those of a random attribution."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from regard.attribution.methods import METHODS, attribution, check_methods
from regard.attribution.scores import Scores, hit_rate, replaced, score
from regard.attribution.target import Target
from regard.attribution.trace import trace
from regard.errors import UserError

RANDOM = "random"
"""The name of the random attribution."""


@dataclass(frozen=True)
class Case:
    """One result of a model.

    Attributes:
        inputs: the arguments of the model for a single input, a batch of one.
        candidates: which of its positions may be removed, boolean ``(L,)``.
        target: see `regard.attribution.attribute`.
        deciding: which positions decide, boolean ``(L,)``; None: that is not known.
    """

    inputs: Mapping[str, Tensor]
    candidates: Tensor
    target: Target = None
    deciding: Tensor | None = None


@dataclass(frozen=True)
class Explainable:
    """Results of a model that attributions can be compared on.

    Attributes:
        model: see `regard.attribution.attribute`.
        cases: its results.
        token: what replaces removed tokens.
        unit: what an input is, in the plural, such as ``"texts"``.
        notes: what there is to say about the results, first after their number, and what replaces removed tokens.
    """

    model: nn.Module
    cases: Sequence[Case]
    token: int
    unit: str = "texts"
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Compared:
    """The mean scores of each method, with the random attribution last.

    Attributes:
        scores: by the name of the method.
        left_out: methods that are not defined for the model, and why.
        count: the number of inputs.
        hits: the mean `regard.attribution.hit_rate`, by the name of the method; empty: no deciding position is known.
    """

    scores: dict[str, Scores]
    left_out: dict[str, str]
    count: int
    hits: dict[str, float] = field(default_factory=dict)


def compare(
    explainable: Explainable,
    methods: Sequence[str] = tuple(METHODS),
    *,
    steps: int = 20,
    count: Callable[[], None] = lambda: None,
) -> Compared:
    """Score several methods and a random attribution on the same inputs.

    Args:
        explainable: the model and the inputs; those without a position that may be removed are not counted.
        methods: names in `METHODS`; one that is not defined for the model is left out.
        steps: see `score`.
        count: called after each input.

    Raises:
        UserError: a method is unknown, no method is defined for the model, or no input has a position to remove.

    Example:
        >>> from transformers import BertConfig, BertForSequenceClassification
        >>> config = BertConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
        >>> model = BertForSequenceClassification(config).eval()
        >>> case = Case({"input_ids": torch.tensor([[1, 5, 7, 2]])}, torch.tensor([False, True, True, False]))
        >>> list(compare(Explainable(model, [case], token=0), ["rollout", "relevance"]).scores)
        ['rollout', 'relevance', 'random']
    """
    check_methods(methods)
    generator = torch.Generator("cpu").manual_seed(0)
    results: dict[str, list[Scores]] = {}
    hits: dict[str, list[float]] = {}
    left_out: dict[str, str] = {}
    for case in explainable.cases:
        if bool(case.candidates.any()):
            rows = _defined(explainable.model, case, methods, left_out)
            rows[RANDOM] = torch.rand(case.candidates.shape, generator=generator, device="cpu")
            probability = replaced(explainable.model, case.inputs, explainable.token, case.target)
            for name, row in rows.items():
                results.setdefault(name, []).append(score(probability, row.cpu(), case.candidates, steps=steps))
                if case.deciding is not None:
                    hit = hit_rate(row.cpu()[None], case.deciding[None], case.candidates[None])
                    hits.setdefault(name, []).append(float(hit))
        count()
    if not results:
        raise UserError("inputs: none has a position that may be removed")
    means = {name: Scores(*torch.tensor(some).mean(0).tolist()) for name, some in results.items()}
    rates = {name: sum(some) / len(some) for name, some in hits.items()}
    return Compared(means, left_out, len(results[RANDOM]), rates)


def _defined(model: nn.Module, case: Case, methods: Sequence[str], left_out: dict[str, str]) -> dict[str, Tensor]:
    """The attributions by the methods that are defined for the model; the others are added to ``left_out``."""
    seen, rows = trace(model, case.inputs, case.target), dict[str, Tensor]()
    for method in methods:
        if method in left_out:
            continue
        try:
            rows[method] = attribution(seen, method)[0]
        except UserError as error:
            if len(left_out) == len(methods) - 1:
                raise
            left_out[method] = str(error)
    return rows
