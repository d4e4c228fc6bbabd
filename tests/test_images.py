"""Images from files of every kind, broken ones among them, by every way in; and how training images are augmented."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regard.data.image_files import squared
from regard.data.images import read_images
from regard.errors import UserError
from regard.tasks.image.config import AugmentConfig, DataConfig
from regard.tasks.image.data import Scale, augment, digits, read, set_aside

RED, BLUE = (250, 10, 20), (5, 30, 240)


def _bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _plain(mode: str, colour: object, size: tuple[int, int] = (12, 12)) -> Image.Image:
    return Image.new(mode, size, colour)


def _array(values: object, kind: str = "TIFF") -> bytes:
    return _bytes(Image.fromarray(np.asarray(values)), kind)


def _noise(kind: str, **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return _bytes(Image.fromarray(pixels), kind, **options)


def _animation(kind: str) -> bytes:
    return _bytes(_plain("RGB", RED), kind, save_all=True, append_images=[_plain("RGB", BLUE)])


def _turned() -> bytes:
    """Left half red, right half blue, to be turned by 90 degrees: red lies on top."""
    image = _plain("RGB", RED)
    image.paste(BLUE, (6, 0, 12, 12))
    exif = image.getexif()
    exif[274] = 6
    return _bytes(image, "JPEG", exif=exif, quality=95)


def _png(width: int, height: int) -> bytes:
    """A PNG file that claims a size and has no pixels."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    )
    chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _clear(mode: str, colour: object) -> bytes:
    return _bytes(_plain(mode, colour))


def _clear_palette(kind: str) -> bytes:
    image = _plain("P", 1)
    image.putpalette([*RED, *BLUE])
    return _bytes(image, kind, transparency=1)


WHITE, BLACK = (255, 255, 255), (0, 0, 0)

