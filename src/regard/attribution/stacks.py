"""How the attentions of a model follow each other: a stack of layers, or an encoder and what attends to it."""

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
            the encoder. Of a model with one stack, all of its self-attentions.
        start: the positions of the decoder that the target is computed from, as a distribution, ``(B, Lq)``.
    """

    encoder: list[Call]
    decoder: list[Call]
    start: Tensor

    @property
    def crosses(self) -> list[Call]:
        """The cross-attentions; empty: the model has one stack."""
        return [call for call in self.decoder if call.cross]


def stacks(trace: Trace) -> Stacks:
    """Sort the attentions of a model.

    Raises:
        UserError: they are not one stack, or an encoder and a decoder.
    """
    layers = {_layers_of(call) for call in trace.calls if call.cross}
    decoder = [call for call in trace.calls if not layers or _layers_of(call) in layers]
    encoder = [call for call in trace.calls if layers and _layers_of(call) not in layers]
    last = trace.calls[-1]
    keys = {call.plan.key.shape[2] for call in decoder if call.cross} | {call.output.shape[2] for call in encoder}
    queries = {call.output.shape[2] for call in decoder}
    batches = {call.output.shape[0] for call in trace.calls}
    if len(queries) > 1 or len(keys) > 1 or len(batches) > 1 or all(call is not last for call in decoder):
        names = ", ".join(dict.fromkeys(call.name for call in trace.calls))
        raise UserError(
            f"the attentions of {trace.model} are neither one stack of layers nor an encoder and a decoder: "
            f"{names:.120}"
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
            "weights, norms, relevance and gradient_x_input are"
        )
    return both


def _layers_of(call: Call) -> str:
    """The name of the list of layers that a call is in: what is before the first number in the name of its module."""
    parts = call.name.split(".")
    count = next((at for at, part in enumerate(parts) if part.isdigit()), len(parts))
    return ".".join(parts[:count])
