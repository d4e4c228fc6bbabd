"""What tasks from text to text do in the same way, for `regard.tasks.running`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch

from regard.attribution.compared import Explainable
from regard.data.parallel import open_parallel
from regard.errors import UserError
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks.families.seq2seq import data
from regard.tasks.families.seq2seq.data import PairData, PairList, Reader
from regard.tasks.families.seq2seq.explained import explainable
from regard.tasks.families.seq2seq.models import build
from regard.tasks.families.seq2seq.predictor import PairPredictor, Search, Seq2SeqPredictor, Tick
from regard.tasks.families.seq2seq.rows import Rows, drop_long, load_tokenizers, save_tokenizers, train_tokenizers
from regard.tasks.families.seq2seq.settings import PairTaskConfig, Seq2SeqTrainConfig, TextToTextConfig
from regard.tasks.families.seq2seq.text import TextPredictor
from regard.tasks.families.seq2seq.trainable import Examples, Seq2SeqTrainable, Validation
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.fingerprint import Fingerprint
from regard.training.metric import Metric


class TrainedConfig(Protocol):
    """Settings of a task of this family."""

    @property
    def train(self) -> Seq2SeqTrainConfig:
        """Settings of training."""
        ...


Trained = TypeVar("Trained", bound=TrainedConfig)
Data = TypeVar("Data")
Predictor = TypeVar("Predictor", bound=Seq2SeqPredictor[Any, Any])
Config = TypeVar("Config", bound=PairTaskConfig)
Predicts = TypeVar("Predicts", bound=PairPredictor[Any, Any])


class Seq2SeqTask(Task[Trained, Data, Predictor], Generic[Trained, Data, Predictor]):
    """A task whose output is text; see `regard.tasks.task.Task`.

    Attributes:
        metrics: the validation metrics: the loss, and those that the `Validation` of `learned` returns.
        examples: what the examples are, in the plural.
    """

    unit = "tokens"
    metrics: ClassVar[tuple[Metric, ...]]
    examples: ClassVar[str] = "pairs"

    @abstractmethod
    def untrained(self, config: Trained, run: Path) -> Predictor:
        """A predictor with what `prepare` wrote to a run's folder, and a new model with random weights."""

    @abstractmethod
    def learned(
        self, predictor: Predictor, config: Trained, data: Data, notify: Notify
    ) -> tuple[Examples, Examples, Validation]:
        """The training and the validation examples, and how the outputs for the latter are decoded and scored."""

    def trainable(self, config: Trained, run: Path, data: Data, notify: Notify) -> Seq2SeqTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        predictor = self.untrained(config, run)
        train, valid, validation = self.learned(predictor, config, data, notify)
        return Seq2SeqTrainable(
            predictor.model, train, valid, config.train, self.metrics, validation, self.examples
        )  # fmt: skip

    def predictor(self, config: Trained, run: Path, checkpoint: str) -> Predictor:
        """See `Task`."""
        predictor = self.untrained(config, run)
        checkpoints.fill(predictor.model, run, checkpoint)
        predictor.model.eval()
        return predictor