GOOD: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "png": (lambda: _bytes(_plain("RGB", RED)), RED),
    "jpeg": (lambda: _bytes(_plain("RGB", RED), "JPEG", quality=100, subsampling=0), RED),
    "webp": (lambda: _bytes(_plain("RGB", RED), "WEBP", lossless=True), RED),
    "avif": (lambda: _bytes(_plain("RGB", RED), "AVIF", quality=100, subsampling="4:4:4"), RED),
    "jpeg 2000": (lambda: _bytes(_plain("RGB", RED), "JPEG2000"), RED),
    "bmp": (lambda: _bytes(_plain("RGB", RED), "BMP"), RED),
    "tiff": (lambda: _bytes(_plain("RGB", RED), "TIFF"), RED),
    "ppm": (lambda: _bytes(_plain("RGB", RED), "PPM"), RED),
    "ico": (lambda: _bytes(_plain("RGB", RED, (16, 16)), "ICO", sizes=[(16, 16)]), RED),
    "qoi": (lambda: _bytes(_plain("RGB", RED), "QOI"), RED),
    "grey": (lambda: _bytes(_plain("L", 77)), (77, 77, 77)),
    "one bit": (lambda: _bytes(_plain("1", 1)), WHITE),
    "grey with alpha, opaque": (lambda: _clear("LA", (77, 255)), (77, 77, 77)),
    "grey with alpha, clear": (lambda: _clear("LA", (0, 0)), WHITE),
    "alpha, clear": (lambda: _clear("RGBA", (255, 0, 0, 0)), WHITE),
    "alpha, half": (lambda: _clear("RGBA", (0, 0, 0, 128)), (127, 127, 127)),
    "palette": (lambda: _bytes(_plain("RGB", RED).convert("P", palette=Image.Palette.ADAPTIVE), "GIF"), RED),
    "palette of png, clear": (lambda: _clear_palette("PNG"), WHITE),
    "palette of gif, clear": (lambda: _clear_palette("GIF"), WHITE),
    "cmyk jpeg": (lambda: _bytes(_plain("CMYK", (255, 0, 0, 0)), "JPEG", quality=100), (0, 255, 255)),
    "cmyk tiff": (lambda: _bytes(_plain("CMYK", (0, 0, 0, 255)), "TIFF"), BLACK),
    "ycbcr tiff": (lambda: _bytes(_plain("YCbCr", (77, 128, 128)), "TIFF"), (77, 77, 77)),
    "lab tiff": (lambda: _bytes(_plain("LAB", (128, 128, 128)), "TIFF"), (120, 120, 120)),
    "16 bits png, clear": (
        lambda: _bytes(Image.fromarray(np.full((4, 4), 9, np.uint16)), "PNG", transparency=9), WHITE),
    "first frame of a gif": (lambda: _animation("GIF"), RED),
    "first frame of a png": (lambda: _animation("PNG"), RED),
    "first page of a tiff": (lambda: _animation("TIFF"), RED),
    "16 bits png": (lambda: _array(np.full((4, 4), 77 * 257, np.uint16), "PNG"), (77, 77, 77)),
    "16 bits tiff": (lambda: _array(np.full((4, 4), 77 * 257, np.uint16)), (77, 77, 77)),
    "16 bits pgm": (lambda: b"P5 2 2 65535\n" + struct.pack(">4H", *[77 * 257] * 4), (77, 77, 77)),
    "10 bits pgm": (lambda: b"P5 2 2 1023\n" + struct.pack(">4H", *[1023] * 4), WHITE),
    "float tiff": (lambda: _array(np.full((4, 4), 0.5, np.float32)), (128, 128, 128)),
    "float tiff, white": (lambda: _array(np.ones((4, 4), np.float32)), WHITE),
    "broken exif": (lambda: _bytes(_plain("RGB", RED), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xffnothing"), RED),
    "one pixel": (lambda: _bytes(_plain("RGB", RED, (1, 1))), RED),
    "long": (lambda: _bytes(_plain("RGB", RED, (1, 500))), RED),
    "png with rubbish after it": (lambda: _bytes(_plain("RGB", RED), "PNG") + b"rubbish", RED),
}  # fmt: skip

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"no image at all", "its content is not that of an image"),
    "a page": (lambda: b"<!DOCTYPE html><title>404</title>", "its content is not that of an image"),
    "AppleDouble": (lambda: b"\0\5\x16\7" + b"\0" * 80, "its content is not that of an image"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 80, "is HEIC, which is not read; convert it"),
    "JPEG XL": (lambda: b"\xff\x0a" + b"\0" * 80, "is JPEG XL, which is not read"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "is SVG, which is not read"),
    "only the magic of PNG": (lambda: b"\x89PNG\r\n\x1a\n", "cannot be read as PNG: damaged, or of a kind"),
    "only the magic of TIFF": (lambda: b"II*\0", "cannot be read as TIFF: damaged, or of a kind"),
    "cut png": (lambda: _noise("PNG")[:6000], "cannot be read as PNG: "),
    "cut jpeg": (lambda: _noise("JPEG")[:1500], "cannot be read as JPEG: image file is truncated"),
    "cut gif": (lambda: _noise("GIF")[:2000], "cannot be read as GIF: image file is truncated"),
    "cut webp": (lambda: _noise("WEBP")[:1000], "cannot be read as WebP: "),
    "cut bmp": (lambda: _noise("BMP")[:6000], "cannot be read as BMP: "),
    "cut tiff": (lambda: _noise("TIFF")[:6000], "cannot be read as TIFF: "),
    "cut ppm": (lambda: _noise("PPM")[:6000], "cannot be read as PPM: "),
    "cut jpeg 2000": (lambda: _noise("JPEG2000")[:200], "cannot be read as JPEG 2000: "),
    "cut avif": (lambda: _noise("AVIF")[:900], "cannot be read as AVIF: damaged, or of a kind"),
    "wrong check sum": (lambda: _noise("PNG").replace(b"IDAT", b"IDAT\1", 1), "cannot be read as PNG: "),
    "bomb": (lambda: _png(50_000, 50_000), "has more than 178,956,970 pixels"),
    "no pixels": (lambda: _png(0, 4), "cannot be read as PNG: damaged, or of a kind"),
    "no width": (lambda: b"P6 0 4 255\n", "cannot be read as PPM: damaged, or of a kind"),
    "float beyond 1": (
        lambda: _array(np.full((4, 4), 200, np.float32)), "floating-point values from 200 to 200; expected"),
    "float with NaN": (lambda: _array(np.full((4, 4), np.nan, np.float32)), "floating-point values from nan to nan"),
    "32 bits": (
        lambda: _array(np.full((4, 4), 70_000, np.int32)), "has integers of 32 bits or with a sign, from 70,000"),
    "negative": (lambda: _array(np.full((4, 4), -7, np.int32)), "has integers of 32 bits or with a sign, from -7"),
}  # fmt: skip


