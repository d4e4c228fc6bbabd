"""The one function for every attention mechanism, and the values that describe a mechanism."""

from regard.attend.attention import attention
from regard.attend.biases import ALiBi, Bias, RelativeBias
from regard.attend.choice import Choice, explain_choice
from regard.attend.look import Look, Norms, Pooled, Top, View
from regard.attend.masks import BlockSparse, Causal, Documents, Lengths, Prefix, Window
from regard.attend.normalizers import Dropout, Entmax, Hard, Normalizer, Sigmoid, Softmax, Sparsemax, TopK, Variational
from regard.attend.scores import Additive, Bilinear, Cosine, Distance, Dot, Score, Softcap
from regard.attend.visible import Boolean, Mask
from regard.kernels.backends import use_backend

__all__ = [
    "ALiBi",
    "Additive",
    "Bias",
    "Bilinear",
    "BlockSparse",
    "Boolean",
    "Causal",
    "Choice",
    "Cosine",
    "Distance",
    "Documents",
    "Dot",
    "Dropout",
    "Entmax",
    "Hard",
    "Lengths",
    "Look",
    "Mask",
    "Normalizer",
    "Norms",
    "Pooled",
    "Prefix",
    "RelativeBias",
    "Score",
    "Sigmoid",
    "Softcap",
    "Softmax",
    "Sparsemax",
    "Top",
    "TopK",
    "Variational",
    "View",
    "Window",
    "attention",
    "explain_choice",
    "use_backend",
]
