"""The attention of a whole model: all layers and heads with the tokens, in files, and as images."""

from regard.views.drawings import draw_alignment, draw_on_image, draw_on_sound, draw_row
from regard.views.layer import LayerView, Words
from regard.views.model_view import STATISTICS, ModelView
from regard.views.plots import draw_entropy, draw_grid, draw_map, draw_received
from regard.views.saved import load
from regard.views.tokens import Tokens

__all__ = [
    "STATISTICS", "LayerView", "ModelView", "Tokens", "Words", "draw_alignment", "draw_entropy", "draw_grid",
    "draw_map", "draw_on_image", "draw_on_sound", "draw_received", "draw_row", "load",
]  # fmt: skip
