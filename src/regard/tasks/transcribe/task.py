"""Transcription: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from regard.data.morse import morse
from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.spoken import spoken
from regard.data.tokenizer import PAD, Tokenizer
from regard.errors import UserError
from regard.models.transcriber import STEP, Labels
from regard.tasks.exporting import Exportable, recurrent
from regard.tasks.families.seq2seq.task import Seq2SeqTask
from regard.tasks.families.seq2seq.trainable import Examples, Validation
from regard.tasks.families.speech.evaluation import SpokenValidation, rate_of_ctc, scored, table
from regard.tasks.families.speech.models import build
from regard.tasks.families.speech.predictor import JointSearch, SpeechPredictor
from regard.tasks.families.speech.rows import (
    RecordingData,
    SpokenRows,
    duration,
    longest,
    read_own,
    read_part,
    sound_format,
)
from regard.tasks.inputs.sounds import exportable, save_example, scale_of
from regard.tasks.results import Scores
from regard.tasks.task import Notify, own_data
from regard.tasks.transcribe.settings import TranscribeConfig
from regard.training import checkpoint
from regard.training.defaults import bounded, epochs
from regard.training.fingerprint import Fingerprint
from regard.training.metric import Metric

_VALID = 100
"""The number of built-in recordings for validation."""

_TOKENIZER, _FACTS = "tokenizer.json", "sounds.json"


@dataclass(frozen=True)
class Transcriptionist(SpeechPredictor):
    """See `SpeechPredictor`."""

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`: the logits of CTC. Raises UserError: the encoder is recurrent."""
        if self.model.recurrent is not None:
            raise recurrent("conformer")
        tokens = [self.tokenizer.pieces([number])[0] for number in range(len(self.tokenizer))]
        notes = {"task": "transcribe", "tokens": tokens, "blank": PAD, "seconds_per_step": STEP / FRAMES_PER_SECOND}
        return exportable(Labels(self.model), self.model.mel, self.form.rate, self.width, notes)


