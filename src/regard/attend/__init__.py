"""The one function for every attention mechanism, and the values that describe a mechanism."""

from regard.attend.attention import attention
from regard.attend.look import Look, Top, View
from regard.attend.masks import Boolean, Causal, Lengths, Mask
from regard.attend.normalizers import Normalizer, Softmax
from regard.attend.scores import Additive, Bilinear, Cosine, Dot, Score

__all__ = [
    "Additive",
    "Bilinear",
    "Boolean",
    "Causal",
    "Cosine",
    "Dot",
    "Lengths",
    "Look",
    "Mask",
    "Normalizer",
    "Score",
    "Softmax",
    "Top",
    "View",
    "attention",
]
