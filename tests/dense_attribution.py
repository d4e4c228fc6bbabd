"""The formulas of the attributions with whole matrices of weights, from a model's own code, in float64."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from model_families import FAMILIES, inputs
from regard.models.layers import TransformerLayer
from regard.nn import FeedForward, MultiHeadAttention


@dataclass
class Attended:
    """The weights ``(B, H, Lq, Lk)`` and values ``(B, H, Lk, Ev)`` of a call, in the graph of the model."""

    weights: Tensor
    values: Tensor


@dataclass(frozen=True)
class Model:
    """A model and where its parts are.

    Attributes:
        layer: the name of a layer; its input is the residual stream, if there is one stack.
        projection: the output projection in it, of the cross-attention if there is one.
        norm: the normalization after the attention; None: the layers normalize before.
        encoder: how many of the calls are those of an encoder; 0: one stack.
    """

    name: str
    inputs: str = "plain"
    layer: str = ""
    projection: str = ""
    norm: str | None = None
    encoder: int = 0

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
    "BERT": Model("BERT", "padded", "encoder.layer.{}", "attention.output.dense", "attention.output.LayerNorm"),
    "GPT-2": Model("GPT-2", "plain", "transformer.h.{}", "attn.c_proj"),
    "Llama": Model("Llama", "plain", "model.layers.{}", "self_attn.o_proj"),
    "T5": Model("T5", "padded", "decoder.block.{}.layer.1", "EncDecAttention.o", encoder=2),
    "Marian": Model("Marian", "padded", "model.decoder.layers.{}", "encoder_attn.out_proj", encoder=2),
    "regard, pre": Model("pre", "plain", "layers.{}", "attend.output"),
    "regard, post": Model("post", "plain", "layers.{}", "attend.output", "around_attend.norm"),
}


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
    if isinstance(model, Classifier):
        with mock.patch("regard.nn.multihead.attend_heads", lambda *given, **_: (_plain(calls, *given[:3]), None)):
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


def _plain(calls: list[Attended], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    key, value = (t.repeat_interleave(query.shape[1] // t.shape[1], 1) for t in (key, value))
    weights = torch.softmax(query @ key.mT / query.shape[3] ** 0.5, -1)
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
        modules, handles = dict(model.named_modules()), []
        for number in range(3 if at.name in ("pre", "post") else 2):
            if at.encoder:
                break
            layer = modules[at.layer.format(number)]
            handles.append(layer.register_forward_pre_hook(lambda _, given: residuals.append(given[0])))
            part = layer.get_submodule(at.projection if at.norm is None else at.norm)
            handles.append(part.register_forward_hook(lambda _, given, output: results.append(output)))
        with recorded(model) as calls:
            values = target(model(**at.given()))
        for handle in handles:
            handle.remove()
        grads = list(torch.autograd.grad(values.sum(), [call.weights for call in calls]))
        if at.norm is None and not at.encoder:
            results = [x + y for x, y in zip(residuals, results, strict=True)]
        return cls(calls, grads, residuals, results)


def vectors(at: Model, model: nn.Module, dense: Dense, number: int, whole: bool) -> Tensor:
    """``T_ij`` ``(B, Lq, Lk, D)``; `whole`: with the residual connection and the normalization."""
    place = (number - at.encoder) // 2 if at.encoder else number
    call, layer = dense.calls[number], model.get_submodule(at.layer.format(place))
    projection: Any = layer.get_submodule(at.projection)
    weight = projection.weight if type(projection).__name__ == "Conv1D" else projection.weight.T
    parts = weight.unflatten(0, (call.values.shape[1], -1))
    found = torch.einsum("bhij,bhje,hed->bijd", call.weights, call.values, parts)
    if not whole:
        return found
    x = dense.residuals[number]
    found = found + torch.diag_embed(x.mT).permute(0, 2, 3, 1)
    if at.norm is None:
        return found
    norm: Any = layer.get_submodule(at.norm)
    total = x + projection(torch.einsum("bhij,bhje->bihe", call.weights, call.values).flatten(2))
    sigma = (total.var(-1, correction=0) + norm.eps).sqrt()
    return (found - found.mean(-1, keepdim=True)) * norm.weight / sigma[:, :, None, None]


def weights(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: dense.calls[number].weights.mean(1))


def norms(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: _shares(vectors(at, model, dense, number, False).norm(dim=-1)))


def block_norms(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    return _mean(at, dense, first, lambda number: _shares(vectors(at, model, dense, number, True).norm(dim=-1)))


def rollout(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    product = torch.eye(first.shape[1], dtype=first.dtype)
    for call in dense.calls:
        product = (0.5 * call.weights.mean(1) + 0.5 * torch.eye(first.shape[1])) @ product
    return _row(first, product)


def alti(at: Model, model: nn.Module, dense: Dense, first: Tensor) -> Tensor:
    product = torch.eye(first.shape[1], dtype=first.dtype)
    for number, y in enumerate(dense.results):
        gap = (y[:, :, None] - vectors(at, model, dense, number, True)).norm(dim=-1)
        product = _shares((y.norm(dim=-1)[:, :, None] - gap).clamp(min=0)) @ product
    return _row(first, product)


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
