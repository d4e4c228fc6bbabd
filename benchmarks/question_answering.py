"""Question answering: the model, the same model without attention, and a floor without a neural network.

    python benchmarks/question_answering.py jaquad ../shared/data/jaquad/jaquad.tar.xz [--minutes 25] [--seeds 0]
    python benchmarks/question_answering.py subjqa ../shared/data/subjqa/subjqa.tar.xz [--minutes 10] [--seeds 0 1 2]

JaQuAD has no public test set: its validation part is the test set, and a tenth of the training contexts is held out.
SubjQA is the four domains that have a training part, together. Each run is the command ``regard train answer``, with
the same time for both models. The floor takes the sentence of the context that shares most with the question, weighted
by rarity, and answers with the longest part of it that is not in the question, or never answers. The table goes to
``results/question_answering_NAME.txt``.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from machine import machine

from regard.data.matching import matches
from regard.data.questions import Question, QuestionColumns, read_questions
from regard.tasks.families.span.scores import scores

HERE = Path(__file__).parent
SHOWN = ("exact", "f1", "character_f1", "has_answer_exact", "has_answer_f1", "no_answer")
MODELS = {
    "attention": [],
    "no attention": ["--model.attention", "none"],
    "attention, no matches": ["--model.no-matches"],
    "no attention, no matches": ["--model.attention", "none", "--model.no-matches"],
}


@dataclass(frozen=True)
class Data:
    """A data set: its files, the settings of training, and what is published, with its protocol."""

    train: Path
    valid: Path | None
    test: Path
    settings: tuple[str, ...]
    columns: QuestionColumns
    published: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("jaquad", "subjqa"))
    parser.add_argument("archive", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS)[:2], help="none: floors only")
    parser.add_argument("--runs", type=Path, default=Path("runs/question_answering"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        with tarfile.open(options.archive) as archive:
            archive.extractall(scratch, filter="data")
        data = (jaquad if options.name == "jaquad" else subjqa)(Path(scratch))
        lines = [f"{options.name}: {options.minutes:g} minutes for each model", machine(), data.published]
        lines.append(f"{'':26}" + "".join(f"{name:>18}" for name in SHOWN))
        test, _ = read_questions(str(data.test), data.columns, "skip")
        for floor, texts in (("floor: sentence", sentences(test)), ("floor: no answer", [""] * len(test))):
            values = scores(texts, [one.texts for one in test])
            lines.append(row(floor, [{name: score.value for name, score in values.items()}]))
        print(*lines, sep="\n", flush=True)
        for model in options.models:
            folders = [options.runs / f"{options.name}-{model.replace(' ', '-')}-{seed}" for seed in options.seeds]
            results = [run(data, folder, model, options.minutes, seed) for folder, seed in
                       zip(folders, options.seeds, strict=True)]  # fmt: skip
            lines.append(row(model, results))
            print(lines[-1], flush=True)
    if options.models:
        (HERE / "results" / f"question_answering_{options.name}.txt").write_text("\n".join(lines) + "\n")


def run(data: Data, folder: Path, model: str, minutes: float, seed: int) -> dict[str, float]:
    """Train one model, and score it on the test questions."""
    regard = [sys.executable, "-m", "regard"]
    settings = ["--data.train", str(data.train), *(["--data.valid", str(data.valid)] if data.valid else [])]
    settings += [*data.settings, *MODELS[model], "--train.minutes", str(minutes), "--train.seed", str(seed)]
    subprocess.run([*regard, "train", "answer", str(folder), *settings], check=True)
    test = [*regard, "eval", str(folder), "--data", str(data.test), "--json"]
    result = json.loads(subprocess.run(test, check=True, capture_output=True, text=True).stdout)
    return {name: score["score"] for name, score in result.items()}


def row(name: str, results: Sequence[dict[str, float]]) -> str:
    """A line of the table: the mean of each score, and the lowest and highest of several seeds."""
    cells = []
    for score in SHOWN:
        values = [result[score] for result in results if score in result]
        spread = f" ({min(values):.1f}–{max(values):.1f})" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.2f}{spread}" if values else "–")
    return f"{name:26}" + "".join(f"{cell:>18}" for cell in cells)


def jaquad(folder: Path) -> Data:
    """JaQuAD (So et al. 2022): questions about the Japanese Wikipedia."""
    settings = (
        "--tokenizer.kind", "char", "--train.metric", "character_f1", "--data.window", "384", "--data.overlap", "128",
        "--model.kind", "conv", "--train.epochs", "10", "--train.validate-on", "1000",
    )  # fmt: skip
    published = "published, not comparable: BERT-Japanese, pretrained, 61.01 exact and 77.35 F1 of token positions"
    return Data(folder / "data" / "train", None, folder / "data" / "dev", settings, QuestionColumns(), published)


def subjqa(folder: Path) -> Data:
    """SubjQA (Bjerva et al. 2020): questions about reviews, the four domains that have a training part."""
    domains = sorted(file.parents[1] for file in folder.glob("SubjQA/*/splits/train.csv"))
    for part in ("train", "dev", "test"):
        rows = [row for domain in domains for row in records(domain / "splits" / f"{part}.csv")]
        with (folder / f"{part}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    columns = QuestionColumns("review", "question", "human_ans_spans", "human_ans_indices", "ANSWERNOTFOUND")
    settings = (
        "--data.context", "review", "--data.answer", "human_ans_spans", "--data.start", "human_ans_indices",
        "--data.no-answer", "ANSWERNOTFOUND", "--data.on-bad-line", "skip", "--model.kind", "conv",
        "--train.epochs", "10",
    )  # fmt: skip
    published = "floor: always no answer, 51.9 exact = F1 as counted over all rows of the four domains"
    return Data(folder / "train.csv", folder / "dev.csv", folder / "test.csv", settings, columns, published)


def records(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def sentences(questions: Sequence[Question]) -> list[str]:
    """The answers of the floor."""
    grams = [{text[at : at + 3] for at in range(len(text) - 2)} for text in {one.context for one in questions}]
    counts = Counter(gram for of_one in grams for gram in of_one)
    rarity = {gram: math.log(1 + len(grams) / count) for gram, count in counts.items()}
    return [_sentence(one, rarity) for one in questions]


def _sentence(question: Question, rarity: dict[str, float]) -> str:
    asked = {question.question[at : at + 3] for at in range(len(question.question) - 2)}
    parts = [part for part in re.split(r"(?<=[.!?。!?])\s*", question.context) if part.strip()]
    best = max(parts, key=lambda part: sum(rarity.get(gram, 0.0) for gram in asked if gram in part))
    shared = matches(best, question.question)[0] >= 3
    runs = re.finditer("0+", "".join(str(int(one)) for one in shared))
    longest = max(runs, key=lambda found: found.end() - found.start(), default=None)
    return best[longest.start() : longest.end()].strip() if longest else best


if __name__ == "__main__":
    main()
