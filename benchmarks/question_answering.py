"""Question answering: the model, the same model without attention, and floors without a neural network.

    python benchmarks/question_answering.py jaquad ../shared/data/jaquad/jaquad.tar.xz [--minutes 55] [--seeds 0]
    python benchmarks/question_answering.py subjqa ../shared/data/subjqa/subjqa.tar.xz [--seeds 0 1 2]

JaQuAD has no public test set: its validation part is the test set, and a tenth of the training contexts is held out.
SubjQA is the four domains that have a training part, together. Nearly all questions of its development part are
questions of its training part, about the same reviews, so both are trained on, and a tenth of the reviews is held out;
no question of the test part is among them, but a tenth of its reviews is. The settings are in the YAML files beside it;
all models of a table have the same, and the same time. With several seeds, the runs are scored together, too, by the
mean of their log-odds. The floor takes the sentence of the context that shares most with the question, weighted by
rarity, and answers with the longest part of it that is not in the question, or never answers. Where people were asked
the same question about the same context, another one's answers are scored, too. The table is printed, for
``benchmarks/results/question_answering_NAME.txt``. A command that was stopped goes on where it was when it is run
again: unpacked data and runs are kept in ``--runs``.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison import header, row, trained
from machine import machine

from regard.data.matching import matches
from regard.data.questions import Question, QuestionColumns, read_questions
from regard.settings import load_yaml
from regard.tasks.answer.settings import AnswerConfig
from regard.tasks.families.span.scores import scores
from regard.tasks.running import evaluate
from regard.training.run import together

HERE = Path(__file__).parent
SHOWN = ("exact", "f1", "character_f1", "has_answer_exact", "has_answer_f1", "no_answer")
WIDTH = 26
MODELS: dict[str, dict[str, Any]] = {
    "attention": {},
    "no attention": {"attention": "none"},
    "attention, no matches": {"matches": False},
    "no attention, no matches": {"attention": "none", "matches": False},
}
PUBLISHED = {
    "jaquad": "BERT-Japanese, pretrained: 61.01 exact, 77.35 F1 of token positions (So et al. 2022; not comparable)",
    "subjqa": "always no answer: 51.9 exact = F1, counted over all rows of the four domains",
}


@dataclass(frozen=True)
class Files:
    """The files of a data set; a tenth of the training contexts is held out for validation."""

    train: Path
    test: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(PUBLISHED))
    parser.add_argument("archive", type=Path)
    parser.add_argument("--minutes", type=float, help="of training for each model, in place of that of the settings")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS)[:2], help="none: floors only")
    parser.add_argument("--settings", type=Path, help="a YAML file, in place of the one beside this script")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "regard-question-answering")
    arguments = parser.parse_args()
    config = load_yaml(arguments.settings or HERE / f"question_answering_{arguments.name}.yaml", AnswerConfig)
    if arguments.minutes is not None:
        config["train"]["minutes"] = arguments.minutes
    files = FILES[arguments.name](unpacked(arguments.archive, arguments.runs / arguments.name))
    columns = QuestionColumns(**{name: config["data"].get(name) for name in vars(QuestionColumns())})
    test, notes = read_questions(str(files.test), columns, "skip")
    print(
        f"{arguments.name}, per cent; {config['train']['minutes']:g} minutes for each model; {machine()}",
        *notes,
        sep="\n",
    )
    print(f"published: {PUBLISHED[arguments.name]}", header(SHOWN, WIDTH), sep="\n")
    floors = {"floor: sentence": (sentences(test), test), "floor: no answer": ([""] * len(test), test)}
    if repeated := other_annotators(test):
        floors["another annotator"] = repeated
    for floor, (texts, asked) in floors.items():
        values = scores(texts, [one.texts for one in asked])
        print(row(floor, [{name: score.value for name, score in values.items()}], SHOWN, WIDTH), flush=True)
    for model in arguments.models:
        folder = arguments.runs / f"{arguments.name}-{model.replace(',', '').replace(' ', '-')}"
        runs = [folder / str(seed) for seed in arguments.seeds]
        for run, seed in zip(runs, arguments.seeds, strict=True):
            changes = {"data": {"train": str(files.train)}, "model": MODELS[model], "train": {"seed": seed}}
            trained("answer", config, changes, run)
        print(row(model, [score(run, files) for run in runs], SHOWN, WIDTH), flush=True)
        if (count := len(together(folder))) > 1:
            print(row(f"{model}, {count} runs", [score(folder, files)], SHOWN, WIDTH), flush=True)


def score(run: Path, files: Files) -> dict[str, float]:
    """The scores of a run, or of those in a folder together, on the test questions."""
    return {name: one.value for name, one in evaluate(run, str(files.test)).items()}


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder with the files of an archive."""
    if not folder.exists():
        partial = folder.with_name(f"{folder.name}.part")
        with tarfile.open(archive) as packed:
            packed.extractall(partial, filter="data")
        partial.rename(folder)
    return folder


def jaquad(folder: Path) -> Files:
    """JaQuAD (So et al. 2022): questions about the Japanese Wikipedia."""
    return Files(folder / "data" / "train", folder / "data" / "dev")


def subjqa(folder: Path) -> Files:
    """SubjQA (Bjerva et al. 2020): questions about reviews, the four domains that have a training part."""
    domains = sorted(file.parents[1] for file in folder.glob("SubjQA/*/splits/train.csv"))
    for name, parts in (("train", ("train", "dev")), ("test", ("test",))):
        rows = [row for domain in domains for part in parts for row in records(domain / "splits" / f"{part}.csv")]
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    return Files(folder / "train.csv", folder / "test.csv")


FILES = {"jaquad": jaquad, "subjqa": subjqa}


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


def other_annotators(questions: Sequence[Question]) -> tuple[list[str], list[Question]] | None:
    """The answer of another person to each question that several were asked, and these questions; None: there are none.

    A question that is in the data several times was asked that many people.
    """
    asked: dict[tuple[str, str], list[Question]] = {}
    for one in questions:
        asked.setdefault((one.context, one.question), []).append(one)
    several = [of_one for of_one in asked.values() if len(of_one) > 1]
    texts = [(one.texts or ("",))[0] for of_one in several for one in (*of_one[1:], of_one[0])]
    return (texts, [one for of_one in several for one in of_one]) if several else None


def _sentence(question: Question, rarity: Mapping[str, float]) -> str:
    asked = {question.question[at : at + 3] for at in range(len(question.question) - 2)}
    parts = [part for part in re.split(r"(?<=[.!?。!?])\s*", question.context) if part.strip()]
    best = max(parts, key=lambda part: sum(rarity.get(gram, 0.0) for gram in asked if gram in part))
    shared = matches(best, question.question)[0] >= 3
    runs = re.finditer("0+", "".join(str(int(one)) for one in shared))
    longest = max(runs, key=lambda run: run.end() - run.start(), default=None)
    return best[longest.start() : longest.end()].strip() if longest else best


if __name__ == "__main__":
    main()
