"""The formulas of the attributions with whole matrices of weights, from a model's own code, in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor, nn

from model_families import FAMILIES, inputs
from regard import Additive
from regard.models.layers import TransformerLayer
from regard.models.text import TextClassifier
from regard.nn import FeedForward, MultiHeadAttention


@dataclass
class Attended:
    """The weights ``(B, H, Lq, Lk)`` and values ``(B, H, Lk, Ev)`` of a call, in the graph of the model."""

    weights: Tensor
    values: Tensor


class Place(NamedTuple):
    """Where an attention is.

    Attributes:
        layer: the name of the module whose input is the residual stream, unless there is a normalization after it.
        projection: the output projection in it.
        norm: the normalization after the attention; None: the layers normalize before.
    """

    layer: str
    projection: str
    norm: str | None = None


@dataclass(frozen=True)
class Model:
    """A model and where its parts are.

    Attributes:
        places: of the attentions of a layer, of the decoder if there is one.
        encoder: how many of the calls are those of an encoder; 0: one stack.
        below: the place of those.
        count: of the layers.
    """

    name: str
    inputs: str
    places: tuple[Place, ...]
    encoder: int = 0
    below: Place | None = None
    count: int = 2

    def place(self, number: int) -> Place:
        """The place of a call."""
        if self.below is not None and number < self.encoder:
            place, layer = self.below, number
        else:
            layer, part = divmod(number - self.encoder, len(self.places))
            place = self.places[part]
        return place._replace(layer=place.layer.format(layer))

    def crosses(self, number: int) -> bool:
        """Whether a call is a cross-attention."""
        return self.encoder > 0 and number >= self.encoder and (number - self.encoder) % 2 == 1

    def build(self) -> nn.Module:
        if self.name in FAMILIES:
            model: nn.Module = FAMILIES[self.name].build()
            return model.double()
        return Classifier(self.name).double().eval()

    def given(self) -> dict[str, Any]:
        if self.name in FAMILIES:
            return inputs(FAMILIES[self.name].kind)[self.inputs]
        return {"tokens": inputs("encoder")["plain"]["input_ids"]}


class Classifier(nn.Module):
    """Layers of regard, under a mean of all positions."""

    def __init__(self, order: Any):
        super().__init__()
        torch.manual_seed(3)
        self.embedding, self.output = nn.Embedding(97, 16), nn.Linear(16, 5)
        self.layers = nn.ModuleList(
            TransformerLayer(
                MultiHeadAttention(16, 4, key_heads=2), FeedForward(16, 24), lambda: nn.LayerNorm(16), order=order
            )
            for _ in range(3)
        )
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.4)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x, _ = layer(x)
        logits: Tensor = self.output(x.tanh().mean(1))
        return logits


MODELS = {
    "BERT": Model(
        "BERT", "padded", (Place("encoder.layer.{}", "attention.output.dense", "attention.output.LayerNorm"),)
    ),
    "GPT-2": Model("GPT-2", "plain", (Place("transformer.h.{}", "attn.c_proj"),)),
    "Llama": Model("Llama", "plain", (Place("model.layers.{}", "self_attn.o_proj"),)),
    "T5": Model(
        "T5", "padded",
        (
            Place("decoder.block.{}.layer.0", "SelfAttention.o"),
            Place("decoder.block.{}.layer.1", "EncDecAttention.o"),
        ),
        2, Place("encoder.block.{}.layer.0", "SelfAttention.o"),
    ),
    "Marian": Model(
        "Marian", "padded",
        (
            Place("model.decoder.layers.{}", "self_attn.out_proj", "self_attn_layer_norm"),
            Place("model.decoder.layers.{}", "encoder_attn.out_proj", "encoder_attn_layer_norm"),
        ),
        2, Place("model.encoder.layers.{}", "self_attn.out_proj", "self_attn_layer_norm"),
    ),
    "regard, pre": Model("pre", "plain", (Place("layers.{}", "attend.output"),), count=3),
    "regard, post": Model("post", "plain", (Place("layers.{}", "attend.output", "around_attend.norm"),), count=3),
}  # fmt: skip


def target(output: Any) -> Tensor:
    """What is explained: one number of each output, of the first position for an encoder and of the last otherwise."""
    if isinstance(output, Tensor):
        return output[:, 2]
    if output.get("logits") is not None:
        logits: Tensor = output.logits[:, -1, 3]
        return logits
    states: Tensor = output.last_hidden_state[:, 0, 3]
    return states


def start(name: str, queries: int) -> Tensor:
    """The positions that `target` is computed from."""
    if name.startswith("regard"):
        return torch.full((2, queries), 1 / queries, dtype=torch.float64)
    row = torch.zeros(2, queries, dtype=torch.float64)
    row[:, 0 if name == "BERT" else -1] = 1
    return row


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Attended]]:
    """In this block, the model's own attention records what it attends to."""
    calls: list[Attended] = []
    if isinstance(model, (Classifier, TextClassifier)):
        with mock.patch(
            "regard.nn.multihead.attend_heads",
            lambda q, k, v, *_, score, **__: (_plain(calls, q, k, v, score), None),
        ):
            yield calls
        return
    source: Any = sys.modules[type(model).__module__]
    eager = source.eager_attention_forward

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> Any:
        output, weights = eager(module, query, key, value, *rest, **named)
        calls.append(Attended(weights, value.repeat_interleave(query.shape[1] // value.shape[1], 1)))
        return output, weights

    model.set_attn_implementation("eager")  # type: ignore[operator]
    with mock.patch.object(source, "eager_attention_forward", attend):
        yield calls


def _plain(calls: list[Attended], query: Tensor, key: Tensor, value: Tensor, score: Any) -> Tensor:
    key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    if isinstance(score, Additive):
        scores = ((query[:, :, :, None] + key[:, :, None]).tanh() * score.v[:, None, None]).sum(-1)
    else:
        scores = query @ key.mT / query.shape[3] ** 0.5
    weights = torch.softmax(scores, -1)
    calls.append(Attended(weights, value))
    return weights @ value


@dataclass
class Dense:
    """The whole matrices of a model."""

    calls: list[Attended]
    grads: list[Tensor]
    residuals: list[Tensor]
    results: list[Tensor]

    @classmethod
    def run(cls, at: Model, model: nn.Module) -> Dense:
        residuals: list[Tensor] = []
        results: list[Tensor] = []
        projected: list[Tensor] = []
        handles = []

        def keep(found: list[Tensor]) -> Any:
            return lambda _, given, output: found.append(output)

        for number in range(at.encoder + at.count * len(at.places)):
            place = at.place(number)
            layer = model.get_submodule(place.layer)
            source = layer if place.norm is None else layer.get_submodule(place.norm)
            handles.append(source.register_forward_pre_hook(lambda _, given: residuals.append(given[0])))
            handles.append(layer.get_submodule(place.projection).register_forward_hook(keep(projected)))
            if place.norm is not None:
                handles.append(source.register_forward_hook(keep(results)))
        with recorded(model) as calls:
            values = target(model(**at.given()))
        for handle in handles:
            handle.remove()
        grads = list(torch.autograd.grad(values.sum(), [call.weights for call in calls]))
        if at.places[0].norm is None:
            results = [x + y for x, y in zip(residuals, projected, strict=True)]
        else:
            residuals = [total - y for total, y in zip(residuals, projected, strict=True)]
        return cls(calls, grads, residuals, results)


def vectors(at: Model, model: nn.Module, dense: Dense, number: int, whole: bool) -> tuple[Tensor, Tensor]:
    """``T_ij`` ``(B, Lq, Lk, D)``, and what the residual connection adds, ``(B, Lq, D)``.

    `whole`: after the normalization, and the residual is added to the diagonal of a self-attention.
    """
    call, place = dense.calls[number], at.place(number)
    layer = model.get_submodule(place.layer)
    projection: Any = layer.get_submodule(place.projection)
    weight = projection.weight if type(projection).__name__ == "Conv1D" else projection.weight.T
    parts = weight.unflatten(0, (call.values.shape[1], -1))
    found, x = torch.einsum("bhij,bhje,hed->bijd", call.weights, call.values, parts), dense.residuals[number]
    if not whole:
        return found, x
    if place.norm is not None:
        norm: Any = layer.get_submodule(place.norm)
        total = x + projection(torch.einsum("bhij,bhje->bihe", call.weights, call.values).flatten(2))
        sigma = (total.var(-1, correction=0) + norm.eps).sqrt()
        found = (found - found.mean(-1, keepdim=True)) * norm.weight / sigma[:, :, None, None]
        x = (x - x.mean(-1, keepdim=True)) * norm.weight / sigma[:, :, None]
    return found if at.crosses(number) else found + torch.diag_embed(x.mT).permute(0, 2, 3, 1), x


def weights(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: dense.calls[number].weights.mean(1))


def norms(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: _shares(vectors(at, model, dense, number, False)[0].norm(dim=-1)))


def block_norms(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: _shares(vectors(at, model, dense, number, True)[0].norm(dim=-1)))


def rollout(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    def mixed(number: int) -> tuple[Tensor, Tensor]:
        found = 0.5 * dense.calls[number].weights.mean(1)
        if at.crosses(number):
            return found, torch.full_like(found[:, :, 0], 0.5)
        return found + 0.5 * torch.eye(found.shape[1]), torch.zeros_like(found[:, :, 0])

    return _rolled(at, dense, first, mixed)


def alti(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    def mixed(number: int) -> tuple[Tensor, Tensor]:
        y, (found, x) = dense.results[number], vectors(at, model, dense, number, True)
        near = (y.norm(dim=-1)[:, :, None] - (y[:, :, None] - found).norm(dim=-1)).clamp(min=0)
        if not at.crosses(number):
            return _shares(near), torch.zeros_like(near[:, :, 0])
        own = (y.norm(dim=-1) - (y - x).norm(dim=-1)).clamp(min=0)
        both = _shares(torch.cat([near, own[:, :, None]], 2))
        return both[:, :, :-1], both[:, :, -1]

    return _rolled(at, dense, first, mixed)


def _rolled(at: Model, dense: Dense, first: Tensor, mixed: Callable[[int], tuple[Tensor, Tensor]]) -> Tensor:
    """The product over layers of matrices; of a decoder, that to the encoder's positions.

    ``mixed``: of a call, the matrix, and what the residual connection of a cross-attention keeps of each query.
    """
    size = dense.calls[0].weights.shape[-1]
    inner = torch.eye(size, dtype=first.dtype).expand(len(first), -1, -1)
    for number in range(at.encoder or len(dense.calls)):
        inner = mixed(number)[0] @ inner
    if not at.encoder:
        return _row(first, inner)
    across = torch.zeros(len(first), first.shape[1], size, dtype=first.dtype)
    for number in range(at.encoder, len(dense.calls)):
        matrix, kept = mixed(number)
        across = matrix @ inner + kept[:, :, None] * across if at.crosses(number) else matrix @ across
    return _row(first, across)


def relevance(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    bars = [(g * c.weights).clamp(min=0).mean(1) for g, c in zip(dense.grads, dense.calls, strict=True)]
    inner = torch.eye(bars[0].shape[-1], dtype=first.dtype).expand(2, -1, -1)
    for bar in bars[: at.encoder] if at.encoder else bars:
        inner = inner + bar @ inner
    if not at.encoder:
        return _row(first, inner)
    own = torch.eye(first.shape[1], dtype=first.dtype).expand(2, -1, -1)
    across = torch.zeros(2, first.shape[1], inner.shape[-1], dtype=first.dtype)
    for number, bar in enumerate(bars[at.encoder :]):
        if number % 2 == 0:
            own, across = own + bar @ own, across + bar @ across
        else:
            across = across + _normalized(own).mT @ bar @ _normalized(inner)
    return _row(first, across)


FORMULAS: dict[str, Callable[[Model, nn.Module, Dense, Tensor], Tensor]] = {
    "weights": weights, "norms": norms, "block_norms": block_norms, "rollout": rollout, "alti": alti,
    "relevance": relevance,
}  # fmt: skip


def _mean(at: Model, dense: Dense, first: Tensor, matrix: Callable[[int], Tensor]) -> Tensor:
    numbers = range(at.encoder + 1, len(dense.calls), 2) if at.encoder else range(len(dense.calls))
    return torch.stack([_row(first, matrix(number)) for number in numbers]).mean(0)


def _row(first: Tensor, matrix: Tensor) -> Tensor:
    return (first[:, None] @ matrix)[:, 0]


def _shares(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(-1, keepdim=True)


def _normalized(matrix: Tensor) -> Tensor:
    unit = torch.eye(matrix.shape[-1], dtype=matrix.dtype)
    sums = (matrix - unit).sum(-1, keepdim=True)
    return torch.where(sums > 0, (matrix - unit) / sums, 0.0) + unit