def _members(special: bytes, name: str = "red/special.png") -> dict[str, bytes]:
    """Two good images of each class, and a special one; the order is that of their names."""
    good = {
        f"{label}/{n}.png": _bytes(_plain("RGB", colour))
        for label, colour in (("red", RED), ("blue", BLUE))
        for n in (1, 2)
    }
    return dict(sorted({**good, name: special}.items()))


def _as_folder(members: dict[str, bytes], folder: Path) -> str:
    for name, content in members.items():
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "set" / name).write_bytes(content)
    return str(folder / "set")


def _as_tar(members: dict[str, bytes], folder: Path, kind: str = "") -> str:
    path = folder / f"set.tar{'.' if kind else ''}{kind}"
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return str(path)


def _as_zip(members: dict[str, bytes], folder: Path) -> str:
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return str(folder / "set.zip")


def _as_parquet(members: dict[str, bytes], folder: Path) -> str:
    import pyarrow
    from pyarrow import parquet

    table = {"img": list(members.values()), "label": [name.split("/")[0] for name in members]}
    parquet.write_table(pyarrow.table(table), folder / "set.parquet")
    return str(folder / "set.parquet")


def _as_dataset(members: dict[str, bytes], folder: Path) -> str:
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
    "folder": _as_folder,
    "tar": _as_tar,
    "tar.xz": lambda members, folder: _as_tar(members, folder, "xz"),
    "zip": _as_zip,
    "parquet": _as_parquet,
    "hf": _as_dataset,
}
COLUMNS = {
    "parquet": ("the column img is the image, label its class",),
    "hf": ("the column image is the image, label its class",),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GOOD)
def test_every_kind_of_image_by_every_way(kind: str, way: str, tmp_path: Path) -> None:
    make, colour = GOOD[kind]
    images = read_images(WAYS[way](_members(make()), tmp_path), 4)
    assert images.names == ("blue", "red")
    assert sorted(images.labels.tolist()) == [0, 0, 1, 1, 1]
    assert images.notes == COLUMNS.get(way, ())
    special = images.pixels[4].reshape(3, -1).T  # the last by name
    assert np.abs(special - np.array(colour)).max() <= (3 if kind in ("jpeg", "avif", "cmyk jpeg", "lab tiff") else 0)
    assert len(set(images.keys)) == (2 if make() == _bytes(_plain("RGB", RED)) else 3)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", BAD)
def test_every_kind_of_bad_image_by_every_way(kind: str, way: str, tmp_path: Path) -> None:
    content, reason = BAD[kind][0](), BAD[kind][1]
    path = WAYS[way](_members(content), tmp_path)
    named = "record 5" if way in ("parquet", "hf") else "red/special.png"
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    told = str(error.value)
    assert told.startswith(f"{path}: not a usable image: {path}")
    assert f"{named} (" in told
    assert reason in told
    assert told.endswith("; replace it, or leave such images out with --data.on-bad skip")
    assert "object at 0x" not in told
    assert "\n" not in told
    images = read_images(path, 4, on_bad="skip")
    assert (images.names, images.labels.tolist()) == (("blue", "red"), [0, 0, 1, 1])
    assert images.notes[:-1] == COLUMNS.get(way, ())
    assert images.notes[-1].startswith("left out one image that is not usable: ")
    assert reason in images.notes[-1]


def _tree(*names: str, content: bytes | None = None) -> dict[str, bytes]:
    """Files of these names; an image of red unless said otherwise."""
    image = _bytes(_plain("RGB", RED)) if content is None else content
    return dict.fromkeys(names, image)


TWO = _tree("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")

