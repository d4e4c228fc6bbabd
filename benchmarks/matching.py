"""Images and captions (Flickr8k at 96 pixels): recall in both directions, beside a baseline and a floor.

    python benchmarks/matching.py FOLDER [--minutes 60] [--seeds 0] [--settings FILE.yaml] [--attention words none]

FOLDER has captions.tsv.gz (columns split, image and caption) and images_96.tar.xz. The model is trained on the part
train for a number of minutes, the checkpoint is chosen on the part val, and the part test is scored once. The floor is
without a neural network: canonical correlation analysis of gradients and colours with the words of the captions; its
settings are chosen on val. The table is printed, for ``benchmarks/results/matching.txt``. A run that exists is not
trained again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from comparison import header, row, trained
from machine import machine
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from regard.data.captioned import Captioned, read_captioned
from regard.settings import load_yaml
from regard.tasks.families.rank.scores import Places, matching_places, matching_scores, mean_recall
from regard.tasks.match.settings import MatchConfig
from regard.tasks.running import evaluate

HERE = Path(__file__).parent
PUBLISHED = "none from scratch on these images; a floor of the same kind, of others: 4.7/12.0/18.4 and 3.0/10.7/17.2"
COLUMNS = {f"{short} {score}": f"{way}_{score.lower().replace('@', '')}"
           for short, way in (("i→t", "image_to_text"), ("t→i", "text_to_image"))
           for score in ("R@1", "R@5", "R@10", "rank")}  # fmt: skip
"""The name of a column: that of its score."""
_WIDTH = 22
_CELLS, _ANGLES, _PARTS = 8, 9, 4
_WIDTHS = (100, 200, 400)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--settings", type=Path, default=HERE / "matching.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/matching"))
    parser.add_argument("--attention", nargs="*", default=["words", "none"], choices=["words", "none"])
    arguments = parser.parse_args()
    captions, images = (str((arguments.folder / name).resolve()) for name in ("captions.tsv.gz", "images_96.tar.xz"))
    print(f"Flickr8k at 96 pixels, 1,000 test images: R@k in per cent, and median rank; {machine()}")
    print(f"published: {PUBLISHED}")
    print(header(list(COLUMNS), _WIDTH), flush=True)
    least = floor(read_captioned(captions, 96, images=images))
    print(row("CCA, no network", [named(least)], list(COLUMNS), _WIDTH), flush=True)
    for attention in arguments.attention:
        results = []
        for seed in arguments.seeds:
            run = arguments.runs / f"{attention}-{seed}"
            changes: dict[str, dict[str, Any]] = {
                "data": {"train": captions, "images": images}, "model": {"attention": attention},
                "train": {"seed": seed, "minutes": arguments.minutes},
            }  # fmt: skip
            trained("match", load_yaml(arguments.settings, MatchConfig), changes, run)
            scores = evaluate(run, captions, images=images, part="test")
            results.append(named({name: score.value for name, score in scores.items()}))
        print(row(f"attention {attention}", results, list(COLUMNS), _WIDTH), flush=True)


def named(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores by the names of their columns."""
    return {column: scores[name] for column, name in COLUMNS.items()}


def floor(every: Captioned) -> dict[str, float]:
    """The scores of canonical correlation analysis."""
    parts = {name: every.part(name) for name in ("train", "valid", "test")}
    seen = {
        name: np.stack([described(part.pixels[[at]][0]) for at in range(len(part))]) for name, part in parts.items()
    }
    words = TfidfVectorizer(sublinear_tf=True, min_df=3, stop_words="english")
    words.fit([" ".join(texts) for texts in parts["train"].texts])
    pca = PCA(max(_WIDTHS), whiten=True, random_state=0).fit(seen["train"])
    svd = TruncatedSVD(max(_WIDTHS), random_state=0).fit(words.transform(map(" ".join, parts["train"].texts)))
    pictures = {name: pca.transform(values) for name, values in seen.items()}
    texts = {name: svd.transform(words.transform([text for own in part.texts for text in own]))
             for name, part in parts.items()}  # fmt: skip
    owners = {name: np.repeat(np.arange(len(part)), [len(own) for own in part.texts]) for name, part in parts.items()}
    spread = texts["train"].std(0)
    both = np.stack([texts["train"][owners["train"] == at].mean(0) for at in range(len(parts["train"]))]) / spread
    best: tuple[float, dict[str, float]] = (-1.0, {})
    for width, ridge in product(_WIDTHS, (0.01, 0.1, 1.0)):
        a, b, strength = correlated(pictures["train"][:, :width], both[:, :width] - both[:, :width].mean(0), ridge)
        similar = {
            name: unit(pictures[name][:, :width] @ a * strength)
            @ unit((texts[name] / spread - both.mean(0))[:, :width] @ b * strength).T
            for name in ("valid", "test")
        }
        recall = mean_recall(places(similar["valid"], owners["valid"]))
        if recall > best[0]:
            scores = matching_scores(places(similar["test"], owners["test"]), "by their correlation")
            best = recall, {name: score.value for name, score in scores.items()}
    return best[1]


def places(similar: np.ndarray, owners: np.ndarray) -> Places:
    """See `matching_places`; ``similar``: images by captions."""
    return matching_places(similar.__getitem__, similar.T.__getitem__, owners, len(similar))


def unit(x: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    result: np.ndarray = x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9)
    return result


def correlated(x: np.ndarray, y: np.ndarray, ridge: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The projections of canonical correlation analysis, and the correlations (Hotelling 1936)."""
    roots = []
    for side in (x, y):
        values, vectors = np.linalg.eigh(side.T @ side / len(side) + ridge * np.eye(side.shape[1]))
        roots.append(vectors / np.sqrt(values) @ vectors.T)
    left, strength, right = np.linalg.svd(roots[0] @ (x.T @ y / len(x)) @ roots[1])
    return roots[0] @ left, roots[1] @ right.T, strength


def described(pixels: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs 2005), and means and spreads of colours."""
    image = pixels.astype(float) / 255
    down, across = np.gradient(image.mean(0))
    size, angle = np.hypot(down, across), np.arctan2(down, across) % np.pi
    side = image.shape[1] // _CELLS
    bins = np.minimum((angle / np.pi * _ANGLES).astype(int), _ANGLES - 1)
    cells = np.zeros((_CELLS, _CELLS, _ANGLES))
    for number in range(_ANGLES):
        share = size * (bins == number)
        cells[..., number] = share.reshape(_CELLS, side, _CELLS, side).sum((1, 3))
    blocks = np.concatenate([cells[a : a + _CELLS - 1, b : b + _CELLS - 1] for a in (0, 1) for b in (0, 1)], -1)
    blocks = np.sqrt(blocks / (blocks.sum(-1, keepdims=True) + 1e-3))
    part = image.reshape(3, _PARTS, image.shape[1] // _PARTS, _PARTS, -1)
    counts = np.bincount((image.reshape(3, -1) * 3.999).astype(int).T @ [16, 4, 1], minlength=64) / image[0].size
    return np.concatenate([blocks.ravel(), 3 * part.mean((2, 4)).ravel(), 3 * part.std((2, 4)).ravel(),
                           3 * np.sqrt(counts)])  # fmt: skip


if __name__ == "__main__":
    main()
