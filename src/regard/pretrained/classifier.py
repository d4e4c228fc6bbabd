"""A classifier of texts of Hugging Face, from a folder or from the hub, with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from regard.attribution.compared import Case, Explainable
from regard.errors import UserError, require
from regard.integrations.transformers.enabling import NAME, enable
from regard.pretrained.loading import attempt, first_line, load_tokenizer, options_for, quiet


@dataclass(frozen=True)
class Encoded:
    """A text as the arguments of a model, a batch of one.

    Attributes:
        inputs: by name.
        candidates: boolean ``(L,)``: the tokens that are not special ones.
        cut: whether the text is longer than what the model takes.
    """

    inputs: dict[str, Tensor]
    candidates: Tensor
    cut: bool


class Classifier:
    """A model and its tokenizer. No code of the model's repository is run.

    Args:
        name: a folder, or a name on the hub.

    Attributes:
        model: in evaluation mode, with regard's attention.
        labels: the names of the classes.
        replacement: the token that stands for removed ones: the tokenizer's mask, or else its unknown token, or the one
            that ends a text.

    Raises:
        UserError: transformers is not installed, there is no such classifier, or it cannot run with regard's attention.
    """

    def __init__(self, name: str):
        transformers = require("transformers", "hf", "explaining a classifier of Hugging Face")
        enable()
        where, options = options_for(name)
        kind = transformers.AutoModelForSequenceClassification
        with quiet(transformers):
            self._tokenizer = load_tokenizer(name)
            model, report = attempt(
                name,
                "as a classifier of texts it",
                lambda: kind.from_pretrained(
                    where, use_safetensors=True, attn_implementation=NAME, output_loading_info=True, **options
                ),
            )
        if report["missing_keys"]:
            raise UserError(
                f"{name}: is no classifier, its file has no {sorted(report['missing_keys'])[0]}; fine-tune it first"
            )
        self.model: Any = model.eval()
        # With it, a model would look for padding, which single texts do not have.
        self.model.config.get_text_config().pad_token_id = -1
        self.labels = tuple(str(self.model.config.id2label[at]) for at in range(self.model.config.num_labels))
        tokens = (self._tokenizer.mask_token, self._tokenizer.unk_token, self._tokenizer.eos_token)
        known = next((token for token in tokens if token is not None), None)
        if known is None:
            raise UserError(f"{name}: its tokenizer has no mask, no unknown token and none that ends a text")
        self.replacement: str = known
        try:
            with torch.no_grad():
                self.model(**self.encode(known).inputs)
        except TypeError as error:  # a class with an attention of its own, which does not know regard's masks
            kind = type(self.model).__name__
            raise UserError(f"{name}: {kind} cannot run with regard's attention: {first_line(str(error))}") from None

    def encode(self, text: str) -> Encoded:
        """The tokens of a text, cut to what the model takes."""
        most = min(self._tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 1 << 20))
        encoded = self._tokenizer(text, truncation=True, max_length=most, return_special_tokens_mask=True)
        whole = self._tokenizer(text, verbose=False)["input_ids"]
        special = torch.tensor(encoded.pop("special_tokens_mask"), dtype=torch.bool)
        inputs = {name: torch.tensor([row]) for name, row in encoded.items()}
        return Encoded(inputs, ~special, len(whole) > len(special))

    def explainable(self, texts: Sequence[str], labels: Sequence[int]) -> Explainable:
        """What the model says about texts, with the numbers of the right classes."""
        encoded = [self.encode(text) for text in texts]
        with torch.inference_mode():
            predicted = [int(self.model(**one.inputs).logits.argmax()) for one in encoded]
        right = sum(one == label for one, label in zip(predicted, labels, strict=True))
        notes = [
            f"{right:,} of {len(texts):,} classified as labelled",
            f"removed tokens are replaced by {self.replacement}",
        ]
        if cut := sum(one.cut for one in encoded):
            notes.append(f"cut, because the model takes no more: {cut:,} of {len(texts):,} texts")
        cases = [Case(one.inputs, one.candidates) for one in encoded]
        number = int(self._tokenizer.convert_tokens_to_ids(self.replacement))
        return Explainable(self.model, cases, number, "texts", notes)

    def number_of(self, label: str, source: str) -> int:
        """The number of a class, by its name in any case or by its number.

        Raises:
            UserError: the model has no such class.
        """
        names = [name.lower() for name in self.labels]
        if label.lower() in names:
            return names.index(label.lower())
        if label.isdecimal() and int(label) < len(names):
            return int(label)
        shown = ", ".join(self.labels[:8])
        raise UserError(f"{source}: the model has no class {label!r}, only {shown}, or a number from 0 on")
