"""Small sets of images with captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 230), "white": (240, 240, 240)}


def write_images(folder: Path, count: int = 20, side: int = 16) -> list[tuple[str, str]]:
    """Images ``1.png``, ``2.png`` … of a coloured square, and the caption of each."""
    folder.mkdir(parents=True, exist_ok=True)
    random, rows = np.random.default_rng(0), []
    for number in range(1, count + 1):
        colour = list(COLOURS)[number % len(COLOURS)]
        pixels = random.integers(0, 60, (side, side, 3), dtype=np.uint8)
        top, left = random.integers(0, side // 2, 2)
        pixels[top : top + side // 2, left : left + side // 2] = COLOURS[colour]
        Image.fromarray(pixels).save(folder / f"{number}.png")
        rows.append((f"{number}.png", f"a {colour} square number {number}"))
    return rows


def write_table(folder: Path, count: int = 20) -> Path:
    """A table of `write_images` in a folder, with two captions per image."""
    rows = write_images(folder, count)
    lines = [f"{name}\t{text}\n{name}\tanother {text}\n" for name, text in rows]
    (folder / "train.tsv").write_text("image\tcaption\n" + "".join(lines))
    return folder / "train.tsv"
