"""Properties of every layer of `regard.nn`: unbatched inputs, named refusals, factory arguments, reset and copies."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard
from layers import LAYERS, first
from regard import Look

FACTORIES = [name for name, row in LAYERS.items() if row.factory]
CALLED = [name for name, row in LAYERS.items() if row.called]


def test_the_table_has_every_layer() -> None:
    classes = {name for name in regard.nn.__all__ if isinstance(getattr(regard.nn, name), type)}
    modules = {name for name in classes if issubclass(getattr(regard.nn, name), nn.Module)}
    assert modules == {name.split(",")[0] for name in LAYERS}


def build(name: str) -> nn.Module:
    torch.manual_seed(0)
    layer = LAYERS[name].make().double().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


# Ranks


@pytest.mark.parametrize("name", CALLED)
def test_an_unbatched_input_gives_one_row_of_the_batch(name: str) -> None:
    layer, row = build(name), LAYERS[name]
    batched = first(layer(*row.inputs))
    for index in range(2):
        unbatched = first(layer(*(tensor[index] for tensor in row.inputs)))
        assert unbatched.shape == batched.shape[1:]
        torch.testing.assert_close(unbatched, batched[index])


@pytest.mark.parametrize("name", [n for n in CALLED if "look" in LAYERS[n].make().forward.__annotations__])
def test_a_view_has_the_rank_of_the_input(name: str) -> None:
    layer, row = build(name), LAYERS[name]
    views = [layer(*inputs, look=Look(rows=[0], received=True))[-1] for inputs in (row.inputs, _sample(row, 1))]
    torch.testing.assert_close(views[1].rows, views[0].rows[1])
    torch.testing.assert_close(views[1].received, views[0].received[1])


def _sample(row: Any, index: int) -> tuple[Tensor, ...]:
    return tuple(tensor[index] for tensor in row.inputs)


@pytest.mark.parametrize("name", CALLED)
def test_five_dimensions_work_or_are_refused_by_name(name: str) -> None:
    layer, row = build(name), LAYERS[name]
    x = row.inputs[0]
    wide = x.expand(*(1,) * (5 - x.dim()), *x.shape)
    if row.ranks is None:
        torch.testing.assert_close(layer(wide)[(0,) * (5 - x.dim())], layer(x))
    else:
        with pytest.raises(ValueError, match=r"^(query|x|inputs|tensor): expected \(.*\) or \(.*\), got shape"):
            layer.train()(wide, *row.inputs[1:])


@pytest.mark.parametrize("name", [n for n in CALLED if len(LAYERS[n].inputs) > 1])
def test_inputs_of_different_ranks_are_refused_by_name(name: str) -> None:
    layer, row = build(name), LAYERS[name]
    for at in range(1, len(row.inputs)):
        inputs = [tensor[0] if place == at else tensor for place, tensor in enumerate(row.inputs)]
        with pytest.raises(ValueError, match=r"^(memory|previous|key|value|real): (must have|expected)"):
            layer(*inputs)


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
@pytest.mark.parametrize("name", [n for n in CALLED if n != "StepLinear"])
def test_nested_and_sparse_tensors_are_refused_by_name(name: str) -> None:
    layer, row = build(name).train(), LAYERS[name]
    nested = torch.nested.nested_tensor([torch.zeros(n, 8, dtype=torch.float64) for n in (2, 3)])
    jagged = torch.nested.nested_tensor([torch.zeros(n, 8, dtype=torch.float64) for n in (2, 3)], layout=torch.jagged)
    for tensor, kind in ((nested, "nested"), (jagged, "nested"), (row.inputs[0].to_sparse(), "sparse")):
        with pytest.raises(TypeError, match=rf"^(query|x|inputs|tensor): is {kind}"):
            layer(tensor, *row.inputs[1:])
    with pytest.raises(TypeError, match=r"^(query|x|inputs|tensor): expected a tensor, got list"):
        layer([[0.0]], *row.inputs[1:])


# Factory arguments and reset


@pytest.mark.parametrize("name", FACTORIES)
def test_factory_arguments_are_those_of_torch_nn(name: str) -> None:
    row = LAYERS[name]
    layer = row.make(device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in layer.parameters()} == {("meta", torch.bfloat16)}
    with torch.device("meta"):
        ambient = row.make()
    # A value of Learned is on the device of the tensors that it was given, here the CPU.
    on_cpu = {f"{path}." for path, module in ambient.named_modules() if type(module) is regard.nn.Learned}
    on_cpu -= {"normalizer."} if name == "VariationalAttention" else set()
    for key, parameter in ambient.named_parameters():
        assert parameter.device.type == ("cpu" if any(key.startswith(p.lstrip(".")) for p in on_cpu) else "meta")


@pytest.mark.parametrize("name", FACTORIES)
@pytest.mark.parametrize("reset", ["layer", "each module"])
def test_to_empty_and_reset_give_a_fresh_layer(name: str, reset: str) -> None:
    row = LAYERS[name]
    torch.manual_seed(1)
    fresh = row.make()
    layer: Any = row.make(device="meta").to_empty(device="cpu")
    for parameter in layer.parameters():
        nn.init.constant_(parameter, torch.nan)
    torch.manual_seed(1)
    if reset == "layer":
        layer.reset_parameters()
    else:  # as users of FSDP2 do
        module: Any
        for module in layer.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
    for (key, ours), theirs in zip(layer.named_parameters(), fresh.parameters(), strict=True):
        if reset == "layer":
            assert torch.equal(ours, theirs), key
        elif theirs.numel() > 1:
            # Other random numbers of the same distribution, compared by their standard deviation.
            assert ours.isfinite().all(), key
            torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.8, atol=1e-6)


def test_initial_distributions() -> None:
    torch.manual_seed(0)
    layer = regard.nn.GRU(60, 50)
    for gate in range(3):
        part = layer.input.weight[50 * gate : 50 * gate + 50]
        bound = (6 / 110) ** 0.5
        assert 0.97 * bound < part.abs().max() <= bound
        state = layer.state.weight[50 * gate : 50 * gate + 50]
        torch.testing.assert_close(state @ state.T, torch.eye(50), rtol=0, atol=1e-5)
    assert not layer.input.bias.any()
    attention = regard.nn.MultiHeadAttention(60, 2)
    torch.testing.assert_close(attention.query.weight.std(), torch.tensor((2 / 120) ** 0.5), rtol=0.05, atol=0)
    assert not attention.query.bias.any()


def test_values_given_on_the_meta_device_cannot_be_reset() -> None:
    layer = regard.nn.Learned(regard.Softmax, sink=torch.zeros(2, device="meta"))
    with pytest.raises(RuntimeError, match="Learned: sink was given on the meta device and has no values"):
        layer.to_empty(device="cpu").reset_parameters()


_SHARDED = """
import torch
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from layers import LAYERS
torch.distributed.init_process_group("gloo", rank=0, world_size=1, store=torch.distributed.HashStore())
mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
for name, row in LAYERS.items():
    if not row.factory:
        continue
    torch.manual_seed(0)
    fresh = row.make()
    layer = row.make(device="meta")
    fully_shard(layer, mesh=mesh)
    layer.to_empty(device="cpu")
    torch.manual_seed(0)
    layer.reset_parameters()
    for ours, theirs in zip(layer.parameters(), fresh.parameters(), strict=True):
        assert isinstance(ours, DTensor), name
        ours = ours.full_tensor()
        assert ours.isfinite().all(), name
        if theirs.numel() > 1:
            torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.8, atol=1e-6)
x = distribute_tensor(torch.zeros(2, 5, 8), mesh)
try:
    LAYERS["SoftAttention"].make()(x)
except TypeError as error:
    assert str(error).startswith("query: is a DTensor: call attention on each process's own part"), error
else:
    raise AssertionError("a DTensor was not refused")
"""


def test_sharded_layers_are_reset_and_a_dtensor_is_refused() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _SHARDED], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


# Copies


@pytest.mark.parametrize("name", LAYERS)
def test_layers_can_be_copied_pickled_and_saved(name: str) -> None:
    layer, row = build(name), LAYERS[name]
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)]
    state = io.BytesIO()
    torch.save(layer.state_dict(), state)
    state.seek(0)
    fresh = row.make().double().eval()
    fresh.load_state_dict(torch.load(state, weights_only=True))
    for copied in (*copies, fresh):
        assert type(copied) is type(layer)
        for ours, theirs in zip(copied.parameters(), layer.parameters(), strict=True):
            assert torch.equal(ours, theirs)
            assert ours.data_ptr() != theirs.data_ptr()
        if row.called:
            torch.testing.assert_close(first(copied(*row.inputs)), first(layer(*row.inputs)))
