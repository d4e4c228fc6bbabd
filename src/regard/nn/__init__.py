"""Layers built from `regard.attention`."""

from regard.nn.additive import AdditiveAttention
from regard.nn.gru import GRU
from regard.nn.luong import LuongAttention

__all__ = ["GRU", "AdditiveAttention", "LuongAttention"]
