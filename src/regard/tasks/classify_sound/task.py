"""Sound classification: its model, the sounds, and the moments that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regard.data.ragged import Ragged
from regard.data.sound_batches import augment, sound_batch
from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.sounds import SoundFormat, Sounds, read_sound, read_sounds
from regard.data.tones import tones
from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.models.sound import STEP, Heard, OneLength, SoundClassifier
from regard.tasks.classify_sound.settings import ClassifySoundConfig
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.labeller import Labeller, load_classes, save_classes
from regard.tasks.families.classify.moments import ClassifiedSound
from regard.tasks.families.classify.task import ClassifyTask, PartName
from regard.tasks.families.classify.trainable import Sets, mixed
from regard.tasks.inputs.sounds import exportable, save_example, scale_of
from regard.tasks.results import Scores, attention_on
from regard.tasks.task import Notify

_FRAMES = 40_000
"""The largest number of frames of a batch in validation, with its padding."""


@dataclass(frozen=True)
class SoundLabeller(Labeller[Sounds, tuple[str, np.ndarray]]):
    """A trained sound classifier with the format of its sounds, and the number of their features, 0 for samples."""

    model: SoundClassifier
    form: SoundFormat
    width: int

    def open(self, item: str) -> tuple[str, np.ndarray]:
        """The name of a file, and its samples or features. Raises UserError: it cannot be read, or is no sound."""
        return str(Path(item)), read_sound(Path(item), self.form, self.width)

    def seen(self, inputs: Sequence[tuple[str, np.ndarray]]) -> Heard:
        """See `Labeller`."""
        return self.model.look(*self._batch(Ragged.of([values for _, values in inputs]), range(len(inputs))))

    def result(self, item: tuple[str, np.ndarray], seen: Heard, at: int) -> ClassifiedSound:
        """See `Labeller`."""
        ranked = self.ranked(seen.logits[at])
        labels = self.applying(ranked)
        timelines = []
        if seen.places is not None:
            features, per_second = seen.features[at].float().cpu().numpy(), FRAMES_PER_SECOND
            for label, _ in labels or ranked[:1]:
                weights = seen.places[at, 0 if labels is None else self.names.index(label)].float().cpu().numpy()
                one = Timeline(features, weights, len(features) / per_second, STEP / per_second)
                timelines.append((label, one))
        return ClassifiedSound(item[0], ranked, tuple(timelines), labels=labels)

    def inputs(self, examples: Sounds, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """See `Labeller`."""
        return self._batch(examples.values, rows)

    def lengths(self, examples: Sounds) -> np.ndarray:
        """See `Labeller`."""
        return examples.values.lengths

    def batch_size(self, examples: Sounds) -> int:
        """See `Labeller`."""
        longest = int(examples.values.lengths.max(initial=1)) // self.samples_per_frame
        return max(1, min(128, _FRAMES // max(1, longest)))

    @property
    def samples_per_frame(self) -> int:
        """How many numbers of a sound's length are a frame of features."""
        return 1 if self.model.mel is None else self.model.mel.step

    @property
    def least(self) -> int:
        """The smallest length of a sound."""
        return 1 if self.model.mel is None else self.model.mel.size

    def _batch(self, values: Ragged, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        x, lengths = sound_batch(values, rows, self.least)
        return x.to(self.device), lengths.to(self.device)

    def own_exportable(self) -> Exportable:
        """See `Labeller`."""
        thresholds = {} if self.thresholds is None else {"thresholds": self.thresholds.tolist()}
        notes = {"task": "classify-sound", "classes": self.names, **thresholds}
        return exportable(OneLength(self.model), self.model.mel, self.form.rate, self.width, notes)


class ClassifySound(ClassifyTask[ClassifySoundConfig, Sounds, SoundLabeller]):
    """See `regard.tasks.task.Task`."""

    unit = "sounds"
    built_in = "sounds"
    built_in_source = "generated tones of five classes"
    place = "the sounds of each class belong in a subfolder of it, or the class in a column of a table"
    drawing = "moments.png"

    def examples(
        self,
        config: ClassifySoundConfig,
        path: str | None,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Sounds:
        """See `ClassifyTask`."""
        data = config.data
        if path is None:
            return tones(data.builtin_sounds, data.rate, seed=config.train.seed)
        return read_sounds(
            path, _format(config), names=names, several=data.labels == "multi", on_bad=data.on_bad,
            part=part, sound_column=data.sound_column, label_column=data.label_column,
        )  # fmt: skip

    def prepare(self, config: ClassifySoundConfig, sets: Sets[Sounds], folder: Path, notify: Notify) -> None:
        """Write the classes and the normalization of the features."""
        train = sets.train
        _check_width("data.valid", sets.valid.width, train.width)
        mean, deviation = scale_of(train.values, config.data.rate, config.model.bands)
        save_classes(folder, train.names, width=train.width, mean=mean, deviation=deviation)

    def build(self, config: ClassifySoundConfig, run: Path) -> tuple[nn.Module, SoundLabeller]:
        """See `ClassifyTask`."""
        names, facts = load_classes(run, "width", "mean", "deviation")
        settings, width = config.model, facts["width"]
        model = SoundClassifier(
            len(names), rate=config.data.rate, width=width, bands=settings.bands, channels=settings.width,
            heads=settings.heads, attention=settings.attention != "none", dropout=settings.dropout,
            scale=(facts["mean"], facts["deviation"]), several=config.data.labels == "multi",
        )  # fmt: skip
        return model, SoundLabeller(model, names, _format(config), width)

    def augment(
        self, config: ClassifySoundConfig, inputs: tuple[Tensor, ...], target: Tensor
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """See `ClassifyTask`."""
        how, (x, lengths) = config.augment, inputs
        per_second, least = (
            (config.data.rate, round(0.025 * config.data.rate)) if x.ndim == 2 else (FRAMES_PER_SECOND, 1)
        )
        x, lengths = augment(
            x, lengths, shift=round(how.shift * per_second), speed=how.speed, noise=how.noise, least=least
        )
        if how.mixup:
            x, target = mixed(x, target, how.mixup)
            lengths = torch.maximum(lengths, lengths.flip(0))
        return (x, lengths), target

    def evaluate(
        self,
        labeller: SoundLabeller,
        config: ClassifySoundConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        on_bad: str | None = None,
        sound_column: str | None = None,
        label_column: str | None = None,
    ) -> Scores:
        """See `Task`. The options apply to ``path``."""
        config = self.with_options(
            config, path, on_bad=on_bad, sound_column=sound_column, label_column=label_column
        )  # fmt: skip
        labeller, sounds = self.evaluated(labeller, config, run, path, notify)
        _check_width(path or "data.valid", sounds.width, labeller.width)
        scores = labeller.score(sounds).scores(self.unit)
        if sounds.deciding is not None and labeller.model.pool is not None:
            heard = labeller.label([("", sounds.values[row]) for row in range(len(sounds.values))])
            with torch.inference_mode():
                lines = (one.attended[0][1] for one in heard)
                shares = [line.share(*moment) for line, moment in zip(lines, sounds.deciding.tolist(), strict=True)]
            scores["deciding"] = attention_on("moment that decides the class", shares)
        return scores

    def example(self, config: ClassifySoundConfig) -> str:
        """See `Task`."""
        return "sound.wav" + ("" if config.model.attention == "none" else " --look moments.png")

    def inputs(self, config: ClassifySoundConfig, folder: Path) -> list[str]:
        """Two sounds of the validation set."""
        values = self.read(config, lambda line: None).valid.values
        names = ("sound.wav", "sound-2.wav")
        return [save_example(values[row], config.data.rate, folder / name) for row, name in enumerate(names)]


def _format(config: ClassifySoundConfig) -> SoundFormat:
    return SoundFormat(config.data.rate, config.data.seconds, config.data.mfc_width)


def _check_width(origin: str, width: int, trained: int) -> None:
    """Raises UserError: the files have samples and those of training have features, or features of another number."""
    if width != trained:
        kinds = [f"{number} features per frame" if number else "samples" for number in (width, trained)]
        raise UserError(f"{origin}: has {kinds[0]}, and the training data {kinds[1]}; use the same kind of files")
