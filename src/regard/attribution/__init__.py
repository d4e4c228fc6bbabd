"""Attributions: how much of a model's result comes from each position of its input."""

from regard.attribution.methods import METHODS, attribute

__all__ = ["METHODS", "attribute"]
