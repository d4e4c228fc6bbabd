"""Text classification beside the same model without attention and a linear classifier without a neural network.

    python benchmarks/text_classification.py sst2 FOLDER [--seeds 0 1 2 …] [--settings FILE.yaml] [--runs FOLDER]
    python benchmarks/text_classification.py trec FOLDER [--ngrams 0.5]
    python benchmarks/text_classification.py sms FOLDER [--members 5]

The folders hold SST-2 (``train.tsv.gz``, ``dev.tsv``, ``test.tsv``), TREC (``TREC.train.all``, ``TREC.test.all``), and
the SMS Spam Collection (``SMSSpamCollection``; repeats are dropped, and each seed, five by default, tests on a random
fifth of each class).
The checkpoint is chosen on the development set, or on a tenth of the training texts; the test texts are scored once.
The settings are in the YAML files beside this script; with ``--ngrams``, ``model.ngrams`` has this share, so that a
linear model of n-grams is mixed into both models, and this linear model alone is a row. With ``--members``, a result is
that of several runs together, the mean of their probabilities; they have different seeds, and so different training
texts, too, where a tenth is set aside. The linear classifier has TF-IDF of words and pairs of words and
of parts of words, and a linear SVM; for SST-2 the naive-Bayes SVM of Wang and Manning 2012. The table is printed, for
``benchmarks/results/text_classification.txt``. A command that was stopped goes on where it was when it is run again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from comparison import header, row, trained
from machine import machine
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import FeatureUnion
from sklearn.svm import LinearSVC

from regard.data.texts import Texts, read_texts
from regard.settings import load_yaml
from regard.tasks.classify_text.settings import ClassifyTextConfig
from regard.tasks.fitted.ngrams import NGramClassifier
from regard.tasks.running import load

HERE = Path(__file__).parent
WIDTH = 26
MODELS = {"attention": "additive", "no attention": "none"}
PUBLISHED = {
    "sst2": "CNN, random vectors: 82.7 (Kim 2014)",
    "trec": "CNN, random vectors: 91.2 (Kim 2014)",
    "sms": "Transformer: accuracy 98.9, F1 of spam 96.1 (split unchecked)",
}


@dataclass(frozen=True)
class Split:
    """Files of a data set: the validation file is None if a part of the training file is set aside."""

    train: Path
    valid: Path | None
    test: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(PUBLISHED))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", help="by default 0 to 2, for sms 0 to 4")
    parser.add_argument("--ngrams", type=float, default=0.0, help="share of the linear model; by default 0")
    parser.add_argument("--members", type=int, default=1, help="runs that are used together; by default 1")
    parser.add_argument("--settings", type=Path, help="a YAML file, in place of the one beside this script")
    parser.add_argument("--runs", type=Path, default=Path("runs/text_classification"))
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="none: the floor only")
    arguments = parser.parse_args()
    if arguments.seeds is None:
        arguments.seeds = list(range(5 if arguments.set == "sms" else 3))
    print(f"{arguments.set}: test set, per cent; {machine()}")
    print(f"published: {PUBLISHED[arguments.set]}")
    floors = [floor(arguments.set, split(arguments, seed)) for seed in arguments.seeds[: _splits(arguments)]]
    shown = list(floors[0])
    print(header(shown, WIDTH), row("linear classifier", floors, shown, WIDTH), sep="\n", flush=True)
    if arguments.ngrams:
        linear = [alone(split(arguments, seed)) for seed in arguments.seeds[: _splits(arguments)]]
        print(row("n-grams alone", linear, shown, WIDTH), flush=True)
    for model in arguments.models:
        results = [score(arguments, split(arguments, seed), seed, model) for seed in arguments.seeds]
        print(row(_name(arguments, model), results, shown, WIDTH), flush=True)


def _name(arguments: argparse.Namespace, model: str) -> str:
    ngrams = [f"n-grams {arguments.ngrams:g}"] if arguments.ngrams else []
    members = [f"{arguments.members} runs"] if arguments.members > 1 else []
    return ", ".join([model, *ngrams, *members])


def _splits(arguments: argparse.Namespace) -> int:
    return len(arguments.seeds) if arguments.set == "sms" else 1


def split(arguments: argparse.Namespace, seed: int) -> Split:
    folder = arguments.folder
    if arguments.set == "sst2":
        return Split(folder / "train.tsv.gz", folder / "dev.tsv", folder / "test.tsv")
    if arguments.set == "trec":
        return Split(folder / "TREC.train.all", None, folder / "TREC.test.all")
    texts = read_texts(str(folder / "SMSSpamCollection"))
    rows = list(dict.fromkeys(zip((texts.names[label] for label in texts.labels), texts.texts, strict=True)))
    parts = train_test_split(rows, test_size=0.2, random_state=seed, stratify=[label for label, _ in rows])
    arguments.runs.mkdir(parents=True, exist_ok=True)
    files = [arguments.runs / f"sms-{seed}-{part}.tsv" for part in ("train", "test")]
    for file, part in zip(files, parts, strict=True):
        file.write_text("".join(f"{label}\t{text}\n" for label, text in part))
    return Split(files[0], None, files[1])


def score(arguments: argparse.Namespace, files: Split, seed: int, model: str) -> dict[str, float]:
    """Train with one seed, or what is left of the training, and score the test set once.

    Of several members of a seed, the first has this seed, and no two of all have the same one.
    """
    valid = None if files.valid is None else str(files.valid)
    name = _name(arguments, model).replace(",", "").replace(" ", "-")
    run = arguments.runs / f"{arguments.set}-{name}-{seed}"
    settings = load_yaml(arguments.settings or HERE / f"text_classification_{arguments.set}.yaml", ClassifyTextConfig)
    for member in range(arguments.members):
        own = seed + member * (1 + max(arguments.seeds))
        changes: dict[str, dict[str, Any]] = {
            "data": {"train": str(files.train), "valid": valid, "on_bad_line": "skip"},
            "model": {"attention": MODELS[model], "ngrams": arguments.ngrams},
            "train": {"seed": own},
        }
        trained("classify-text", settings, changes, run / str(own) if arguments.members > 1 else run)
    test = read_texts(str(files.test), on_bad_line="skip")
    predicted = [result.classes[0][0] for result in load(run).predict(test.texts, top=1)]  # type: ignore[union-attr]
    return scores(test, predicted)


def alone(files: Split) -> dict[str, float]:
    """The scores of the linear model of n-grams without a network."""
    known, test = (read_texts(str(path), on_bad_line="skip") for path in (files.train, files.test))
    model = NGramClassifier.fit(known.words, known.labels, len(known.names))
    return scores(test, [known.names[label] for label in model.logits(test.words).argmax(1).tolist()])


def floor(name: str, files: Split) -> dict[str, float]:
    """The scores of a linear classifier."""
    known, test = (read_texts(str(path), on_bad_line="skip") for path in (files.train, files.test))
    vectors = _naive_bayes if name == "sst2" else _tfidf
    inputs, test_inputs = vectors(known, test)
    model = LinearSVC(C=0.1 if name == "sst2" else 1.0).fit(inputs, known.labels)
    return scores(test, [known.names[label] for label in model.predict(test_inputs)])


def scores(test: Texts, predicted: Sequence[str]) -> dict[str, float]:
    true = [test.names[label] for label in test.labels]
    result = {"accuracy": 100 * accuracy_score(true, predicted)}
    if "spam" in test.names:
        result["F1 of spam"] = 100 * f1_score(true, predicted, pos_label="spam")
    return result


def _tfidf(known: Texts, test: Texts) -> tuple[Any, Any]:
    vectors = FeatureUnion([
        ("words", TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")),
        ("parts", TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char_wb")),
    ])  # fmt: skip
    return vectors.fit_transform(known.texts), vectors.transform(test.texts)


def _naive_bayes(known: Texts, test: Texts) -> tuple[Any, Any]:
    """Presence of one to three words, weighted by their logarithmic odds (Wang and Manning 2012)."""
    counts = CountVectorizer(ngram_range=(1, 3), binary=True, token_pattern=r"\S+")
    x, y = counts.fit_transform(known.texts), known.labels
    positive, negative = (1 + np.asarray(x[y == label].sum(0)).ravel() for label in (1, 0))
    odds = sparse.diags(np.log((positive / positive.sum()) / (negative / negative.sum())))
    return x @ odds, counts.transform(test.texts) @ odds


if __name__ == "__main__":
    main()
