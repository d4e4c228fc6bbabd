"""The linear classifier of n-grams beside a text classifier: its fit, and the mixture of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from regard.data.ngrams import NGrams
from regard.data.word_features import words_of
from regard.errors import UserError
from regard.tasks.classify_text.linear import NGramClassifier
from regard.tasks.classify_text.task import TextLabeller
from regard.tasks.families.classify.labeller import Classified
from regard.tasks.families.classify.mixture import mixture
from regard.tasks.running import evaluate, load, train

TEXTS = [
    words_of(text) for text in ("a good film", "a bad film", "good cast, good film", "bad, bad cast", "A Good cast")
]
LABELS = np.array([1, 0, 1, 0, 1])


def test_weights_are_those_of_tfidf() -> None:
    sklearn = pytest.importorskip("sklearn.feature_extraction.text")
    whole = sklearn.TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    parts = sklearn.TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char_wb")
    joined = [" ".join(words) for words in TEXTS]
    expected = np.hstack([vectors.fit_transform(joined).toarray() for vectors in (whole, parts)])
    ngrams = NGrams.of(TEXTS)
    dense = np.zeros_like(expected)
    bags = ngrams.bags(TEXTS)
    for row, (start, end) in enumerate(zip(bags.starts, [*bags.starts[1:], len(bags.rows)], strict=True)):
        dense[row, bags.rows[start:end]] = bags.weights[start:end]
    np.testing.assert_allclose(dense @ dense.T, expected @ expected.T, atol=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_the_fit_has_no_gradient(several: bool) -> None:
    labels = np.stack([LABELS == 0, LABELS == 1, [True, False, False, True, True]], 1) if several else LABELS
    balance = np.array([[1.0, 2.0, 1.5], [1.0, 0.5, 3.0]]) if several else np.array([1.0, 2.0])
    model = NGramClassifier.fit(TEXTS, labels, labels.shape[-1] if several else 2, balance=balance)
    weight, bias = model.weight.clone().requires_grad_(), model.bias.clone().requires_grad_()
    logits = NGramClassifier(model.ngrams, weight, bias).logits(TEXTS)
    if several:
        weights = torch.from_numpy(np.where(labels, balance[1], balance[0])).float()
        target = torch.from_numpy(labels).float()
        loss = F.binary_cross_entropy_with_logits(logits, target, weight=weights, reduction="sum")
    else:
        loss = F.cross_entropy(logits, torch.from_numpy(labels), torch.tensor(balance).float(), reduction="sum")
    (loss / 5 + weight.square().sum() / 300).backward()
    assert weight.grad is not None
    assert bias.grad is not None
    assert float(weight.grad.abs().max()) < 1e-4
    assert float(bias.grad.abs().max()) < 1e-4


def test_an_unknown_text_has_the_logits_of_the_bias() -> None:
    model = NGramClassifier.fit(TEXTS, LABELS, 2)
    torch.testing.assert_close(model.logits([["xyz"], []]), model.bias.expand(2, 2))


@pytest.mark.parametrize("several", [False, True])
def test_a_mixture_is_the_mean_of_probabilities(several: bool) -> None:
    torch.manual_seed(0)
    one, other = torch.randn(2, 7, 3, dtype=torch.float64).unbind()
    probabilities = torch.sigmoid if several else lambda logits: logits.softmax(-1)
    mixed = mixture([one, other], [0.7, 0.3], several=several)
    torch.testing.assert_close(probabilities(mixed), 0.7 * probabilities(one) + 0.3 * probabilities(other))


@pytest.mark.parametrize("labels", ["single", "multi"])
def test_a_run_mixes_both_models(labels: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data": {"builtin_texts": 60, "labels": labels},
        "model": {"dim": 8, "width": 4, "buckets": 50, "ngrams": 0.25},
        "train": {"steps": 3, "batch": 16},
    }
    train("classify-text", settings, tmp_path / "run")
    mixed = load(tmp_path / "run")
    assert isinstance(mixed, TextLabeller)
    assert mixed.companion is not None
    text = "Is my ticket still valid?"
    (result,) = mixed.predict([text], top=None)
    assert isinstance(result, Classified)
    with torch.no_grad():
        logits = mixed.model(*mixed._tensors([words_of(text)]))
    own = mixed.companion.model.logits([words_of(text)])
    probabilities = torch.sigmoid if labels == "multi" else lambda values: values.softmax(-1)
    expected = (0.75 * probabilities(logits) + 0.25 * probabilities(own))[0]
    for at, name in enumerate(mixed.names):
        assert dict(result.classes)[name] == pytest.approx(float(expected[at]), abs=1e-6)
    assert mixed.look(text).classes == result.classes
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    *_, validated = (line["valid_loss"] for line in lines if "valid_loss" in line)
    assert evaluate(tmp_path / "run", checkpoint="last")["loss"].value == pytest.approx(validated, rel=1e-4)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match=r"x\.safetensors: is not a classifier of n-grams"):
        NGramClassifier.load(tmp_path / "x.safetensors")
