"""The text classifier: padding and windows change nothing, weights are shares of a text, and what is drawn."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor

from conftest import Result
from regard.data import split
from regard.data.word_batches import word_batch
from regard.data.word_features import Features, words_of
from regard.errors import UserError
from regard.explain.marked import MarkedText
from regard.models.one_window import OneWindow
from regard.models.text import TextClassifier
from regard.tasks.classify_text.settings import ClassifyTextConfig
from regard.tasks.inputs.text_settings import LabelledTextsConfig, TextModelConfig
from regard.tasks.running import evaluate, load, train

FEATURES = Features(("a", "b", "c"), 40)
KINDS = ("cnn", "gru", "transformer")
TEXTS = ["a b c unknown words and a b", "b", "c c c a", "one two three four five six seven eight nine ten a"]


def _model(kind: Any, **options: Any) -> TextClassifier:
    torch.manual_seed(0)
    return TextClassifier(FEATURES.count, 3, kind=kind, dim=8, width=8, heads=2, **options).eval()


def _tensors(texts: list[str], window: int) -> tuple[Tensor, Tensor]:
    words, features = word_batch([words_of(text) for text in texts], FEATURES, window)
    return torch.from_numpy(words), torch.from_numpy(features)


@pytest.mark.parametrize("window", [3, 4, 100])
@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_text_has_the_same_result_alone_and_in_a_batch(kind: str, attention: bool, window: int) -> None:
    model = _model(kind, attention=attention)
    together = model.look(*_tensors(TEXTS, window))
    for at, text in enumerate(TEXTS):
        words, features = _tensors([text], min(window, 11))
        if words.shape[1] > 1 or window == 100:
            alone = model.look(words, features)
            torch.testing.assert_close(alone.logits[0], together.logits[at], rtol=1e-4, atol=1e-5)
            if attention:
                count = len(words_of(text))
                assert alone.places is not None
                assert together.places is not None
                one, other = (places.flatten()[:count] for places in (alone.places[0], together.places[at]))
                torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert (together.places is not None) is attention


@pytest.mark.parametrize("window", [3, 100])
@torch.no_grad()
def test_the_weights_of_a_text_sum_to_one(window: int) -> None:
    seen = _model("cnn").look(*_tensors(TEXTS, window))
    assert seen.places is not None
    for at, text in enumerate(TEXTS):
        weights = seen.places[at].flatten()
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0))
        assert (weights[len(words_of(text)) :] == 0).all()


@torch.no_grad()
def test_one_window_gives_the_same_logits_as_the_model() -> None:
    model = _model("cnn")
    words, features = _tensors(TEXTS, 100)
    torch.testing.assert_close(OneWindow(model)(features[words[:, 0]]), model(words, features))


def test_padding_has_no_gradient_and_words_are_hidden_in_training() -> None:
    model = _model("cnn", word_dropout=0.5, dropout=0.0).train()
    words, features = _tensors(TEXTS, 100)
    one, other = model(words, features), model(words, features)
    assert not torch.equal(one, other)
    one.sum().backward()
    assert model.embedding.weight.grad is not None
    assert not model.embedding.weight.grad[0].any()


@pytest.mark.parametrize(("model", "message"), [
    ({"width": 0}, "model.width: must be above 0, got 0"),
    ({"kind": "gru", "width": 7, "heads": 1}, "must be even"),
    ({"heads": 5}, "model.heads: 3 · model.width, 384, must be even and a multiple of it, got 5"),
    ({"word_dropout": 1.0}, "model.word_dropout"),
])  # fmt: skip
def test_settings_out_of_range_are_named(model: dict[str, Any], message: str) -> None:
    assert message in (ClassifyTextConfig(model=TextModelConfig(**model)).problem() or "")


def test_a_small_number_of_built_in_texts_is_refused() -> None:
    config = ClassifyTextConfig(data=LabelledTextsConfig(builtin_texts=5))
    assert "data.builtin_texts: must be at least 50, got 5" in (config.problem() or "")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    rows = [f"{topic}\t{filler} {topic}y {filler}\n" for topic, filler in itertools.product(
        ("cat", "dog"), ("the big", "a small", "one of the", "no", "that", "every", "my own", "her", "his", "our"),
    )]  # fmt: skip
    (folder / "train.tsv").write_text("".join(rows + rows[:3]))
    config = {
        "data": {"train": str(folder / "train.tsv"), "valid": str(folder / "train.tsv")},
        "model": {"dim": 16, "width": 8, "buckets": 200, "kind": "gru", "window": 4, "dropout": 0.2},
        "train": {"epochs": 30, "learning_rate": 0.02, "class_weights": "balanced"},
    }
    train("classify-text", config, folder / "run")
    return folder / "run"


def test_a_model_learns_and_its_attention_is_shown(run: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    assert evaluate(run, str(run.parent / "train.tsv"))["accuracy"].value == 100
    shown = load(run).look("was it dogy? “yes” & <no>")
    console = Console(file=io.StringIO(), width=80)
    shown.show(console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "dog" in text.splitlines()[0]
    assert "attention: " in text
    shown.save(tmp_path / "w.html")
    assert "<no>" not in (tmp_path / "w.html").read_text()
    assert shown.document().axes[1].labels == ("was", "it", "dogy", "?", "“", "yes", "”", "&", "<", "no", ">")
    shown.save(tmp_path / "w.svg")
    assert (tmp_path / "w.svg").read_text().startswith("<?xml")
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg \(an image\) or \.html"):
        shown.save(tmp_path / "w.txt")
    weights = shown.to_dict(attention=True)["weights"]
    assert sum(weights) == pytest.approx(1, abs=1e-4)
    printed = regard("classify", run, "the cat", "--json")
    assert printed.status == 0
    assert '"classes": {"cat"' in printed.out or '"classes": {"dog"' in printed.out


def test_a_recurrent_model_cannot_be_exported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a recurrent model cannot be exported"):
        load(run).export(tmp_path / "m.onnx")


@pytest.mark.parametrize("text", ["", " \u00a0 ", "\t"])
def test_a_text_without_words_is_a_failure_and_the_others_are_classified(run: Path, text: str) -> None:
    results = list(load(run).predict(["a cat", text, "a dog"]))
    assert ["error" in result.to_dict() for result in results] == [False, True, False]


def test_the_model_without_attention_has_nothing_to_draw(tmp_path: Path) -> None:
    config = {
        "data": {"builtin_texts": 60},
        "model": {"attention": "none", "dim": 8, "width": 4},
        "train": {"steps": 2},
    }
    train("classify-text", config, tmp_path / "run")
    shown = load(tmp_path / "run").look("a ticket")
    with pytest.raises(UserError, match="this model has no attention"):
        shown.save(tmp_path / "w.png")
    assert "deciding" not in evaluate(tmp_path / "run")


def test_equal_examples_are_set_aside_together() -> None:
    labels = np.array([0] * 40 + [1] * 40)
    keys = [str(at // 4) for at in range(80)]
    held_out = split.by_class(labels, share=0.3, seed=1, keys=keys)
    assert all(len({held_out[at] for at in range(start, start + 4)}) == 1 for start in range(0, 80, 4))
    assert held_out[:40].sum() == held_out[40:].sum() == 12


def test_a_marked_text_names_its_strongest_words() -> None:
    marked = MarkedText("To be, or not", [(0, 2), (3, 5), (5, 6), (7, 9), (10, 13)], np.array([0.1, 0, 0, 0.3, 0.6]))
    assert marked.strongest() == "attention: not 60%, or 30%, To 10%"
    assert marked.levels().max() == 1
