"""Attributions: how much of a model's result comes from each position of its input, by several methods.

Each needs memory that is linear in the length: products of vectors with the matrices of attentions, a few rows at a
time. A matrix of all queries and keys is never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from regard.attribution.products import Rows, left, mean_weights, relevant_weights, right, shares
from regard.attribution.stacks import Stacks, one_stack, rolled_stacks, stacks
from regard.attribution.target import Inputs, Target
from regard.attribution.trace import Call, Trace, trace
from regard.attribution.vectors import BlockNorms, Contributions, CrossContributions, Norms
from regard.errors import UserError


def attribute(
    model: nn.Module, inputs: Inputs, target: Target = None, *, methods: Sequence[str] = ("relevance",)
) -> dict[str, Tensor]:
    """How much of a model's result comes from each position of its input.

    The model may use layers of `regard.nn`, `regard.attention`, PyTorch's attention, or Hugging Face's with
    ``attn_implementation="regard"`` or ``"sdpa"``. The rows of the attentions that are followed down to the input are
    those of the positions that the target is computed from: the first token of a classifier of the kind of BERT, the
    last one of a language model; of several, such as under a mean, their average. Models with an encoder and a decoder,
    or with a pooling by attention, give the positions of the encoder.

    Args:
        model: in evaluation mode.
        inputs: the arguments of its ``forward``, by name or in order. The batch comes first.
        target: what to explain: a class for all inputs or one for each; a function from the model's output to a number
            for each input, ``(B,)``; None: the class with the largest logit. Of logits for each position it is the last
            position.
        methods: names in `METHODS`.

    Returns:
        ``(B, L)`` for each method, by name. The units of the methods differ.

    Raises:
        UserError: a method is unknown, the model cannot be followed, or the method is not defined for it.

    Example:
        >>> from regard.models.layers import TransformerLayer
        >>> from regard.nn import FeedForward, MultiHeadAttention
        >>> class Classifier(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embedding, self.output = nn.Embedding(9, 8), nn.Linear(8, 3)
        ...         norm, feed = lambda: nn.LayerNorm(8), FeedForward(8, 16)
        ...         self.layer = TransformerLayer(MultiHeadAttention(8, 2), feed, norm)
        ...
        ...     def forward(self, tokens):
        ...         return self.output(self.layer(self.embedding(tokens))[0][:, 0])
        >>> by_method = attribute(Classifier().eval(), [torch.tensor([[1, 5, 2, 7]])], methods=["rollout", "alti"])
        >>> by_method["rollout"].shape, by_method["alti"].sum().round(decimals=4)
        (torch.Size([1, 4]), tensor(1.))
    """
    check_methods(methods)
    seen = trace(model, inputs, target)
    return {name: attribution(seen, name) for name in methods}


def attribution(seen: Trace, method: str) -> Tensor:
    """``(B, L)`` by one of `METHODS`, from what was seen. Raises UserError: it is not defined for the model."""
    with torch.no_grad(), torch.autocast(seen.values.device.type, enabled=False):
        return METHODS[method](seen)


def check_methods(methods: Sequence[str]) -> None:
    """Raises UserError: one of the names is not in `METHODS`."""
    for name in methods:
        if name not in METHODS:
            raise UserError(f"methods: {name!r} is none of {', '.join(METHODS)}")


def weights(seen: Trace) -> Tensor:
    """The weights, averaged over heads and layers: of the cross-attentions or the pooling, if the model has some."""
    return _mean(seen, lambda call: mean_weights)


def norms(seen: Trace) -> Tensor:
    """The norms of the weighted vectors, summed over heads (Kobayashi et al. 2020, arXiv:2004.10102).

    ``‖Σ_h a_ij^h v_j^h W^h‖``, as shares of each query; the mean over layers: of the cross-attentions or the pooling,
    if there are some.
    """
    return _mean(seen, lambda call: shares(Norms(call)))


def block_norms(seen: Trace) -> Tensor:
    """The same with the residual connection and the normalization (Kobayashi et al. 2021, arXiv:2109.07152).

    Defined for self-attention.
    """
    one_stack(seen, "block_norms")
    return _mean(seen, lambda call: shares(BlockNorms(call)))


def rollout(seen: Trace) -> Tensor:
    """The product of ``½ I + ½ A`` over layers, A averaged over heads (Abnar & Zuidema 2020, arXiv:2005.00928).

    A cross-attention gives half to the encoder's positions, and its residual connection keeps the other half; a pooling
    has none, and gives all.
    """
    both = rolled_stacks(seen, "rollout")
    kept = 0.5 if both.pooling is None else 0.0
    return _rolled(
        both,
        lambda call, vector: 0.5 * vector + 0.5 * left(call, mean_weights, vector),
        lambda call, vector: ((1 - kept) * left(call, mean_weights, vector), kept * vector),
    )


def alti(seen: Trace) -> Tensor:
    """The product over layers of the shares of ``max(0, ‖y_i‖ − ‖y_i − T_ij‖)``: ALTI, ALTI+ with cross-attention.

    Ferrando et al. 2022, arXiv:2203.04212 and arXiv:2205.11631. With the 2-norm: the 1-norm of the papers takes memory
    for each query, key and channel.
    """

    def across(call: Call, vector: Tensor) -> tuple[Tensor, Tensor]:
        rows = CrossContributions(call)
        sums = right(call, rows, vector.new_ones(vector.shape[0], call.plan.key.shape[2]))
        return left(call, rows, vector), vector * (1 - sums)

    both = rolled_stacks(seen, "alti")
    return _rolled(both, lambda call, vector: left(call, Contributions(call), vector), across)


def relevance(seen: Trace) -> Tensor:
    """Weights times their gradients, rolled out (Chefer et al. 2021, arXiv:2103.15679).

    ``Ā = mean_h (∇A ⊙ A)⁺``; of one stack, a row of ``Π (I + Ā)`` (rules 5 and 6), or of the Ā of a pooling times this
    product; of an encoder and a decoder, rules 7 to 11, with which the relevance of the encoder's positions goes
    through each cross-attention.
    """
    both = stacks(seen)
    if not both.crosses:
        return _roll(both.decoder, both.start)
    if both.pooling is not None:
        return _roll(both.encoder, left(both.pooling, relevant_weights, both.start))
    total = both.start.new_zeros(both.start.shape[0], both.crosses[0].plan.key.shape[2])
    vector = both.start
    for number in reversed(range(len(both.decoder))):
        call = both.decoder[number]
        if call.cross:
            total += left(call, relevant_weights, _normalized_columns(both.decoder[:number], vector))
        else:
            vector = vector + left(call, relevant_weights, vector)
    return total + _normalized_rows(both.encoder, total)


def gradient_x_input(seen: Trace) -> Tensor:
    """The vectors of the tokens times the gradient of the target in them, summed over channels; it can be negative."""
    if seen.embedded is None or seen.embedded_gradient is None:
        raise UserError(f"gradient_x_input: {seen.model} has no embedding that takes the tokens of the input")
    return (seen.embedded * seen.embedded_gradient).sum(2)


METHODS: dict[str, Callable[[Trace], Tensor]] = {
    "weights": weights,
    "norms": norms,
    "block_norms": block_norms,
    "rollout": rollout,
    "alti": alti,
    "relevance": relevance,
    "gradient_x_input": gradient_x_input,
}
"""The methods by name."""


def _mean(seen: Trace, rows: Callable[[Call], Rows]) -> Tensor:
    """The mean over layers of the rows that the target is computed from."""
    both = stacks(seen)
    calls = both.crosses or both.decoder
    return torch.stack([left(call, rows(call), both.start) for call in calls]).mean(0)


def _rolled(
    both: Stacks, step: Callable[[Call, Tensor], Tensor], across: Callable[[Call, Tensor], tuple[Tensor, Tensor]]
) -> Tensor:
    """The start, carried from the last layer to the input, or to the encoder's input if there is one.

    Args:
        both: the layers.
        step: from a row over the queries of a self-attention to one over its keys.
        across: the same of a cross-attention, and the row over its queries that its residual connection keeps.
    """
    vector, reached = both.start, list[Tensor]()
    for call in reversed(both.decoder):
        if call.cross:
            crossed, vector = across(call, vector)
            reached.append(crossed)
        else:
            vector = step(call, vector)
    if not reached:
        return vector
    # Every cross-attention reads the same output of the encoder.
    total = torch.stack(reached).sum(0)
    for call in reversed(both.encoder):
        total = step(call, total)
    return total


def _roll(calls: Sequence[Call], vector: Tensor) -> Tensor:
    """``vectorᵀ R``, with ``R = Π (I + Ā)`` of self-attentions."""
    for call in reversed(calls):
        if not call.cross:
            vector = vector + left(call, relevant_weights, vector)
    return vector


def _roll_columns(calls: Sequence[Call], vector: Tensor) -> Tensor:
    """``R vector``."""
    for call in calls:
        if not call.cross:
            vector = vector + right(call, relevant_weights, vector)
    return vector


def _sums(calls: Sequence[Call], like: Tensor) -> Tensor:
    """The sums of the rows of ``R − I``, with 1 in place of 0, by which rule 8 divides them."""
    ones = torch.ones_like(like)
    sums = _roll_columns(calls, ones) - ones
    return torch.where(sums > 0, sums, 1.0)


def _normalized_rows(calls: Sequence[Call], vector: Tensor) -> Tensor:
    """``vectorᵀ (R̄ − I)``, with the rows of ``R − I`` divided by their sums (rules 8 and 9)."""
    scaled = vector / _sums(calls, vector)
    return _roll(calls, scaled) - scaled


def _normalized_columns(calls: Sequence[Call], vector: Tensor) -> Tensor:
    """``R̄ vector``."""
    return vector + (_roll_columns(calls, vector) - vector) / _sums(calls, vector)
