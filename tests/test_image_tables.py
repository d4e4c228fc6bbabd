"""Labelled images in Parquet files and Hugging Face datasets: columns, class names, invalid cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from image_sets import BLUE, RED, as_folder, encoded, members, noise, plain
from regard.data.images import read_images
from regard.errors import UserError


def _table(columns: dict[str, list[Any]], folder: Path, types: dict[str, Any] | None = None) -> str:
    """A Parquet file; with ``types``, written by the datasets library, which stores the types."""
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


FILES = [encoded(plain("RGB", colour)) for colour in (RED, BLUE, RED)]
ROWS = [{"bytes": content, "path": None} for content in FILES]


def _types(**others: Any) -> dict[str, Any]:
    import datasets

    return {"picture": datasets.Image(), **others}


def _classes(*names: str) -> Any:
    import datasets

    return datasets.ClassLabel(names=list(names))


def _text() -> object:
    import datasets

    return datasets.Value("string")


def test_columns_are_recognized_by_type_and_name(tmp_path: Path) -> None:
    tables: tuple[tuple[dict[str, list[Any]], dict[str, Any] | None], ...] = (
        ({"label": ["red", "blue", "red"], "image": FILES, "path": ["a", "b", "c"]}, None),
        ({"target": ["red", "blue", "red"], "img": ROWS}, None),
        ({"text": ["a", "b", "c"], "colour": [1, 0, 1], "picture": ROWS},
         _types(text=_text(), colour=_classes("blue", "red"))),
        ({"fine": [0, 1, 0], "label": [1, 0, 1], "picture": ROWS},
         _types(fine=_classes("x", "y"), label=_classes("blue", "red"))),
    )  # fmt: skip
    for columns, types in tables:
        images = read_images(_table(columns, tmp_path, types), 4)
        assert (images.names, images.labels.tolist()) == (("blue", "red"), [1, 0, 1])
        assert images.pixels[:, :, 0, 0].tolist() == [list(RED), list(BLUE), list(RED)]


def test_ambiguous_columns_have_to_be_named(tmp_path: Path) -> None:
    coarse, fine = _classes("warm", "cold"), _classes("red", "blue")
    columns: dict[str, list[Any]] = {"coarse_label": [0, 1, 0], "fine_label": [0, 1, 0], "picture": ROWS}
    path = _table(columns, tmp_path, _types(coarse_label=coarse, fine_label=fine))
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value) == (
        f"{path}: coarse_label and fine_label could both be the label; its columns are coarse_label, fine_label, "
        "picture; name one with --data.label-column"
    )
    assert read_images(path, 4, label_column="fine_label").names == ("blue", "red")
    assert read_images(path, 4, label_column="coarse_label").names == ("cold", "warm")
    message = r"has no column 'lable'; its columns are .*name one of them with --data\.label-column"
    with pytest.raises(UserError, match=message):
        read_images(path, 4, label_column="lable")
    path = _table({"a": FILES, "b": ["x", "y", "x"]}, tmp_path)
    with pytest.raises(
        UserError, match=r"cannot tell which column is the image; its columns are a, b; name one with --data\.image"
    ):
        read_images(path, 4)
    with pytest.raises(
        UserError, match=r"cannot tell which column is the label; its columns are a, b; name one with --data\.label"
    ):
        read_images(path, 4, image_column="a")
    assert read_images(path, 4, image_column="a", label_column="b").names == ("x", "y")


LABELS: dict[str, tuple[list[object], str]] = {
    "missing": ([None, "a", "b"], "has no label"),
    "empty": (["", "a", "b"], "has an empty label"),
    "fraction": ([0.5, 1.0, 2.0], "expected a label that is text or a whole number, got float"),
    "list": ([["a", "b"], ["a"], ["b"]], "expected a label that is text or a whole number, got list"),
}


@pytest.mark.parametrize("case", LABELS)
def test_invalid_labels_are_refused(case: str, tmp_path: Path) -> None:
    labels, reason = LABELS[case]
    path = _table({"image": FILES, "label": labels}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value).startswith(f"{path}: not a usable image: {path}: record 1 ({reason}); ")


def test_whole_numbers_are_class_names(tmp_path: Path) -> None:
    for labels in ([10, 9, 10], [10.0, 9.0, 10.0]):
        images = read_images(_table({"image": FILES, "label": labels}, tmp_path), 4)
        assert (images.names, images.labels.tolist()) == (("9", "10"), [1, 0, 1])


def test_label_minus_one_is_not_the_last_class(tmp_path: Path) -> None:
    types = _types(label=_classes("red", "blue"))
    path = _table({"picture": ROWS, "label": [0, 1, -1]}, tmp_path, types)
    with pytest.raises(UserError, match=r"record 3 \(label -1 is not one of the 2 classes; it may stand for a .*\)"):
        read_images(path, 4)
    images = read_images(path, 4, on_bad="skip")
    assert (images.names, images.labels.tolist()) == (("blue", "red"), [1, 0])


CELLS: dict[str, tuple[object, str]] = {
    "missing": (None, "has no image"),
    "a file that does not exist": (
        {"bytes": None, "path": "nowhere.png"}, "names the file nowhere.png, which does not exist"),
    "numbers": ([[1, 2], [3, 4]], "expected the bytes of an image file, got list"),
}  # fmt: skip


@pytest.mark.parametrize("case", CELLS)
def test_cells_that_are_not_images_are_refused(case: str, tmp_path: Path) -> None:
    cell, reason = CELLS[case]
    path = _table({"image": [cell, cell], "label": ["a", "b"]}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert f"{path}: record 1 ({reason})" in str(error.value)


def test_a_folder_of_parquet_files_is_refused(tmp_path: Path) -> None:
    _table({"image": FILES, "label": ["red", "blue", "red"]}, tmp_path)
    with pytest.raises(UserError) as error:
        read_images(str(tmp_path), 4)
    assert str(error.value) == (
        f"{tmp_path}: no images in it; left out 1 file that is not an image: table.parquet; "
        f"for Parquet files in a folder, use hf:{tmp_path}"
    )


def test_a_table_with_paths_of_image_files(tmp_path: Path) -> None:
    for number, content in enumerate(FILES):
        (tmp_path / f"{number}.png").write_bytes(content)
    path = _table({"image": ["0.png", "1.png", "2.png"], "label": ["red", "blue", "red"]}, tmp_path)
    assert read_images(path, 4).pixels[:, :, 0, 0].tolist() == [list(RED), list(BLUE), list(RED)]


def test_a_local_hugging_face_dataset_has_its_class_names(tmp_path: Path) -> None:
    import datasets

    folder = as_folder({f"train/{name}": content for name, content in members(noise("PNG")).items()}, tmp_path)
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
