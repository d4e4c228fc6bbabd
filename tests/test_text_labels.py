"""Texts with several labels: how they are read, trained on and shown, and what cannot be used."""

from __future__ import annotations

import io
import itertools
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from conftest import Result
from regard.data.requests import TOPICS, requests_of_several_topics
from regard.data.texts import Texts, read_texts
from regard.data.word_batches import word_batch
from regard.data.word_features import Features, words_of
from regard.errors import UserError
from regard.models.one_window import OneWindow
from regard.models.text import TextClassifier
from regard.tasks.classify_text.task import ClassifyText
from regard.tasks.running import evaluate, load, resume, train
from stopping import assert_same, interrupting

ROWS: list[tuple[list[str], str]] = [(["sci fi", "drama"], "It was long."), ([], "A, B."), (["drama"], "Oh no!")]


def _lists(texts: Texts) -> list[tuple[list[str], str]]:
    named = [sorted((texts.names[number] for number in numbers), reverse=True) for numbers in texts.numbers]
    return list(zip(named, texts.texts, strict=True))


FILES = {
    "t.tsv": "".join(f"{'|'.join(labels)}\t{text}\n" for labels, text in ROWS),
    "header.tsv": "text\ttags\n" + "".join(f"{text}\t{'; '.join(labels)}\n" for labels, text in ROWS),
    "t.csv": "labels,text\n" + "".join(f'"{", ".join(labels)}","{text}"\n' for labels, text in ROWS),
    "t.jsonl": "".join(json.dumps({"text": text, "labels": labels}) + "\n" for labels, text in ROWS),
    "null.jsonl": "".join(json.dumps({"text": text, "labels": "|".join(labels) or None}) + "\n"
                          for labels, text in ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_each_format_gives_the_same_labels(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(FILES[name])
    texts = read_texts(str(tmp_path / name), several=True)
    assert _lists(texts) == ROWS
    assert texts.names == ("drama", "sci fi")
    assert texts.describe() == "3 texts with 2 labels: drama (2), sci fi (1); 1 without a label"


def test_lists_in_parquet(tmp_path: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    table = arrow.table({"text": [text for _, text in ROWS], "labels": [labels for labels, _ in ROWS]})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert _lists(read_texts(str(tmp_path / "t.parquet"), several=True)) == ROWS


def test_lines_of_fasttext(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Nothing.\n__label__b __label__a,c It works.\n__label__b __label__b Well.\n")
    assert _lists(read_texts(str(tmp_path / "t.txt"), several=True)) == [
        ([], "Nothing."), (["b", "a,c"], "It works."), (["b"], "Well."),
    ]  # fmt: skip


SEVERAL = "labels, which need --data.labels multi"


@pytest.mark.parametrize(("name", "content", "options", "message"), [
    ("t.txt", "__label__a x\n__label__a __label__b y\n", {}, f"line 2: 2 {SEVERAL}"),
    ("t.jsonl", '{"text": "x", "label": ["a"]}\n{"text": "y", "label": ["a", "b"]}\n', {}, f"line 2: 2 {SEVERAL}"),
    ("t.jsonl", '{"text": "x", "label": []}\n', {}, "line 1: no label"),
    ("t.jsonl", '{"text": "x"}\n{"text": "y", "label": "b"}\n', {"several": True}, "line 1: no label"),
    ("t.csv", "text,label\nx,\"['a', 'b']\"\n", {"several": True}, "line 2: a list as text; separate labels by"),
    ("t.csv", "text,label\nx,\ny,\n", {"several": True}, "t.csv: no text has a label; check which column"),
    ("t.tsv", "a\tx\nb|new\ty\n", {"several": True, "names": ("a", "b")}, "line 2: has the label 'new', which is not"),
    ("t.tsv", "a\tx\nb\n", {"several": True}, "line 2: no tab"),
    ("t.tsv", "a|b\t\n", {"several": True}, "line 1: empty text"),
])  # fmt: skip
def test_bad_lines_are_named(name: str, content: str, options: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError) as caught:
        read_texts(str(tmp_path / name), **options)
    assert message in str(caught.value)


def test_a_folder_for_each_class_gives_one_label(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"It was {name}.")
    assert sorted(_lists(read_texts(str(tmp_path), several=True))) == [
        (["bad"], "It was bad."), (["good"], "It was good."),
    ]  # fmt: skip


def test_the_built_in_texts_have_a_deciding_word_for_each_label() -> None:
    texts = requests_of_several_topics(200)
    assert texts.deciding is not None
    for text, own, deciding in zip(texts.texts, texts.labels, texts.deciding, strict=True):
        words = words_of(text)
        named = {texts.names[at]: words[deciding[at]] for at in np.flatnonzero(own)}
        assert all(word in TOPICS[name] for name, word in named.items())
        assert sum(word in topic for word in words for topic in TOPICS.values()) == own.sum()
        assert (deciding[~own] == -1).all()


FEATURES = Features(("a", "b"), 40)
TEXTS = ["a b c unknown words and a b", "b", "one two three four five six seven eight nine ten a"]


def _tensors(texts: list[str], window: int) -> tuple[torch.Tensor, torch.Tensor]:
    words, features = word_batch([words_of(text) for text in texts], FEATURES, window)
    return torch.from_numpy(words), torch.from_numpy(features)


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("kind", ["cnn", "gru", "transformer"])
@torch.no_grad()
def test_each_label_has_weights_of_its_own(kind: Any, attention: bool) -> None:
    torch.manual_seed(0)
    model = TextClassifier(FEATURES.count, 3, kind=kind, dim=8, width=8, heads=2, attention=attention, several=True)
    seen = model.eval().look(*_tensors(TEXTS, 4))
    alone = model.look(*_tensors(TEXTS[2:], 4))
    torch.testing.assert_close(alone.logits[0], seen.logits[2], rtol=1e-4, atol=1e-5)
    assert model.thresholds is not None
    assert model.thresholds.tolist() == [0.5] * 3
    if seen.places is None:
        assert not attention
        return
    assert seen.places.shape == (3, 3, 3, 4)
    torch.testing.assert_close(seen.places.sum((2, 3)), torch.ones(3, 3))
    assert not torch.allclose(seen.places[0, 0], seen.places[0, 1])
    words, features = _tensors(TEXTS, 100)
    torch.testing.assert_close(OneWindow(model)(features[words[:, 0]]), model(words, features))


TINY: dict[str, Any] = {
    "data": {"labels": "multi"},
    "model": {"dim": 16, "width": 8, "buckets": 100, "dropout": 0.2},
    "train": {"epochs": 25, "learning_rate": 0.02, "batch": 16},
}


def _write(path: Path) -> Path:
    """Texts about cats, dogs, both or neither."""
    fillers = ("the big", "a small", "one of the", "that", "every", "my own", "her", "his", "our", "some", "any", "no")
    rows = [f"{labels}\t{filler} {words} {filler}\n" for filler, (labels, words) in itertools.product(
        fillers, (("a cat", "catty"), ("dog", "doggy"), ("a cat|dog", "catty and doggy"), ("", "house")),
    )]  # fmt: skip
    path.write_text("".join(rows))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labels")
    train(
        "classify-text", {**TINY, "data": {"labels": "multi", "train": str(_write(folder / "t.tsv"))}}, folder / "run"
    )
    return folder / "run"


def test_a_model_learns_labels_and_scores_them(run: Path) -> None:
    scores = evaluate(run, str(run.parent / "t.tsv"))
    assert list(scores) == ["micro_f1", "macro_f1", "precision", "recall", "exact", "accuracy", "loss", "worst"]
    assert scores["micro_f1"].value > 95
    assert "| label | threshold | precision, %" in (run / "report.md").read_text()
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"valid_accuracy", "valid_micro_f1", "valid_macro_f1"} <= last.keys()
    assert (load(run).thresholds != 0.5).any()  # type: ignore[attr-defined]


def test_labels_that_apply_are_printed_or_that_there_are_none(run: Path, regard: Callable[..., Result]) -> None:
    (run.parent / "new.txt").write_text("this catty and doggy\na doggy here\nthis house\n")
    lines = regard("classify", run, "--file", run.parent / "new.txt").out.splitlines()
    assert [sorted(field.rsplit(" ", 1)[0] for field in line.split("\t")[1:]) for line in lines[:2]] == [
        ["a cat", "dog"], ["dog"],
    ]  # fmt: skip
    assert lines[2] == "this house\t(no label)"
    results = [json.loads(line) for line in regard(
        "classify", run, "--file", run.parent / "new.txt", "--json", "--top", 1).out.splitlines()]  # fmt: skip
    assert [sorted(result["labels"]) for result in results] == [["a cat", "dog"], ["dog"], []]
    assert [len(result["classes"]) for result in results] == [1, 1, 1]
    (none,) = load(run).predict(["this house"], top=1)
    assert none.to_dict()["labels"] == {}


def test_the_words_are_shown_for_each_label(run: Path, tmp_path: Path) -> None:
    shown = load(run).look("this catty and doggy")
    console = Console(file=io.StringIO(), width=80)
    shown.show(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "words for a cat:" in text
    assert "words for dog:" in text
    full = shown.to_dict(attention=True)
    assert full["words"] == ["this", "catty", "and", "doggy"]
    assert sorted(full["weights"]) == ["a cat", "dog"]
    assert [sum(weights) for weights in full["weights"].values()] == pytest.approx([1, 1], abs=1e-4)
    assert full["weights"]["a cat"] != full["weights"]["dog"]
    shown.save(tmp_path / "w.png")
    none = load(run).look("this house")
    assert len(none.to_dict(attention=True)["weights"]) == 1
    console = Console(file=io.StringIO(), width=80)
    none.show(console)
    assert "this house: (no label)" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_resumed_run_ends_with_the_same_weights_and_thresholds(run: Path, tmp_path: Path) -> None:
    from regard.training.interrupt import Interrupted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regard.tasks.running.Log", interrupting(5, signal.SIGINT))
        data = {"labels": "multi", "train": str(run.parent / "t.tsv")}
        with pytest.raises(Interrupted):
            train("classify-text", {**TINY, "data": data}, tmp_path / "run")
    resume(tmp_path / "run")
    assert_same(run, tmp_path / "run")


def _messages(content: str, folder: Path, **data: Any) -> list[str]:
    from regard.tasks.classify_text.settings import ClassifyTextConfig
    from regard.tasks.inputs.text_settings import LabelledTextsConfig

    (folder / "t.tsv").write_text(content)
    messages: list[str] = []
    config = LabelledTextsConfig(train=str(folder / "t.tsv"), labels="multi", **data)
    sets = ClassifyText().read(ClassifyTextConfig(data=config), messages.append)
    assert not set(sets.train.texts) & set(sets.valid.texts)
    return messages


def test_labels_that_are_in_one_of_the_sets_only_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{'a' if at % 2 else 'a|b'}\ttext {at // 2}\n" for at in range(40))
    messages = _messages(rows + "rare\tonce\n", tmp_path)
    assert "21 texts with" not in " ".join(messages)
    assert "20 texts are repeats of others; equal ones are on the same side" in messages
    assert "labels without a validation text, so their thresholds stay 0.5: rare" in messages
    folds = [_messages(rows + "rare\tonce\n", tmp_path, fold=f"{fold}/3") for fold in (1, 2, 3)]
    alone = "labels without a training text, so they are never learned: rare"
    assert sum(alone in messages for messages in folds) == 1


def test_few_texts_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.train: has 3 distinct texts, too few to set a tenth aside for validation"
    ):
        _messages("a\tx\nb\ty\n\tz\n", tmp_path)
