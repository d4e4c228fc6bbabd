"""Compiled, exported and traced calls: one or two graphs for inputs of any size, with the results of eager mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from masks import MASKS
from mechanisms import CASES, Case, Sizes, inputs
from regard import (
    Additive,
    ALiBi,
    Causal,
    Distance,
    Documents,
    Lengths,
    Look,
    Prefix,
    RelativeBias,
    Sigmoid,
    TopK,
    Window,
    attention,
)  # fmt: skip
from regard.nn import KVCache, MultiHeadAttention

SIZES = tuple(
    Sizes(batch, queries=queries, keys=keys)
    for batch, queries, keys in (
        (2, 5, 7), (5, 8, 17), (2, 6, 7), (4, 7, 7), (3, 9, 5), (2, 6, 13), (7, 4, 4), (3, 4, 9), (5, 4, 11), (6, 5, 6),
    )
)  # fmt: skip
"""The second differs from the first in every size and has no two equal sizes, so that its graph fits all sizes."""

MECHANISM_OF_MASK = {name: CASES[(7 * number) % len(CASES)] for number, name in enumerate(MASKS)}
MASK_OF_MECHANISM = {case.name: list(MASKS)[number % len(MASKS)] for number, case in enumerate(CASES)}
PAIRS: list[Any] = [
    pytest.param(case, MASK_OF_MECHANISM[case.name], marks=pytest.mark.long if number % 2 else ())
    for number, case in enumerate(CASES)
]
PAIRS += [pytest.param(MECHANISM_OF_MASK[mask], mask, marks=pytest.mark.long) for mask in MASKS]


@pytest.fixture(autouse=True)
def _reset() -> None:
    torch.compiler.reset()


def _arguments(case: Case, mask: str, size: Sizes) -> tuple[list[Tensor], dict[str, Any]]:
    options = case.call(size, *(parameter.float() for parameter in case.parameters(size)))
    return [tensor.float() for tensor in inputs(case, size)], options | {"mask": MASKS[mask].make(size)}


def _compiled(function: Callable[..., Any], backend: str) -> tuple[Callable[..., Any], CompileCounterWithBackend]:
    counter = CompileCounterWithBackend(backend)
    return torch.compile(function, fullgraph=True, backend=counter), counter


def _call(query: Tensor, key: Tensor, value: Tensor, options: dict[str, Any]) -> Tensor:
    output = attention(query, key, value, **options)
    assert isinstance(output, Tensor)
    return output


@pytest.mark.parametrize(("case", "mask"), PAIRS, ids=lambda item: getattr(item, "name", item))
def test_two_graphs_are_enough_for_all_sizes(case: Case, mask: str) -> None:
    compiled, counter = _compiled(_call, "aot_eager")
    for size in SIZES:
        tensors, options = _arguments(case, mask, size)
        expected = attention(*tensors, **options)
        torch.testing.assert_close(compiled(*tensors, options), expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("name", ["dot", "alibi", "entmax"])
def test_inductor_gives_the_eager_result(name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    compiled, counter = _compiled(_call, "inductor")
    for size in SIZES[:4]:
        tensors, options = _arguments(case, "lengths", size)
        expected = attention(*tensors, **options)
        torch.testing.assert_close(compiled(*tensors, options), expected, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2


INSIDE: dict[str, Callable[[Tensor, Tensor, Tensor], Any]] = {
    "causal": lambda q, k, n: Causal(),
    "causal, per sequence": lambda q, k, n: Causal(n),
    "not causal": lambda q, k, n: Causal().complement(),
    "not lengths": lambda q, k, n: Lengths(n).complement() | Causal(),
    "not window": lambda q, k, n: Window(2, 1).complement(),
    "lengths, causal": lambda q, k, n: Lengths(n) & Causal(),
    "prefixes": lambda q, k, n: Causal() | Prefix(n),
    "prefix": lambda q, k, n: Prefix(k.shape[2] // 2),
    "documents": lambda q, k, n: Documents(torch.arange(k.shape[2]) // 2, torch.arange(q.shape[2]) // 2),
    "a tensor first": lambda q, k, n: (q[:, :1, :, :1] > 0) & Causal(),
    "a tensor last": lambda q, k, n: Causal() | (q[:, :1, :, :1] > 0),
}
"""Masks that are created inside the compiled function."""


@pytest.mark.parametrize("name", INSIDE)
def test_masks_created_in_the_graph_with_gradients(name: str) -> None:
    def call(query: Tensor, key: Tensor, value: Tensor, lengths: Tensor) -> Tensor:
        return attention(query, key, value, mask=INSIDE[name](query, key, lengths))

    compiled, counter = _compiled(call, "aot_eager")
    for size in SIZES[:4]:
        leaves = [tensor.float().requires_grad_() for tensor in inputs(CASES[0], size)]
        lengths = torch.arange(size.batch) % (size.keys + 1)
        tensors = (*leaves, lengths)
        output, expected = compiled(*tensors), call(*tensors)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-5)
        gradients = [torch.autograd.grad(result.square().sum(), leaves) for result in (output, expected)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2


def test_the_complement_operator_breaks_the_graph() -> None:
    """PyTorch cannot trace ``~`` of a user's class. If this test fails, it can, and Mask's docstring has to change."""

    def inside(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query, key, value, mask=~Window(2, 1))

    tensors = [tensor.float() for tensor in inputs(CASES[0], SIZES[0])]
    compiled, _ = _compiled(inside, "eager")
    with pytest.raises(torch._dynamo.exc.Unsupported, match="invert"):
        compiled(*tensors)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(inside, backend="eager")(*tensors), inside(*tensors))


def test_a_complement_created_outside_the_function() -> None:
    compiled, counter = _compiled(_call, "eager")
    tensors = [tensor.float() for tensor in inputs(CASES[0], SIZES[0])]
    options: dict[str, Any] = {"mask": ~Window(2, 1) & Causal()}
    torch.testing.assert_close(compiled(*tensors, options), attention(*tensors, **options))
    assert counter.frame_count == 1


def test_distance_with_topk_is_compiled() -> None:
    compiled, counter = _compiled(_call, "aot_eager")
    for size in SIZES:
        tensors = [tensor.float() for tensor in inputs(CASES[0], size)]
        options: dict[str, Any] = {"score": Distance(0.1), "normalizer": TopK(2), "mask": Causal(0)}
        torch.testing.assert_close(compiled(*tensors, options), attention(*tensors, **options), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 2


@pytest.mark.parametrize("options", [{}, {"normalizer": Sigmoid()}], ids=["softmax", "sigmoid"])
def test_two_graphs_are_enough_for_chunks_over_a_cache(options: dict[str, Any]) -> None:
    def call(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query, key, value, mask=Causal(), **options)

    compiled, counter = _compiled(call, "eager")
    cache, sequence, start = KVCache(16), torch.randn(3, 2, 40, 6), 0
    for length in (5, 3, 4, 7, 2, 6, 8, 3, 2):
        chunk = sequence[:, :, start : start + length]
        step = cache.append(chunk, chunk)
        torch.testing.assert_close(compiled(chunk, step.key, step.value), call(chunk, step.key, step.value))
        start += length
    assert counter.frame_count <= 2


def test_a_layer_with_its_cache_is_compiled() -> None:
    layer = MultiHeadAttention(12, 2).eval()
    compiled, counter = _compiled(layer, "eager")
    caches, sequence, start = (KVCache(64), KVCache(64)), torch.randn(3, 40, 12), 0
    with torch.no_grad():
        for length in (5, 3, 4, 7, 2, 6, 8, 3, 2):
            chunk = sequence[:, start : start + length]
            torch.testing.assert_close(compiled(chunk, cache=caches[0])[0], layer(chunk, cache=caches[1])[0])
            start += length
    assert counter.frame_count <= 3, "one graph for the first call, which allocates the memory, and two for the rest"


class FromLength(nn.Module):
    """Attention with an option that is computed from the number of queries."""

    def __init__(self, make: Callable[[int], dict[str, Any]]) -> None:
        super().__init__()
        self.make = make

    def forward(self, x: Tensor) -> Tensor:
        return attention(x, x, x, **self.make(x.shape[2]))


OF_LENGTH: dict[str, Callable[[int], dict[str, Any]]] = {
    "alibi": lambda n: {"bias": ALiBi(offset=n - 9)},
    "relative": lambda n: {"bias": RelativeBias(torch.linspace(0, 1, 16).view(2, 8), offset=n - 9)},
    "causal": lambda n: {"mask": Causal(n - 9)},
    "window": lambda n: {"mask": Window(n - 4, 1)},
    "prefix": lambda n: {"mask": Causal() | Prefix(n - 5)},
}


@pytest.mark.parametrize("name", OF_LENGTH)
def test_options_computed_from_a_dynamic_length_are_exported(name: str) -> None:
    module = FromLength(OF_LENGTH[name])
    dynamic = ({2: torch.export.Dim("length", min=6, max=512)},)
    program = torch.export.export(module, (torch.randn(2, 2, 9, 6),), dynamic_shapes=dynamic)
    for length in (6, 20):
        x = torch.randn(2, 2, length, 6)
        torch.testing.assert_close(program.module()(x), module(x))


class Attend(nn.Module):
    """Attention with one of `EXPORTED`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, query: Tensor, key: Tensor, value: Tensor, lengths: Tensor, queries: Tensor) -> Tensor:
        return attention(query, key, value, **EXPORTED[self.name](lengths, queries))


