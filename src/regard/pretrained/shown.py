"""The attention of a model of Hugging Face to one input: in the terminal, as an image, and as JSON."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.cells import cell_len
from rich.console import Console
from torch import Tensor

from regard.explain.alignment import Alignment
from regard.explain.documents import grid
from regard.explain.draw import save_picture
from regard.explain.overlay import save_overlay
from regard.explain.pictures import png
from regard.explain.terminal import isolated
from regard.files import is_page
from regard.pretrained.sound import Heard
from regard.viewer.document import Axis, Document
from regard.viewer.page import write_page
from regard.views import LayerView, ModelView, draw_grid, draw_map
from regard.views.document import document_of

_NAMED, _LISTED = 3, 10
"""How many keys are named for each token, in the terminal and in JSON."""
_LINES = 60
"""The largest number of tokens that are shown in the terminal."""
_ALIGNED = 96
"""The largest number of tokens on a side of an image that names them."""
_CHUNK = 1 << 22
"""Weights that are computed at once."""


@dataclass(frozen=True, eq=False)
class PretrainedLook:
    """The attention of a model to one input.

    Attributes:
        name: of the model.
        view: all layers and heads.
        layers: those that are shown: one, or several of one kind, of which the mean is shown.
        head: the head that is shown; None: the mean of all.
        numbers: of the layers that are shown, for the title.
        image: uint8 ``(3, H, W)``; None: the input is a text.
        grid: the rows and columns of the patches of an image, which are the last tokens; None: there are none.
        missed: the names of modules whose attention could not be seen.
        sound: what was heard; None: the input is no sound.
    """

    name: str
    view: ModelView
    layers: tuple[LayerView, ...]
    head: int | None
    numbers: str
    image: np.ndarray | None = None
    grid: tuple[int, int] | None = None
    missed: tuple[str, ...] = ()
    sound: Heard | None = None

    @property
    def title(self) -> str:
        """What is shown, in a line."""
        heads = "mean of all heads" if self.head is None else f"head {self.head}"
        return f"{self.name}: {self.numbers}, {heads}"

    def rows(self, queries: Tensor) -> Tensor:
        """The weights of some queries, the mean over what is shown, ``(R, Lk)``."""
        total = torch.zeros(len(queries), len(self.layers[0].keys))
        for layer in self.layers:
            rows = layer.rows(queries)
            total += (rows.mean(0) if self.head is None else rows[self.head]).float().cpu() / len(self.layers)
        return total

    def strongest(self, count: int, queries: int) -> tuple[Tensor, Tensor]:
        """The largest weights of the first queries, and their keys, each ``(queries, count)``, largest first."""
        first = self.layers[0]
        step = max(1, _CHUNK // (first.heads * max(1, len(first.keys))))
        parts = [self.rows(some).topk(min(count, len(first.keys))) for some in torch.arange(queries).split(step)]
        return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])

    def show(self, console: Console) -> None:
        """Print for each token those that it attended to most; for an image the patches of the class token, and for a
        sound a bar for what each part receives."""
        if self.sound is not None:
            lines = [self.title, *self.sound.timeline(self.layers, self.head).lines()]
        else:
            lines = [self.title, *self._tokens()]
        if self.missed:
            lines.append(f"not seen, because they compute attention in their own way: {', '.join(self.missed)}")
        for line in lines:
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _tokens(self) -> list[str]:
        """A line for each token, and one about sinks."""
        lines = []
        first = self.layers[0]
        count = 1 if self.image is not None else min(_LINES, len(first.queries))
        names = max((cell_len(text) for text in first.queries.texts[:count]), default=0)
        weights, keys = self.strongest(_NAMED, count)
        for at in range(count):
            text = first.queries.texts[at]
            most = (
                f"{isolated(first.keys.texts[key])} {weight:.0%}"
                for weight, key in zip(weights[at].tolist(), keys[at].tolist(), strict=True)
                if weight >= 0.005
            )
            lines.append(f"{' ' * (names - cell_len(text))}{isolated(text)} ← {', '.join(most)}")
        if count < len(first.queries) and self.image is None:
            lines.append(f"… and {len(first.queries) - count:,} more tokens; --json has all")
        return [*lines, self._sinks()]

    def _sinks(self) -> str:
        """Which part of the weights is on the first token and on logits without a value."""
        first, logit = torch.stack(
            [torch.stack([part.mean() for part in layer.view.sinks]) for layer in self.layers]
        ).mean(0)
        text = f"on the first token ({isolated(self.layers[0].keys.texts[0])}): {first:.0%} of all weights"
        return f"{text}; on the sink: {logit:.0%}" if logit > 0 else text

    def document(self) -> Document:
        """What the viewer shows: all layers and heads, or those that were chosen."""
        some = self.head is not None or len(self.layers) == 1
        numbers = [at for at, layer in enumerate(self.view.layers) if layer in self.layers] if some else None
        heads = None if self.head is None else [self.head]
        notes = [f"Not seen, because they compute attention in their own way: {', '.join(self.missed)}."]
        shown = document_of(
            self.view, title=self.title if some else self.name, notes=notes if self.missed else (), layers=numbers,
            heads=heads,
        )  # fmt: skip
        return replace(shown, axes=[self._with_places(axis) for axis in shown.axes])

    def _with_places(self, axis: Axis) -> Axis:
        """An axis with places: of a sound, the moments; of an image, the patches, which are its last tokens."""
        if self.sound is not None and len(axis.labels) == len(self.layers[0].keys):
            return self.sound.timeline(self.layers, self.head).keys()["attention"][0]
        if self.image is None or self.grid is None or len(axis.labels) != len(self.layers[0].keys):
            return axis
        patches = grid(self.grid, png(self.image))
        others = len(axis.labels) - len(patches.labels)
        return replace(
            patches, labels=(*axis.labels[:others], *patches.labels), places=(None,) * others + (*patches.places,)
        )

    def save(self, path: str | Path) -> None:
        """Draw an image: of a chosen layer or head, or all of them in a grid; of an image, where it was looked at; of a
        sound, when it was listened to.

        A name that ends in ``.html`` is that of an interactive page: see `ModelView.save`.

        Raises:
            UserError: the file has another ending than ``.png``, ``.svg`` and ``.html``, or cannot be written.
        """
        path, first = Path(path), self.layers[0]
        if is_page(path):
            with Console(stderr=True).status(f"writing {path}"):  # on a terminal only
                write_page(self.document(), path)
        elif self.sound is not None:
            self.sound.timeline(self.layers, self.head).save(path, title=self.title)
        elif self.image is not None and self.grid is not None:
            places = self.rows(torch.tensor([0]))[0, -self.grid[0] * self.grid[1] :].view(self.grid)
            save_overlay(self.image, places.numpy(), path, title=f"{self.title}, from {first.queries.texts[0]}")
        elif self.head is None and len(self.layers) > 1:
            draw_grid(ModelView.of(self.layers), path)
        elif max(len(first.queries), len(first.keys)) <= _ALIGNED:
            weights = self.rows(torch.arange(len(first.queries))).numpy()
            save_picture(Alignment(first.keys.texts, first.queries.texts, weights), path, title=self.title)
        else:
            draw_map(self.layers, path, head=self.head, title=self.title)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The tokens; with ``attention``, the keys with the largest weights of each token, at most ten."""
        first = self.layers[0]
        result: dict[str, Any] = {
            "model": self.name, "layers": [layer.module for layer in self.layers], "head": self.head,
            "queries": list(first.queries.texts), "keys": list(first.keys.texts),
        }  # fmt: skip
        if attention:
            weights, keys = (part.tolist() for part in self.strongest(_LISTED, len(first.queries)))
            result["strongest"] = [
                [{"key": key, "weight": weight} for weight, key in zip(*pair, strict=True)]
                for pair in zip(weights, keys, strict=True)
            ]
        return result
