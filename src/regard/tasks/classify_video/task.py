"""Video classification: its model, the clips, and the moments and joints that decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.clips import ClipCodec, Clips, read_clips
from regard.data.ragged import Ragged
from regard.data.stretch import real, stretched
from regard.errors import UserError
from regard.models.video import STEP, ClipClassifier, OneLength, Watched
from regard.tasks.classify_video.settings import ClassifyVideoConfig
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.films import ClassifiedClip
from regard.tasks.families.classify.labeller import Labeller, load_classes, save_classes
from regard.tasks.families.classify.task import ClassifyTask, PartName
from regard.tasks.families.classify.trainable import Sets
from regard.tasks.fitted.companion import Companion
from regard.tasks.fitted.kernel import KernelClassifier
from regard.tasks.inputs.clips import ClipKind, joined, one_of_each, windows
from regard.tasks.inputs.frames import FrameClips
from regard.tasks.inputs.poses import PoseClips, pooled
from regard.tasks.results import Scores, attention_on
from regard.tasks.task import Notify

_LEAST = 4
"""The smallest number of frames after augmentation."""


@dataclass(frozen=True)
class ClipLabeller(Labeller[Clips, tuple[str, np.ndarray]]):
    """A trained classifier of clips, with their kind, how they are decoded, and the frames of a window."""

    apart = Labeller.apart | {"kind"}

    model: ClipClassifier
    kind: ClipKind
    codec: ClipCodec
    window: int
    companion: Companion[KernelClassifier] | None = field(default=None, kw_only=True)

    def open(self, item: str) -> tuple[str, np.ndarray]:
        """The name of a file or folder, and its poses or frames. Raises UserError: it cannot be used."""
        return str(Path(item)), self.codec.read(item)

    def seen(self, inputs: Sequence[tuple[str, np.ndarray]]) -> Watched:
        """See `Labeller`; the weights are those of the windows of the clip, which is the only input.

        The logits are those of the mixture with the kernel classifier.
        """
        clip = Ragged.of([values for _, values in inputs])
        x, lengths, _ = self._batch(clip, [0])
        watched = self.model.look(x, lengths)
        return watched._replace(logits=self._mixed(watched.logits.mean(0, keepdim=True), clip, [0]))

    def result(self, item: tuple[str, np.ndarray], seen: Watched, at: int) -> ClassifiedClip:
        """See `Labeller`."""
        name, values = item
        ranked = self.ranked(seen.logits[at])
        labels = self.applying(ranked)
        films = []
        if seen.places is not None:
            windows_of = Ragged.of([values]).windows([0], self.window)[0]
            for label, _ in labels or ranked[:1]:
                own = seen.places[:, 0 if labels is None else self.names.index(label)].float().cpu().numpy()
                weights = joined(own, windows_of, len(values))
                films.append((label, self.kind.film(weights, values)))
        return ClassifiedClip(name, ranked, tuple(films), labels=labels)

    def inputs(self, examples: Clips, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """See `Labeller`."""
        return self._batch(examples.values, rows)

    def logits(self, examples: Clips, rows: Sequence[int]) -> Tensor:
        """See `Labeller`; those of the mixture with the kernel classifier."""
        return self._mixed(super().logits(examples, rows), examples.values, rows)

    def lengths(self, examples: Clips) -> np.ndarray:
        """See `Labeller`."""
        lengths: np.ndarray = np.minimum(examples.values.lengths, self.window)
        return lengths

    def batch_size(self, examples: Clips) -> int:
        """See `Labeller`."""
        return max(1, min(128, self.kind.limit // (2 * int(examples.values.lengths.max(initial=1)))))

    def _mixed(self, logits: Tensor, values: Ragged, rows: Sequence[int]) -> Tensor:
        several = self.thresholds is not None
        return self.mixed(logits, lambda kernel: kernel.logits(pooled(values, rows, self.window), several=several))

    def _batch(self, values: Ragged, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        x, lengths, owners = windows(values, rows, self.window)
        return x.to(self.device), lengths.to(self.device), owners.to(self.device)

    def own_exportable(self) -> Exportable:
        """See `Labeller`; the logits are without the kernel classifier."""
        assert self.codec.shape is not None
        shape = self.codec.shape

        def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
            return (torch.randn(sizes["batch"], 2 * STEP + sizes["length"], *shape),)

        thresholds = {} if self.thresholds is None else {"thresholds": self.thresholds.tolist()}
        notes = {
            "task": "classify-video", "classes": self.names, **thresholds, "window": self.window,
            "use": self.kind.use, **self.kind.notes(shape),
        }  # fmt: skip
        inputs: dict[str, tuple[str | int, ...]] = {self.kind.name: ("batch", "length", *shape)}
        return Exportable(OneLength(self.model), inputs, sample, notes=notes, minimums={"length": 2 * STEP + 1})


class ClassifyVideo(ClassifyTask[ClassifyVideoConfig, Clips, ClipLabeller]):
    """See `regard.tasks.task.Task`."""

    unit = "clips"
    built_in = "clips"
    built_in_source = "generated stick figures or, as frames, moving digits"
    place = "the clips of each class belong in a subfolder of it, or the class in a column of a table"
    drawing = "film.png"

    def examples(
        self,
        config: ClassifyVideoConfig,
        path: str | None,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Clips:
        """See `ClassifyTask`."""
        data = config.data
        kind = _kind(config)
        if path is None:
            return kind.builtin(config.train.seed)
        return read_clips(
            path, kind.codec(), names=names, several=data.labels == "multi", on_bad=data.on_bad, part=part,
            clip_column=data.clip_column, label_column=data.label_column, advice=kind.advice,
        )  # fmt: skip

    def prepare(self, config: ClassifyVideoConfig, sets: Sets[Clips], folder: Path, notify: Notify) -> None:
        """Write the classes, the normalization of the features, and the kernel classifier."""
        kind, train = _kind(config), sets.train
        _check_shape(kind, "data.valid", sets.valid.shape, sets.train.shape)
        kind.check(train, notify)
        save_classes(folder, train.names, shape=train.shape, facts=kind.facts(train))
        self.fit_companion(config, (train,), folder, notify)

    def build(self, config: ClassifyVideoConfig, run: Path) -> tuple[nn.Module, ClipLabeller]:
        """See `ClassifyTask`."""
        names, saved = load_classes(run, "shape", "facts")
        settings, kind, shape = config.model, _kind(config), tuple(saved["shape"])
        model = ClipClassifier(
            len(names), kind.places(shape, settings.width, saved["facts"]), settings.width, heads=settings.heads,
            attention=settings.attention != "none", dropout=settings.dropout, several=config.data.labels == "multi",
        )  # fmt: skip
        companion = Companion.load(KernelClassifier, run, settings.kernel)
        return model, ClipLabeller(model, names, kind, kind.codec(shape), config.data.window, companion=companion)

    def fitted(self, config: ClassifyVideoConfig, parts: Sequence[Clips]) -> KernelClassifier | None:
        """See `ClassifyTask`: the kernel classifier."""
        kind = _kind(config)
        if not (config.model.kernel and isinstance(kind, PoseClips)):
            return None
        features = np.concatenate([kind.pooled(part, mirror=config.augment.mirror) for part in parts], 1)
        return KernelClassifier.fit(features, np.concatenate([part.labels for part in parts]), len(parts[0].names))

    def augment(
        self, config: ClassifyVideoConfig, inputs: tuple[Tensor, ...], target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `ClassifyTask`. A window of each clip is chosen at random."""
        how, (x, lengths, owners) = config.augment, inputs
        chosen = one_of_each(owners)
        x, lengths = x[chosen], lengths[chosen]
        if how.speed or how.shift:
            x, lengths = stretched(x, lengths, shift=how.shift, speed=how.speed, least=_LEAST)
        x = _kind(config).augment(how, x, lengths)
        return (x * real(x, lengths), lengths), target

    def evaluate(
        self,
        labeller: ClipLabeller,
        config: ClassifyVideoConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        on_bad: str | None = None,
        clip_column: str | None = None,
        label_column: str | None = None,
    ) -> Scores:
        """See `Task`. The options apply to ``path``."""
        config = self.with_options(config, path, on_bad=on_bad, clip_column=clip_column, label_column=label_column)
        labeller, clips = self.evaluated(labeller, config, run, path, notify)
        assert labeller.codec.shape is not None
        _check_shape(labeller.kind, path or "data.valid", clips.shape, labeller.codec.shape)
        scores = labeller.score(clips).scores(self.unit)
        if clips.moments is not None and clips.places is not None and labeller.model.pool is not None:
            with torch.inference_mode():
                watched = labeller.label([("", clips.values[row]) for row in range(len(clips.values))])
                films = [one.attended[0][1] for one in watched]
            moments = zip(films, clips.moments.tolist(), strict=True)
            places = [film.on_places(decide) for film, decide in zip(films, clips.places, strict=True)]
            on_frames = [film.on_frames(*moment) for film, moment in moments]
            scores["deciding"] = attention_on("frames that decide the class", on_frames)
            scores[labeller.kind.deciding] = attention_on(f"{labeller.kind.deciding} that decide the class", places)
        return scores

    def example(self, config: ClassifyVideoConfig) -> str:
        """See `Task`."""
        return "clip.json" + ("" if config.model.attention == "none" else " --look film.png")

    def inputs(self, config: ClassifyVideoConfig, folder: Path) -> list[str]:
        """Two clips of the validation set."""
        values = self.read(config, lambda line: None).valid.values
        return [_kind(config).save(values[row], folder, name) for row, name in enumerate(("clip", "clip-2"))]


def _kind(config: ClassifyVideoConfig) -> ClipKind:
    return PoseClips(config.data) if config.data.kind == "poses" else FrameClips(config.data)


def _check_shape(kind: ClipKind, origin: str, shape: tuple[int, ...], trained: tuple[int, ...]) -> None:
    """Raises UserError: the clips have frames of another shape than those of training."""
    if shape != trained:
        difference = kind.codec().difference(shape, trained).replace("the others", "the training data")
        raise UserError(f"{origin}: {difference}; use the same kind of clips")
