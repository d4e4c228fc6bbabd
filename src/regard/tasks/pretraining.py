"""What tasks need for pretraining: texts without labels, as masked tokens, and a model with little dropout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from regard.data.masking import Masking
from regard.data.padding import pad
from regard.data.plain import read_plain
from regard.data.tokenizer import PAD
from regard.models.masked import TokenEncoder
from regard.tasks.task import Notify
from regard.training.masked import MaskedTexts
from regard.training.pretrain_config import PretrainConfig

_DROPOUT = 0.1
"""The largest dropout of pretraining, which has more to learn than the training on few labels."""

Config = TypeVar("Config")


def light(config: Config, **model: float) -> Config:
    """The settings of a task, with little dropout in its model; ``model``: further settings of the model."""
    settings: Any = config
    lighter = replace(settings.model, dropout=min(settings.model.dropout, _DROPOUT), **model)
    changed: Config = replace(settings, model=lighter)
    return changed


def masked_tokens(
    encoder: TokenEncoder,
    texts: Sequence[Sequence[int]],
    config: PretrainConfig,
    *,
    size: int,
    special: int,
    begins: np.ndarray | None,
    window: int,
    seed: int,
    unit: str,
) -> MaskedTexts:
    """Texts whose masked tokens are restored by an encoder of padded tokens and lengths.

    Padding, which is recognized by the lengths, is in the place of hidden tokens.

    Args:
        encoder: what is pretrained.
        texts: the tokens of each text.
        size: of the vocabulary.
        special: the number of special tokens, which come first and are never masked.
        begins: see `Masking`.
        config, window, seed, unit: see `MaskedTexts`.

    Raises:
        UserError: there are too few texts.
    """
    tokens = [np.asarray(text, dtype=np.int64) for text in texts]
    targets = np.arange(size)
    targets[:special] = -1
    return MaskedTexts(
        encoder, tokens, Masking(PAD, targets, begins), _padded, config, window=window, seed=seed, unit=unit
    )


def _padded(parts: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    return pad([part.tolist() for part in parts], PAD)


def unlabelled(config: PretrainConfig, train: Iterable[str], valid: Iterable[str], notify: Notify) -> list[str]:
    """All different texts to pretrain on.

    Args:
        config: the settings of pretraining, with the file of more texts.
        train: the training texts.
        valid: the validation texts, which are left out of that file.
        notify: gets messages about the file.

    Raises:
        UserError: the file cannot be used.
    """
    texts = dict.fromkeys(train)
    if config.data is not None:
        more, notes = read_plain(config.data, config.column)
        held_out = set(valid) - texts.keys()
        left_out = sum(text in held_out for text in more)
        if left_out:
            notes.append(f"{config.data}: {left_out:,} texts are left out, since they are validation texts")
        texts |= dict.fromkeys(text for text in more if text not in held_out)
        for note in notes:
            notify(note)
    return list(texts)