EXPORTED: dict[str, Callable[[Tensor, Tensor], dict[str, Any]]] = {
    "causal": lambda n, m: {"mask": Causal()},
    "lengths": lambda n, m: {"mask": Lengths(n)},
    "lengths of both": lambda n, m: {"mask": Lengths(n, m)},
    "causal, per sequence": lambda n, m: {"mask": Causal(n)},
    "lengths, causal": lambda n, m: {"mask": Lengths(n) & Causal()},
    "window": lambda n, m: {"mask": Window(2, 1)},
    "sigmoid": lambda n, m: {"normalizer": Sigmoid(), "mask": Prefix(n)},
    "distance, topk": lambda n, m: {"score": Distance(), "normalizer": TopK(2)},
}


@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
@pytest.mark.parametrize("name", EXPORTED)
def test_export_with_any_batch_and_lengths(name: str, strict: bool) -> None:
    def arguments(size: Sizes) -> tuple[Tensor, ...]:
        rows = torch.arange(size.batch)
        return *(t.float() for t in inputs(CASES[0], size)), rows % (size.keys + 1), rows % (size.queries + 1)

    batch, queries, keys = (torch.export.Dim(dim) for dim in ("batch", "queries", "keys"))
    dynamic = ({0: batch, 2: queries}, {0: batch, 2: keys}, {0: batch, 2: keys}, {0: batch}, {0: batch})
    module = Attend(name)
    program = torch.export.export(module, arguments(SIZES[0]), dynamic_shapes=dynamic, strict=strict)
    for size in SIZES[:4]:
        tensors = arguments(size)
        torch.testing.assert_close(program.module()(*tensors), module(*tensors), rtol=1e-4, atol=1e-5)


