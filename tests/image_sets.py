"""Small sets of labelled images, and functions that write them in every format: a folder, an archive, a table."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RED, BLUE = (250, 10, 20), (5, 30, 240)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def plain(mode: str, colour: Any, size: tuple[int, int] = (12, 12)) -> Image.Image:
    return Image.new(mode, size, colour)


def noise(kind: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), kind, **options)


def members(special: bytes, name: str = "red/special.png") -> dict[str, bytes]:
    """Two images of each class, red and blue, and the image that is tested, sorted by name."""
    good = {
        f"{label}/{n}.png": encoded(plain("RGB", colour))
        for label, colour in (("red", RED), ("blue", BLUE))
        for n in (1, 2)
    }
    return dict(sorted({**good, name: special}.items()))


def tree(*names: str, content: bytes | None = None) -> dict[str, bytes]:
    """Files of these names, all with the same content: by default a red image."""
    image = encoded(plain("RGB", RED)) if content is None else content
    return dict.fromkeys(names, image)


TWO = tree("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")


def as_folder(members: dict[str, bytes], folder: Path) -> str:
    for name, content in members.items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(content)
    return str(folder / "set")


def as_tar(members: dict[str, bytes], folder: Path, kind: str = "") -> str:
    path = folder / f"set.tar{'.' if kind else ''}{kind}"
    writing: Any = f"w:{kind}"
    with tarfile.open(path, writing) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def as_zip(members: dict[str, bytes], folder: Path) -> str:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(folder / "set.zip")


def as_parquet(members: dict[str, bytes], folder: Path) -> str:
    import pyarrow
    from pyarrow import parquet

    table = {"img": list(members.values()), "label": [name.split("/")[0] for name in members]}
    parquet.write_table(pyarrow.table(table), folder / "set.parquet")
    return str(folder / "set.parquet")


def as_dataset(members: dict[str, bytes], folder: Path) -> str:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["red", "blue"])})
    rows = {
        "image": [{"bytes": content, "path": None} for content in members.values()],
        "label": [name.split("/")[0] for name in members],
    }
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(folder / "saved")
    return f"hf:{folder / 'saved'}"


WAYS: dict[str, Callable[[dict[str, bytes], Path], str]] = {
    "folder": as_folder,
    "tar": as_tar,
    "tar.xz": lambda members, folder: as_tar(members, folder, "xz"),
    "zip": as_zip,
    "parquet": as_parquet,
    "hf": as_dataset,
}


COLUMNS = {
    "parquet": ("image column img, label column label",),
    "hf": ("image column image, label column label",),
}
