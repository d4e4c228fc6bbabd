"""Matching images and texts: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from regard.data.gallery import Gallery
from regard.data.image_batches import augment
from regard.errors import UserError
from regard.models.matching import MatchingModel
from regard.tasks.exporting import Exportable
from regard.tasks.families.rank.captioned_sets import (
    CaptionedSets,
    fingerprint,
    load_kept,
    read_file,
    read_sets,
    save_kept,
)
from regard.tasks.families.rank.matcher import Matcher
from regard.tasks.families.rank.matching_evaluation import scores_of
from regard.tasks.families.rank.matching_trainable import MatchTrainable
from regard.tasks.inputs.images import save_example
from regard.tasks.inputs.images_and_texts import exportable
from regard.tasks.match.settings import MatchConfig
from regard.tasks.results import Scores
from regard.tasks.task import Notify, Task
from regard.training import checkpoint as checkpoints
from regard.training.defaults import bounded, epochs
from regard.training.fingerprint import Fingerprint, check_validation

_BATCHES_PER_EPOCH = 48
_SHOWN = 50
"""The number of scenes that the demo writes to files, to be searched."""


@dataclass(frozen=True)
class ImageTextMatcher(Matcher):
    """A trained model of images and texts, which can be exported."""

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`: from images and texts to the score of each pair."""
        return exportable(self.model, self.features, self.scale, self.size, self.longest)


class Match(Task[MatchConfig, CaptionedSets, Matcher]):
    """See `regard.tasks.task.Task`."""

    unit = "images"

    def read(self, config: MatchConfig, notify: Notify) -> CaptionedSets:
        """See `Task`."""
        return read_sets(config.data, config.train.seed, notify)

    def fingerprint(self, sets: CaptionedSets) -> Fingerprint:
        """See `Task`."""
        return fingerprint(sets)

    def defaults(self, config: MatchConfig, sets: CaptionedSets) -> Mapping[str, object]:
        """Settings by the number of images."""
        count = len(sets.train)
        batch = config.train.batch or bounded(count / _BATCHES_PER_EPOCH, 16, 128)
        return {"train.batch": batch, "train.epochs": epochs(400 + 20 * math.sqrt(count), count / batch)}

    def prepare(self, config: MatchConfig, sets: CaptionedSets, folder: Path, notify: Notify) -> None:
        """Write the words and the normalization of pixels."""
        count = save_kept(folder, sets.train, config.model.vocabulary, config.model.buckets)
        notify(f"vocabulary: {count:,} words")

    def untrained(self, config: MatchConfig, run: Path) -> Matcher:
        """A new model with random weights, with what a run's folder keeps."""
        kept, model = load_kept(run), config.model
        made = MatchingModel(
            kept.features.count, len(kept.predicted) if config.train.predict else 0, kind=model.kind,
            size=config.data.size, width=model.width, blocks=model.blocks, text=model.text,
            text_width=model.text_width, text_layers=model.text_layers, heads=model.heads, dim=model.dim,
            attention=model.attention != "none", dropout=model.dropout, word_dropout=model.word_dropout,
        )  # fmt: skip

        def own() -> Gallery:
            valid = self.read(config, lambda line: None).valid
            return Gallery(str(run), valid.names, valid.keys, valid.pixels)

        return ImageTextMatcher(made, kept.features, kept.scale, config.data.size, model.longest, own)

    def trainable(self, config: MatchConfig, run: Path, sets: CaptionedSets, notify: Notify) -> MatchTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        predicted = load_kept(run).predicted
        how = partial(augment, crop=config.augment.crop, flip=config.augment.flip, cutout=config.augment.cutout)
        return MatchTrainable(self.untrained(config, run), sets, predicted, config.train, how)

    def predictor(self, config: MatchConfig, run: Path, checkpoint: str) -> Matcher:
        """See `Task`."""
        matcher = self.untrained(config, run)
        checkpoints.fill(matcher.model, run, checkpoint)
        matcher.model.eval()
        return matcher

    def evaluate(
        self,
        matcher: Matcher,
        config: MatchConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        part: str | None = None,
        images: str | None = None,
        image_column: str | None = None,
        caption_column: str | None = None,
        on_bad: str | None = None,
    ) -> Scores:
        """R@1, R@5, R@10 and the median rank in both directions; for built-in scenes also where the words look.

        Raises:
            UserError: the images cannot be used, or the run's own have changed since training.
        """
        if path is None:
            if part not in (None, "valid"):
                raise UserError(f"--part: only with --data, since the run's validation images are scored, got {part}")
            sets = self.read(config, notify)
            check_validation(run, fingerprint(sets))
            return scores_of(matcher, sets.valid)
        given = {"image_column": image_column, "caption_column": caption_column, "on_bad": on_bad}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        images_and_captions = read_file(path, replace(config.data, **chosen, images=images))
        for note in images_and_captions.notes:
            notify(f"{path}: {note}")
        if images_and_captions.parts:
            names = ", ".join(dict.fromkeys(images_and_captions.parts))
            if part is None:
                raise UserError(f"{path}: is divided into {names}; name the part to score with --part")
            images_and_captions = images_and_captions.part(part)
        if len(images_and_captions) < 2:
            raise UserError(f"{path}: needs two images with captions or more to rank, got {len(images_and_captions)}")
        return scores_of(matcher, images_and_captions)

    def samples(self, matcher: Matcher, config: MatchConfig, sets: CaptionedSets) -> Sequence[str]:
        """A table of captions with the best image, and whether it is theirs."""
        valid = sets.valid
        gallery = Gallery("", valid.names, valid.keys, valid.pixels)
        vectors = matcher.image_vectors(valid.pixels)
        table = [("caption", "place of its image"), ("---",) * 2]
        for row in range(0, len(valid), max(1, len(valid) // 5)):
            text = valid.texts[row][0]
            order, _ = matcher.search(text, gallery, vectors)
            table.append((text, str(order.tolist().index(row) + 1)))
        return [f"| {' | '.join(cell.replace('|', '¦') for cell in line)} |" for line in table]

    def example(self, config: MatchConfig) -> str:
        """See `Task`."""
        return '"your text" --among FOLDER'

    def inputs(self, config: MatchConfig, folder: Path) -> list[str]:
        """Two captions of the validation set."""
        return [texts[0] for texts in self.read(config, lambda line: None).valid.texts[:2]]

    def finish_demo(self, matcher: Matcher, config: MatchConfig, run: Path, console: Console) -> str:
        """Write some scenes to files, search them for a caption, and draw where its words look."""
        folder, valid = run / "scenes", self.read(config, lambda line: None).valid
        folder.mkdir(exist_ok=True)
        files = [folder / f"{row + 1:02}.png" for row in range(min(_SHOWN, len(valid)))]
        for row, file in enumerate(files):
            save_example(valid.pixels[[row]][0], file)
        row = max(range(len(files)), key=lambda row: len(valid.texts[row][0]))
        text = valid.texts[row][0]
        console.print(f"{text} ({files[row]})", highlight=False, markup=False)
        for result in matcher.predict([text], among=str(folder), top=3):
            console.print(result.line().replace("\t", "\n"), highlight=False, markup=False)
        located = matcher.look(text, image=files[row])
        located.show(console)
        located.save(run / "words.png")
        return f"words      {run / 'words.png'}"
