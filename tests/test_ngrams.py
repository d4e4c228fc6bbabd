"""The linear classifier of n-grams beside a text classifier: its fit, and the mixture of both."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard.data.ngrams import NGrams, distant_pairs, opening_pairs, parts_of_words, shapes_of_words, words_and_pairs
from regard.data.word_features import words_of
from regard.errors import UserError
from regard.tasks.classify_text.task import TextLabeller
from regard.tasks.families.classify.labeller import Classified
from regard.tasks.families.classify.mixture import mixture
from regard.tasks.fitted.calibrated import Targets, calibration
from regard.tasks.fitted.machine import support_vector_machine
from regard.tasks.fitted.ngrams import NGramClassifier
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
    ngrams = NGrams.of(TEXTS, kinds=(words_and_pairs, parts_of_words))
    dense = np.zeros_like(expected)
    bags = ngrams.bags(TEXTS)
    for row, (start, end) in enumerate(zip(bags.starts, [*bags.starts[1:], len(bags.rows)], strict=True)):
        dense[row, bags.rows[start:end]] = bags.weights[start:end]
    np.testing.assert_allclose(dense @ dense.T, expected @ expected.T, atol=1e-6)


def test_distant_pairs_have_one_to_three_words_between_them() -> None:
    near = [["a", "-", "c"], ["a", "-", "-", "d"], ["a", "-", "-", "-", "e"]]
    numbers = [Counter(distant_pairs(words)) - Counter(distant_pairs(["-", *words[1:]])) for words in near]
    assert [sum(counts.values()) for counts in numbers] == [1, 2, 3]
    assert not list(distant_pairs(["a", "b"]))
    assert len(list(distant_pairs(["a", "b", "c", "d", "e", "f"]))) == 4 + 3 + 2


def test_opening_pairs_join_the_first_words_with_each_later_one() -> None:
    assert len(list(opening_pairs(["What", "is", "a", "cat"]))) == 3 + 2
    assert set(opening_pairs(["What", "is", "it"])) < set(opening_pairs(["what", "is", "x", "it"]))
    assert set(opening_pairs(["Who", "is", "it"])).isdisjoint(opening_pairs(["what", "is", "it"]))


def test_names_that_are_not_known_have_the_same_shapes() -> None:
    counts = [Counter(shapes_of_words(["Who", "is", name])) for name in ("Ada", "Benjamin", "ada")]
    assert (counts[0] - counts[1]).total() == 1  # The name itself, after a word in small letters.
    assert (counts[2] - counts[0]).total() == 4


@pytest.mark.parametrize("several", [False, True])
def test_the_machine_has_the_smallest_loss(several: bool) -> None:
    labels = np.stack([LABELS == 0, LABELS == 1, [True, False, False, True, True]], 1) if several else LABELS
    balance = np.array([[1.0, 2.0, 1.5], [1.0, 0.5, 3.0]]) if several else np.array([1.0, 2.0])
    targets = Targets.of(labels, labels.shape[-1] if several else 2, balance)
    expected = (
        np.where(labels, balance[1], balance[0]) if several else np.array([[2, 2], [1, 1], [2, 2], [1, 1], [2, 2]])
    )
    np.testing.assert_allclose(targets.weights, expected)
    ngrams = NGrams.of(TEXTS)
    bags = ngrams.bags(TEXTS)
    weight, bias = support_vector_machine(bags, targets, len(ngrams.hashes))
    parameters = torch.cat([weight, bias[None]]).double().requires_grad_()
    dense = torch.zeros(len(TEXTS), len(ngrams.hashes) + 1, dtype=torch.float64)
    dense[:, -1] = 1
    texts = np.repeat(np.arange(len(TEXTS)), bags.sizes())
    dense[texts, bags.rows] = torch.from_numpy(bags.weights).double()
    signs = 2 * targets.labels.double() - 1
    errors = targets.weights * (1 - signs * (dense @ parameters)).clamp(min=0).square()
    (errors.sum() + parameters.square().sum() / 2).backward()
    assert parameters.grad is not None
    assert float(parameters.grad.abs().max()) < 1e-2


@pytest.mark.parametrize("several", [False, True])
def test_calibrated_scores_have_the_smallest_cross_entropy(several: bool) -> None:
    torch.manual_seed(0)
    true = 3 * torch.randn(4000, 3)
    labels = (
        torch.rand(true.shape) < true.sigmoid() if several else torch.distributions.Categorical(logits=true).sample()
    )
    scores = (true - torch.tensor([1.0, 0.0, -1.0])) / 5
    scale, offsets = calibration(scores, Targets.of(labels.numpy(), 3))
    assert scale == pytest.approx(5, rel=0.1)
    assert (offsets - offsets.mean()).tolist() == pytest.approx([1, 0, -1], abs=0.2)


def test_a_rare_class_is_not_forgotten() -> None:
    # The hinge loss alone scores most texts of a rare class below 0.
    generator = np.random.default_rng(0)
    topics = [[f"w{word}" for word in range(40)], [f"w{word}" for word in range(20, 60)]]
    labels = (np.arange(600) % 10 == 0).astype(np.int64)
    texts = [list(generator.choice(topics[label], 6)) for label in labels]
    known, new = slice(0, 400), slice(400, 600)
    logits = NGramClassifier.fit(texts[known], labels[known], 2).logits(texts[new])
    rare = logits.softmax(-1)[:, 1].mean()
    assert float(rare) == pytest.approx(labels[new].mean(), abs=0.03)


def test_an_unknown_text_has_the_logits_of_the_bias() -> None:
    model = NGramClassifier.fit(TEXTS, LABELS, 2)
    torch.testing.assert_close(model.logits([["?"], []]), model.bias.expand(2, 2))


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
