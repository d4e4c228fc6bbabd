"""Compiles the model of a training run with `torch.compile`: one graph for the batches of all lengths.

What runs for a batch must not depend on the batches before it, or a resumed run would differ from an uninterrupted one
by rounding. So everything is compiled before the first step, from batches of the first epoch; a batch that the graphs
do not fit, such as a smaller last one, runs without them.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mode
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from regard.errors import UserError
from regard.training.distributed import World
from regard.training.gradient import LossFunction, add_gradients
from regard.training.state import random_states, restore_random_states

_SAMPLE = 8
"""The least number of batches that tell which sizes vary."""


def compile_model(
    inner: nn.Module,
    model: nn.Module,
    loss: LossFunction,
    batches: Callable[[int], Sequence[list[int]]],
    world: World,
    *,
    bfloat16: bool,
) -> float:
    """Compile a model for training steps; otherwise, it runs as before.

    Args:
        inner: the model. Its ``forward`` is replaced, or the method that it names as ``compiled_method``.
        model: the same, as it is wrapped for several processes.
        loss: see `regard.training.gradient.share_of_loss`.
        batches: those of an epoch; there must be one.
        world: this process and their number.
        bfloat16: whether the loss is computed with autocast.

    Returns:
        How many seconds it took.

    Raises:
        UserError: it cannot be compiled.
    """
    began, random = time.perf_counter(), random_states()
    buffers = [(buffer, buffer.clone()) for buffer in inner.buffers()]
    name: str = getattr(inner, "compiled_method", "forward")
    plain = getattr(inner, name)
    compiled: Callable[..., Any] = torch.compile(plain)
    model.train()
    try:
        sample = _spread(batches)
        sizes = _Sizes([_sizes(inner, name, loss, rows, world) for rows in sample])
        usual = world.gather(sizes.usual)[0]  # the same batches in all processes

        def marked(*inputs: Any, **options: Any) -> Any:
            sizes.mark((inputs, options))
            return compiled(*inputs, **options)

        with _replaced(inner, name, marked), _compiling():
            # The second batch is for models that are divided into several graphs: those after the first one are
            # compiled for one size at first.
            for rows in (sample[usual], sample[usual - 1]):
                add_gradients(loss, model, [rows], world, bfloat16=bfloat16)
    finally:
        for parameter in model.parameters():
            parameter.grad = None
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        restore_random_states(random)

    def in_training(*inputs: Any, **options: Any) -> Any:
        if not (inner.training and torch.is_grad_enabled()):
            return plain(*inputs, **options)
        with torch.compiler.set_stance("eager_on_recompile"):
            return compiled(*inputs, **options)

    setattr(inner, name, in_training)
    return time.perf_counter() - began


@contextmanager
def _replaced(inner: nn.Module, name: str, method: Callable[..., Any]) -> Iterator[None]:
    setattr(inner, name, method)
    try:
        yield
    finally:
        delattr(inner, name)


@contextmanager
def _compiling() -> Iterator[None]:
    """A context in which models are compiled, without messages. Raises UserError: a model cannot be compiled."""
    from torch._dynamo import config, exc  # half a second
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler, OperatorIssue
    from torch.fx.experimental.symbolic_shapes import ConstraintViolationError

    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        # No graph for each bucket of gradients, and none that depends on what other runs have seen.
        with config.patch(optimize_ddp=False, automatic_dynamic_local_pgo=False), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (exc.UserError, ConstraintViolationError) as error:
        raise UserError(
            "train.compile: torch.compile cannot compile this model for batches of all sizes; train without "
            "--train.compile"
        ) from error
    except (exc.TorchDynamoException, CppCompileError, InvalidCxxCompiler, OperatorIssue) as error:
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150]}"
        raise UserError(f"train.compile: torch.compile failed ({reason}); train without --train.compile") from error
    finally:
        logging.disable(disabled)


def _spread(batches: Callable[[int], Sequence[list[int]]]) -> list[list[int]]:
    """A few batches of the first epoch, or all of several epochs that have few."""
    first = batches(0)
    if len(first) >= _SAMPLE:
        return [first[len(first) * number // _SAMPLE] for number in range(_SAMPLE)]
    return [rows for epoch in range(1 + _SAMPLE // len(first)) for rows in batches(epoch)]


class _Sizes:
    """Which sizes of a model's inputs vary.

    Attributes:
        usual: the number of the batch to compile: one with inputs of the most frequent kind, and with sizes that
            differ most, since sizes that are equal, or different by one, may be taken for the same.

    Args:
        batches: the sizes of each batch; see `_sizes`.
    """

    def __init__(self, batches: Sequence[list[torch.Size | None]]):
        kinds = [tuple(None if one is None else len(one) for one in sizes) for sizes in batches]
        alike = [number for number, kind in enumerate(kinds) if kind == mode(kinds)]
        places = [(at, dim) for at, rank in enumerate(mode(kinds)) for dim in range(rank or 0)]

        def size(number: int, place: tuple[int, int]) -> int:
            shape = batches[number][place[0]]
            assert shape is not None
            return shape[place[1]]

        self._varying = [place for place in places if len({size(number, place) for number in alike}) > 1]

        def spread(number: int) -> tuple[bool, int]:
            sizes = [size(number, place) for place in self._varying]
            return min(sizes, default=2) > 1, len({one - less for one in sizes for less in (0, 1)})

        self.usual = max(alike, key=spread)

    def mark(self, inputs: Any) -> None:
        """Mark the sizes that vary in the ``inputs`` of the model."""
        leaves = dict(enumerate(tree_leaves(inputs)))
        for at, dim in self._varying:
            leaf = leaves.get(at)
            # Another process may have chosen the batch. A size of 1 is always compiled as it is.
            if isinstance(leaf, Tensor) and dim < leaf.dim() and leaf.shape[dim] > 1:
                torch._dynamo.mark_dynamic(leaf, dim)


class _Given(Exception):
    """The method was called with tensors of these ``sizes``."""

    def __init__(self, sizes: list[torch.Size | None]):
        super().__init__()
        self.sizes = sizes


def _sizes(inner: nn.Module, name: str, loss: LossFunction, rows: list[int], world: World) -> list[torch.Size | None]:
    """The shapes of the tensors, and None for the rest, that a method of the model gets for a batch."""

    def record(*inputs: Any, **options: Any) -> None:
        raise _Given([leaf.shape if isinstance(leaf, Tensor) else None for leaf in tree_leaves((inputs, options))])

    def without_hooks(*inputs: Any, **options: Any) -> Any:
        return inner.forward(*inputs, **options)

    try:
        with _replaced(inner, name, record):
            loss(without_hooks, rows, world)  # type: ignore[arg-type]
    except _Given as given:
        return given.sizes
    raise AssertionError(f"the loss does not call {type(inner).__name__}.{name}")
