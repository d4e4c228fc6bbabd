"""Batch normalization: PyTorch's with one process; with several, that of the examples of all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn

from regard.nn.batch_norm import BatchNorm1d, BatchNorm2d, as_long_in_all, uncounted
from regard.training.distributed import World, world
from torchrun import by_processes


def _inputs(*shape: int) -> Tensor:
    """Values whose mean is far from 0."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) + 100


@pytest.mark.parametrize(("ours", "theirs"), [(BatchNorm1d, nn.BatchNorm1d), (BatchNorm2d, nn.BatchNorm2d)])
def test_with_one_process_it_is_that_of_pytorch(ours: type[nn.Module], theirs: type[nn.Module]) -> None:
    one, other = ours(3), theirs(3)
    assert one.state_dict().keys() == other.state_dict().keys()
    x = _inputs(4, 3, 5) if ours is BatchNorm1d else _inputs(4, 3, 5, 2)
    assert torch.equal(one(x), other(x))
    assert torch.equal(one.eval()(x), other.eval()(x))
    assert as_long_in_all(x) is x


def test_with_several_processes_it_is_that_of_all_examples() -> None:
    result = by_processes(3, Path(__file__))
    assert result.returncode == 0, result.stderr


def _check(process: World, norm: nn.Module, whole: nn.Module, x: Tensor) -> None:
    """Compare a part of ``x`` in each process, the last of which has none, with all of it in one process."""
    parts: tuple[list[int], ...] = ([0, 2, 3], [1, 4], [])
    rows = parts[process.rank]
    wished = torch.randn(x.shape, generator=torch.Generator().manual_seed(2))
    expected = x.clone().requires_grad_()
    y = whole(expected)
    (y * wished).sum().backward()  # type: ignore[no-untyped-call]
    own = x[rows or [0]].clone().requires_grad_()
    if rows:
        part = norm(own)
        torch.testing.assert_close(part, y[rows], rtol=1e-4, atol=1e-4)
        (part * wished[rows]).sum().backward()
    else:
        with uncounted():
            (norm(own) * 0.0).sum().backward()
    if rows:
        assert own.grad is not None
        assert expected.grad is not None
        torch.testing.assert_close(own.grad, expected.grad[rows], rtol=1e-3, atol=1e-4)
    for one, other in zip(norm.parameters(), whole.parameters(), strict=True):
        assert one.grad is not None
        distributed.all_reduce(one.grad)
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-3)
    for running, expected in zip(norm.buffers(), whole.buffers(), strict=True):
        torch.testing.assert_close(running, expected, rtol=1e-4, atol=1e-5)


def main() -> None:
    """Run by each of three processes."""
    torch.set_num_threads(1)
    with world() as process:
        for norm, whole, shape in (
            (BatchNorm1d(3), nn.BatchNorm1d(3), (5, 3)),
            (BatchNorm1d(3), nn.BatchNorm1d(3), (5, 3, 7)),
            (BatchNorm2d(3), nn.BatchNorm2d(3), (5, 3, 7, 2)),
        ):
            for module in (norm, whole):
                nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(3))
            _check(process, norm, whole, _inputs(*shape))
        x = torch.ones(2, 3 + process.rank, 4)
        longer = as_long_in_all(x)
        assert longer.shape == (2, 5, 4)
        assert torch.equal(longer[:, : x.shape[1]], x)
        assert (longer[:, x.shape[1] :] == 0).all()


if __name__ == "__main__":
    main()
