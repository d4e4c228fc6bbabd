"""CIFAR-10's files, the built-in digits, and the normalization and augmentation of images."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from image_sets import as_folder, encoded, plain
from regard.data.digits import digits
from regard.data.image_batches import Scale, augment
from regard.data.images import read_images
from regard.data.pixels import Rows
from regard.data.workers import in_threads
from regard.errors import UserError
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.tasks.classify_image.task import ClassifyImage
from regard.tasks.families.classify.held_out import set_aside
from regard.tasks.inputs.image_settings import LabelledImagesConfig


def test_validation_images_that_are_training_images_are_reported(tmp_path: Path) -> None:
    lines: list[str] = []
    images = {f"{label}/{n}.png": encoded(plain("L", at + n)) for label, at in (("a", 9), ("b", 99)) for n in range(9)}
    path = as_folder(images, tmp_path)
    ClassifyImage().read(ClassifyImageConfig(data=LabelledImagesConfig(train=path, size=16)), lines.append)
    assert lines[-1].startswith("set aside 2 of 18 images")
    ClassifyImage().read(ClassifyImageConfig(data=LabelledImagesConfig(train=path, valid=path, size=16)), lines.append)
    assert lines[-1].startswith("18 of the 18 validation images are also training images")


def test_cifars_binary_files(tmp_path: Path) -> None:
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


def test_cifars_test_images_are_not_used_in_training(tmp_path: Path) -> None:
    for name, labels in (("data_batch_1", [0, 1]), ("data_batch_2", [1, 0]), ("test_batch", [2])):
        (tmp_path / f"{name}.bin").write_bytes(b"".join(bytes([label]) + bytes([label] * 3072) for label in labels))
    images = read_images(str(tmp_path), 32, part="train")
    assert images.labels.tolist() == [0, 1, 1, 0]
    test = tmp_path / "test_batch.bin"
    assert images.notes == (f"left out test_batch.bin; score a run on it with --data {test}",)
    with pytest.raises(UserError, match=r"has test_batch\.bin and training batches; name one of the files"):
        read_images(str(tmp_path), 32)
    assert read_images(str(test), 32).names == ("bird",)
    (tmp_path / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="expected the names of ten classes, got 2"):
        read_images(str(test), 32)


def test_paths_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        read_images(str(tmp_path / "nowhere"), 16)
    with pytest.raises(UserError, match=r"expected a folder with a folder per class, \.tar, \.zip, "):
        read_images(__file__, 16)
    with pytest.raises(UserError) as error:
        read_images(str(tmp_path), 16)
    assert str(error.value) == f"{tmp_path}: no images in it"
    for name, kind in (("a.tar", "a tar archive"), ("a.tgz", "a tar archive"), ("a.zip", "a zip archive"),
                       ("a.parquet", "Parquet")):  # fmt: skip
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(UserError, match=f"{name}: not readable as {kind}"):
            read_images(str(tmp_path / name), 16)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": []}))
    for path in (tmp_path / "data_batch_1", tmp_path):
        with pytest.raises(UserError, match=r"Python version is a pickle, which can run .*; use its binary version"):
            read_images(str(path), 32)


def test_the_built_in_digits() -> None:
    images = digits(16)
    assert images.pixels.shape == (1797, 3, 16, 16)
    assert np.bincount(images.labels).min() > 170
    sets = set_aside(images, 0, lambda line: None)
    assert len(sets.valid.labels) == 179
    assert np.bincount(sets.valid.labels).min() >= 17
    assert len(sets.train.labels) + 179 == 1797


def test_scaled_pixels_have_mean_0_and_variance_1() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 8, 8), dtype=np.uint8)
    scaled = Scale.of(pixels)(pixels, torch.device("cpu"))
    torch.testing.assert_close(scaled.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(scaled.var((0, 2, 3), correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_augmentation_flips_shifts_and_blanks_as_configured() -> None:
    torch.manual_seed(0)
    x = torch.arange(2 * 3 * 8 * 8, dtype=torch.float32).reshape(2, 3, 8, 8).repeat(20, 1, 1, 1)
    assert torch.equal(augment(x, crop=0, flip=False, cutout=0), x)
    flipped = augment(x, crop=0, flip=True, cutout=0)
    unchanged, mirrored = (flipped == x).flatten(1).all(1), (flipped == x.flip(3)).flatten(1).all(1)
    assert (unchanged ^ mirrored).all()
    assert 5 < unchanged.sum() < 35
    shifted = augment(x, crop=2, flip=False, cutout=0)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode="reflect")
    windows = padded.unfold(2, 8, 1).unfold(3, 8, 1)  # (B, 3, 5, 5, 8, 8)
    shifts = (windows == shifted[:, :, None, None]).flatten(4).all(-1).all(1)
    assert (shifts.flatten(1).sum(1) == 1).all()
    assert shifts.flatten(1).any(0).sum() > 15
    blanked = augment(x + 1, crop=0, flip=False, cutout=4)
    count = (blanked == 0).all(1).sum((1, 2))
    assert count.max() <= 16
    assert count.min() >= 4
    assert torch.equal(blanked[blanked != 0], (x + 1)[blanked != 0])


def test_a_part_of_a_mapped_file_stays_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    for number in range(40):
        path = tmp_path / "data" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 255, (9, 8, 3), dtype=np.uint8)).save(path)
    memory = read_images(str(tmp_path / "data"), 8)
    monkeypatch.setattr("regard.data.decoding.BYTES", 3000)
    mapped = read_images(str(tmp_path / "data"), 8)
    sets = [set_aside(images, 0, lambda line: None) for images in (memory, mapped)]
    assert isinstance(sets[1].train.pixels, Rows)
    for one, other in ((sets[0].train, sets[1].train), (sets[0].valid, sets[1].valid)):
        assert np.array_equal(one.pixels, other.pixels)
        assert Scale.of(one.pixels) == Scale.of(other.pixels)


def test_threads_keep_the_order_and_pass_errors_on() -> None:
    assert list(in_threads(lambda number: number * number, range(100))) == [number * number for number in range(100)]
    taken = []

    def items() -> Iterator[int]:
        for number in range(1000):
            taken.append(number)
            yield number

    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda number: 1 // (number - 3), items()))
    assert len(taken) < 1000
