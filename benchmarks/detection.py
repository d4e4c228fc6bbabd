"""Generated scenes: boxes of the detector, with and without attention, beside connected components of colours.

    python benchmarks/detection.py [--seeds 0] [--attention cross none] [--settings FILE.yaml]

All are scored on the same 500 scenes, which are neither trained nor validated on. Without a neural network, pixels
near one of the six colours are joined to components, small gaps are closed, and each component is compared with those
of 2,000 training scenes, scaled to the same size; its class is that of the nearest, and its score is how near that is.
How near a colour must be was chosen on the training scenes. The table is printed, for
``benchmarks/results/detection.txt``. A run that exists is not trained again, and one that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from comparison import header, row, trained
from machine import machine
from scipy import ndimage
from sklearn.neighbors import NearestNeighbors

from regard.data.boxed import LINES
from regard.data.scenes import COLORS, LABELS, Scene, scenes
from regard.settings import load_yaml
from regard.tasks.detect.settings import DetectConfig
from regard.tasks.families.boxes.precision import Guess, Truth, average_precisions, means, overlaps
from regard.tasks.running import evaluate

HERE = Path(__file__).parent
_WIDTH = 26
_COLUMNS = ["map50", "map", "on_object"]
_SCORED, _KNOWN, _SIDE = 500, 2000, 12
_LEAST = 12
"""Pixels of a component."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--settings", type=Path, default=HERE / "detection.yaml")
    parser.add_argument("--runs", type=Path, default=Path("runs/detection"))
    parser.add_argument("--attention", nargs="*", default=["cross", "none"], choices=["cross", "none"])
    arguments = parser.parse_args()
    print(f"generated scenes: mean average precision and attention on the object, per cent; {machine()}")
    print(header(_COLUMNS, _WIDTH), flush=True)
    print(row("components of colours", [floor(0)], _COLUMNS, _WIDTH), flush=True)
    for attention in arguments.attention:
        results, began = [], time.process_time()
        for seed in arguments.seeds:
            run = arguments.runs / f"{attention}-{seed}"
            changes: dict[str, dict[str, Any]] = {"model": {"attention": attention}, "train": {"seed": seed}}
            trained("detect", load_yaml(arguments.settings, DetectConfig), changes, run)
            results.append({name: score.value for name, score in evaluate(run).items()})
        print(row(f"attention {attention}", results, _COLUMNS, _WIDTH), flush=True)
        print(f"  {(time.process_time() - began) / 60:.0f} minutes of processor time", flush=True)


def floor(seed: int) -> dict[str, float]:
    """Mean average precision of connected components, each with the class of the nearest known one."""
    known = scenes(_KNOWN, seed=seed, lines=LINES)
    near = min(
        np.linspace(0.9, 0.99, 7),
        key=lambda least: -np.mean([_found(scene, _boxes(components(scene, least)[1])) for scene in known[:200]]),
    )
    shapes, labels = [], []
    for scene in known:
        masks, boxes = components(scene, near)
        if len(boxes):
            things = np.array([one.box for one in scene.things], dtype=float)
            shared = overlaps(boxes, things, np.zeros(len(things), dtype=bool))
            for mask, own in zip(masks, shared, strict=True):
                if own.max() > 0.7:
                    shapes.append(mask)
                    labels.append(LABELS.index(scene.things[int(own.argmax())].label))
    index = NearestNeighbors(n_neighbors=1).fit(np.array(shapes))
    truths, guesses = [], []
    for scene in scenes(_SCORED, seed=seed + 2, lines=LINES):
        masks, boxes = components(scene, near)
        distances, nearest = index.kneighbors(np.array(masks)) if len(boxes) else (np.zeros((0, 1)),) * 2
        guesses.append(Guess(np.array(labels)[nearest[:, 0].astype(int)], -distances[:, 0], boxes))
        names = np.array([LABELS.index(one.label) for one in scene.things])
        truths.append(
            Truth(names, np.array([one.box for one in scene.things], dtype=float), np.zeros(len(names), bool))
        )
    map50, mean = means(average_precisions(truths, guesses, len(LABELS)))
    return {"map50": map50, "map": mean}


def components(scene: Scene, near: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The components of the pixels near each colour: scaled masks, and boxes ``(n, 4)``.

    Args:
        scene: has the pixels.
        near: the smallest cosine between a pixel and a colour.
    """
    pixels = scene.pixels.astype(float)
    length = np.linalg.norm(pixels, axis=0)
    colors = np.array(list(COLORS.values()), dtype=float)
    norms = np.linalg.norm(colors, axis=1)
    cosines = np.einsum("kc,chw->khw", colors / norms[:, None], pixels) / (length + 1)
    best = cosines.argmax(0)
    masks, boxes = [], []
    for number, norm in enumerate(norms):
        close = (best == number) & (cosines[number] >= near) & (length > 0.6 * norm)
        joined, _ = ndimage.label(ndimage.binary_closing(np.pad(close, 2))[2:-2, 2:-2], np.ones((3, 3)))
        for at, place in enumerate(ndimage.find_objects(joined), 1):
            mask = joined[place] == at
            if mask.sum() >= _LEAST:
                rows, columns = place
                boxes.append((columns.start, rows.start, columns.stop, rows.stop))
                zoomed = ndimage.zoom(mask.astype(float), (_SIDE / mask.shape[0], _SIDE / mask.shape[1]), order=1)
                masks.append(np.append(zoomed.ravel(), 4 * mask.shape[1] / mask.shape[0]))
    return masks, _boxes(boxes)


def _boxes(boxes: Any) -> np.ndarray:
    return np.array(boxes, dtype=float).reshape(-1, 4)


def _found(scene: Scene, boxes: np.ndarray) -> float:
    """The share of the things with a box that overlaps by a half."""
    things = np.array([one.box for one in scene.things], dtype=float)
    shared = overlaps(things, boxes, np.zeros(len(boxes), dtype=bool))
    return float((shared.max(1, initial=0) >= 0.5).mean() - 0.01 * len(boxes))


if __name__ == "__main__":
    main()
