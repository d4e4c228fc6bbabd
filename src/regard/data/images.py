"""Labelled pictures from a user's files: a folder a class, an archive of it, CIFAR's binary files, Parquet, the hub."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from regard.data.formats import Bad, hub_records, parquet_rows
from regard.errors import UserError, require

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".tif", ".tiff")
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
_CIFAR_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_SHOWN = 3

Picture = tuple[str, str, "bytes | np.ndarray"]
"""Where it is from, its class, and the file's bytes or the pixels."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size.

    Attributes:
        pixels: uint8 ``(n, 3, size, size)``.
        labels: int64 ``(n,)``, numbers of ``names``.
        names: of the classes.
        bad: what was left out: names and reasons.
    """

    pixels: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    bad: tuple[str, ...] = ()


def read_pictures(
    path: str, size: int, *, names: tuple[str, ...] | None = None, on_bad: Literal["error", "skip"] = "error"
) -> Pictures:
    """Read pictures, cut to a square and scaled to ``size``.

    Args:
        path: a folder with a folder a class; a tar (also .gz, .xz, .bz2) or zip of that; CIFAR-10's binary files, one
            or the folder; Parquet with the columns image and label; or ``"hf:NAME[:CONFIG][#SPLIT]"``.
        size: of the sides, in pixels.
        names: the classes, where they are known; then others are mistakes. None: those that are found.
        on_bad: what to do with files that are no pictures.

    Raises:
        UserError: there is no such file or no picture, a class is unknown; with ``on_bad="error"``, a file is bad.
    """
    pixels, labels, bad = [], [], []
    for origin, label, content in _source(path):
        try:
            pixels.append(squared(content if isinstance(content, np.ndarray) else open_picture(content), size))
        except Exception as error:  # Pillow raises whatever its many readers raise
            bad.append(f"{origin} ({str(error).splitlines()[0] if str(error) else type(error).__name__})")
            if on_bad == "error":
                raise UserError(
                    f"{path}: not a picture: {bad[0]}; mend it, or leave such files out with --data.on-bad skip"
                ) from error
            continue
        labels.append(label)
    if not pixels:
        raise UserError(f"{path}: no picture in it" + (f"; {bad[0]}" if bad else ""))
    known = tuple(sorted(set(labels))) if names is None else names
    for label in labels:
        if label not in known:
            raise UserError(f"{path}: has the class {label!r}, which training did not show: {', '.join(known)}")
    numbers = {name: number for number, name in enumerate(known)}
    return Pictures(np.stack(pixels), np.array([numbers[label] for label in labels], dtype=np.int64), known, tuple(bad))


def open_picture(content: bytes) -> np.ndarray:
    """The pixels of a picture file, uint8 ``(3, H, W)``: turned upright, grey as three colours, alpha laid on white."""
    images: Any = require("PIL.Image", "image", "reading pictures")
    ops: Any = require("PIL.ImageOps", "image", "reading pictures")
    image = ops.exif_transpose(images.open(io.BytesIO(content)))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        ground = images.new("RGBA", image.size, "white")
        image = images.alpha_composite(ground, image)
    if image.mode.startswith("I;16") or image.mode == "I":  # sixteen bits of grey
        image = images.fromarray((np.asarray(image, dtype=np.float64) / 257).clip(0, 255).astype(np.uint8))
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def squared(pixels: np.ndarray, size: int) -> np.ndarray:
    """The middle square of ``(3, H, W)``, scaled to ``(3, size, size)``."""
    _, height, width = pixels.shape
    side = min(height, width)
    if not side:
        raise ValueError("it has no pixels")
    top, left = (height - side) // 2, (width - side) // 2
    cut = pixels[:, top : top + side, left : left + side]
    if side == size:
        return np.ascontiguousarray(cut)
    images: Any = require("PIL.Image", "image", "scaling pictures")
    scaled = images.fromarray(cut.transpose(1, 2, 0)).resize((size, size), images.Resampling.BICUBIC)
    return np.ascontiguousarray(np.asarray(scaled).transpose(2, 0, 1))


def _source(path: str) -> Iterator[Picture]:
    if path.startswith("hf:"):
        return _records(hub_records(path.removeprefix("hf:")), path, None)
    file = Path(path)
    if not file.exists():
        raise UserError(f"{path}: no such file or folder")
    name = file.name.lower()
    if file.is_dir():
        binaries = sorted(file.glob("*.bin"))
        return (picture for one in binaries for picture in _cifar(one)) if binaries else _folder(file)
    if name.endswith(_TARS):
        return _tar(file)
    readers: dict[str, Callable[[Path], Iterator[Picture]]] = {".zip": _zip, ".bin": _cifar, ".parquet": _parquet}
    if file.suffix.lower() in readers:
        return readers[file.suffix.lower()](file)
    if name.startswith(("data_batch", "test_batch")):
        raise UserError(
            f"{path}: is a Python pickle, which may run code when it is read; take CIFAR-10's binary version (.bin)"
        )
    raise UserError(f"{path}: expected a folder with a folder a class, .tar, .zip, .bin (CIFAR-10) or .parquet")


def _folder(folder: Path) -> Iterator[Picture]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _ENDINGS and path.is_file():
            if path.parent == folder:
                raise UserError(f"{path}: lies beside the folders of the classes; expected {folder}/CLASS/{path.name}")
            yield str(path), path.parent.name, path.read_bytes()


def _tar(path: Path) -> Iterator[Picture]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if _named(member.name) and member.isfile() else None
                if content is not None:
                    yield f"{path}:{member.name}", PurePosixPath(member.name).parent.name, content.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{path}: not readable as a tar archive ({error})") from error


def _zip(path: Path) -> Iterator[Picture]:
    try:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if _named(name):
                    yield f"{path}:{name}", PurePosixPath(name).parent.name, archive.read(name)
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise UserError(f"{path}: not readable as a zip archive ({error})") from error


def _named(name: str) -> bool:
    """Whether a member of an archive is a picture in the folder of a class; macOS adds files that are none."""
    path = PurePosixPath(name)
    return path.suffix.lower() in _ENDINGS and bool(path.parent.name) and "__MACOSX" not in path.parts


def _cifar(path: Path) -> Iterator[Picture]:
    raw = np.fromfile(path, dtype=np.uint8)
    if not len(raw) or len(raw) % 3073 or raw[::3073].max() > 9:
        raise UserError(f"{path}: not a binary file of CIFAR-10 (records of 3,073 bytes that begin with 0 to 9)")
    names = path.parent / "batches.meta.txt"
    labels = tuple(names.read_text().split()) if names.exists() else _CIFAR_NAMES
    for number, record in enumerate(raw.reshape(-1, 3073)):
        yield f"{path}: record {number + 1:,}", labels[record[0]], record[1:].reshape(3, 32, 32)


def _parquet(path: Path) -> Iterator[Picture]:
    parquet: Any = require("pyarrow.parquet", "parquet", "reading Parquet")
    rows = parquet_rows(path)
    first = next(rows, None)
    if first is None:
        return
    # datasets keeps the names of the classes beside the table.
    kept = (parquet.read_schema(path).metadata or {}).get(b"huggingface")
    features = json.loads(kept).get("info", {}).get("features", {}) if kept else {}
    names = features.get("label", {}).get("names")
    yield from _records(itertools.chain([first], rows), str(path), names)


def _records(records: Iterator[dict[str, Any] | Bad], origin: str, names: list[str] | None) -> Iterator[Picture]:
    for number, record in enumerate(records, 1):
        if isinstance(record, Bad):
            raise UserError(f"{origin}: record {number:,}: {record.reason}")
        image, label = (record.get(name) for name in ("image", "label"))
        if image is None or label is None:
            raise UserError(f"{origin}: record {number:,} has no image or no label; it has {', '.join(record)}")
        content = image.get("bytes") if isinstance(image, dict) else image
        if hasattr(image, "convert"):  # datasets gives pictures of Pillow
            content = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        if not isinstance(content, bytes | np.ndarray):
            raise UserError(f"{origin}: record {number:,}: expected the image's bytes, got {type(image).__name__}")
        given = names[label] if names is not None and isinstance(label, int) else f"{label}"
        yield f"{origin}: record {number:,}", given, content
