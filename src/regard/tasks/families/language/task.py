"""What tasks of language models do in the same way, for `regard.tasks.running`."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import torch

from regard.data.documents import open_documents
from regard.data.encoding import train_tokenizer
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.models.language import LanguageModel
from regard.tasks.families.language import data
from regard.tasks.families.language.data import Text
from regard.tasks.families.language.models import build
from regard.tasks.families.language.predictor import LanguagePredictor
from regard.tasks.families.language.settings import LanguageConfig
from regard.tasks.families.language.stream import Stream
from regard.tasks.families.language.trainable import LanguageTrainable, scores
from regard.tasks.results import Score, Scores
from regard.tasks.task import Notify, Task, own_data
from regard.training import checkpoint as checkpoints
from regard.training.defaults import known
from regard.training.fingerprint import Fingerprint, check_validation

_TOKENIZER = "tokenizer.json"

Config = TypeVar("Config", bound=LanguageConfig)


class LanguageTask(Task[Config, Text, LanguagePredictor], Generic[Config]):
    """A task of language models; see `regard.tasks.task.Task`.

    A task implements `builtin`, `defaults`, `inputs` and `finish_demo`. A task with another model overrides `build`.

    Attributes:
        predictor_type: the class of its predictor.
        builtin_text: what the built-in text is, for a message.
        prompt: of the report of a run on the built-in text.
    """

    unit = "tokens"
    predictor_type: ClassVar[type[LanguagePredictor]]
    builtin_text: ClassVar[str]
    prompt: ClassVar[str]

    @abstractmethod
    def builtin(self) -> list[str]:
        """The built-in documents, for a run without data of the user."""

    def build(self, config: Config, vocabulary: int) -> LanguageModel:
        """A new model with random weights, for a vocabulary of this size."""
        return build(config, vocabulary)

    def read(self, config: Config, notify: Notify) -> Text:
        """The user's documents, or the built-in ones."""
        validation = "the built-in text has a validation part"
        path = own_data(config.data.train, config.data.valid, self.builtin_text, validation, notify)
        if path is not None:
            return data.read(path, config.data, notify)
        return data.set_aside(self.builtin(), lambda line: None)

    def fingerprint(self, text: Text) -> Fingerprint:
        """See `Task`."""
        return data.fingerprint(text)

    def prepare(self, config: Config, text: Text, folder: Path, notify: Notify) -> None:
        """Train the tokenizer."""
        settings = config.tokenizer
        tokenizer = train_tokenizer(text.train, settings.kind, known(settings.size), notify)
        tokenizer.save(folder / _TOKENIZER)

    def trainable(self, config: Config, run: Path, text: Text, notify: Notify) -> LanguageTrainable:
        """See `Task`."""
        torch.manual_seed(config.train.seed)
        tokenizer = Tokenizer.load(run / _TOKENIZER)
        train, valid = (Stream.of(part, tokenizer) for part in (text.train, text.valid))
        context, count = known(config.model.context), len(train.tokens)
        if count <= context:
            raise UserError(
                f"model.context: must be below the number of tokens of the training text, {count:,}, got {context}"
            )
        if len(valid.tokens) < 2:
            raise UserError("data.valid: the validation text is empty")
        return LanguageTrainable(self.build(config, len(tokenizer)), train, valid, context, config.train)

    def predictor(self, config: Config, run: Path, checkpoint: str) -> LanguagePredictor:
        """See `Task`."""
        tokenizer = Tokenizer.load(run / _TOKENIZER)
        model = self.build(config, len(tokenizer))
        checkpoints.fill(model, run, checkpoint)
        return self.predictor_type(model.eval(), tokenizer, known(config.model.context))

    def evaluate(
        self, predictor: LanguagePredictor, config: Config, run: Path, path: str | None, notify: Notify
    ) -> Scores:
        """Scores on a text, or on the run's own validation text.

        Raises:
            UserError: the text cannot be used, or the run's own has changed since training.
        """
        if path is None:
            text = self.read(config, notify)
            check_validation(run, self.fingerprint(text))
            valid = text.valid
        else:
            valid = open_documents(path, column=config.data.column, notify=notify)
        stream = Stream.of(valid, predictor.tokenizer)
        metrics = scores(predictor.model, stream, min(predictor.context, len(stream.tokens) - 1))
        which = "" if path is not None else ", on the validation text"
        windows = f"{len(stream.tokens):,} tokens in consecutive windows of {predictor.context}"
        bits = f"over the {stream.size:,} UTF-8 bytes of the text as written; tokens are of its composed form (NFC)"
        return {
            "loss": Score(metrics["loss"], f"cross-entropy in nats per token{which}: {windows}", 4),
            "perplexity": Score(math.exp(metrics["loss"]), "exp(loss), per token", 4),
            "bits_per_byte": Score(metrics["bits_per_byte"], bits, 4),
        }

    def samples(self, predictor: LanguagePredictor, config: Config, text: Text) -> Sequence[str]:
        """A continuation of the beginning of the validation text."""
        prompt = self.prompt if config.data.train is None else " ".join(next(text.valid.pieces(0)).split(" ")[:5])
        return [f"> {line}" for line in continued(predictor, prompt).splitlines()]

    def example(self, config: Config) -> str:
        """See `Task`."""
        return '"how your text begins"'


def continued(predictor: LanguagePredictor, prompt: str) -> str:
    """The prompt and its continuation, as reports and demos show it: always the same for the same model."""
    return next(predictor.predict([prompt], temperature=0.7, top_k=50, seed=0, tokens=120)).text
