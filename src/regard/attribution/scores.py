"""Whether an attribution can be believed: scores of what happens when the positions that it names are removed.

All of them are small differences on many models, so a random attribution belongs beside every table of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from regard.attribution.target import Inputs, Target, chosen_target, logits_of, run, target_values, tokens_of
from regard.errors import UserError

Probability = Callable[[Tensor], Tensor]
"""The probability of the class that is explained, ``(N,)``, if only some positions are kept: boolean ``(N, L)``."""

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""The shares of positions that comprehensiveness and sufficiency remove or keep, those of ERASER."""


class Curves(NamedTuple):
    """The probability after removing the strongest positions, and with nothing but the strongest, each ``(S + 1,)``.

    ``share`` is the share of the positions that was removed, or kept, from 0 to 1.
    """

    share: Tensor
    deletion: Tensor
    insertion: Tensor


class Scores(NamedTuple):
    """Scores of an attribution for one input.

    ``comprehensiveness``: how much the probability falls without the strongest positions, high is good.
    ``sufficiency``: how much it falls with nothing but them, low is good.
    ``deletion``, ``insertion``: the areas under the curves; low, and high, is good.
    """

    comprehensiveness: float
    sufficiency: float
    deletion: float
    insertion: float


def score(
    probability: Probability, attribution: Tensor, candidates: Tensor | None = None, *, steps: int = 20
) -> Scores:
    """Comprehensiveness and sufficiency (DeYoung et al. 2020, arXiv:1911.03429) and areas of curves, for one input.

    The first two are means over `BINS`; a bin is rounded up to whole positions.

    Args:
        probability: of the class that is explained, see `replaced`.
        attribution: ``(L,)``; the largest is the strongest.
        candidates: boolean ``(L,)``: positions that may be removed, such as all but special tokens; None: all.
        steps: of the curves.

    Raises:
        UserError: the shapes do not fit, there is no candidate, or a number is not finite.

    Example:
        >>> weights = torch.tensor([0.1, 0.7, 0.2])
        >>> scores = score(lambda keep: keep.float() @ weights, weights)
        >>> round(scores.comprehensiveness, 2), round(scores.sufficiency, 2)
        (0.74, 0.26)
    """
    order = _order(attribution, candidates)
    counts = torch.tensor([max(1, math.ceil(part * len(order))) for part in BINS], device="cpu")
    kept = _strongest(order, counts, attribution)
    hidden = _strongest(order, torch.cat([torch.zeros_like(counts[:1]), counts]), attribution).logical_not()
    results = probability(torch.cat([hidden, kept | _others(order, attribution)]))
    full, without, alone = results[0], results[1 : len(BINS) + 1], results[len(BINS) + 1 :]
    areas = curves(probability, attribution, candidates, steps=steps)
    return Scores(
        float((full - without).mean()),
        float((full - alone).mean()),
        float(torch.trapezoid(areas.deletion, areas.share)),
        float(torch.trapezoid(areas.insertion, areas.share)),
    )


def curves(
    probability: Probability, attribution: Tensor, candidates: Tensor | None = None, *, steps: int = 20
) -> Curves:
    """The curves of deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421), for one input.

    Args:
        probability: see `score`.
        attribution: see `score`.
        candidates: see `score`.
        steps: S, at most one for each candidate.

    Raises:
        UserError: see `score`; or `steps` is not positive.

    Example:
        >>> weights = torch.tensor([0.1, 0.7, 0.2])
        >>> curves(lambda keep: keep.float() @ weights, weights).deletion
        tensor([1.0000, 0.3000, 0.1000, 0.0000])
    """
    if steps < 1:
        raise UserError(f"steps: must be positive, got {steps}")
    order = _order(attribution, candidates)
    steps = min(steps, len(order))
    share = torch.arange(steps + 1, device="cpu") / steps
    strongest = _strongest(order, (share * len(order)).round().long(), attribution)
    results = probability(torch.cat([~strongest, strongest | _others(order, attribution)]))
    return Curves(share.to(results), results[: steps + 1], results[steps + 1 :])


