"""What a task of classification gets from its family, shown with one that tells vowels and consonants apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import Result
from regard.data.labelled import Labelled, number_classes
from regard.errors import UserError
from regard.models.text import Seen
from regard.tasks import table
from regard.tasks.exporting import Exportable
from regard.tasks.families.classify.labeller import Classified, Labeller, load_classes, save_classes
from regard.tasks.families.classify.settings import ClassifyTrainConfig, classify_verb
from regard.tasks.families.classify.task import ClassifyTask, PartName
from regard.tasks.families.classify.trainable import Sets
from regard.tasks.results import Scores
from regard.tasks.spec import Demo, NoOptions, TaskSpec
from regard.tasks.task import Notify
from regard.viewer.document import Document

VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class DataConfig:
    """Words, one per line, after their class and a tab."""

    train: str | None = None
    """Words to train on."""
    valid: str | None = None
    """Words to validate on."""
    fold: str | None = None
    """The fold to validate on."""


@dataclass(frozen=True)
class WordConfig:
    """All settings."""

    data: DataConfig = field(default_factory=DataConfig)
    train: ClassifyTrainConfig = field(default_factory=lambda: ClassifyTrainConfig(learning_rate=0.1))

    def problem(self) -> str | None:
        """The first setting that is out of range."""
        return self.train.problem()


@dataclass(frozen=True, kw_only=True)
class Words(Labelled):
    """Words of any length."""

    unit = "word"

    words: tuple[str, ...]

    def content(self, mask: np.ndarray) -> Mapping[str, Any]:
        return {"words": tuple(word for word, included in zip(self.words, mask, strict=True) if included)}


class Model(nn.Module):
    """A weight of each letter for each class; it takes two tensors: all letters, and where the words begin."""

    def __init__(self, classes: int):
        super().__init__()
        self.letters = nn.EmbeddingBag(len(LETTERS), classes, mode="sum")

    def forward(self, letters: Tensor, starts: Tensor) -> Tensor:
        logits: Tensor = self.letters(letters, starts)
        return logits


@dataclass(frozen=True)
class ClassifiedWord(Classified):
    """A word, without attention."""

    unit = "word"

    def save(self, path: str | Path) -> None:
        Path(path).write_bytes(b"\x89PNG")

    def document(self) -> Document:
        raise UserError("look: this model has no attention")


@dataclass(frozen=True)
class WordLabeller(Labeller[Words, str]):
    """Classifies up to four words at a time."""

    together = 4

    def open(self, item: str) -> str:
        if not item or not set(item) <= set(LETTERS):
            raise UserError(f"word: expected the letters a to z, got {item!r}")
        return item

    def seen(self, inputs: Sequence[str]) -> Seen:
        return Seen(self.model(*self._tensors(inputs)), None)

    def result(self, item: str, seen: Seen, at: int) -> ClassifiedWord:
        return ClassifiedWord(item, self.ranked(seen.logits[at]))

    def inputs(self, examples: Words, rows: Sequence[int]) -> tuple[Tensor, ...]:
        return self._tensors([examples.words[row] for row in rows])

    def own_exportable(self) -> Exportable:
        raise UserError("export: words cannot be exported")

    def _tensors(self, words: Sequence[str]) -> tuple[Tensor, Tensor]:
        letters = torch.tensor([LETTERS.index(letter) for word in words for letter in word], device=self.device)
        lengths = torch.tensor([0, *map(len, words[:-1])], device=self.device)
        return letters, lengths.cumsum(0)


class ClassifyWord(ClassifyTask[WordConfig, Words, WordLabeller]):
    """Words with more vowels, or more consonants."""

    unit = "words"
    built_in = "words"
    built_in_source = "random letters"
    place = "a line is a class, a tab and a word"
    drawing = "word.png"

    def examples(
        self,
        config: WordConfig,
        path: str | None,
        *,
        part: PartName | None = None,
        names: tuple[str, ...] | None = None,
    ) -> Words:
        lines = list(_random()) if path is None else Path(path).read_text().splitlines()
        labels, words = zip(*(line.split("\t") for line in lines), strict=True)
        numbers, known = number_classes(labels, names, path or "words")
        return Words(labels=numbers, names=known, keys=tuple(word.encode() for word in words), words=words)

    def prepare(self, config: WordConfig, sets: Sets[Words], folder: Path, notify: Notify) -> None:
        save_classes(folder, sets.train.names)

    def build(self, config: WordConfig, run: Path) -> tuple[nn.Module, WordLabeller]:
        names, _ = load_classes(run)
        model = Model(len(names))
        return model, WordLabeller(model, names)

    def evaluate(
        self, labeller: WordLabeller, config: WordConfig, run: Path, path: str | None, notify: Notify
    ) -> Scores:
        return self.score(labeller, config, run, path, notify)

    def example(self, config: WordConfig) -> str:
        return "banana"

    def inputs(self, config: WordConfig, folder: Path) -> list[str]:
        return ["aeio", "bcdfg"]


def _random() -> Iterator[str]:
    random, words = np.random.default_rng(0), dict[str, None]()
    while len(words) < 200:
        words["".join(random.choice(list(VOWELS * 4 + LETTERS), random.integers(1, 8)))] = None
    for word in words:
        vowels = sum(letter in VOWELS for letter in word)
        yield f"{'vowels' if vowels > len(word) / 2 else 'consonants'}\t{word}"


SPEC = TaskSpec(
    name="classify-word", summary="Train a classifier of words", settings=WordConfig,
    verb=classify_verb("word", "Words of the letters a to z."), evaluation=NoOptions, evaluated="the run's words",
    looking=NoOptions, look_input="A word.",
    demo=Demo(
        folder="runs/words", summary="Train on random letters.", example="regard classify {run} banana",
        settings=WordConfig, tiny=WordConfig, scored="held-out words",
    ),
    code="test_classify_family:ClassifyWord",
)  # fmt: skip


@pytest.fixture(autouse=True)
def added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task is in the table, after image classification, which has the same verb."""
    monkeypatch.setattr(table, "TASKS", (*table.TASKS, SPEC))


