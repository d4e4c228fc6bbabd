"""Linear layers with packed weights beside float64: each way to store them, instruction set and number of threads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from regard.kernels.cpu import library
from regard.kernels.packed import Kind, pack
from threads import use_threads

kernels = pytest.mark.skipif(library.level is None, reason=library.why_none)
KINDS: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
EPSILON = torch.finfo(torch.float32).eps


def stored(weight: Tensor, kind: str) -> Tensor:
    """The numbers that a packed weight stands for, in float64."""
    if kind == "int8":
        largest = weight.abs().amax(1, keepdim=True)
        integers = (weight * (torch.full_like(largest, 127) / largest)).round()
        return integers.double() * (largest / 127).double()
    return weight.bfloat16().double() if kind == "bfloat16" else weight.double()


def check(kind: Kind, outputs: int, inputs: int, rows: tuple[int, ...]) -> None:
    weight, bias = torch.randn(outputs, inputs), torch.randn(outputs)
    packed = pack(weight, kind)
    meant = stored(weight, kind)
    for count in rows:
        x = torch.randn(count, 2 * inputs + 1)[:, 1 : inputs + 1]
        sizes = x.double().abs() @ meant.abs().T + bias.abs()
        errors = (packed.linear(x, bias) - (x.double() @ meant.T + bias)).abs() / sizes
        assert errors.max() < EPSILON * (2 + inputs**0.5)


@kernels
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (3, 5), (16, 8), (17, 255), (150, 513), (200, 1030)])
def test_products_have_rounding_errors_only(level: str, kind: Kind, outputs: int, inputs: int) -> None:
    torch.manual_seed(outputs)
    for threads in (1, 2, 5):
        with use_threads(threads):
            check(kind, outputs, inputs, (1, 2, 3, 4, 5, 6, 7, 11, 23, 24, 97))


@kernels
@pytest.mark.parametrize("kind", KINDS)
def test_many_rows(level: str, kind: Kind) -> None:
    torch.manual_seed(1)
    check(kind, 70, 300, (193, 300))


@kernels
def test_integers_are_wrong_by_at_most_half_of_the_scale(level: str) -> None:
    torch.manual_seed(2)
    weight = torch.randn(40, 64) * torch.rand(40, 1).exp()
    weight[7] = 0
    errors = pack(weight, "int8").linear(torch.eye(64)).T - weight
    assert (errors.abs().amax(1) <= weight.abs().amax(1) / 127 * (0.5 + 1e-4)).all()


@kernels
def test_threads_and_rows_make_no_difference_to_the_bits_of_a_row() -> None:
    torch.manual_seed(3)
    weight, x = torch.randn(333, 100), torch.randn(5, 100)
    packed = pack(weight, "int8")
    with use_threads(1):
        one = packed.linear(x)
    with use_threads(5):
        five = packed.linear(x)
    assert torch.equal(one, five)
    assert torch.equal(torch.cat([packed.linear(row) for row in x.split(1)]), one)


@kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_and_inputs_of_two_bytes(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    weight, x = torch.randn(30, 20, dtype=dtype), torch.randn(2, 3, 20, dtype=dtype)
    result = pack(weight.T.contiguous().T, "float32").linear(x)
    assert result.dtype is dtype
    assert torch.equal(result, (x.double() @ weight.double().T).float().to(dtype))


@kernels
def test_no_rows_and_strides() -> None:
    torch.manual_seed(5)
    weight, x = torch.randn(30, 20), torch.randn(4, 20, 6)
    packed = pack(weight[:, ::2])
    assert packed.linear(torch.empty(0, 10)).shape == (0, 30)
    assert torch.allclose(packed.linear(x[:, ::2].mT), x[:, ::2].mT @ weight[:, ::2].T, atol=1e-5)


@kernels
def test_bytes() -> None:
    weight = torch.randn(1024, 512)
    assert [pack(weight, kind).bytes for kind in KINDS] == [1024 * 512 * 4, 1024 * 512 * 2, 1024 * 516]


@kernels
def test_refusals() -> None:
    packed = pack(torch.randn(4, 3))
    with pytest.raises(ValueError, match="has 3 inputs"):
        packed.linear(torch.ones(2, 4))
    with pytest.raises(ValueError, match="has 4 outputs"):
        packed.linear(torch.ones(2, 3), torch.ones(3))
    with pytest.raises(ValueError, match="requires a gradient"):
        packed.linear(torch.ones(2, 3, requires_grad=True))
    with pytest.raises(ValueError, match="ordinary tensors"):
        packed.linear(torch.ones(2, 3, device="meta"))
    with pytest.raises(ValueError, match="expected one of float32, bfloat16, int8"):
        pack(torch.ones(2, 3), "int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(2,\)"):
        pack(torch.ones(2))
    with pytest.raises(ValueError, match="its dtype is float64"):
        pack(torch.ones(2, 3, dtype=torch.float64))


def test_without_kernels_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "level", None)
    monkeypatch.setattr(library, "why_none", "there was no C++ compiler")
    with pytest.raises(ValueError, match=r"there was no C\+\+ compiler"):
        pack(torch.ones(2, 3))
