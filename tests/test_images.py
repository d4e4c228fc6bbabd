"""Pictures from files of every kind, broken ones among them, and how those of training are changed."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from regard.data.images import open_picture, read_pictures, squared
from regard.errors import UserError
from regard.tasks.image.config import AugmentConfig
from regard.tasks.image.data import Scale, augment, digits, set_aside

RED, BLUE = (250, 10, 20), (5, 30, 240)


def _bytes(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour, size in (("red", RED, (40, 30)), ("blue", BLUE, (16, 16))):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "set" / name / f"{number}.png").write_bytes(_bytes(Image.new("RGB", size, colour)))
    return tmp_path / "set"


def _check(pictures: object, size: int = 16) -> None:
    assert pictures.names == ("blue", "red")
    assert pictures.pixels.shape == (6, 3, size, size)
    assert pictures.pixels.dtype == np.uint8
    for pixels, label in zip(pictures.pixels, pictures.labels, strict=True):
        assert pixels.mean((1, 2)).tolist() == pytest.approx((BLUE, RED)[label])


def test_a_folder_of_folders(folder: Path) -> None:
    _check(read_pictures(str(folder), 16))
    _check(read_pictures(str(folder), 8), 8)


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tar.xz", ".zip"])
def test_an_archive_of_it(folder: Path, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"set{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for one in folder.rglob("*.png"):
                archive.write(one, Path("set") / one.relative_to(folder))
            archive.writestr("__MACOSX/set/red/._0.png", "none")
    else:
        with tarfile.open(path, f"w:{ending[5:]}") as archive:
            archive.add(folder, ".")
    _check(read_pictures(str(path), 16))


def test_parquet_with_the_names_of_its_classes(folder: Path, tmp_path: Path) -> None:
    import datasets

    rows = [(one.read_bytes(), one.parent.name) for one in sorted(folder.rglob("*.png"))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["red", "blue"])})
    table = datasets.Dataset.from_dict(
        {"image": [{"bytes": b, "path": None} for b, _ in rows], "label": [n for _, n in rows]}, features=features
    )
    table.to_parquet(tmp_path / "a.parquet")
    _check(read_pictures(str(tmp_path / "a.parquet"), 16))


def test_binary_files_of_cifar(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    rows = [np.concatenate([[label], one.ravel()]).astype(np.uint8) for label, one in zip((9, 3), pixels, strict=True)]
    (tmp_path / "data_batch_1.bin").write_bytes(b"".join(row.tobytes() for row in rows))
    for path in (tmp_path, tmp_path / "data_batch_1.bin"):
        found = read_pictures(str(path), 32)
        assert found.names == ("cat", "truck")
        assert found.labels.tolist() == [1, 0]
        assert np.array_equal(found.pixels, pixels)
    (tmp_path / "data_batch_1.bin").write_bytes(b"\x0b" * 3073)
    with pytest.raises(UserError, match="not a binary file of CIFAR-10"):
        read_pictures(str(tmp_path), 32)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": []}))
    with pytest.raises(UserError, match="a Python pickle, which may run code"):
        read_pictures(str(tmp_path / "data_batch_1"), 32)


def test_pictures_of_every_mode_become_colours() -> None:
    grey = open_picture(_bytes(Image.new("L", (5, 4), 77)))
    assert (grey.shape, set(grey.ravel().tolist())) == ((3, 4, 5), {77})
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (open_picture(_bytes(clear)) == 255).all()  # what is transparent shows the white ground
    deep = Image.fromarray(np.full((4, 4), 65535, dtype=np.uint16))
    assert (open_picture(_bytes(deep)) == 255).all()
    palette = Image.new("RGB", (4, 4), RED).convert("P", palette=Image.Palette.ADAPTIVE)
    assert open_picture(_bytes(palette, "GIF"))[:, 0, 0].tolist() == list(RED)
    turned = Image.new("RGB", (6, 2))
    turned.getexif()[274] = 6
    out = io.BytesIO()
    turned.save(out, "JPEG", exif=turned.getexif())
    assert open_picture(out.getvalue()).shape == (3, 6, 2)


def test_the_middle_square_is_taken() -> None:
    wide = np.zeros((3, 4, 10), dtype=np.uint8)
    wide[:, :, 3:7] = 9
    assert (squared(wide, 4) == 9).all()
    assert (squared(wide.transpose(0, 2, 1), 4) == 9).all()
    assert squared(wide, 8).shape == (3, 8, 8)


def test_broken_files_are_told_or_left_out(folder: Path) -> None:
    (folder / "red" / "9.png").write_bytes(b"\x89PNG but no more")
    with pytest.raises(UserError, match=r"not a picture: .*9\.png .*--data\.on-bad skip"):
        read_pictures(str(folder), 16)
    found = read_pictures(str(folder), 16, on_bad="skip")
    _check(found)
    assert len(found.bad) == 1
    assert "9.png" in found.bad[0]


def test_what_cannot_be_used_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        read_pictures(str(tmp_path / "nowhere"), 16)
    with pytest.raises(UserError, match="expected a folder with a folder a class"):
        read_pictures(__file__, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no picture in it"):
        read_pictures(str(tmp_path / "empty"), 16)
    for name in ("bad.tar", "bad.zip"):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(UserError, match="not readable as a"):
            read_pictures(str(tmp_path / name), 16)
    with pytest.raises(UserError, match="has the class 'blue', which training did not show: green, red"):
        read_pictures(str(folder), 16, names=("green", "red"))
    (folder / "loose.png").write_bytes(_bytes(Image.new("RGB", (4, 4))))
    with pytest.raises(UserError, match="lies beside the folders of the classes"):
        read_pictures(str(folder), 16)


def test_the_built_in_digits() -> None:
    found = digits(16)
    assert found.pixels.shape == (1797, 3, 16, 16)
    assert np.bincount(found.labels).min() > 170
    sets = set_aside(found, 0, lambda line: None)
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
    found = (windows == moved[:, :, None, None]).flatten(4).all(-1).all(1)
    assert (found.flatten(1).sum(1) == 1).all()
    assert found.flatten(1).any(0).sum() > 15
    blanked = augment(x + 1, AugmentConfig(crop=0, flip=False, cutout=4))
    count = (blanked == 0).all(1).sum((1, 2))
    assert count.max() <= 16
    assert count.min() >= 4
    assert torch.equal(blanked[blanked != 0], (x + 1)[blanked != 0])
