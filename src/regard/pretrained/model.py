"""`load`: a model of Hugging Face by folder or name, which can be looked into."""

from __future__ import annotations

import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from regard.errors import UserError, require
from regard.integrations.transformers import use
from regard.pretrained import inputs as making
from regard.pretrained.inputs import Inputs
from regard.pretrained.loading import SOUND, attempt, load_parts, quiet
from regard.pretrained.shown import PretrainedLook
from regard.views import STATISTICS, LayerView, ModelView, Tokens
from regard.views.model_view import CROSS
from regard.watch import Seen, looking


def load(name: str) -> PretrainedModel:
    """A model of Hugging Face from a folder or the hub.

    No code of the model's repository is run, and only safetensors are read, so nothing is unpickled.

    Args:
        name: a folder that ``save_pretrained`` wrote, or a name on the hub.

    Raises:
        UserError: there is no such model, it takes neither text nor images nor sounds, its weights are not safetensors,
            its tokenizer is missing, or the extra ``hf`` is not installed.
    """
    model, processor = load_parts(name)
    return PretrainedModel(name, model, processor)


@dataclass(frozen=True, eq=False)
class PretrainedModel:
    """A model of Hugging Face with what makes its inputs.

    Attributes:
        name: its folder or name.
        model: the model; an encoder–decoder with the head that writes, any other without a head; of sounds the encoder.
        processor: its tokenizer, image processor or feature extractor.
    """

    name: str
    model: Any
    processor: Any

    def look(
        self,
        item: str,
        *,
        layer: int | None = None,
        head: int | None = None,
        attention: str | None = None,
        target: str | None = None,
    ) -> PretrainedLook:
        """The attention to a text, an image or a sound.

        Args:
            item: the text, or the path of the image or the sound.
            layer: number of the layer, from 0; negative numbers count from the end; None: the mean of all.
            head: number of the head, from 0; None: the mean of all.
            attention: for an encoder–decoder: ``"encoder"``, ``"decoder"`` or ``"cross"``; None: cross.
            target: for an encoder–decoder: its output; None: what it writes.

        Raises:
            UserError: the input cannot be used, there is no such layer or head, or the model computes its attention in
                a way that cannot be seen.
        """
        takes = self.model.main_input_name
        two = bool(self.model.config.is_encoder_decoder) and takes not in SOUND
        for option, value in (("--attention", attention), ("--target", target)):
            if value is not None and not two:
                raise UserError(f"{option}: is for an encoder–decoder, which {self.name} is not")
        make = {"pixel_values": making.of_image, "input_ids": making.of_text}.get(takes, making.of_sound)
        waiting = Console(stderr=True).status(f"looking into {self.name}")  # on a terminal only
        with torch.inference_mode(), quiet(require("transformers", "hf", "looking")), waiting:
            inputs = make(self.name, self.model, self.processor, item)
            if two:
                inputs = making.with_target(self.name, self.model, self.processor, inputs, target)
            seen = self._seen(inputs)
        view = attempt(
            self.name, "this input", lambda: ModelView(seen, _tokens(inputs, seen), target=inputs.target)
        )  # fmt: skip
        layers, numbers = _chosen(view, attention or ("cross" if two else None), layer)
        if head is not None and not 0 <= head < layers[0].heads:
            raise UserError(f"--head: this model has heads 0 to {layers[0].heads - 1}, got {head}")
        patches = inputs.grid if inputs.grid and making.patches(inputs.grid, len(layers[0].keys)) else None
        return PretrainedLook(self.name, view, layers, head, numbers, inputs.image, patches, seen.missed, inputs.sound)

    def _seen(self, inputs: Inputs) -> Seen:
        with warnings.catch_warnings(action="ignore"):  # what is not seen is told below
            with suppress(ValueError):  # it has one attention only, which may be that of PyTorch
                use(self.model)
            with looking(self.model, STATISTICS, inputs=True) as seen:
                attempt(self.name, "this input", lambda: self.model(**inputs.given))
        if not seen:
            raise UserError(
                f"{self.name}: {type(self.model).__name__} computes its attention in code of its own, or has none; "
                "regard cannot look into it"
            )
        return seen


def _tokens(inputs: Inputs, seen: Seen) -> Tokens | None:
    count = max(view.shape[-1] for view in seen.values())
    if inputs.sound is not None:
        return inputs.sound.tokens(count)
    return inputs.tokens if inputs.grid is None else making.patches(inputs.grid, count)


def _chosen(view: ModelView, kind: str | None, layer: int | None) -> tuple[tuple[LayerView, ...], str]:
    """The layers of a kind, or one of them, and their numbers; without a kind, those of the largest group.

    Raises:
        UserError: there is no such layer.
    """
    groups = [of for name, of in view.groups.items() if kind is None or _kind(name) == kind]
    if not groups:
        raise UserError(f"--attention: no attention of the kind {kind} could be seen in this model")
    layers = max(groups, key=len)
    shape = layers[0].view.shape
    what = "layer" if kind is None else f"{kind} layer"
    if layer is None:
        layers = tuple(one for one in layers if one.view.shape == shape)
        return layers, f"mean of {len(layers)} {what}s" if len(layers) > 1 else f"{what} 0"
    if not -len(layers) <= layer < len(layers):
        raise UserError(f"--layer: this model has layers 0 to {len(layers) - 1}, got {layer}")
    return (layers[layer],), f"{what} {layer % len(layers)}"


def _kind(name: str) -> str:
    if CROSS.search(name):
        return "cross"
    return "decoder" if "decoder" in name else "encoder"
