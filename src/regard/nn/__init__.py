"""Layers built from `regard.attention`, and other parts of the package's models."""

from regard.nn.additive import AdditiveAttention
from regard.nn.cache import KVCache
from regard.nn.cross_entropy import linear_cross_entropy
from regard.nn.dropout import Dropout, SequenceDropout
from regard.nn.feedforward import FeedForward
from regard.nn.gru import GRU
from regard.nn.image import CBAM, Gates, SelfAttention2d, SqueezeExcitation
from regard.nn.learned import Learned
from regard.nn.location import LocationAwareAttention
from regard.nn.luong import LuongAttention
from regard.nn.multihead import MultiHeadAttention
from regard.nn.normalization import RMSNorm
from regard.nn.packed import packed_bytes, packed_linears
from regard.nn.pooling import AttentionPooling
from regard.nn.positions import LearnedPositions, Rotary, SinusoidalPositions
from regard.nn.projected import HardAttention, SoftAttention, VariationalAttention, reinforce
from regard.nn.scaling import Scaling
from regard.nn.sound import Cepstra, LogMel
from regard.nn.step_linear import StepLinear

__all__ = [
    "CBAM",
    "GRU",
    "AdditiveAttention",
    "AttentionPooling",
    "Cepstra",
    "Dropout",
    "FeedForward",
    "Gates",
    "HardAttention",
    "KVCache",
    "Learned",
    "LearnedPositions",
    "LocationAwareAttention",
    "LogMel",
    "LuongAttention",
    "MultiHeadAttention",
    "RMSNorm",
    "Rotary",
    "Scaling",
    "SelfAttention2d",
    "SequenceDropout",
    "SinusoidalPositions",
    "SoftAttention",
    "SqueezeExcitation",
    "StepLinear",
    "VariationalAttention",
    "linear_cross_entropy",
    "packed_bytes",
    "packed_linears",
    "reinforce",
]