class PairTask(Seq2SeqTask[Config, PairData, Predicts], Generic[Config, Predicts]):
    """A task from text to text, which splits text in some way; see `regard.tasks.task.Task`.

    A task implements `builtin`, `text_scores`, `prepare`, `untrained`, `defaults`, `evaluate`, which calls
    `evaluation_pairs` and `evaluation.outputs`, `inputs` and `finish_demo`.

    Attributes:
        metrics: the validation metrics: `LOSS`, and those that `text_scores` returns.
        reader: reads the pairs of a file.
        builtin_pairs: what the built-in pairs are, for a message.
        data_name: what the pairs are called in messages, such as ``"parallel text"``.
    """

    reader: ClassVar[Reader] = staticmethod(open_parallel)
    builtin_pairs: ClassVar[str]
    data_name: ClassVar[str]

    @abstractmethod
    def builtin(self, config: Config, split: Literal["train", "valid", "test"]) -> PairList:
        """The built-in pairs, for a run without data of the user."""

    @abstractmethod
    def text_scores(self, texts: Sequence[str], pairs: PairList) -> Mapping[str, float]:
        """The validation metrics of outputs by name, without the loss; ``pairs``: their sources and references."""

    def read(self, config: Config, notify: Notify) -> PairData:
        """The user's pairs, or the built-in ones."""
        validation = "the built-in corpus has a validation set"
        path = own_data(config.data.train, config.data.valid, self.builtin_pairs, validation, notify)
        if path is not None:
            return data.read(path, config.data, config.train.seed, notify, self.reader)
        return PairData.of(self.builtin(config, "train"), self.builtin(config, "valid"))

    def fingerprint(self, pairs: PairData) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(pairs)

    def learned(
        self, predictor: Predicts, config: Config, pairs: PairData, notify: Notify
    ) -> tuple[Examples, Examples, Validation]:
        """See `Seq2SeqTask`."""
        rows = self.training_rows(predictor, config, pairs, notify)
        return rows, predictor.rows(pairs.valid), TextValidation(self, predictor, pairs.valid)

    def training_rows(self, predictor: Predicts, config: Config, pairs: PairData, notify: Notify) -> Rows:
        """The training pairs as tokens, without those with a long side."""
        return drop_long(predictor.rows(pairs.train), config.data.max_length, notify)

    def evaluation_pairs(self, config: Config, path: str | None, on_bad_line: str | None, notify: Notify) -> PairList:
        """The pairs at ``path``; None: the built-in test split.

        Raises:
            UserError: they cannot be used, or none are named for a run that was trained on the user's own.
        """
        if path is not None:
            reading: Any = {} if on_bad_line is None else {"on_bad_line": on_bad_line}
            return data.read_pairs(path, replace(config.data, **reading), notify, self.reader)
        if config.data.train is None:
            return self.builtin(config, "test")
        raise UserError(f"--data: name the {self.data_name} to evaluate on")

    def samples(self, predictor: Predicts, config: Config, pairs: PairData) -> Sequence[str]:
        """A table of outputs."""
        return predictor.samples(pairs.valid)

    def example(self, config: Config) -> str:
        """See `Task`."""
        return '"your text"'


TextConfig = TypeVar("TextConfig", bound=TextToTextConfig)
TextPredicts = TypeVar("TextPredicts", bound=TextPredictor[Any])


class TextToText(PairTask[TextConfig, TextPredicts], Generic[TextConfig, TextPredicts]):
    """A task from text to text with a byte-pair encoding of each side; a task with another model overrides `build`.

    Attributes:
        predictor_type: the class of its predictor.
    """

    predictor_type: ClassVar[Any]

    def build(self, config: TextConfig, source_size: int, target_size: int) -> EncoderDecoder:
        """A new model with random weights, for vocabularies of these sizes."""
        return build(config, source_size, target_size)

    def prepare(self, config: TextConfig, pairs: PairData, folder: Path, notify: Notify) -> None:
        """Train the tokenizers."""
        save_tokenizers(folder, *train_tokenizers(pairs.train, config.tokenizer, notify))

    def untrained(self, config: TextConfig, run: Path) -> TextPredicts:
        """A predictor with the tokenizers of a run's folder, and a new model with random weights."""
        source, target = load_tokenizers(run)
        predictor: TextPredicts = self.predictor_type(self.build(config, len(source), len(target)), source, target)
        return predictor

    def explainable(
        self, predictor: TextPredicts, config: TextConfig, run: Path, path: str | None, notify: Notify, limit: int
    ) -> Explainable:
        """See `Task`."""
        return explainable(predictor, self.evaluation_pairs(config, path, None, notify), limit)


@dataclass(frozen=True)
class TextValidation:
    """Decodes and scores validation texts: see `regard.tasks.families.seq2seq.trainable.Validation`."""

    task: PairTask[Any, Any]
    predictor: PairPredictor[Any, Any]
    pairs: PairList

    def texts(self, rows: Sequence[int], tick: Tick) -> list[str]:
        """See `Validation`."""
        sources = [self.pairs[row][0] for row in rows]
        return [output.text for output in self.predictor.outputs(sources, Search(beam=1), tick)]

    def scores(self, texts: Sequence[str], rows: Sequence[int]) -> Mapping[str, float]:
        """See `Validation`."""
        return self.task.text_scores(texts, [self.pairs[row] for row in rows])