class Transcribe(Seq2SeqTask[TranscribeConfig, RecordingData, Transcriptionist]):
    """See `regard.tasks.families.seq2seq.task.Seq2SeqTask`."""

    unit = "characters"
    examples = "recordings"
    metrics = (
        Metric("loss", unit="nats per character", how="CTC and cross-entropy with EOS, in the shares of --model.ctc"),
        Metric("cer", unit="%", how="character errors per 100 characters, greedy joint search"),
        Metric("wer", unit="%", how="word errors per 100 words, greedy joint search"),
    )

    def read(self, config: TranscribeConfig, notify: Notify) -> RecordingData:
        """The user's recordings, or the built-in ones."""
        data, seed = config.data, config.train.seed
        built_in, what = (morse, "generated Morse code") if data.builtin == "morse" else (spoken, "generated speech")
        path = own_data(data.train, data.valid, what, "it has a validation set", notify)
        if path is None:
            return RecordingData(
                built_in(data.builtin_recordings, data.rate, seed=seed),
                built_in(min(_VALID, data.builtin_recordings), data.rate, split="valid", seed=seed),
            )
        return read_own(path, data, seed, notify)

    def fingerprint(self, recordings: RecordingData) -> Fingerprint:
        """See `Task`."""
        return recordings.fingerprint()

    def defaults(self, config: TranscribeConfig, recordings: RecordingData) -> Mapping[str, object]:
        """Settings by the number of recordings and their length.

        The number of steps grows with the square root of the number of recordings, as for translation.
        """
        train, rate = recordings.train, config.data.rate
        frames = 3600 * FRAMES_PER_SECOND * duration(train.values, rate)
        size = config.train.tokens or bounded(frames / 40, 2000, 40_000)
        dim = 128 if len(train) < 500 else 192 if len(train) < 5000 else 320
        multiple = 2 * config.model.heads if config.model.kind == "conformer" else 2
        return {
            "model.dim": -(-dim // multiple) * multiple,
            "train.tokens": size,
            "train.epochs": epochs(1000.0 + 20 * math.sqrt(len(train)), frames / size),
        }

    def prepare(self, config: TranscribeConfig, recordings: RecordingData, folder: Path, notify: Notify) -> None:
        """Write the tokenizer, the normalization of the features, and the length of the longest recording."""
        train, valid = recordings.train, recordings.valid
        if train.values.width != valid.values.width:
            raise UserError("data.valid: has other features than data.train; use the same kind of files")
        how = config.tokenizer
        tokenizer = Tokenizer.train(train.texts, kind=how.kind, size=how.size)
        unit = "characters" if how.kind == "char" else "pieces"
        hours = [duration(part.values, config.data.rate) for part in (train, valid)]
        notify(f"{hours[0]:.2f} hours to train on, {hours[1]:.2f} to validate; {len(tokenizer) - 4:,} {unit}")
        tokenizer.save(folder / _TOKENIZER)
        mean, deviation = scale_of(train.values, config.data.rate, config.model.bands)
        facts = {"width": train.values.width, "mean": mean, "deviation": deviation}
        checkpoint.write_json(folder / _FACTS, {**facts, "seconds": longest(train.values, config.data.rate)})

    def untrained(self, config: TranscribeConfig, run: Path) -> Transcriptionist:
        """See `Seq2SeqTask`."""
        tokenizer, facts = Tokenizer.load(run / _TOKENIZER), checkpoint.read_json(run / _FACTS)
        model = build(
            config.model, config.augment, len(tokenizer), rate=config.data.rate, width=facts["width"],
            scale=(facts["mean"], facts["deviation"]),
        )  # fmt: skip
        form = replace(sound_format(config.data), seconds=facts["seconds"])
        return Transcriptionist(model, tokenizer, form, facts["width"])

    def learned(
        self, predictor: Transcriptionist, config: TranscribeConfig, recordings: RecordingData, notify: Notify
    ) -> tuple[Examples, Examples, Validation]:
        """See `Seq2SeqTask`."""
        train = SpokenRows(recordings.train, predictor.tokenizer, predictor.listener, config.augment)
        train.note_too_long(notify)
        valid = SpokenRows(recordings.valid, predictor.tokenizer, predictor.listener)
        return train, valid, SpokenValidation(predictor, recordings.valid, JointSearch(1))

    def evaluate(
        self,
        predictor: Transcriptionist,
        config: TranscribeConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        beam: int = 5,
        ctc: float = 0.4,
        on_bad: Literal["error", "skip"] | None = None,
        sound_column: str | None = None,
        text_column: str | None = None,
        output: Path | None = None,
    ) -> Scores:
        """Error rates on recordings; ``output`` is a file for the texts."""
        recordings = self.read(config, lambda line: None).valid if path is None else read_part(
            path, config.data, notify, predictor.width,
            {"on_bad": on_bad, "sound_column": sound_column, "text_column": text_column},
        )  # fmt: skip
        return scored(predictor, recordings, JointSearch(beam, ctc=ctc), output)

    def samples(
        self, predictor: Transcriptionist, config: TranscribeConfig, recordings: RecordingData
    ) -> Sequence[str]:
        """A table of texts."""
        return table(predictor, recordings.valid)

    def example(self, config: TranscribeConfig) -> str:
        """See `Task`."""
        return "sound.wav"

    def inputs(self, config: TranscribeConfig, folder: Path) -> list[str]:
        """Two recordings of the validation set."""
        values = self.read(config, lambda line: None).valid.values
        names = ("sound.wav", "sound-2.wav")
        return [save_example(values[row], config.data.rate, folder / name) for row, name in enumerate(names)]

    def finish_demo(self, predictor: Transcriptionist, config: TranscribeConfig, run: Path, console: Console) -> str:
        """Transcribe two recordings of the validation set by CTC alone too, and draw where the characters are heard."""
        recordings = self.read(config, lambda line: None).valid
        alone = rate_of_ctc(predictor, recordings)
        console.print(f"with the scores of CTC alone, cer is {alone:.2f}\n", highlight=False)
        for file, text in zip(self.inputs(config, run), recordings.texts, strict=False):
            shown = predictor.look(file)
            shown.show(console)
            console.print(f"reference: {text}\n", highlight=False, markup=False)
            shown.save(Path(file).with_suffix(".png"))
        return f"drawings   {run / 'sound.png'}, {run / 'sound-2.png'}"
