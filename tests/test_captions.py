"""Images with captions are read from every format, and what cannot be used is named."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from caption_sets import write_images, write_table
from regard.data.captioned import read_captioned
from regard.data.captions import named_files, read_captions
from regard.data.file_trees import open_tree
from regard.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_table(tmp_path / "data", 4)
    return tmp_path / "data"


def _tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_table_has_a_row_per_caption_and_may_divide_the_images(folder: Path) -> None:
    read = read_captioned(str(folder / "train.tsv"), 16)
    assert read.names == ("1.png", "2.png", "3.png", "4.png")
    assert read.texts[0] == ("a green square number 1", "another a green square number 1")
    assert (read.parts, read.captions) == ((), 8)
    (folder / "b.csv").write_text("split,filename,sentence\ntrain,1.png,one\nval,2.png,two\ntest,3.png,three\n")
    divided = read_captioned(str(folder / "b.csv"), 16)
    assert divided.parts == ("train", "valid", "test")
    assert divided.part("valid").texts == (("two",),)


def test_the_images_of_a_table_may_be_in_an_archive(folder: Path) -> None:
    archive = _tar(folder / "images.tar", {f"deep/{n}.png": (folder / f"{n}.png").read_bytes() for n in (4, 2, 3, 1)})
    shutil.move(folder / "train.tsv", folder.parent / "train.tsv")
    read = read_captioned(str(folder.parent / "train.tsv"), 16, images=str(archive))
    assert read.names == ("4.png", "2.png", "3.png", "1.png")  # in the order of the archive
    assert read.texts[0][0].endswith("number 4")
    direct = read_captioned(str(folder.parent / "train.tsv"), 16, images=str(folder))
    np.testing.assert_array_equal(read.pixels[[3]], direct.pixels[[0]])


def test_names_that_end_alike_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", {"x/a/1.png": b"first", "x/b/1.png": b"second"})
    assert list(named_files(open_tree(archive), ["b/1.png", "a/1.png"])) == [
        ("a/1.png", b"first"), ("b/1.png", b"second")
    ]  # fmt: skip


def test_json_of_coco_and_of_karpathy(folder: Path) -> None:
    coco = {
        "images": [{"id": 7, "file_name": "1.png"}, {"id": 8, "file_name": "2.png"}],
        "annotations": [{"image_id": 8, "caption": "two"}, {"image_id": 7, "caption": "one "}],
    }
    (folder / "coco.json").write_text(json.dumps(coco))
    assert read_captions(str(folder / "coco.json")).texts == {"2.png": ["two"], "1.png": ["one"]}
    first = {"filename": "1.png", "split": "restval", "sentences": [{"raw": "one"}, {"raw": "uno"}]}
    second = {"filepath": "more", "filename": "2.png", "split": "test", "sentences": [{"raw": "two"}]}
    karpathy = {"images": [first, second]}
    (folder / "karpathy.json").write_text(json.dumps(karpathy))
    read = read_captions(str(folder / "karpathy.json"))
    assert read.texts == {"1.png": ["one", "uno"], "more/2.png": ["two"]}
    assert read.parts == {"1.png": "train", "more/2.png": "test"}


def test_the_list_of_flickr8k(folder: Path) -> None:
    (folder / "Flickr8k.token.txt").write_text("1.png#0\tA dog .\n1.png#1\tA puppy .\n2.png#0\tA cat .\n")
    read = read_captioned(str(folder / "Flickr8k.token.txt"), 16)
    assert dict(zip(read.names, read.texts, strict=True)) == {"1.png": ("A dog .", "A puppy ."), "2.png": ("A cat .",)}


@pytest.mark.parametrize("shards", [False, True])
def test_captions_beside_images_in_a_folder_or_in_shards(shards: bool, tmp_path: Path) -> None:
    rows = write_images(tmp_path / "images", 4)
    for name, text in rows:
        (tmp_path / "images" / name).with_suffix(".txt").write_text(f"{text}\n\nthe same again\n")
    place = tmp_path / "images"
    if shards:
        place = tmp_path / "shards"
        place.mkdir()
        files = {file.name: file.read_bytes() for file in sorted((tmp_path / "images").iterdir())}
        for number, chosen in enumerate(("12", "34")):
            _tar(place / f"{number}.tar", {name: content for name, content in files.items() if name[0] in chosen})
    read = read_captioned(str(place), 16)
    assert read.names == tuple(name for name, _ in rows)
    assert read.texts[2] == (rows[2][1], "the same again")


BAD = {
    "a missing image": ("image\tcaption\n1.png\tone\n9.png\ttwo\n", "9.png (no such file"),
    "an empty caption": ("image\tcaption\n1.png\tone\n2.png\t \n", "line 3: empty caption"),
    "an unknown split": ("image\tcaption\tsplit\n1.png\tone\ttrain\n2.png\ttwo\tother\n", "line 3: split: expected"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_named_or_left_out(content: str, message: str, folder: Path) -> None:
    (folder / "bad.tsv").write_text(content)
    with pytest.raises(UserError) as error:
        read_captioned(str(folder / "bad.tsv"), 16)
    assert message in str(error.value)
    assert "--data.on-bad skip" in str(error.value)
    read = read_captioned(str(folder / "bad.tsv"), 16, on_bad="skip")
    assert read.names == ("1.png",)
    assert "left out" in read.notes[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "expected JSON with images and annotations"),
        ("a.json", b'{"images": [{"file_name": "1.png"}], "annotations": [{}]}', "KeyError"),
        ("a.token.txt", b"1.png#0\tA dog\n2.png\n", "line 2: expected NAME#NUMBER"),
        ("a.tsv", b"", "empty"),
        ("a.pdf", b"x", "unknown ending .pdf"),
        ("a.tar", b"x" * 600, "not readable as a tar archive"),
    ],
)
def test_a_file_of_captions_that_cannot_be_read_is_named(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=name) as error:
        read_captioned(str(tmp_path / name), 16)
    assert message in str(error.value)


def test_an_image_without_a_caption_and_a_truncated_one(tmp_path: Path) -> None:
    write_images(tmp_path, 3)
    for number in (1, 2):
        (tmp_path / f"{number}.txt").write_text("a square")
    with pytest.raises(UserError, match=r"3\.png: no caption in 3\.txt beside it"):
        read_captioned(str(tmp_path), 16)
    (tmp_path / "3.txt").write_text("a square")
    (tmp_path / "3.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"3\.png \(cannot be read as PNG"):
        read_captioned(str(tmp_path), 16)
    assert len(read_captioned(str(tmp_path), 16, on_bad="skip")) == 2
