"""What to see of one attention call, and what was seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from regard.kernels.backends import Backend
from regard.kernels.plan import Plan


@dataclass(frozen=True, eq=False)
class Look:
    """What to see of an attention call; each is exact, computed without ever holding all Lq × Lk weights.

    Attributes:
        lse: the log-sum-exp of each query's scores.
        entropy: how spread each query's weights are, in nats.
        received: how much weight each key was given in all.
        top: how many of each query's largest weights, 0 for none.
        rows: the queries whose weights are wanted whole: indices, negative ones count from the end, or a slice;
            ``slice(None)`` is every query, and then the memory is Lq × Lk.
    """

    lse: bool = False
    entropy: bool = False
    received: bool = False
    top: int = 0
    rows: Sequence[int] | Tensor | slice | None = None


class Top(NamedTuple):
    """The largest weights of each query, largest first.

    ``weights`` ``(B, H, Lq, top)``; ``keys``, int64, of the same shape, −1 where a query sees fewer keys.
    """

    weights: Tensor
    keys: Tensor


class View:
    """What a `Look` asked for, outside the gradient. An attribute that was not asked for raises AttributeError.

    Leading dimensions that the query did not have are missing here too.
    """

    def __init__(self, found: dict[str, Tensor], shape: Callable[[Tensor], Tensor]):
        self._found = {name: shape(tensor) for name, tensor in found.items()}

    def _get(self, name: str, ask: str) -> Tensor:
        if name not in self._found:
            raise AttributeError(f"this view holds no {name}: ask for it with look=Look({ask})")
        return self._found[name]

    @property
    def lse(self) -> Tensor:
        """``(B, H, Lq)``: log Σ exp(score) over the visible keys, −∞ where there is none."""
        return self._get("lse", "lse=True")

    @property
    def entropy(self) -> Tensor:
        """``(B, H, Lq)``: −Σ w ln w in nats; 0 is one key, ln n is n keys alike, 0 where no key is visible."""
        return self._get("entropy", "entropy=True")

    @property
    def received(self) -> Tensor:
        """``(B, H, Lk)``: the weight that each key was given, summed over the queries."""
        return self._get("received", "received=True")

    @property
    def top(self) -> Top:
        """The largest weights of each query and their keys."""
        return Top(self._get("top_weights", "top=3"), self._get("top_keys", "top=3"))

    @property
    def rows(self) -> Tensor:
        """``(B, H, R, Lk)``: the whole weights of the R queries asked for, in the order asked."""
        return self._get("rows", "rows=slice(None)")

    def __repr__(self) -> str:
        return f"View({', '.join(f'{name} {tuple(tensor.shape)}' for name, tensor in self._found.items())})"


def check(look: Look, queries: int, keys: int, device: torch.device) -> Tensor | None:
    """The queries whose rows are wanted, as int64 indices on ``device``.

    Raises:
        TypeError: ``rows`` are not integers.
        ValueError: ``top`` is negative or above the number of keys, or a row does not exist.
    """
    if not 0 <= look.top <= keys:
        raise ValueError(f"look: Look.top must be from 0 to the number of keys, {keys}, got {look.top}")
    if look.rows is None:
        return None
    if isinstance(look.rows, slice):
        return torch.arange(queries, device=device)[look.rows]
    rows = torch.as_tensor(look.rows, device=device)
    if rows.dim() != 1 or (rows.numel() and (rows.is_floating_point() or rows.dtype is torch.bool)):
        raise TypeError(f"look: Look.rows must be a slice or whole numbers in one dimension, got {look.rows!r}")
    rows = rows.to(torch.int64)
    if not torch.compiler.is_compiling() and rows.numel() and not -queries <= rows.min() <= rows.max() < queries:
        raise ValueError(f"look: Look.rows must be from {-queries} to {queries - 1}, got {rows.tolist()}")
    return rows % max(1, queries)


def see(look: Look, plan: Plan, backend: Backend, lse: Tensor, shape: Callable[[Tensor], Tensor]) -> View:
    """Compute what ``look`` asks of ``plan``; ``lse`` is the forward pass's; ``shape`` gives results their rank."""
    rows = check(look, plan.query.shape[2], plan.key.shape[2], plan.query.device)
    wanted = {name for name in ("lse", "entropy", "received") if getattr(look, name)}
    wanted |= ({"top_weights", "top_keys"} if look.top else set()) | ({"rows"} if rows is not None else set())
    found = {"lse": lse.detach()}
    if wanted - {"lse"}:
        with torch.no_grad():
            found = backend.statistics(plan, top=look.top, rows=rows) | found
    return View({name: found[name] for name in found if name in wanted}, shape)