TAKEN: dict[str, tuple[dict[str, bytes], list[int], tuple[str, ...]]] = {
    "a folder per class": (TWO, [2, 2], ()),
    "any ending, or none": (
        {**TWO, **_tree("cat/3.jfif", "cat/4", "dog/3.JPEG", "dog/4.dat", "dog/5.txt")}, [4, 5], ()),
    "within other folders": ({f"my/set/{name}": content for name, content in TWO.items()}, [2, 2], ()),
    "hidden files and folders": (
        {**TWO, **_tree("cat/._x.png", ".ipynb_checkpoints/x.png", ".git/index", "__MACOSX/cat/1.png",
                        "cat/.cache/x.png", "dog/Thumbs.db", content=b"anything")},
        [2, 2], ("left out 6 hidden or system files or folders: .git, .ipynb_checkpoints, __MACOSX and 3 more",)),
    "images that are hidden": (
        {**TWO, **_tree(".ipynb_checkpoints/1.png")}, [2, 2], ("left out 1 hidden or system file or folder: "
                                                               ".ipynb_checkpoints",)),
    "files that are none": (
        {**TWO, **_tree("README.md", "cat/labels.csv", content=b"text")}, [2, 2],
        ("left out 2 files that are no images: README.md, cat/labels.csv",)),
}  # fmt: skip


@pytest.mark.parametrize("way", ["folder", "tar", "tar.xz", "zip"])
@pytest.mark.parametrize("case", TAKEN)
def test_which_files_are_taken_for_what(case: str, way: str, tmp_path: Path) -> None:
    members, counts, notes = TAKEN[case]
    images = read_images(WAYS[way](dict(sorted(members.items())), tmp_path), 4)
    assert images.names == ("cat", "dog")
    assert np.bincount(images.labels).tolist() == counts
    assert images.notes == notes
    assert images.describe() == f"{sum(counts)} images of 2 classes: cat {counts[0]}, dog {counts[1]}"


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no image": (_tree("cat/1.txt", content=b"text"), "no image in it; left out 1 file that is no image: cat/1.txt"),
    "beside the classes": ({**TWO, **_tree("loose.png")}, "loose.png: lies in no folder of a class; expected "),
    "no classes": (_tree("1.png", "2.png"), "1.png: lies in no folder of a class; expected "),
    "two folders deep": (_tree("cat/day/1.png", "dog/night/1.png"), "could be 'cat' or 'day'; move the images of each"),
    "one and two folders deep": ({**TWO, **_tree("dog/night/1.png")}, "could be 'dog' or 'night'; move the images"),
    "a part and a class": ({**TWO, **_tree("train/cat/1.png")}, "could be 'train' or 'cat'; move the images"),
    "parts without classes": (
        _tree("train/1.png", "val/1.png"), "the folders train, val hold images, but no folders of classes; "
        "expected such as train/CLASS/1.png"),
    "two training parts": (
        _tree("train/cat/1.png", "training/cat/1.png", "val/cat/1.png"),
        "both train and training could be the same part"),
    "parts, of which none is named": (
        {f"{part}/{name}": b for name, b in TWO.items() for part in ("test", "train")},
        "is divided into test, train; "),
    "a class of files that are none": (
        {**TWO, **_tree("emu/1.mp4", content=b"film")},
        "the folder of a class without an image: emu; add images or remove it"),
}  # fmt: skip


