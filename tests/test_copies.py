"""Every public value and function can be copied, pickled and saved."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import regard
from regard import attend
from test_layer_kinds import LAYERS

_B = torch.tensor([3, 2])
_MASK = torch.ones(4, 4, dtype=torch.bool).tril()

VALUES: dict[str, Callable[[], Any]] = {
    "ALiBi": lambda: regard.ALiBi(torch.ones(2)),
    "Additive": lambda: regard.Additive(torch.ones(4)),
    "Bilinear": lambda: regard.Bilinear(torch.ones(4, 4)),
    "BlockSparse": lambda: regard.BlockSparse(torch.ones(2, 2, dtype=torch.bool), 2),
    "Boolean": lambda: attend.Boolean(_MASK),
    "Causal": lambda: regard.Causal(),
    "Cosine": lambda: regard.Cosine(torch.ones(2)),
    "Distance": lambda: regard.Distance(0.5),
    "Documents": lambda: regard.Documents(torch.zeros(4, dtype=torch.int64)),
    "Dot": lambda: regard.Dot(0.3),
    "Dropout": lambda: regard.Dropout(regard.Softmax(), 0.5, seed=3),
    "Entmax": lambda: regard.Entmax(1.3),
    "Hard": lambda: regard.Hard(seed=3),
    "Lengths": lambda: regard.Lengths(_B),
    "Prefix": lambda: regard.Prefix(2),
    "RelativeBias": lambda: regard.RelativeBias(torch.ones(2, 8)),
    "Sigmoid": lambda: regard.Sigmoid(-1.0),
    "Softcap": lambda: regard.Softcap(regard.Dot(), 2.0),
    "Softmax": lambda: regard.Softmax(torch.zeros(2)),
    "Sparsemax": lambda: regard.Sparsemax(),
    "TopK": lambda: regard.TopK(2),
    "Variational": lambda: regard.Variational(0.5, seed=3),
    "Window": lambda: regard.Window(1, 0),
    "Mask": lambda: ~regard.Causal() | _MASK & regard.Lengths(_B),
}
"""Arguments of `regard.attention`; a learned tensor in one is a leaf of autograd."""

OTHERS: dict[str, Callable[[], Any]] = {
    "Look": lambda: regard.Look(lse=True, rows=[1]),
    "View": lambda: _call()[1],
    "Top": lambda: _call()[1].top,
    "Pooled": lambda: _call()[1].map,
    "Norms": lambda: _call()[1].norms,
    "Sinks": lambda: _call()[1].sinks,
    "Choice": lambda: regard.explain_choice(*_inputs()),
    "KVCache": lambda: _cache(),
    "LogMel": lambda: regard.nn.LogMel(8000, bands=10),
    "Cepstra": lambda: regard.nn.Cepstra(8000),
    "Scaling": lambda: regard.nn.Scaling("linear", 2.0),
    "Gates": lambda: regard.nn.CBAM(4)(torch.ones(1, 4, 3, 3))[1],
}


def _inputs() -> list[Tensor]:
    return [torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]


def _call() -> Any:
    return regard.attention(*_inputs(), look=regard.Look(top=2, map=(2, 2), norms=True, sinks=True, rows=[0]))


def _cache() -> regard.nn.KVCache:
    cache = regard.nn.KVCache(4)
    cache.append(*_inputs()[1:])
    return cache


def copies(value: Any) -> list[Any]:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return [
        copy.copy(value),
        copy.deepcopy(value),
        pickle.loads(pickle.dumps(value)),
        torch.load(file, weights_only=False),
    ]


def test_the_tables_have_all_public_classes_and_functions_can_be_pickled() -> None:
    names = {*regard.__all__, *(name for name in vars(attend) if name[0].isupper()), *regard.nn.__all__}
    modules = (regard.nn, attend, regard)
    public = [getattr(module, name) for module in modules for name in names if hasattr(module, name)]
    classes = {value for value in public if isinstance(value, type)}
    known = {type(make()) for make in (*VALUES.values(), *OTHERS.values())} | {type(r.make()) for r in LAYERS.values()}
    assert classes - known == {attend.Score, attend.Bias, attend.Mask, attend.Normalizer}  # the base classes
    for value in public:
        if callable(value) and not isinstance(value, type) and hasattr(value, "__qualname__"):
            assert pickle.loads(pickle.dumps(value)) is value


@pytest.mark.parametrize("name", VALUES)
def test_copies_of_an_argument_give_the_same_output(name: str) -> None:
    value = VALUES[name]()
    argument = next(
        key for key, kinds in (("score", attend.Score), ("bias", attend.Bias), ("mask", attend.Mask),
        ("normalizer", attend.Normalizer)) if isinstance(value, kinds)
    )  # fmt: skip
    expected = regard.attention(*_inputs(), **{argument: value})
    for other in copies(value):
        assert type(other) is type(value)
        assert torch.equal(regard.attention(*_inputs(), **{argument: other}), expected)


@pytest.mark.parametrize("name", OTHERS)
def test_copies_of_other_values_are_equal(name: str) -> None:
    with torch.no_grad():
        value = OTHERS[name]()
    for other in copies(value):
        assert type(other) is type(value)
        _same(other, value)


def _same(other: Any, value: Any) -> None:
    if isinstance(value, Tensor):
        assert torch.equal(other, value)
    elif isinstance(value, tuple):
        for one, two in zip(other, value, strict=True):
            _same(one, two)
    elif isinstance(value, regard.View):
        _same(other.rows, value.rows)
        _same(other.tile([1], [2]), value.tile([1], [2]))
    elif isinstance(value, regard.nn.KVCache):
        _same(*(copy.deepcopy(cache).append(*_inputs()[1:])[:2] for cache in (other, value)))
    else:
        assert repr(other) == repr(value)


def test_states_of_learned_values_load_with_weights_only() -> None:
    layer = regard.nn.VariationalAttention(4)
    file = io.BytesIO()
    torch.save({"model": layer.state_dict(), "lengths": _B}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert torch.equal(state["model"]["normalizer.log_scale"], layer.get_parameter("normalizer.log_scale"))
