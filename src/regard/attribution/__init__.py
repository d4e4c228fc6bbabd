"""Attributions: how much of a model's result comes from each position of its input, and whether that is believable."""

from regard.attribution.heads import head_ablation, head_importance
from regard.attribution.methods import METHODS, attribute
from regard.attribution.scores import BINS, Curves, Scores, curves, hit_rate, replaced, score

__all__ = [
    "BINS",
    "METHODS",
    "Curves",
    "Scores",
    "attribute",
    "curves",
    "head_ablation",
    "head_importance",
    "hit_rate",
    "replaced",
    "score",
]