@pytest.fixture
def run(tmp_path: Path, regard: Callable[..., Result]) -> Path:
    result = regard("train", "classify-word", tmp_path / "run")
    assert result.status == 0, result.err
    assert "no --data.train: training on the built-in words, random letters" in result.err
    assert "180 words of 2 classes" in result.err
    return tmp_path / "run"


def test_a_task_of_the_family_is_trained_scored_and_reported(run: Path, regard: Callable[..., Result]) -> None:
    scores = json.loads(regard("eval", run, "--json").out)
    assert list(scores) == ["accuracy", "macro_f1", "mcc", "loss", "calibration", "worst"]
    assert scores["accuracy"]["score"] > 90
    assert scores["accuracy"]["how"] == "per cent of 20 words"
    report = (run / "report.md").read_text()
    assert "| class | precision, % | recall, % | F1, % | words |" in report
    last = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()][-1]
    assert last["valid_accuracy"] == pytest.approx(scores["accuracy"]["score"])


def test_tasks_share_the_verb(run: Path, regard: Callable[..., Result]) -> None:
    result = regard("classify", run, "aeio", "x1", "bcdfg", "--top", 1)
    assert [line.split("\t")[0] for line in result.out.splitlines()] == ["aeio", "bcdfg"]
    assert [line.split("\t")[1].split()[0] for line in result.out.splitlines()] == ["vowels", "consonants"]
    assert (result.status, result.err) == (1, "regard: word: expected the letters a to z, got 'x1'\n")
    assert "each word" in regard("classify", run, "--help").out
    shown = json.loads(regard("classify", run, "aeio", "--json").out)
    assert (shown["word"], list(shown["classes"])) == ("aeio", ["vowels", "consonants"])


def test_own_words_are_set_aside_and_checked(tmp_path: Path, regard: Callable[..., Result]) -> None:
    data, other = tmp_path / "train.tsv", tmp_path / "other.tsv"
    data.write_text("".join(f"{line}\n" for line in _random()))
    result = regard("train", "classify-word", tmp_path / "run", "--data.train", data, "--train.epochs", 1)
    assert "set aside 20 of 200 words for validation" in result.err
    assert regard("eval", tmp_path / "run").status == 0
    other.write_text("vowel\tae\n")
    assert "has the class 'vowel', which is not in the training data; its classes are consonants, vowels" in (
        regard("eval", tmp_path / "run", "--data", other).err
    )
    assert "has one class, 'vowel', and needs at least two; a line is a class, a tab and a word" in (
        regard("train", "classify-word", tmp_path / "new", "--data.train", other).err
    )
    data.write_text("".join(f"{line}\n" for line in list(_random())[:150]))
    assert "its data have changed since the run began" in regard("eval", tmp_path / "run").err


def test_the_demo_of_a_task_of_the_family(tmp_path: Path, regard: Callable[..., Result]) -> None:
    result = regard("demo", "classify-word", tmp_path / "demo")
    assert result.status == 0, result.err
    assert (tmp_path / "demo" / "word.png").exists()


def test_folds_are_divided_anew_each_time_in_the_same_way(tmp_path: Path, regard: Callable[..., Result]) -> None:
    data = tmp_path / "train.tsv"
    lines = list(_random())
    data.write_text("".join(f"{line}\n" for line in [*lines, *lines[:30]]))
    config = WordConfig(DataConfig(train=str(data)))
    valid: list[str] = []
    for fold in range(1, 6):
        messages: list[str] = []
        sets = ClassifyWord().read(replace(config, data=replace(config.data, fold=f"{fold}/5")), messages.append)
        assert not set(sets.train.words) & set(sets.valid.words)
        assert f"validating on fold {fold}/5: {len(sets.valid.words)} of 230 words" in messages
        valid += sets.valid.words
    assert sorted(valid) == sorted(line.split("\t")[1] for line in [*lines, *lines[:30]])
    result = regard(
        "train", "classify-word", tmp_path / "run", "--data.train", data, "--data.fold", "2/5", "--train.epochs", 1
    )
    assert "validating on fold 2/5" in result.err
    assert regard("eval", tmp_path / "run").status == 0
    few = regard("train", "classify-word", tmp_path / "few", "--data.train", data, "--data.fold", "1/500")
    assert "data.fold: 1/500 has more folds than there are distinct words, 200" in few.err


def test_a_class_of_equal_words_is_refused(tmp_path: Path, regard: Callable[..., Result]) -> None:
    data = tmp_path / "train.tsv"
    data.write_text("a\tx\na\tx\nb\ty\nb\tz\n")
    result = regard("train", "classify-word", tmp_path / "run", "--data.train", data)
    assert "the class 'a' has one distinct word, and needs another one for validation" in result.err