def hit_rate(attribution: Tensor, deciding: Tensor, candidates: Tensor | None = None) -> Tensor:
    """The share of the m deciding positions that are among the m strongest, ``(B,)``, if they are known.

    Args:
        attribution: ``(B, L)``.
        deciding: boolean ``(B, L)``.
        candidates: boolean ``(B, L)``: see `score`.

    Raises:
        UserError: see `score`; or an input has no deciding position.

    Example:
        >>> hit_rate(torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[False, True, True]]))
        tensor([1.])
    """
    if deciding.shape != attribution.shape or deciding.dtype is not torch.bool or not bool(deciding.any(-1).all()):
        raise UserError(
            f"deciding: must be boolean, {tuple(attribution.shape)}, with a position in each input, got "
            f"{deciding.dtype} {tuple(deciding.shape)}"
        )
    hits = []
    for number, (row, known) in enumerate(zip(attribution, deciding, strict=True)):
        order = _order(row, None if candidates is None else candidates[number])
        hits.append(known[order[: int(known.sum())]].float().mean())
    return torch.stack(hits)


def replaced(
    model: nn.Module, inputs: Inputs, token: int, target: Target = None, *, batch_size: int = 32
) -> Probability:
    """The probability of a class if the tokens that are not kept are replaced by another one, such as a mask.

    Args:
        model: with logits as its output.
        inputs: of a single input, a batch of one; the first tensor of whole numbers ``(1, L)`` has the tokens.
        token: what replaces the others.
        target: see `attribute`; the result of a function is used as it is.
        batch_size: how many inputs the model gets at once.

    Raises:
        UserError: there are no tokens, the batch is not of one, or the model has no such target.

    Example:
        >>> model = torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval()
        >>> probability = replaced(model, [torch.tensor([[3, 5, 7]])], token=0)
        >>> probability(torch.tensor([[True, True, True], [True, False, True]])).shape
        torch.Size([2])
    """
    tokens = tokens_of(inputs)
    if tokens is None or tokens.shape[0] != 1:
        got = "none" if tokens is None else f"shape {tuple(tokens.shape)}"
        raise UserError(f"inputs: expected the tokens of a single input, whole numbers (1, L), got {got}")
    with torch.no_grad():
        wanted = chosen_target(model, run(model, inputs), target)

    def many(value: Any, rows: Tensor) -> Any:
        if value is tokens:
            return rows
        repeats = isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == 1
        return value.expand(rows.shape[0], *value.shape[1:]) if repeats else value

    def values(keep: Tensor) -> Tensor:
        rows = torch.where(keep.to(tokens.device), tokens, token)
        if isinstance(inputs, Mapping):
            output = run(model, {name: many(value, rows) for name, value in inputs.items()})
        else:
            output = run(model, [many(value, rows) for value in inputs])
        if isinstance(wanted, Tensor):
            return logits_of(model, output).softmax(-1)[:, int(wanted[0])]
        return target_values(model, output, wanted)

    def probability(keep: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([values(part) for part in keep.split(batch_size)])

    return probability


def _order(attribution: Tensor, candidates: Tensor | None) -> Tensor:
    """The candidates, strongest first; on the CPU, as the positions that are kept."""
    if attribution.dim() != 1 or (candidates is not None and candidates.shape != attribution.shape):
        other = None if candidates is None else tuple(candidates.shape)
        raise UserError(f"attribution: expected (L,), and candidates the same, got {tuple(attribution.shape)}, {other}")
    at = torch.arange(len(attribution), device="cpu") if candidates is None else candidates.cpu().nonzero()[:, 0]
    if not len(at):
        raise UserError("candidates: there is no position that may be removed")
    strengths = attribution.cpu()[at]
    if not bool(torch.isfinite(strengths).all()):
        raise UserError("attribution: a number is not finite")
    return at[strengths.argsort(descending=True, stable=True)]


def _strongest(order: Tensor, counts: Tensor, like: Tensor) -> Tensor:
    """The strongest n positions, boolean ``(len(counts), L)``, for each number n."""
    rank = torch.full(like.shape, len(like), dtype=torch.int64, device="cpu")
    rank[order] = torch.arange(len(order), device="cpu")
    return rank < counts[:, None]


def _others(order: Tensor, like: Tensor) -> Tensor:
    """The positions that are no candidates, boolean ``(L,)``; they always stay."""
    stay = torch.ones(like.shape, dtype=torch.bool, device="cpu")
    stay[order] = False
    return stay