@pytest.mark.parametrize("way", ["folder", "tar", "tar.xz", "zip"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_right_is_refused(case: str, way: str, tmp_path: Path) -> None:
    members, told = REFUSED[case]
    path = WAYS[way](dict(sorted(members.items())), tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value).startswith(path)
    assert told in str(error.value)


def test_empty_folders_of_classes_are_left_out_where_asked(tmp_path: Path) -> None:
    path = _as_folder(TWO, tmp_path)
    (tmp_path / "set" / "emu").mkdir()
    with pytest.raises(UserError, match="the folder of a class without an image: emu; add images or remove it"):
        read_images(path, 4)
    for options in ({"on_bad": "skip"}, {"names": ("cat", "dog")}):
        images = read_images(path, 4, **options)
        assert (images.names, images.notes) == (("cat", "dog"), ("left out folders without an image: emu",))


def test_links_are_followed(tmp_path: Path) -> None:
    path = Path(_as_folder(_tree("store/cats/1.png", "store/dogs/1.png"), tmp_path))
    links = tmp_path / "links"
    (links / "dog").mkdir(parents=True)
    (links / "cat").symlink_to(path / "store" / "cats", target_is_directory=True)
    (links / "dog" / "one").symlink_to(path / "store" / "dogs" / "1.png")
    (links / "cat" / "up").symlink_to(links / "cat", target_is_directory=True)  # a loop
    images = read_images(str(links), 4)
    assert (images.names, images.labels.tolist()) == (("cat", "dog"), [0, 1])
    (links / "dog" / "two").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"dog/two \(a link to a file that does not exist\)"):
        read_images(str(links), 4)
    (links / "dog" / "two").unlink()
    os.mkfifo(links / "dog" / "two.png")
    with pytest.raises(UserError, match=r"dog/two\.png \(not a regular file\)"):
        read_images(str(links), 4)


def _table(columns: dict[str, list[object]], folder: Path, types: dict[str, object] | None = None) -> str:
    """A Parquet file; with ``types`` as the datasets library writes it, which keeps them."""
    import datasets
    import pyarrow
    from pyarrow import parquet

    path = folder / "table.parquet"
    if types is None:
        parquet.write_table(pyarrow.table(columns), path)
    else:
        datasets.disable_progress_bars()
        datasets.Dataset.from_dict(columns, features=datasets.Features(types)).to_parquet(path)
    return str(path)


FILES = [_bytes(_plain("RGB", colour)) for colour in (RED, BLUE, RED)]
ROWS = [{"bytes": content, "path": None} for content in FILES]


def _types(**others: object) -> dict[str, object]:
    import datasets

    return {"picture": datasets.Image(), **others}


def _names(*names: str) -> object:
    import datasets

    return datasets.ClassLabel(names=list(names))


def test_columns_are_guessed_by_type_and_name(tmp_path: Path) -> None:
    for columns, types in (
        ({"label": ["red", "blue", "red"], "image": FILES, "path": ["a", "b", "c"]}, None),
        ({"target": ["red", "blue", "red"], "img": ROWS}, None),
        ({"text": ["a", "b", "c"], "colour": [1, 0, 1], "picture": ROWS},
         _types(text=_text(), colour=_names("blue", "red"))),
        ({"fine": [0, 1, 0], "label": [1, 0, 1], "picture": ROWS},
         _types(fine=_names("x", "y"), label=_names("blue", "red"))),
    ):  # fmt: skip
        images = read_images(_table(columns, tmp_path, types), 4)
        assert (images.names, images.labels.tolist()) == (("blue", "red"), [1, 0, 1])
        assert images.pixels[:, :, 0, 0].tolist() == [list(RED), list(BLUE), list(RED)]


def _text() -> object:
    import datasets

    return datasets.Value("string")


def test_columns_are_named(tmp_path: Path) -> None:
    coarse, fine = _names("warm", "cold"), _names("red", "blue")
    columns = {"coarse_label": [0, 1, 0], "fine_label": [0, 1, 0], "picture": ROWS}
    path = _table(columns, tmp_path, _types(coarse_label=coarse, fine_label=fine))
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value) == (
        f"{path}: coarse_label and fine_label could both be the label; its columns are coarse_label, fine_label, "
        "picture; name one with --data.label-column"
    )
    assert read_images(path, 4, label_column="fine_label").names == ("blue", "red")
    assert read_images(path, 4, label_column="coarse_label").names == ("cold", "warm")
    with pytest.raises(UserError, match=r"has no column 'lable'; its columns are .*name one with --data\.label-column"):
        read_images(path, 4, label_column="lable")
    path = _table({"a": FILES, "b": ["x", "y", "x"]}, tmp_path)
    with pytest.raises(
        UserError, match=r"which column is the image\?; its columns are a, b; name one with --data\.image"
    ):
        read_images(path, 4)
    with pytest.raises(
        UserError, match=r"which column is the label\?; its columns are a, b; name one with --data\.label"
    ):
        read_images(path, 4, image_column="a")
    assert read_images(path, 4, image_column="a", label_column="b").names == ("x", "y")


