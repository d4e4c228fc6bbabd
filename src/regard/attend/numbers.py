"""Which arguments of a mechanism are whole numbers."""

from __future__ import annotations

from typing import TypeGuard

import torch


def is_whole(value: object) -> TypeGuard[int]:
    """Whether ``value`` is a whole number. True and False are not, although Python counts them as integers."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_whole_or_symbolic(value: object) -> TypeGuard[int]:
    """Whether ``value`` is a whole number, or one that a graph computes from a dynamic length."""
    return is_whole(value) or isinstance(value, torch.SymInt)
