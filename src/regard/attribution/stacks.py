"""How the attentions of a model follow each other: a stack of layers, an encoder and a decoder, or a pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regard.attribution.trace import Call, Trace
from regard.errors import UserError


@dataclass(frozen=True)
class Stacks:
    """The attentions of a model.

    Attributes:
        encoder: self-attentions over the input, the first layer first; empty if the decoder attends to none.
        decoder: the self- and cross-attentions of the layers that lead to the output; only cross-attentions lead to
            the encoder. Of a model with one stack, all of its self-attentions; of a pooling, that one attention.
        start: the positions of the decoder that the target is computed from, as a distribution, ``(B, Lq)``.
    """

    encoder: list[Call]
    decoder: list[Call]
    start: Tensor

    @property
    def crosses(self) -> list[Call]:
        """The cross-attentions; empty: the model has one stack."""
        return [call for call in self.decoder if call.cross]

    @property
    def pooling(self) -> Call | None:
        """The attention of queries that come from no other one, such as learned ones, to the encoder's outputs."""
        return self.decoder[0] if len(self.decoder) == 1 and self.decoder[0].cross else None


def stacks(trace: Trace) -> Stacks:
    """Sort the attentions of a model.

    Raises:
        UserError: they are not one stack, or an encoder and a decoder.
    """
    calls = _without_trivial(trace.calls)
    layers = {_layers_of(call) for call in calls if call.cross}
    decoder = [call for call in calls if not layers or _layers_of(call) in layers]
    encoder = [call for call in calls if layers and _layers_of(call) not in layers]
    last = calls[-1]
    keys = {call.plan.key.shape[2] for call in decoder if call.cross} | {call.output.shape[2] for call in encoder}
    queries = {call.output.shape[2] for call in decoder}
    batches = {call.output.shape[0] for call in calls}
    if len(queries) > 1 or len(keys) > 1 or len(batches) > 1 or all(call is not last for call in decoder):
        names = ", ".join(dict.fromkeys(call.name for call in trace.calls))
        raise UserError(
            f"the attentions of {trace.model} are neither one stack of layers, nor an encoder and a decoder, nor a "
            f"pooling: {names:.120}"
        )
    reached = last.gradient.ne(0).any(3).any(1).to(torch.promote_types(last.gradient.dtype, torch.float32))
    return Stacks(encoder, decoder, reached / reached.sum(1, keepdim=True).clamp(min=1))


def one_stack(trace: Trace, method: str) -> Stacks:
    """The stacks of a model that has one.

    Raises:
        UserError: it has cross-attentions, for which the method is not defined.
    """
    both = stacks(trace)
    if both.crosses:
        raise UserError(
            f"{method}: is not defined for the cross-attention of {trace.model} ({both.crosses[0].name}); "
            "the other methods are"
        )
    return both


def rolled_stacks(trace: Trace, method: str) -> Stacks:
    """The stacks of a model in which more than one attention mixes the positions.

    Raises:
        UserError: there are no layers of self-attention to follow.
    """
    both = stacks(trace)
    if both.pooling is not None and not both.encoder:
        raise UserError(
            f"{method}: {trace.model} has one attention ({both.pooling.name}) and no self-attention under it, so this "
            "would be its weights"
        )
    if both.pooling is None and all(call.cross for call in both.decoder):
        raise UserError(
            f"{method}: the decoder of {trace.model} has no self-attention between its cross-attentions "
            f"({both.crosses[0].name}), and what else goes from one to the next is not known"
        )
    return both


def _without_trivial(calls: list[Call]) -> list[Call]:
    """The calls without those at the end by which one query takes the only vector that a pooling left."""
    count = len(calls)
    while count > 1 and _sizes(calls[count - 1]) == (1, 1) and calls[count - 2].cross:
        count -= 1
    return calls[:count]


def _sizes(call: Call) -> tuple[int, int]:
    """The numbers of queries and keys."""
    return call.output.shape[2], call.plan.key.shape[2]


def _layers_of(call: Call) -> str:
    """The name of the list of layers that a call is in: what is before the first number in the name of its module."""
    parts = call.name.split(".")
    count = next((at for at, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[:count])
