"""Images with captions are read from every format, and what cannot be used is named."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caption_sets import write_images, write_table
from regard.data.caption_trees import named_files
from regard.data.captioned import read_captioned
from regard.data.captions import read_captions
from regard.data.file_trees import BadItem, open_tree
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


@pytest.mark.parametrize("names", [["1.png", "x/1.png"], ["x/1.png", "1.png"]])
def test_a_whole_path_comes_before_one_that_ends_so_in_any_order(names: list[str], tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", {"x/1.png": b"in x", "1.png": b"on top"})
    assert dict(named_files(open_tree(archive), names)) == {"x/1.png": b"in x", "1.png": b"on top"}


def test_a_name_that_several_files_have_is_none_of_them(tmp_path: Path) -> None:
    archive = _tar(tmp_path / "a.tar", {"x/1.png": b"in x", "y/1.png": b"in y"})
    ((name, problem),) = named_files(open_tree(archive), ["1.png"])
    assert (name, type(problem)) == ("1.png", BadItem)
    assert "several files could be it: x/1.png, y/1.png" in str(problem)


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


def _beside(folder: Path, count: int = 4) -> dict[str, bytes]:
    """The files of images with captions beside them, which are in the folder, too."""
    for name, text in write_images(folder, count):
        (folder / name).with_suffix(".txt").write_text(f"{text}\n\nthe same again\nthe same again\n")
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_captions_beside_images_in_a_folder(tmp_path: Path) -> None:
    _beside(tmp_path / "images")
    read = read_captioned(str(tmp_path / "images"), 16)
    assert read.names == ("1.png", "2.png", "3.png", "4.png")
    assert read.texts[2] == ("a white square number 3", "the same again")


def test_shards_with_the_same_names_keep_their_own_captions(tmp_path: Path) -> None:
    files = _beside(tmp_path / "images")
    (tmp_path / "shards").mkdir()
    for shard, number in (("0.tar", 1), ("1.tar", 2)):
        members = {f"0000{ending}": files[f"{number}{ending}"] for ending in (".png", ".txt")}
        _tar(tmp_path / "shards" / shard, members)
    (tmp_path / "shards" / "stats.json").write_text("{}")
    read = read_captioned(str(tmp_path / "shards"), 16)
    assert read.names == ("0.tar/0000.png", "1.tar/0000.png")
    assert [texts[0] for texts in read.texts] == ["a green square number 1", "a blue square number 2"]
    alone = read_captioned(str(tmp_path / "images"), 16)
    np.testing.assert_array_equal(read.pixels[[0, 1]], alone.pixels[[0, 1]])
    assert read.notes == ("left out files beside the archives: stats.json",)


def test_shards_without_an_image_name_the_files_beside_them(tmp_path: Path) -> None:
    _tar(tmp_path / "0.tar", {"0000.json": b"{}"})
    (tmp_path / "stats.json").write_text("{}")
    with pytest.raises(UserError, match=r"no image with a caption in it; left out files beside the archives: stats"):
        read_captions(str(tmp_path))


def test_archives_beside_images_are_named(tmp_path: Path) -> None:
    _beside(tmp_path, 1)
    _tar(tmp_path / "0.tar", {})
    assert read_captions(str(tmp_path)).notes == ("left out archives beside the images: 0.tar",)


def test_names_of_webdataset_are_equal_up_to_the_first_dot(tmp_path: Path) -> None:
    files = _beside(tmp_path / "images")
    members = {"0000.img.png": files["1.png"], "0000.txt": b"first", "1.v2.png": files["2.png"], "1.v2.txt": b"second"}
    read = read_captions(str(_tar(tmp_path / "a.tar", members)))
    assert read.texts == {"0000.img.png": ["first"], "1.v2.png": ["second"]}


@pytest.mark.parametrize("twice", ["1.png", "1.txt"])
def test_files_of_the_same_path_in_an_archive_belong_to_no_pair(twice: str, tmp_path: Path) -> None:
    files = _beside(tmp_path / "images", 2)
    with tarfile.open(_tar(tmp_path / "a.tar", files), "a") as archive:
        archive.add(tmp_path / "images" / twice, twice)
    with pytest.raises(UserError, match=r"1\.png: 2 files have"):
        read_captions(str(tmp_path / "a.tar"))
    assert list(read_captions(str(tmp_path / "a.tar"), on_bad="skip").texts) == ["2.png"]


_COCO: dict[str, Any] = {"images": [{"id": 7, "file_name": "1.png"}, {"id": 8, "file_name": "2.png"}]}
_SECOND = {"image_id": 8, "caption": "two"}
_KARPATHY = {"filename": "1.png", "sentences": [{"raw": "one"}]}
BAD_ENTRIES = {
    "a null caption": ({**_COCO, "annotations": [{"image_id": 7, "caption": None}, _SECOND]},
                       "annotation 1 (of 1.png): expected a caption, got None"),
    "an empty caption": ({**_COCO, "annotations": [_SECOND, {"image_id": 7, "caption": " "}]},
                         "annotation 2 (of 1.png): expected a caption, got ' '"),
    "an image without captions": ({**_COCO, "annotations": [_SECOND]}, "image 1: 1.png has no caption"),
    "an image that is not listed": ({**_COCO, "annotations": [{"image_id": 777, "caption": "one"}, _SECOND]},
                                    "image 1: 1.png has no caption"),
    "only that": ({"images": _COCO["images"][1:], "annotations": [{"image_id": 777, "caption": "one"}, _SECOND]},
                  "annotation 1: is of the image 777, which is not in the list of images"),
    "an annotation without an image": ({"images": _COCO["images"][1:], "annotations": [_SECOND, {}]},
                                       "annotation 2: has no image_id"),
    "an annotation that is none": ({"images": _COCO["images"][1:], "annotations": [_SECOND, 3]},
                                   "annotation 2: has no image_id: 3"),
    "an image without an id": ({"images": [{"file_name": "1.png"}, _COCO["images"][1]], "annotations": [_SECOND]},
                               "image 1: has no id"),
    "an image without a name": ({"images": [{"id": 7}, _COCO["images"][1]],
                                 "annotations": [{"image_id": 7, "caption": "one"}, _SECOND]},
                                "image 1: names no image file"),
    "two images with an id": ({"images": [{"id": 7, "file_name": "1.png"}, {"id": 7, "file_name": "3.png"},
                                          _COCO["images"][1]],
                               "annotations": [{"image_id": 7, "caption": "one"}, _SECOND]},
                              "image 1: has the id 7, which other images have, too"),
    "Karpathy's null caption": ({"images": [{**_KARPATHY, "sentences": [{"raw": None}]},
                                            {**_KARPATHY, "filename": "2.png"}]},
                                "image 1: sentence 1 (of 1.png): expected a caption, got None"),
    "Karpathy's image without captions": ({"images": [{"filename": "1.png"}, {**_KARPATHY, "filename": "2.png"}]},
                                          "image 1: 1.png has no caption"),
    "Karpathy's unknown split": ({"images": [{**_KARPATHY, "split": "x"}, {**_KARPATHY, "filename": "2.png"}]},
                                 "image 1: split: expected one of train"),
    "Karpathy's image that is none": ({"images": [3, {**_KARPATHY, "filename": "2.png"}]},
                                      "image 1: expected filename and sentences, got 3"),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), BAD_ENTRIES.values(), ids=BAD_ENTRIES)
def test_a_bad_entry_of_json_is_named_or_left_out(content: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as error:
        read_captions(str(path))
    assert str(error.value).startswith(f"{path}: {message}")
    assert "--data.on-bad skip" in str(error.value)
    read = read_captions(str(path), on_bad="skip")
    assert list(read.texts) == ["2.png"]
    assert message in read.notes[0]
    assert "left out" in read.notes[0]


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
        ("a.json", b'{"images": 3}', "expected JSON with images and annotations"),
        ("a.json", b"[]", "expected JSON with images and annotations"),
        ("a.json", b'{"images": [], "annotations": []}', "no image with a caption"),
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
