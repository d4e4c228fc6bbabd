"""The attention of a whole model: all layers and heads with the tokens, in files, and as images."""

from regard.views.layer import LayerView, Words
from regard.views.model_view import STATISTICS, ModelView
from regard.views.plots import draw_entropy, draw_grid, draw_map, draw_received
from regard.views.saved import load
from regard.views.tokens import Tokens

__all__ = [
    "STATISTICS", "LayerView", "ModelView", "Tokens", "Words", "draw_entropy", "draw_grid", "draw_map", "draw_received",
    "load",
]  # fmt: skip
