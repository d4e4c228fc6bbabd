"""The options of ``regard look hf:MODEL``; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PREFIX = "hf:"
"""What the name of a model of Hugging Face begins with on the command line."""

ITEM = "A text, or for a model of images or sounds an image or a sound file."


@dataclass(frozen=True)
class LookOptions:
    """Options of ``regard look hf:MODEL``."""

    layer: int | None = None
    """Number of the layer, counted from 0, or from the end if negative; by default the mean of all layers."""
    head: int | None = None
    """Number of the head, counted from 0; by default the mean of all heads."""
    attention: Literal["encoder", "decoder", "cross"] | None = None
    """Which attention of an encoder–decoder: encoder (input to input), decoder (output to output) or cross (output to
    input); by default cross."""
    target: str | None = None
    """Output text of an encoder–decoder; by default what the model writes."""