LABELS: dict[str, tuple[list[object], str]] = {
    "none": ([None, "a", "b"], "has no label"),
    "empty": (["", "a", "b"], "has an empty label"),
    "fraction": ([0.5, 1.0, 2.0], "expected a label that is text or a whole number, got float"),
    "several": ([["a", "b"], ["a"], ["b"]], "expected a label that is text or a whole number, got list"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_are_no_class(case: str, tmp_path: Path) -> None:
    labels, told = LABELS[case]
    path = _table({"image": FILES, "label": labels}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value).startswith(f"{path}: not a usable image: {path}: record 1 ({told}); ")


def test_a_missing_label_is_not_the_last_class(tmp_path: Path) -> None:
    types = _types(label=_names("red", "blue"))
    path = _table({"picture": ROWS, "label": [0, 1, -1]}, tmp_path, types)
    with pytest.raises(UserError, match=r"record 3 \(its label -1 is none of the 2 classes; is it without a label\?\)"):
        read_images(path, 4)
    images = read_images(path, 4, on_bad="skip")
    assert (images.names, images.labels.tolist()) == (("blue", "red"), [1, 0])


CELLS: dict[str, tuple[object, str]] = {
    "none": (None, "has no image"),
    "a file that is not there": (
        {"bytes": None, "path": "nowhere.png"}, "names the file nowhere.png, which does not exist"),
    "numbers": ([[1, 2], [3, 4]], "expected the bytes of an image file, got list"),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_cells_that_are_no_image(case: str, tmp_path: Path) -> None:
    cell, told = CELLS[case]
    path = _table({"image": [cell, cell], "label": ["a", "b"]}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert f"{path}: record 1 ({told})" in str(error.value)


def test_a_folder_of_parquet_files_is_named(tmp_path: Path) -> None:
    _table({"image": FILES, "label": ["red", "blue", "red"]}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(str(tmp_path), 4)
    assert str(error.value) == (
        f"{tmp_path}: no image in it; left out 1 file that is no image: table.parquet; "
        f"for Parquet files in a folder, use hf:{tmp_path}"
    )


def test_a_table_names_files_beside_it(tmp_path: Path) -> None:
    for number, content in enumerate(FILES):
        (tmp_path / f"{number}.png").write_bytes(content)
    path = _table({"image": ["0.png", "1.png", "2.png"], "label": ["red", "blue", "red"]}, tmp_path)
    assert read_images(path, 4).pixels[:, :, 0, 0].tolist() == [list(RED), list(BLUE), list(RED)]


def test_a_local_folder_of_hugging_face_keeps_the_names_of_its_classes(tmp_path: Path) -> None:
    import datasets

    folder = _as_folder({f"train/{name}": content for name, content in _members(_noise("PNG")).items()}, tmp_path)
    paths = [f"hf:{folder}"]
    table = datasets.load_dataset(folder, split="train")
    datasets.DatasetDict({"train": table, "test": table}).save_to_disk(tmp_path / "saved")
    paths += [f"hf:{tmp_path / 'saved'}", f"hf:{tmp_path / 'saved'}#test"]
    (tmp_path / "tables").mkdir()
    table.to_parquet(tmp_path / "tables" / "train.parquet")
    paths += [f"hf:{tmp_path / 'tables'}", str(tmp_path / "tables" / "train.parquet")]
    for path in paths:
        images = read_images(path, 4)
        assert (images.names, np.bincount(images.labels).tolist()) == (("blue", "red"), [2, 3])
    with pytest.raises(UserError, match=r"hf:.*saved: cannot be loaded"):
        read_images(f"hf:{tmp_path / 'saved'}#valid", 4)


@pytest.mark.parametrize("way", ["tar", "zip"])
def test_links_in_archives_are_followed(way: str, tmp_path: Path) -> None:
    def write(target: str) -> str:
        path = tmp_path / f"set.{way}"
        content = _bytes(_plain("RGB", BLUE))
        if way == "tar":
            with tarfile.open(path, "w") as archive:
                for name, link in (("cat/1.png", ""), ("dog/1", target)):
                    info = tarfile.TarInfo(name)
                    info.size, info.linkname = 0 if link else len(content), link
                    info.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
                    archive.addfile(info, None if link else io.BytesIO(content))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("cat/1.png", content)
                info = zipfile.ZipInfo("dog/1")
                info.external_attr = 0o120777 << 16
                archive.writestr(info, target)
        return str(path)

    images = read_images(write("../cat/1.png"), 4)
    assert (images.names, images.labels.tolist()) == (("cat", "dog"), [0, 1])
    for target in ("../cat/2.png", "../cat", "/etc/passwd"):
        with pytest.raises(UserError, match=r"dog/1 \(a link to "):
            read_images(write(target), 4)


def test_members_of_an_archive_that_cannot_be_read(tmp_path: Path) -> None:
    path = Path(_as_zip(_members(_noise("PNG")), tmp_path))
    content = bytearray(path.read_bytes())
    at = content.index(b"special.png") + 2000
    content[at : at + 4] = b"else"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"special\.png \(cannot be read from the archive: Bad CRC-32"):
        read_images(str(path), 4)
    for kind in ("", "gz", "xz"):
        path = Path(_as_tar(_members(_noise("PNG")), tmp_path, kind))
        path.write_bytes(path.read_bytes()[:-9000] if not kind else path.read_bytes()[:8000])
        with pytest.raises(UserError, match="not readable as a tar archive"):
            read_images(str(path), 4)


def test_names_of_windows_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in TWO.items():
            archive.writestr(name.replace("/", "\\"), content)
    assert read_images(str(tmp_path / "a.zip"), 4).names == ("cat", "dog")


def test_names_of_classes_are_utf8(tmp_path: Path) -> None:
    path = _as_folder(TWO, tmp_path)
    os.rename(os.fsencode(f"{path}/cat"), os.fsencode(path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"the name of the folder 'caf\\udce9' is not UTF-8; rename it"):
        read_images(path, 4)


def test_names_of_classes_are_composed(tmp_path: Path) -> None:
    path = _as_folder(_tree("cafe\u0301/1.png", "tea/1.png"), tmp_path)
    assert read_images(path, 4, names=("caf\u00e9", "tea")).labels.tolist() == [0, 1]


@pytest.mark.parametrize("way", ["folder", "tar", "zip"])
@pytest.mark.parametrize(
    "names", [("train", "val"), ("Training", "validation"), ("train", "valid", "test"), ("train", "test")]
)
def test_parts_of_a_data_set_are_understood(names: tuple[str, ...], way: str, tmp_path: Path) -> None:
    members = {f"{part}/{label}/{n}.png": _bytes(_plain("L", at * 40 + len(label) * 5 + n))
               for at, part in enumerate(names) for label in ("red", "blue")
               for n in range(4 if part == names[0] else 3)}  # fmt: skip
    members |= {f"{names[1]}/red/.hidden.png": b"", f"{names[1]}/notes.txt": b"text"}
    path, told = WAYS[way](members, tmp_path), []
    sets = read(DataConfig(train=path, size=16), 0, told.append)
    divided = len(names) > 2 or names[1] != "test"
    assert (len(sets.train.labels), len(sets.valid.labels)) == ((8, 6) if divided else (6, 2))
    assert told[0] == f"{path}: took the folder {names[0]} of {', '.join(sorted(names))}"
    assert told[1] == f"{path}: 8 images of 2 classes: blue 4, red 4"
    if divided:
        assert told[2:] == [f"{path}: took the folder {names[1]} of {', '.join(sorted(names))}",
                            f"{path}: left out 1 hidden or system file or folder: {names[1]}/red/.hidden.png",
                            f"{path}: left out 1 file that is no image: {names[1]}/notes.txt",
                            f"{path}: 6 images of 2 classes: blue 3, red 3"]  # fmt: skip
    unpack = "" if way == "folder" else "unpack it, and "
    with pytest.raises(UserError) as error:
        read_images(path, 16)
    assert str(error.value) == (
        f"{path}: is divided into {', '.join(sorted(names))}; {unpack}name one of them, such as {path}/{names[-1]}"
    )
    if way == "folder":
        assert len(read_images(f"{path}/{names[1]}", 16).labels) == 6
    if not divided:
        with pytest.raises(UserError, match=r"none of which is for validation; name its folder with --data\.valid"):
            read_images(path, 16, part="valid")


def test_validation_on_training_images_is_said(tmp_path: Path) -> None:
    told: list[str] = []
    images = {f"{label}/{n}.png": _bytes(_plain("L", at + n)) for label, at in (("a", 9), ("b", 99)) for n in range(9)}
    path = _as_folder(images, tmp_path)
    read(DataConfig(train=path, size=16), 0, told.append)
    assert told[-1].startswith("set aside 2 of 18 images")
    read(DataConfig(train=path, valid=path, size=16), 0, told.append)
    assert told[-1].startswith("18 of the 18 validation images are training images too")


def test_ten_numbers_are_in_their_order(tmp_path: Path) -> None:
    path = _as_folder(_tree(*(f"{n}/1.png" for n in range(12)), "a/1.png"), tmp_path)
    images = read_images(path, 4)
    assert images.names == (*map(str, range(12)), "a")
    assert images.describe() == "13 images of 13 classes: 0 1, 1 1, 2 1, …, 1 to 1 a class"


def test_binary_files_of_cifar(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    rows = [np.concatenate([[label], one.ravel()]).astype(np.uint8) for label, one in zip((9, 3), pixels, strict=True)]
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(row.tobytes() for row in rows))
    for path in (tmp_path, tmp_path / "data_batch_1.bin"):
        images = read_images(str(path), 32)
        assert images.names == ("cat", "truck")
        assert images.labels.tolist() == [1, 0]
        assert np.array_equal(images.pixels, pixels)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(UserError, match="not a binary file of CIFAR-10"):
        read_images(str(tmp_path), 32)


def test_cifars_test_images_are_not_trained_on(tmp_path: Path) -> None:
    for name, labels in (("data_batch_1", [0, 1]), ("data_batch_2", [1, 0]), ("test_batch", [2])):
        (tmp_path / f"{name}.bin").write_bytes(b"".join(bytes([label]) + bytes([label] * 3072) for label in labels))
    images = read_images(str(tmp_path), 32, part="train")
    assert images.labels.tolist() == [0, 1, 1, 0]
    test = tmp_path / "test_batch.bin"
    assert images.notes == (f"left out test_batch.bin; score a run on it with --data {test}",)
    with pytest.raises(UserError, match=r"has test_batch\.bin beside the batches of training; name one of the files"):
        read_images(str(tmp_path), 32)
    assert read_images(str(test), 32).names == ("bird",)
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="expected the names of ten classes, got 2"):
        read_images(str(test), 32)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": []}))
    for path in (tmp_path / "data_batch_1", tmp_path):
        with pytest.raises(UserError, match=r"Python version is a pickle, which can run .*; use its binary version"):
            read_images(str(path), 32)


def test_the_middle_square_is_taken() -> None:
    wide = np.zeros((3, 4, 10), dtype=np.uint8)
    wide[:, :, 3:7] = 9
    assert (squared(wide, 4) == 9).all()
    assert (squared(wide.transpose(0, 2, 1), 4) == 9).all()
    assert squared(wide, 8).shape == (3, 8, 8)


def test_the_built_in_digits() -> None:
    images = digits(16)
    assert images.pixels.shape == (1797, 3, 16, 16)
    assert np.bincount(images.labels).min() > 170
    sets = set_aside(images, 0, lambda line: None)
    assert len(sets.valid.labels) == 179
    assert np.bincount(sets.valid.labels).min() >= 17
    assert len(sets.train.labels) + 179 == 1797


def test_pixels_are_scaled_by_what_training_had() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 8, 8), dtype=np.uint8)
    scaled = Scale.of(pixels)(pixels, torch.device("cpu"))
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_changes_keep_what_they_should() -> None:
    torch.manual_seed(0)
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8).repeat(20, 1, 1, 1)
    none = AugmentConfig(crop=0, flip=False, cutout=0)
    assert torch.equal(augment(x, none), x)
    flipped = augment(x, AugmentConfig(crop=0, flip=True, cutout=0))
    same, mirrored = (flipped == x).flatten(1).all(1), (flipped == x.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 5 < same.sum() < 35
    moved = augment(x, AugmentConfig(crop=2, flip=False, cutout=0))
    wide = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    windows = wide.unfold(2, 8, 1).unfold(3, 8, 1)  # (B, 3, 5, 5, 8, 8)
    images = (windows == moved[:, :, None, None]).flatten(4).all(-1).all(1)
    assert (images.flatten(1).sum(1) == 1).all()
    assert images.flatten(1).any(0).sum() > 15
    blanked = augment(x + 1, AugmentConfig(crop=0, flip=False, cutout=4))
    count = (blanked == 0).all(1).sum((1, 2))
    assert count.max() <= 16
    assert count.min() >= 4
    assert torch.equal(blanked[blanked != 0], (x + 1)[blanked != 0])
