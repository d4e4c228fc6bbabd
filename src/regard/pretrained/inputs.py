"""Inputs of a model of Hugging Face from a text or an image, with the tokens that they become."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from regard.data.image_files import read_image
from regard.data.lines import check_text
from regard.errors import UserError
from regard.pretrained.loading import attempt
from regard.pretrained.sound import Heard, heard
from regard.views import Tokens

_WRITTEN = 128
"""The largest number of tokens that an encoder–decoder writes."""
_EXTRA = 16
"""The largest number of tokens before those of the patches, such as a class token and registers."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model takes.

    Attributes:
        given: its arguments.
        tokens: those of the input; None: their number is not known.
        target: those of the output of an encoder–decoder; None: there is none.
        image: uint8 ``(3, H, W)``, as the model sees it; None: the input is a text.
        grid: the rows and columns of patches, which are the last tokens; None: there are none.
        sound: what is heard; None: the input is none.
    """

    given: dict[str, Any]
    tokens: Tokens | None
    target: Tokens | None = None
    image: np.ndarray | None = None
    grid: tuple[int, int] | None = field(default=None)
    sound: Heard | None = None


def of_text(name: str, model: Any, tokenizer: Any, text: str) -> Inputs:
    """Raises UserError: the text is empty, not UTF-8, or longer than the model takes."""
    check_text("text", text)
    ids = _ids(name, tokenizer, text)
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None:
        longest = min(longest, tokenizer.model_max_length)
    if not ids or (longest is not None and len(ids) > longest):
        most = "" if longest is None else f" to {longest:,}"
        raise UserError(f"text: expected 1{most} tokens, which {name} takes, got {len(ids):,}")
    known = getattr(model.config, "vocab_size", None)
    if known is not None and max(ids) >= known:
        raise UserError(f"{name}: its tokenizer has the token {max(ids):,}, but its weights only {known:,} tokens")
    return Inputs({"input_ids": torch.tensor([ids])}, tokens_of(tokenizer, ids))


def with_target(name: str, model: Any, tokenizer: Any, inputs: Inputs, target: str | None) -> Inputs:
    """The inputs of an encoder–decoder with those of its decoder: a text, or None for what the model writes.

    The tokens of the output are those that the decoder reads; each of its queries predicts the next one.
    """
    if target is not None:
        check_text("--target", target)
        start = model.config.decoder_start_token_id
        if start is None:
            raise UserError(f"{name}: its config.json has no decoder_start_token_id, which --target needs")
        ids = [start, *_ids(name, tokenizer, target)]
        ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id and len(ids) > 1 else ids
    else:
        most = min(_WRITTEN, getattr(model.config, "max_position_embeddings", _WRITTEN) - 1)
        written = attempt(name, "what it writes", lambda: model.generate(**inputs.given, max_new_tokens=most))
        ids = written[0, : max(1, written.shape[1] - 1)].tolist()
    given = inputs.given | {"decoder_input_ids": torch.tensor([ids])}
    return Inputs(given, inputs.tokens, tokens_of(tokenizer, ids))


def of_image(name: str, model: Any, processor: Any, path: str) -> Inputs:
    """Raises UserError: the file is missing, or not an image."""
    pixels = read_image(Path(path))
    given = attempt(
        name, "its image processor", lambda: processor(pixels.transpose(1, 2, 0), return_tensors="pt")
    )  # fmt: skip
    values: Tensor = given["pixel_values"]
    if values.dim() != 4:
        raise UserError(f"{name}: takes inputs of {values.dim()} dimensions, expected a model of single images")
    low, high = float(values.min()), float(values.max())
    seen = ((values[0].float() - low) / max(high - low, 1e-6) * 255).byte().numpy()
    if len(seen) != 3:
        seen = np.repeat(seen[:1], 3, 0)
    patch = getattr(model.config, "patch_size", None)
    tall, wide = (patch, patch) if isinstance(patch, int) else patch or (0, 0)
    grid = (values.shape[2] // tall, values.shape[3] // wide) if tall and wide else None
    return Inputs(dict(given), None, image=seen, grid=grid)


def of_sound(name: str, model: Any, extractor: Any, path: str) -> Inputs:
    """Raises UserError: see `heard`."""
    given, sound = heard(name, model, extractor, path)
    return Inputs(given, None, sound=sound)


def patches(grid: tuple[int, int], count: int) -> Tokens | None:
    """The tokens of an image, of ``count``; None: they are not a grid of patches after a few others."""
    rows, columns = grid
    extra = count - rows * columns
    if not 0 <= extra <= _EXTRA:
        return None
    first = ["CLS", *(f"extra {at}" for at in range(1, extra))][:extra]
    return Tokens.of([*first, *(f"{row},{column}" for row in range(rows) for column in range(columns))])


def tokens_of(tokenizer: Any, ids: list[int]) -> Tokens:
    """The tokens with these numbers, with the texts that they stand for."""
    names = tokenizer.convert_ids_to_tokens(ids)
    # Some models have more tokens than their tokenizers.
    pieces = [f"<{number}>" if piece is None else str(piece) for number, piece in zip(ids, names, strict=True)]
    shown = Tokens.of(pieces)
    texts = [_text(tokenizer, piece, own) for piece, own in zip(pieces, shown.texts, strict=True)]
    return Tokens(tuple(texts), shown.words)


def _text(tokenizer: Any, piece: str, own: str) -> str:
    """What a piece stands for; ``own`` is the piece without its marks."""
    text: str = tokenizer.convert_tokens_to_string([piece])
    if piece.startswith("##") or "\ufffd" in text or not text.strip(" "):
        return own
    return text.strip(" ").replace("\n", "⏎").replace("\t", "⇥")


def _ids(name: str, tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = attempt(name, "its tokenizer", lambda: tokenizer(text)["input_ids"])
    return ids
