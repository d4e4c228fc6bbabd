"""Layers built from `regard.attention`, and what recurrent models need beside them."""

from regard.nn.additive import AdditiveAttention
from regard.nn.cross_entropy import linear_cross_entropy
from regard.nn.dropout import SequenceDropout
from regard.nn.gru import GRU
from regard.nn.luong import LuongAttention
from regard.nn.step_linear import StepLinear

__all__ = ["GRU", "AdditiveAttention", "LuongAttention", "SequenceDropout", "StepLinear", "linear_cross_entropy"]
