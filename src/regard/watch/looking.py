"""`looking`: the views of all attentions that a module computes, by the name of the layer and the number of a call."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from regard.attend import Look, View
from regard.watch.modules import in_backward, unseen, watched


class Seen(Mapping[tuple[str, int], View]):
    """Views by the name of the module that computed the attention, and the number of its call from 0.

    The name is that of `torch.nn.Module.named_modules`, of the innermost module; ``""`` is the model itself.

    Attributes:
        missed: the names of modules that ran, are an attention by the name of their class, and made no call that could
            be seen, because they compute it in their own way. Known after the block.
    """

    def __init__(self, look: Look, inputs: bool, last: int | None):
        self.missed: tuple[str, ...] = ()
        self._look, self._inputs, self._last = look, inputs, last
        self._views: dict[str, deque[tuple[int, View]]] = {}
        self._counts: dict[str, int] = {}
        self._stack: list[str] = []
        self._ran: dict[str, bool] = {}

    @property
    def modules(self) -> tuple[str, ...]:
        """The names of the modules that computed an attention, in the order of their first calls."""
        return tuple(self._views)

    def of(self, module: str) -> list[View]:
        """The views of a module, in the order of its calls. Raises KeyError: it computed no attention."""
        return [view for _, view in self._views[module]]

    def __getitem__(self, key: tuple[str, int]) -> View:
        module, call = key
        for number, view in self._views[module]:
            if number == call:
                return view
        raise KeyError(key)

    def __iter__(self) -> Iterator[tuple[str, int]]:
        for module, views in self._views.items():
            for number, _ in views:
                yield module, number

    def __len__(self) -> int:
        return sum(map(len, self._views.values()))

    def __repr__(self) -> str:
        return f"Seen({len(self):,} calls of {len(self._views):,} modules)"

    def look(self) -> Look | None:
        """See `regard.attend.watching.Watcher`: nothing outside of the model."""
        return self._look if self._stack else None

    def record(self, view: View, output: Tensor) -> None:
        """See `regard.attend.watching.Watcher`; a forward pass that a backward pass repeats is not recorded again."""
        if in_backward():
            return
        name = self._stack[-1]
        for module in self._stack:
            self._ran[module] = True
        number = self._counts.get(name, 0)
        self._counts[name] = number + 1
        views = self._views.setdefault(name, deque(maxlen=self._last))
        views.append((number, view if self._inputs else view.without_inputs()))

    def enter(self, name: str) -> None:
        """A module begins."""
        self._stack.append(name)
        self._ran.setdefault(name, False)

    def leave(self) -> None:
        """The module that began last ends."""
        self._stack.pop()

    def finish(self, model: nn.Module) -> None:
        """Say which attentions could not be seen, innermost modules only."""
        kinds = unseen(model, self._ran)
        self.missed = tuple(
            name for name in kinds if not any(other.startswith(f"{name}.") for other in kinds if other != name)
        )
        if self.missed or not self:
            names = ", ".join(f"{name} ({kinds[name]})" for name in self.missed[:3])
            more = f" and {len(self.missed) - 3:,} more" if len(self.missed) > 3 else ""
            what = f"of {names}{more}" if names else f"of {type(model).__name__}"
            warnings.warn(
                f"looking: no call of attention {what} could be seen; only those of regard, of PyTorch's "
                "scaled_dot_product_attention and of MultiheadAttention can; a model of transformers can be loaded "
                "with attn_implementation='sdpa' or 'regard'",
                stacklevel=4,
            )


@contextmanager
def looking(
    model: nn.Module,
    look: Look = Look(entropy=True, received=True),  # noqa: B008 - frozen
    *,
    inputs: bool = False,
    last: int | None = None,
) -> Iterator[Seen]:
    """In this block, collect a view of every attention that a module computes.

    The attentions may be layers of `regard.nn`, calls of `regard.attention`, PyTorch's ``MultiheadAttention`` and
    ``F.scaled_dot_product_attention``, and so those of most models of Hugging Face. Inside of the block, all are
    computed by `regard.attention`; the outputs are the same up to rounding, and no matrix of weights is made. A
    compiled model runs without its graphs. A forward pass that activation checkpointing repeats is not seen again.

    Args:
        model: the module.
        look: what to report about each call; a map and a number of largest weights are at most those of the call.
        inputs: keep queries and keys, too, so that `View.tile` can compute exact weights afterwards. By default the
            memory is that of the statistics.
        last: keep only so many calls of each module, the last ones, such as when text is generated; None: all.

    Yields:
        The views, as soon as they are computed.

    Raises:
        ValueError: `last` is not positive; or, in the forward pass, the look is not defined for an attention.

    Example:
        >>> import torch
        >>> from regard import Look, looking
        >>> model = torch.nn.TransformerEncoderLayer(16, 4, batch_first=True).eval()
        >>> with looking(model, Look(entropy=True)) as seen:
        ...     output = model(torch.randn(2, 5, 16))
        >>> seen["self_attn", 0]
        View(entropy (2, 4, 5))
    """
    if last is not None and last < 1:
        raise ValueError(f"last: must be positive, got {last}")
    seen = Seen(look, inputs, last)

    def enter(name: str) -> Any:
        return lambda module, arguments, named: seen.enter(name)

    def leave(module: nn.Module, arguments: Any, output: Any) -> None:
        seen.leave()

    with watched(model, seen, enter, leave):
        yield seen
    seen.finish(model)
