"""Images with captions for training and validation, and what a run keeps of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data import split
from regard.data.captioned import Captioned, built_in_scenes, read_captioned
from regard.data.image_batches import Scale
from regard.data.word_features import Features, vocabulary, words_of
from regard.errors import UserError
from regard.tasks.families.rank.captioned_settings import CaptionedConfig
from regard.tasks.task import Notify, own_data
from regard.training import checkpoint
from regard.training.fingerprint import Fingerprint, Row

_FILE = "words.json"
_SET_ASIDE = 0.1
_MOST_SET_ASIDE = 1000
_PREDICTED = 1000
_LEAST, _LARGEST_SHARE = 3, 0.3


@dataclass(frozen=True)
class CaptionedSets:
    """Images with captions for training and for validation."""

    train: Captioned
    valid: Captioned


@dataclass(frozen=True)
class Kept:
    """What a run keeps of its training data beside the weights.

    Attributes:
        features: of the words of texts.
        predicted: the words that are predicted from an image in training.
        scale: the normalization of the pixels.
    """

    features: Features
    predicted: tuple[str, ...]
    scale: Scale


def read_sets(config: CaptionedConfig, seed: int, notify: Notify) -> CaptionedSets:
    """The images for training and for validation. Raises UserError: they cannot be used."""
    builtin = f"{config.builtin_scenes:,} generated scenes of shapes and digits"
    path = own_data(config.train, config.valid, builtin, "a part of the built-in scenes is set aside for it", notify)
    every = built_in_scenes(config.builtin_scenes, config.size, seed=seed) if path is None else read_file(path, config)
    for note in every.notes:
        notify(f"{path}: {note}")
    if every.parts:
        counts = Counter(every.parts)
        notify(f"{path}: {', '.join(f'{counts[part]:,} images for {part}' for part in counts)}")
    train = every.part("train") if every.parts else every
    if config.valid is not None:
        valid = read_file(config.valid, config)
        valid = valid.part("valid") if "valid" in valid.parts else valid
    elif "valid" in every.parts:
        valid = every.part("valid")
    else:
        # Equal images are set aside together.
        _, groups = np.unique(np.frombuffer(b"".join(train.keys), dtype="S16"), return_inverse=True)
        aside = split.by_group(groups, share=_SET_ASIDE, most=_MOST_SET_ASIDE, seed=seed)
        notify(split.notice(f"{aside.sum():,} of {len(train):,} images"))
        train, valid = train.select(np.flatnonzero(~aside).tolist()), train.select(np.flatnonzero(aside).tolist())
    for name, images in (("train", train), ("valid", valid)):
        if len(images) < 2:
            raise UserError(f"data.{name}: needs two images with captions or more, got {len(images)}")
    if shared := split.repeated(train.keys, valid.keys):
        notify(split.shared_notice(shared, len(valid), "images"))
    return CaptionedSets(train, valid)


def read_file(path: str, config: CaptionedConfig) -> Captioned:
    """Images with captions of a user's file."""
    return read_captioned(
        path, config.size, images=config.images, image_column=config.image_column,
        caption_column=config.caption_column, on_bad=config.on_bad,
    )  # fmt: skip


def fingerprint(sets: CaptionedSets) -> Fingerprint:
    """Identifies the images and their captions."""

    def rows(images: Captioned) -> Iterator[Row]:
        for key, texts in zip(images.keys, images.texts, strict=True):
            yield (key, *texts)

    return Fingerprint.of("images", rows(sets.train), rows(sets.valid))


def save_kept(folder: Path, train: Captioned, size: int, buckets: int) -> int:
    """Write what a new run keeps to its folder; returns the number of words with an embedding of their own.

    Words that are predicted are those of some images, but not of most: words such as "a" say nothing about an image.
    """
    split_texts = [[words_of(text) for text in texts] for texts in train.texts]
    words = vocabulary((text for texts in split_texts for text in texts), size=size, least=2)
    counts = Counter(word for texts in split_texts for word in {word.lower() for text in texts for word in text})
    most = _LARGEST_SHARE * len(train)
    predicted = [word for word, count in counts.most_common() if _LEAST <= count <= most and word[0].isalnum()]
    scale = Scale.of(train.pixels)
    content = {
        "vocabulary": words, "buckets": buckets, "predicted": predicted[:_PREDICTED], "mean": scale.mean,
        "deviation": scale.deviation,
    }  # fmt: skip
    checkpoint.write_json(folder / _FILE, content)
    return len(words)


def load_kept(run: Path) -> Kept:
    """What a run keeps. Raises UserError: the file is missing or damaged."""
    content = checkpoint.read_json(run / _FILE)
    try:
        features = Features(tuple(content["vocabulary"]), content["buckets"])
        return Kept(features, tuple(content["predicted"]), Scale(tuple(content["mean"]), tuple(content["deviation"])))
    except (KeyError, TypeError) as error:
        raise UserError(f"{run / _FILE}: is not what a run keeps of its captions ({error})") from error
