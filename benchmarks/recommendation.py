"""Recommendation: the model, the same model without attention, and neighbours without a neural network.

    python benchmarks/recommendation.py ../shared/data/s3rec/Beauty.txt.gz [--minutes 55] [--seeds 0]
    python benchmarks/recommendation.py ../shared/data/s3rec/LastFM.txt.gz --models

A file has a line for each user. The last item of each is the test, the one before it is for validation, by which the
checkpoint is chosen; all items that are not in the history are ranked. The settings are in the YAML file of the data
set beside this script; all models of a table have the same, and the same time. The trained models are scored alone, and
with the share of the neighbours' probability that is best on the validation choices; those of several seeds are also
scored together, by the mean of their probabilities. The table is printed, for
``benchmarks/results/recommendation_NAME.txt``, with all scores in per cent. A command that was stopped goes on where it
was when it is run again: runs are kept in ``--runs``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from comparison import header, row, trained
from machine import machine

from regard.data.held_out import Divided, divide
from regard.data.history_files import read_histories
from regard.data.neighbours import Neighbours
from regard.settings import load_yaml
from regard.tasks.families.rank.evaluation import places_of
from regard.tasks.families.rank.histories import Cases
from regard.tasks.families.rank.predictor import Recommender, without_history
from regard.tasks.families.rank.scores import hit_rate, ndcg, ranks, reciprocal
from regard.tasks.recommend.settings import RecommendConfig
from regard.tasks.recommend.task import Recommend
from regard.tasks.running import evaluate, load

HERE = Path(__file__).parent
SHOWN = ("hr5", "ndcg5", "hr10", "ndcg10", "mrr")
WIDTH = 36
MODELS: dict[str, dict[str, Any]] = {
    "attention": {},
    "no attention": {"attention": "none"},
}
BLENDS = (0.1, 0.3, 0.5, 0.7, 0.9)
TOGETHER = 128
"""Histories that are ranked together."""
LEAST = 1e-12
PUBLISHED = {
    "Beauty": {"SASRec": (6.05, 3.18), "SASRec, sampled softmax": (9.21, 5.31), "BSARec": (10.08, 6.11)},
    "Toys_and_Games": {"SASRec": (6.75, 3.74), "SASRec, sampled softmax": (9.70, 5.80)},
    "LastFM": {"SASRec": (6.88, 3.90), "WEARec, 200 items": (9.72, 5.56)},
}
"""HR@10 and NDCG@10 of papers that rank all items without those of the history."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--minutes", type=float, help="of training for each model, in place of that of the settings")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="none: neighbours only")
    parser.add_argument("--settings", type=Path, help="a YAML file, in place of the one beside this script")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "regard-recommendation")
    arguments = parser.parse_args()
    name = arguments.file.name.split(".")[0]
    settings = HERE / f"recommendation_{'lastfm' if name == 'LastFM' else 'amazon'}.yaml"
    config = load_yaml(arguments.settings or settings, RecommendConfig)
    if arguments.minutes is not None:
        config["train"]["minutes"] = arguments.minutes
    train = config["train"]
    size = f"{train['minutes']:g} minutes" if "minutes" in train else f"{train['steps']:,} steps"
    print(f"{name}, per cent; {size} for each model; {machine()}")
    print(header(SHOWN, WIDTH))
    for model, (hits, gain) in PUBLISHED.get(name, {}).items():
        print(row(f"{model} (published)", [{"hr10": hits, "ndcg10": gain}], SHOWN, WIDTH))
    divided = divide(read_histories(str(arguments.file))[0], "last")
    print(row("neighbours", [floor(divided)], SHOWN, WIDTH), flush=True)
    arguments.runs.mkdir(parents=True, exist_ok=True)
    for model in arguments.models:
        runs = [arguments.runs / f"{name}-{model.replace(' ', '-')}-{seed}" for seed in arguments.seeds]
        for run, seed in zip(runs, arguments.seeds, strict=True):
            data = {"train": str(arguments.file.resolve())}
            changes: dict[str, dict[str, Any]] = {"data": data, "model": MODELS[model], "train": {"seed": seed}}
            trained("recommend", config, changes, run)
        print(row(model, [score(run) for run in runs], SHOWN, WIDTH), flush=True)
        shares, blended = zip(*(blend(divided, [run]) for run in runs), strict=True)
        print(row(f"{model}, neighbours {', '.join(map(str, shares))}", blended, SHOWN, WIDTH), flush=True)
        if len(runs) > 1:
            share, scores = blend(divided, runs)
            print(row(f"{model}, mean of {len(runs)}, neighbours {share}", [scores], SHOWN, WIDTH), flush=True)


def score(run: Path) -> dict[str, float]:
    """The scores on the last items of a trained model."""
    return {name: 100 * one.value for name, one in evaluate(run).items() if name in SHOWN}


def blend(divided: Divided, runs: Sequence[Path]) -> tuple[float, dict[str, float]]:
    """The mean of the probabilities of trained models, mixed with that of the neighbours.

    Returns:
        The share of the neighbours with the highest NDCG on the items before the last ones, and the scores on these.
    """
    recommender = Recommend().joined({run: cast(Recommender, load(run)) for run in runs})
    valid, test = (Cases(divided.histories, chosen) for chosen in (divided.valid, divided.test))
    gains = [ndcg(places, 10) for places in blended_places(recommender, valid, BLENDS)]
    best = BLENDS[int(np.argmax(gains))]
    return best, measured(blended_places(recommender, test, [best])[0])


def blended_places(recommender: Recommender, cases: Cases, shares: Sequence[float]) -> np.ndarray:
    """The places of the chosen items for each share of the neighbours, ``(shares, n)``."""
    places = []
    for start in range(0, len(cases), TOGETHER):
        rows = range(start, min(len(cases), start + TOGETHER))
        before, targets = cases.before(rows), cases.targets[start : start + TOGETHER]
        own, near = np.exp(recommender.scores(before)), recommender.neighbours.scores(before)
        near /= np.maximum(near.sum(1, keepdims=True), LEAST)
        mixed = (without_history((1 - share) * own + share * near, before) for share in shares)
        places.append([ranks(one, targets) for one in mixed])
    return np.concatenate(places, 1)


def floor(divided: Divided) -> dict[str, float]:
    """The scores of neighbours, counted without the last two items of each user."""
    neighbours, cases = Neighbours.of(divided.histories, divided.ends), Cases(divided.histories, divided.test)
    return measured(places_of(cases, lambda before: without_history(neighbours.scores(before), before)))


def measured(places: np.ndarray) -> dict[str, float]:
    """The scores of the places of the chosen items, in per cent."""
    measures = {f"{n}{k}": f(places, k) for k in (5, 10) for n, f in (("hr", hit_rate), ("ndcg", ndcg))}
    return {name: 100 * value for name, value in (measures | {"mrr": reciprocal(places)}).items()}


if __name__ == "__main__":
    main()
