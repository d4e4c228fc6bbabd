"""Text classification: its model, the texts, and the words that decided."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from regard.attribution.compared import Explainable
from regard.data.labelled import balance
from regard.data.lines import compose
from regard.data.requests import requests, requests_of_several_topics
from regard.data.texts import Texts, read_texts
from regard.data.word_batches import word_batch
from regard.data.word_features import Features, Spans, split_words, vocabulary, words_of
from regard.errors import UserError
from regard.explain.marked import MarkedText
from regard.models.text import Seen, TextClassifier
from regard.tasks.classify_text.explained import explainable
from regard.tasks.classify_text.settings import ClassifyTextConfig
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.labeller import Labeller, load_classes, save_classes
from regard.tasks.families.classify.marked import ClassifiedText
from regard.tasks.families.classify.task import ClassifyTask, PartName
from regard.tasks.families.classify.trainable import Sets
from regard.tasks.fitted.companion import Companion
from regard.tasks.fitted.ngrams import NGramClassifier
from regard.tasks.inputs.masked_words import masked_words
from regard.tasks.inputs.texts import exportable, on_deciding
from regard.tasks.pretraining import light, unlabelled
from regard.tasks.results import Scores
from regard.tasks.task import Notify
from regard.training.masked import MaskedTexts


@dataclass(frozen=True)
class TextLabeller(Labeller[Texts, tuple[str, Spans]]):
    """A trained text classifier with the features of its words and the length of its windows."""

    together = 64
    apart = Labeller.apart | {"features"}

    model: TextClassifier
    features: Features
    window: int
    companion: Companion[NGramClassifier] | None = field(default=None, kw_only=True)

    def open(self, item: str) -> tuple[str, Spans]:
        """The text in Unicode's composed form, and where its words are. Raises UserError: it has no word."""
        text = compose(item)
        spans = split_words(text)
        if not spans:
            raise UserError("text: has no word")
        return text, spans

    def seen(self, inputs: Sequence[tuple[str, Spans]]) -> Seen:
        """See `Labeller`; the logits are those of the mixture with the classifier of n-grams."""
        texts = [[text[start:end] for start, end in spans] for text, spans in inputs]
        seen = self.model.look(*self._tensors(texts))
        return seen._replace(logits=self._mixed(seen.logits, texts))

    def result(self, item: tuple[str, Spans], seen: Seen, at: int) -> ClassifiedText:
        """See `Labeller`."""
        text, spans = item
        ranked = self.ranked(seen.logits[at])
        labels = self.applying(ranked)
        marked = []
        if seen.places is not None:
            places = seen.places[at].flatten(1)[:, : len(spans)].float().cpu().numpy()
            for name, _ in labels or ranked[:1]:
                row = 0 if labels is None else self.names.index(name)
                marked.append((name, MarkedText(text, spans, places[row])))
        return ClassifiedText(text, ranked, tuple(marked), labels=labels)

    def inputs(self, examples: Texts, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """See `Labeller`."""
        return self._tensors([examples.words[row] for row in rows])

    def logits(self, examples: Texts, rows: Sequence[int]) -> Tensor:
        """See `Labeller`; those of the mixture with the classifier of n-grams."""
        return self._mixed(super().logits(examples, rows), [examples.words[row] for row in rows])

    def lengths(self, examples: Texts) -> np.ndarray:
        """See `Labeller`."""
        return np.array([len(text) for text in examples.texts])

    def batch_size(self, examples: Texts) -> int:
        """See `Labeller`."""
        return 64

    def _mixed(self, logits: Tensor, texts: Sequence[Sequence[str]]) -> Tensor:
        return self.mixed(logits, lambda linear: linear.logits(texts))

    def _tensors(self, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        words, features = word_batch(texts, self.features, self.window)
        return torch.from_numpy(words).to(self.device), torch.from_numpy(features).to(self.device)

    def own_exportable(self) -> Exportable:
        """See `Labeller`; the logits are without the classifier of n-grams."""
        thresholds = {} if self.thresholds is None else {"thresholds": self.thresholds.tolist()}
        notes = {"task": "classify-text", "classes": self.names, **thresholds}
        return exportable(self.model, self.features, self.window, notes)


class ClassifyText(ClassifyTask[ClassifyTextConfig, Texts, TextLabeller]):
    """See `regard.tasks.task.Task`."""

    unit = "texts"
    built_in = "texts"
    built_in_source = "requests about five topics"
    place = "the class belongs in a column, before the text, or in the name of a folder"
    drawing = "words.png"

    def examples(
        self,
        config: ClassifyTextConfig,
        path: str | None,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Texts:
        """See `ClassifyTask`."""
        data = config.data
        if path is None:
            built_in = requests_of_several_topics if data.labels == "multi" else requests
            return built_in(data.builtin_texts, seed=config.train.seed)
        return read_texts(
            path, names=names, several=data.labels == "multi", text_column=data.text_column,
            label_column=data.label_column, on_bad_line=data.on_bad_line, part=part,
        )  # fmt: skip

    def prepare(self, config: ClassifyTextConfig, sets: Sets[Texts], folder: Path, notify: Notify) -> None:
        """Write the classes, the vocabulary, and the classifier of n-grams."""
        size = config.model.vocabulary
        words = vocabulary(sets.train.words, size=size, least=2)
        if config.pretrain.data is not None:
            # Words that are in no training text get an embedding, too, which a new text may need.
            texts = unlabelled(config.pretrain, sets.train.texts, sets.valid.texts, lambda line: None)
            more = vocabulary(map(words_of, texts), size=size, least=2)
            words = tuple(dict.fromkeys((*words, *more)))[:size]
        notify(f"vocabulary: {len(words):,} words")
        save_classes(folder, sets.train.names, vocabulary=words, buckets=config.model.buckets)
        self.fit_companion(config, (sets.train,), folder, notify)

    def build(self, config: ClassifyTextConfig, run: Path) -> tuple[nn.Module, TextLabeller]:
        """See `ClassifyTask`."""
        names, facts = load_classes(run, "vocabulary", "buckets")
        features, settings = Features(tuple(facts["vocabulary"]), facts["buckets"]), config.model
        model = TextClassifier(
            features.count, len(names), kind=settings.kind, dim=settings.dim, width=settings.width,
            layers=settings.layers, heads=settings.heads, attention=settings.attention != "none",
            dropout=settings.dropout, word_dropout=settings.word_dropout, several=config.data.labels == "multi",
        )  # fmt: skip
        companion = Companion.load(NGramClassifier, run, settings.ngrams)
        return model, TextLabeller(model, names, features, settings.window, companion=companion)

    def fitted(self, config: ClassifyTextConfig, parts: Sequence[Texts]) -> NGramClassifier | None:
        """See `ClassifyTask`: the classifier of n-grams."""
        if not config.model.ngrams:
            return None
        words = [text for part in parts for text in part.words]
        labels, classes = np.concatenate([part.labels for part in parts]), len(parts[0].names)
        weights = balance(labels, classes) if config.train.class_weights == "balanced" else None
        return NGramClassifier.fit(words, labels, classes, balance=weights)

    def pretraining(self, config: ClassifyTextConfig, run: Path, sets: Sets[Texts], notify: Notify) -> MaskedTexts:
        """See `Task`."""
        texts = unlabelled(config.pretrain, sets.train.texts, sets.valid.texts, notify)
        _, labeller = self.build(light(config, word_dropout=0.0), run)
        return masked_words(
            labeller.model, labeller.features, texts, config.pretrain, window=labeller.window, seed=config.train.seed
        )

    def evaluate(
        self,
        labeller: TextLabeller,
        config: ClassifyTextConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        on_bad_line: str | None = None,
        text_column: str | None = None,
        label_column: str | None = None,
    ) -> Scores:
        """See `Task`. The options apply to ``path``."""
        config = self.with_options(
            config, path, on_bad_line=on_bad_line, text_column=text_column, label_column=label_column
        )
        labeller, texts = self.evaluated(labeller, config, run, path, notify)
        scores = labeller.score(texts).scores(self.unit)
        if texts.deciding is not None and labeller.model.pool is not None:
            scores.update(_deciding(labeller, texts, texts.deciding))
        return scores

    def explainable(
        self,
        labeller: TextLabeller,
        config: ClassifyTextConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        limit: int,
    ) -> Explainable:
        """See `Task`."""
        labeller, texts = self.evaluated(labeller, config, run, path, notify)
        made = explainable(labeller.model, labeller.features, labeller.window, texts, limit)
        alone = [] if labeller.companion is None else ["of the network alone, without the linear model of n-grams"]
        return replace(made, notes=[*made.notes, *alone])

    def example(self, config: ClassifyTextConfig) -> str:
        """See `Task`."""
        return '"your text"'

    def inputs(self, config: ClassifyTextConfig, folder: Path) -> list[str]:
        """Two texts of the validation set."""
        return list(self.read(config, lambda line: None).valid.texts[:2])


def _deciding(labeller: TextLabeller, texts: Texts, deciding: np.ndarray) -> Scores:
    """The attention on the words that decide; with several labels, of those that apply rightly."""
    weights, places = [], []
    for row, result in zip(deciding.reshape(len(deciding), -1), labeller.predict(texts.texts), strict=True):
        assert isinstance(result, ClassifiedText)
        for name, marked in result.attended:
            place = int(row[labeller.names.index(name) if texts.several else 0])
            if place >= 0:
                weights.append(marked.weights)
                places.append(place)
    return {"deciding": on_deciding(weights, places)} if places else {}
