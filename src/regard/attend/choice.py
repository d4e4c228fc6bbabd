"""Which backend would run a call, and why the others would not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from regard.attend.attention import lower
from regard.kernels import backends


@dataclass(frozen=True)
class Choice:
    """The backend that would run a call; as text, a table.

    Attributes:
        chosen: the backend's name; None: the pinned backend cannot run the call.
        reasons: for each backend, most preferred first, why it cannot run the call; None: it can.
        pinned: the backend that is pinned, and what pins it; None: no backend is pinned.

    Example:
        >>> import torch
        >>> from regard import explain_choice
        >>> query = torch.randn(4, 8)
        >>> choice = explain_choice(query, query, query, backend="reference")
        cpu ...
        → reference  runs this call
        backend selects reference
        >>> choice.chosen, choice.reasons["reference"], choice.pinned
        ('reference', None, ('reference', 'backend'))
    """

    chosen: str | None
    reasons: dict[str, str | None]
    pinned: tuple[str, str] | None

    def __str__(self) -> str:
        width = max(map(len, self.reasons))
        lines = []
        for name, reason in self.reasons.items():
            sign = "→" if name == self.chosen else " "
            text = reason if reason is not None else ("runs this call" if name == self.chosen else "could run it too")
            lines.append(f"{sign} {name:<{width}}  {text}")
        if self.pinned is not None:
            lines.append(f"{self.pinned[1]} selects {self.pinned[0]}")
        return "\n".join(lines)


def explain_choice(query: Tensor, key: Tensor, value: Tensor, *, backend: str | None = None, **options: Any) -> Choice:
    """Print which backend would run ``attention(query, key, value, …)``, and why the others cannot or do not.

    Args:
        query: as for `regard.attention`, like all others.
        key: likewise.
        value: likewise.
        backend: likewise.
        options: likewise; ``look`` makes no difference.

    Returns:
        The same as a `Choice`.

    Raises:
        TypeError: as `regard.attention`.
        ValueError: as `regard.attention`, except that a call that no backend can run is not an error here.

    Example:
        >>> import torch
        >>> from regard import Additive
        >>> query, key, value = torch.randn(4, 8), torch.randn(4, 8), torch.randn(4, 8)
        >>> choice = explain_choice(query, key, value, score=Additive(torch.randn(8)), backend="reference")
        cpu ...
        → reference  runs this call
        backend selects reference
        >>> choice.chosen
        'reference'
    """
    options.pop("look", None)
    plan, _ = lower(query, key, value, **options)
    reasons = {each.name: each.refuse(plan) for each in backends.BACKENDS}
    pinned = (backend, "backend") if backend is not None else backends.pinned()
    if pinned is not None and pinned[0] not in reasons:
        backends.choose(plan, backend)  # raises: no backend has that name
    allowed = reasons if pinned is None else {pinned[0]: reasons[pinned[0]]}
    choice = Choice(next((name for name, reason in allowed.items() if reason is None), None), reasons, pinned)
    print(choice)
    return choice
