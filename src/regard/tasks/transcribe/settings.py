"""Settings of transcription; imports no torch, so that the command line shows its help quickly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from regard.tasks.families.seq2seq.settings import Seq2SeqTrainConfig
from regard.tasks.families.speech.settings import (
    EvaluateOptions,
    JointOptions,
    LookOptions,
    PiecesConfig,
    RecordingAugmentConfig,
    RecordingsConfig,
    TranscriberConfig,
)
from regard.tasks.spec import Demo, Served, TaskSpec, Verb


@dataclass(frozen=True)
class TranscribeTrainConfig(Seq2SeqTrainConfig):
    """Settings of training."""

    tokens: int | None = None
    """Size of a batch: its frames of 10 ms and characters, padding included, summed over all processes; by default 2000
    to 40,000, depending on the number of recordings."""
    learning_rate: float = 5e-3
    """Peak learning rate, reached after the warm-up."""
    metric: Literal["loss", "cer", "wer"] = "cer"
    """Validation metric that selects the best checkpoint and decides when to stop early: the character or word error
    rate of up to 1000 validation recordings by greedy search, or the loss, which is quicker."""


@dataclass(frozen=True)
class TranscribeConfig:
    """All settings of transcription."""

    data: RecordingsConfig = field(default_factory=RecordingsConfig)
    augment: RecordingAugmentConfig = field(default_factory=RecordingAugmentConfig)
    tokenizer: PiecesConfig = field(default_factory=PiecesConfig)
    model: TranscriberConfig = field(default_factory=TranscriberConfig)
    train: TranscribeTrainConfig = field(default_factory=TranscribeTrainConfig)

    def problem(self) -> str | None:
        """The error message for the first setting that is out of range; None if there is none."""
        return (
            self.data.problem() or self.augment.problem() or self.tokenizer.problem()
            or self.model.problem(self.data.rate) or self.train.problem()
        )  # fmt: skip


@dataclass(frozen=True)
class TranscribeOptions(JointOptions):
    """Options of ``regard transcribe``."""

    form: Literal["text", "srt", "vtt"] = "text"
    """text: a line for each file; srt, vtt: captions with times (SubRip, WebVTT), of several files in the folder that
    --output names. With --json, the times of words."""


def demo_settings() -> TranscribeConfig:
    """Settings that train in two minutes on two cores."""
    return TranscribeConfig(
        data=RecordingsConfig(rate=4000, builtin_recordings=900),
        augment=RecordingAugmentConfig(speed=0.0, time_masks=0),
        model=TranscriberConfig(kind="conformer", dim=64, layers=2, bands=24, dropout=0.05, ctc=0.7),
        train=TranscribeTrainConfig(
            epochs=8, tokens=12_000, learning_rate=1.5e-2, warmup=30, metric="loss", label_smoothing=0.05
        ),
    )


def tiny_settings() -> TranscribeConfig:
    """Settings that train in seconds."""
    return TranscribeConfig(
        data=RecordingsConfig(rate=4000, builtin_recordings=20),
        model=TranscriberConfig(kind="conformer", dim=16, layers=1, heads=2, bands=16),
        train=TranscribeTrainConfig(steps=3, tokens=4000, metric="loss"),
    )


TRANSCRIBE = TaskSpec(
    name="transcribe",
    summary="Train a model that writes what is said in a recording",
    settings=TranscribeConfig,
    verb=Verb(
        name="transcribe",
        summary="Write the text of sound files of any length, with the times of words as captions or JSON",
        input="Sound files of any rate and number of channels, or files of features.",
        unit="file",
        options=TranscribeOptions,
        packs=True,
        many=True,
        draws=True,
        file_form="form",
    ),
    evaluation=EvaluateOptions,
    evaluated="the run's validation recordings",
    looking=LookOptions,
    look_input="Sound file, or file of features.",
    demo=Demo(
        folder="runs/demo-transcribe",
        summary="Train a small model on dates, numbers and names (Unicode CLDR) in Morse code, evaluate it, and draw "
        "where each character is heard.",
        example="regard look {run} {run}/sound.wav",
        settings=demo_settings,
        tiny=tiny_settings,
        scored="the validation set (none of its texts is in the training data)",
    ),
    code="regard.tasks.transcribe.task:Transcribe",
    served=Served(media="audio/*,.npy,.npz,.mfc"),
)