class Traced(nn.Module):
    """A module whose attention has parameters, inputs and constants among its options, and a layer after it."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.randn(8))
        self.layer = MultiHeadAttention(8, 2)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        options: dict[str, Any] = {"score": Additive(self.vector), "mask": Lengths(lengths) & Causal()}
        output, view = attention(x, x, x, look=Look(entropy=True), **options)
        return self.layer(output[:, 0], mask=Causal())[0], view.entropy


class Leaves(torch.fx.Tracer):
    """Traces each layer of regard as one node, as `torch.fx.Tracer` does with PyTorch's layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MultiHeadAttention) or super().is_leaf_module(m, module_qualified_name)


def test_symbolic_trace_has_one_node_per_call() -> None:
    module = Traced()
    graph = torch.fx.GraphModule(module, Leaves().trace(module))
    assert [node.target for node in graph.graph.nodes].count(attention) == 1
    assert "layer" in [node.target for node in graph.graph.nodes]
    for sizes, lengths in (((3, 1, 5, 8), [2, 5, 4]), ((2, 1, 7, 8), [0, 7])):
        x = torch.randn(sizes)
        torch.testing.assert_close(graph(x, torch.tensor(lengths)), module(x, torch.tensor(lengths)))


def test_symbolic_trace_into_a_layer_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"query: torch\.fx\.symbolic_trace cannot trace into a layer .* is_leaf_module"
    ):
        torch.fx.symbolic_trace(Traced())
