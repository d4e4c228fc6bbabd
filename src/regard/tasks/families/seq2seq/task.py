"""What tasks from text to text do in the same way, for `regard.tasks.running`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch

from regard.errors import UserError
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks.families.seq2seq import data
from regard.tasks.families.seq2seq.data import PairData, PairList
from regard.tasks.families.seq2seq.models import build
from regard.tasks.families.seq2seq.predictor import Search, Tick
from regard.tasks.families.seq2seq.rows import drop_long, encode, load_tokenizers, save_tokenizers, train_tokenizers
from regard.tasks.families.seq2seq.settings import TextToTextConfig
from regard.tasks.families.seq2seq.text import TextPredictor
from regard.tasks.families.seq2seq.trainable import Seq2SeqTrainable
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.fingerprint import Fingerprint
from regard.training.metric import Metric

Config = TypeVar("Config", bound=TextToTextConfig)
Predicts = TypeVar("Predicts", bound=TextPredictor[Any])


class TextToText(Task[Config, PairData, Predicts], Generic[Config, Predicts]):
    """A task from text to text; see `regard.tasks.task.Task`.

    A task implements `builtin`, `text_scores`, `defaults`, `evaluate`, which calls `evaluation_pairs` and
    `evaluation.outputs`, `inputs` and `finish_demo`. A task with another model overrides `build`.

    Attributes:
        metrics: the validation metrics: `LOSS`, and those that `text_scores` returns.
        predictor_type: the class of its predictor.
        builtin_pairs: what the built-in pairs are, for a message.
        data_name: what the pairs are called in messages, such as ``"parallel text"``.
    """

    unit = "tokens"
    metrics: ClassVar[tuple[Metric, ...]]
    predictor_type: ClassVar[Any]
    builtin_pairs: ClassVar[str]
    data_name: ClassVar[str]

    @abstractmethod
    def builtin(self, config: Config, split: Literal["train", "valid", "test"]) -> PairList:
        """The built-in pairs, for a run without data of the user."""

    @abstractmethod
    def text_scores(self, texts: Sequence[str], pairs: PairList) -> Mapping[str, float]:
        """The validation metrics of outputs by name, without the loss; ``pairs``: their sources and references."""

    def build(self, config: Config, source_size: int, target_size: int) -> EncoderDecoder:
        """A new model with random weights, for vocabularies of these sizes."""
        return build(config, source_size, target_size)

    def read(self, config: Config, notify: Notify) -> PairData:
        """The user's pairs, or the built-in ones."""
        validation = "the built-in corpus has a validation set"
        path = own_data(config.data.train, config.data.valid, self.builtin_pairs, validation, notify)
        if path is not None:
            return data.read(path, config.data, config.train.seed, notify)
        return PairData.of(self.builtin(config, "train"), self.builtin(config, "valid"))

    def fingerprint(self, pairs: PairData) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(pairs)

    def prepare(self, config: Config, pairs: PairData, folder: Path, notify: Notify) -> None:
        """Train the tokenizers."""
        save_tokenizers(folder, *train_tokenizers(pairs.train, config.tokenizer, notify))

    def untrained(self, config: Config, run: Path) -> Predicts:
        """A predictor with the tokenizers of a run's folder, and a new model with random weights."""
        source, target = load_tokenizers(run)
        predictor: Predicts = self.predictor_type(self.build(config, len(source), len(target)), source, target)
        return predictor

    def trainable(self, config: Config, run: Path, pairs: PairData, notify: Notify) -> Seq2SeqTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        predictor = self.untrained(config, run)
        rows = encode(pairs.train, predictor.source, predictor.target)
        return Seq2SeqTrainable(
            predictor.model,
            drop_long(rows, config.data.max_length, notify),
            encode(pairs.valid, predictor.source, predictor.target),
            config.train,
            self.metrics,
            TextValidation(self, predictor, pairs.valid),
        )

    def predictor(self, config: Config, run: Path, checkpoint: str) -> Predicts:
        """See `Task`."""
        predictor = self.untrained(config, run)
        checkpoints.fill(predictor.model, run, checkpoint)
        predictor.model.eval()
        return predictor

    def evaluation_pairs(self, config: Config, path: str | None, on_bad_line: str | None, notify: Notify) -> PairList:
        """The pairs at ``path``; None: the built-in test split.

        Raises:
            UserError: they cannot be used, or none are named for a run that was trained on the user's own.
        """
        if path is not None:
            reading: Any = {} if on_bad_line is None else {"on_bad_line": on_bad_line}
            return data.read_pairs(path, replace(config.data, **reading), notify)
        if config.data.train is None:
            return self.builtin(config, "test")
        raise UserError(f"--data: name the {self.data_name} to evaluate on")

    def samples(self, predictor: Predicts, config: Config, pairs: PairData) -> Sequence[str]:
        """A table of outputs."""
        return predictor.samples(pairs.valid)

    def example(self, config: Config) -> str:
        """See `Task`."""
        return '"your text"'


@dataclass(frozen=True)
class TextValidation:
    """Decodes and scores validation texts: see `regard.tasks.families.seq2seq.trainable.Validation`."""

    task: TextToText[Any, Any]
    predictor: TextPredictor[Any]
    pairs: PairList

    def texts(self, rows: Sequence[int], tick: Tick) -> list[str]:
        """See `Validation`."""
        sources = [self.pairs[row][0] for row in rows]
        return [output.text for output in self.predictor.outputs(sources, Search(beam=1), tick)]

    def scores(self, texts: Sequence[str], rows: Sequence[int]) -> Mapping[str, float]:
        """See `Validation`."""
        return self.task.text_scores(texts, [self.pairs[row] for row in rows])
