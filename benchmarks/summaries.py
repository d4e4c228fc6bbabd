"""Subjects of emails: the model that copies, the same model without copying, and floors without a neural network.

    python benchmarks/summaries.py ../shared/data/aeslc/aeslc.tar.xz [--minutes 60] [--seeds 0] [--models copying]
        [--settings FILE.yaml] [--runs FOLDER]

The archive is AESLC (Zhang and Tetreault 2019, arXiv:1906.03497): folders ``train``, ``dev`` and ``test`` of
``.subject`` files. The checkpoint is chosen on dev; test is scored once, with the subject that the sender wrote as the
reference, as in the published figures, and again with the three subjects of annotators as further references, of which
the best counts. Two floors need no training, and a model below them has learned nothing of use: the first sentence of
an email, and the subject of the most similar training email; the third takes that subject if the similarity is at least
0.1, and else the first sentence. The models read the subjects of three similar emails before an email, unless their
name says otherwise. Each is scored by beam search, and by comparing candidates with 16 samples, where the first
sentence is taken if the agreement is below 0.15. Both limits were chosen on dev.

All models have the settings of ``summaries.yaml`` and train for the same time. A run that was stopped is resumed by
the same command, and one that has ended is not trained again. The table goes to ``results/summaries.txt``, unless the
time is another than the default.
"""

from __future__ import annotations

import argparse
import json
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from comparison import header, row, trained
from machine import machine

from regard.data.summaries import open_summaries
from regard.settings import load_yaml
from regard.tasks.families.seq2seq.data import references
from regard.tasks.families.seq2seq.retrieval import Retriever
from regard.tasks.families.seq2seq.rouge import TYPES, lead, rouge
from regard.tasks.running import evaluate
from regard.tasks.summarize.settings import SummarizeConfig

HERE = Path(__file__).parent
MINUTES = 60.0
MODELS: dict[str, dict[str, Any]] = {
    "copying": {},
    "without copying": {"copy": False},
    "copying, no similar emails": {"similar": 0},
    "without copying, no similar emails": {"copy": False, "similar": 0},
}
SHOWN = (*TYPES, "copied", "new", "place")
PUBLISHED = {
    "Transformer, from scratch": (15.04, 7.39, 14.93),  # Zhang et al. 2020, arXiv:1912.08777
    "people": (24.7, 10.5, 23.4),  # an annotator's subject, compared with the sender's
}
SIMILAR = 0.1
"""The least similarity of an email whose subject is taken by the third floor."""
SEARCHES: dict[str, dict[str, Any]] = {"": {"beam": 5}, ", 16 samples": {"beam": 5, "samples": 16, "lead_below": 0.15}}
ALL = "test-all.jsonl"
WIDTH = 48


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="none: the floors only")
    parser.add_argument("--settings", type=Path, default=HERE / "summaries.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/summaries"))
    options = parser.parse_args()
    data = prepared(options.archive, options.runs / "data")
    lines = [f"AESLC, test: {options.minutes:g} minutes for each model, seeds {options.seeds}", machine()]
    lines.append(header((*TYPES, "copied %", "new bigrams %", "place %"), WIDTH))
    lines += [
        row(f"published: {name}", [dict(zip(TYPES, figures, strict=True))], SHOWN, WIDTH)
        for name, figures in PUBLISHED.items()
    ]
    for name, outputs in floors(data).items():
        lines += rows(name, [floor(data, outputs)])
    print(*lines, sep="\n", flush=True)
    for model in options.models:
        name = model.replace(",", "").replace(" ", "-")
        folders = [options.runs / f"{name}-{options.minutes:g}-{seed}" for seed in options.seeds]
        for folder, seed in zip(folders, options.seeds, strict=True):
            fit(folder, data, options, model, seed)
        for name, search in SEARCHES.items():
            lines += rows(f"{model}{name}", [scores(folder, data, name, search) for folder in folders])
            print(*lines[-2:], sep="\n", flush=True)
    if options.minutes == MINUTES and set(options.models) == set(MODELS):
        (HERE / "results" / "summaries.txt").write_text("\n".join(lines) + "\n")


def prepared(archive: Path, folder: Path) -> Path:
    """The folder with the emails as JSONL, which is written if it does not exist."""
    if not folder.exists():
        scratch = folder.with_name(f"{folder.name}.partial")
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as extracted:
            with tarfile.open(archive) as file:
                file.extractall(extracted, filter="data")
            for part in ("train", "dev", "test"):
                source = next(Path(extracted).rglob(part))
                emails = references(open_summaries(str(source), on_bad_line="skip")[0])
                write(scratch / f"{part}.jsonl", ((text, short[:1]) for text, short in emails.items()))
            write(scratch / ALL, emails.items())
        scratch.rename(folder)
    return folder


def write(path: Path, emails: Iterable[tuple[str, list[str]]]) -> None:
    """Emails with their subjects, an email a line."""
    path.write_text("".join(json.dumps({"text": text, "subject": short}) + "\n" for text, short in emails))


def fit(folder: Path, data: Path, options: argparse.Namespace, model: str, seed: int) -> None:
    """Train a model, or go on with it."""
    changes: dict[str, dict[str, Any]] = {
        "data": {"train": str(data / "train.jsonl"), "valid": str(data / "dev.jsonl")},
        "model": MODELS[model],
        "train": {"minutes": options.minutes, "seed": seed},
    }
    trained("summarize", load_yaml(options.settings, SummarizeConfig), changes, folder)


def scores(folder: Path, data: Path, name: str, search: Mapping[str, Any]) -> list[dict[str, float]]:
    """The scores of a trained model, which are kept in its folder: with the sender's subject, and with all subjects."""
    kept = folder / f"scores{name.replace(',', '').replace(' ', '-')}.json"
    if not kept.exists():
        written = kept.with_suffix(".txt")
        result = evaluate(folder, str(data / "test.jsonl"), output=written, **search)
        texts = written.read_text().split("\n")[:-1]
        every, _ = rouge(texts, list(subjects(data / ALL).values()))
        kept.write_text(json.dumps([{name: score.value for name, score in result.items()}, every]))
    values: list[dict[str, float]] = json.loads(kept.read_text())
    return values


def floor(data: Path, output: Callable[[str], str]) -> list[dict[str, float]]:
    """ROUGE of what ``output`` makes of each email, likewise."""
    tests = [subjects(data / name) for name in ("test.jsonl", ALL)]
    return [rouge([output(text) for text in emails], list(emails.values()))[0] for emails in tests]


def floors(data: Path) -> dict[str, Callable[[str], str]]:
    """Functions from an email to a subject that need no training."""
    train = open_summaries(str(data / "train.jsonl"))[0]
    retriever = Retriever.of(train, 1, max(len(subject) for _, subject in train))

    def similar(text: str, least: float = 0.0) -> str | None:
        return next((one.target for one in retriever.nearest(text) if one.similarity >= least), None)

    return {
        "first sentence": lead,
        "subject of the most similar email": lambda text: similar(text) or "",
        "that, or the first sentence": lambda text: similar(text, SIMILAR) or lead(text),
    }


def subjects(test: Path) -> dict[str, list[str]]:
    """The subjects of each email."""
    return references(open_summaries(str(test))[0])


def rows(name: str, results: Sequence[list[dict[str, float]]]) -> list[str]:
    """Lines of the table for a model, of the results of each seed."""
    parts = zip(("", ", best of 4"), *results, strict=True)
    return [row(f"{name}{several}", one, SHOWN, WIDTH) for several, *one in parts]


if __name__ == "__main__":
    main()
