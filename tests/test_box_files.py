"""Images with boxes from files: COCO, Pascal VOC and JSON lines, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import Result
from regard.data.box_files import read_pictures
from regard.data.boxed import LINES, boxed_scenes, read_boxed
from regard.data.scenes import LABELS, scenes
from regard.errors import UserError

_XML = """<annotation><filename>{name}</filename><size><width>40</width><height>20</height></size>
<object><name>cat</name><difficult>{difficult}</difficult>
<bndbox><xmin>{left}</xmin><ymin>3</ymin><xmax>12</xmax><ymax>10</ymax></bndbox></object></annotation>"""


def _image(path: Path, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(width)
    Image.fromarray(random.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(path)


def _coco(folder: Path, **changes: Any) -> Path:
    _image(folder / "images" / "a.png")
    _image(folder / "images" / "b.png", 20, 40)
    content: dict[str, Any] = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 9, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 5, "bbox": [10, 5, 20, 10], "iscrowd": 0},
            {"image_id": 7, "category_id": 3, "bbox": [0, 0, 40, 20], "iscrowd": 1},
            {"image_id": 9, "category_id": 3, "bbox": [5, 10, 10, 20]},
        ],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps({**content, **changes}))
    return path


def _line(name: str = "a.png", *boxes: list[Any]) -> str:
    return json.dumps({"image": name, "objects": [{"label": "cat", "box": box} for box in boxes]})


def test_boxes_of_coco_are_scaled_with_the_image(tmp_path: Path) -> None:
    read = read_boxed(str(_coco(tmp_path)), 64)
    assert read.names == ("cat", "dog")
    assert read.pixels([0, 1]).shape == (2, 3, 64, 64)
    # 40 × 20 pixels become 64 × 32, at the top left of the square.
    np.testing.assert_allclose(read.objects[0], [[1, 0.25, 0.125, 0.75, 0.375, 0], [0, 0, 0, 1, 0.5, 1]])
    np.testing.assert_allclose(read.objects[1], [[0, 0.125, 0.25, 0.375, 0.75, 0]])
    assert (read.pixels([0])[0, :, 32:] == 128).all()
    assert (read.pixels([1])[0, :, :, 32:] == 128).all()


def test_voc_counts_pixels_from_one_and_difficult_objects_are_ignored(tmp_path: Path) -> None:
    _image(tmp_path / "JPEGImages" / "a.png")
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations" / "a.xml").write_text(_XML.format(name="a.png", difficult=1, left=1))
    for path in (tmp_path, tmp_path / "Annotations"):
        (picture,) = read_pictures(str(path))
        assert (picture.labels, picture.boxes, picture.crowd) == (("cat",), ((0, 2, 12, 10),), (True,))


def test_json_lines_and_a_folder_of_images(tmp_path: Path) -> None:
    _image(tmp_path / "elsewhere" / "a.png")
    (tmp_path / "boxes.jsonl").write_text(_line("a.png", [0, 0, 10, 10]) + "\n\n" + _line("a.png") + "\n")
    first, second = read_pictures(str(tmp_path / "boxes.jsonl"), images=str(tmp_path / "elsewhere"))
    assert (first.boxes, second.boxes) == (((0, 0, 10, 10),), ())
    with pytest.raises(UserError, match=r"data\.images: there is no folder"):
        read_pictures(str(tmp_path / "boxes.jsonl"), images="nowhere")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (_line("a.png", [5, 5, 5, 9]), "line 2: object 1: an empty box, from 5, 5 to 5, 9"),
        (_line("a.png", [9, 5, 5, 9]), "line 2: object 1: an empty box"),
        (_line("a.png", [-20, 0, 5, 9]), "line 2: box 1 .cat. ends outside of a.png, which has 40 × 20 pixels"),
        (_line("a.png", [0, 0, 9, 9], [0, 0, 9, 50]), "line 2: box 2 .cat. ends outside"),
        (_line("a.png", [-2, 0, 0, 9]), "line 2: box 1 .cat. lies outside of a.png, which has 40 × 20 pixels"),
        (_line("a.png", [0, 20, 9, 21]), "line 2: box 1 .cat. lies outside"),
        (_line("a.png", [0, 0, 9]), "line 2: object 1: expected a box of four numbers"),
        (_line("a.png", [0, 0, 9, None]), "line 2: object 1: expected a box of four numbers"),
        (_line("a.png", [0, 0, 9, float("nan")]), "line 2: object 1: expected a box of finite numbers"),
        (_line("missing.png"), "line 2: there is no file missing.png in"),
        ('{"image": "a.png"}', "line 2: expected {.image.: …, .objects"),
        ('{"image": "a.png", "objects": [3]}', "line 2: object 1: expected an object with label and box, got 3"),
        ('{"image": "a.png", "objects": [{"box": [0, 0, 9, 9]}]}', "line 2: object 1: has no label"),
        ('{"image": 3, "objects": []}', "line 2: names no image file"),
        ("{", "line 2: expected"),
        (_line("text.png", [0, 0, 9, 9]), "text.png .*its content is not an image"),
        (_line("half.png", [0, 0, 9, 9]), "half.png .*cannot be read as PNG"),
        (_line("none.png", [0, 0, 9, 9]), "none.png"),
    ],
)
def test_a_bad_entry_is_named_or_left_out(line: str, message: str, tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    _image(tmp_path / "whole.png", 400, 300)
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "none.png").touch()
    path = tmp_path / "boxes.jsonl"
    path.write_text(_line("a.png", [0, 0, 10, 10]) + "\n" + line + "\n")
    with pytest.raises(UserError, match=message) as error:
        read_boxed(str(path), 64)
    assert "\n" not in str(error.value)
    read = read_boxed(str(path), 64, on_bad="skip")
    assert len(read) == 1
    assert "left out 1 of the entries: " in read.notes[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", "a.xml: is not readable as XML"),
        ("", "a.xml: is not readable as XML"),
        ("<note/>", "a.xml: expected <annotation>, as in Pascal VOC, got <note>"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>', "has a document type"),
        (_XML.format(name="no.png", difficult=0, left=1), "a.xml: there is no file no.png"),
        (_XML.format(name="a.png", difficult=0, left=30), "a.xml: object 1: an empty box, from 29"),
        (_XML.format(name="a.png", difficult=0, left="x"), "a.xml: object 1: expected a box of four numbers"),
    ],
)
def test_a_bad_xml_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    _image(tmp_path / "a.png")
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(UserError, match=message):
        read_boxed(str(tmp_path), 64)


def test_entities_are_refused_in_utf_16_too(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><annotation/>', "utf-16")
    with pytest.raises(UserError, match="has a document type"):
        read_boxed(str(tmp_path), 64)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": []}, "annotation 1: the category 5 is not in the list of categories"),
        ({"categories": [{"id": 3}]}, "category 1: expected an object with id and name, got {'id': 3}"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, "category 2: has the id 3, which another"),
        ({"annotations": 3}, "not annotations of COCO.*has no list annotations"),
        ({"images": [], "annotations": []}, "has no image"),
        ({"annotations": []}, "no image has a box"),
    ],
)
def test_a_bad_file_of_coco_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_boxed(str(_coco(tmp_path, **changes)), 64)


_BOX = {"category_id": 3, "bbox": [0, 0, 9, 9]}


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([], [{**_BOX, "image_id": 777}], "annotation 3: is of the image 777, which is not in the list of images"),
        ([], [_BOX], "annotation 3: has no image_id"),
        ([], [3], "annotation 3: has no image_id: 3"),
        ([{"file_name": "b.png"}], [], "image 2: has no id"),
        ([{"id": 8}], [], "image 2: names no image file"),
        ([{"id": 8, "file_name": "b.png"}, {"id": 8, "file_name": "a.png"}], [{**_BOX, "image_id": 8}],
         "image 2: has the id 8, which other images have, too"),
    ],
)  # fmt: skip
def test_a_bad_entry_of_coco_is_named_or_left_out(
    images: list[Any], annotations: list[Any], message: str, tmp_path: Path
) -> None:
    good = [{**_BOX, "image_id": 7}, {**_BOX, "image_id": 7}]
    path = str(_coco(tmp_path, images=[{"id": 7, "file_name": "a.png"}, *images], annotations=[*good, *annotations]))
    with pytest.raises(UserError, match=message):
        read_boxed(path, 64)
    read = read_boxed(path, 64, on_bad="skip")
    assert [len(read), len(read.objects[0])] == [1, 2]
    assert message in read.notes[0]


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "boxes.txt").write_text("a cat")
    (tmp_path / "boxes.json").write_text("{")
    for name, message in (
        ("boxes.txt", "expected .json"),
        ("boxes.json", "is not JSON"),
        ("", "expected a folder with"),
    ):
        with pytest.raises(UserError, match=message):
            read_boxed(str(tmp_path / name), 64)
    with pytest.raises(UserError, match="no such file"):
        read_boxed(str(tmp_path / "nothing.json"), 64)


def test_scenes_keep_their_boxes() -> None:
    read, made = boxed_scenes(5, 128), scenes(5, lines=LINES)
    for row, scene in enumerate(made):
        assert [LABELS[int(label)] for label in read.objects[row][:, 0]] == [one.label for one in scene.things]
        np.testing.assert_allclose(read.objects[row][:, 1:5] * 64, [one.box for one in scene.things])
    assert read.pixels([0]).shape == (1, 3, 128, 128)


def test_own_images_are_trained_on_and_scored(tmp_path: Path, regard: Callable[..., Result]) -> None:
    for at in range(6):
        _image(tmp_path / f"{at}.png", 40 + at)
    path = tmp_path / "boxes.jsonl"
    path.write_text("".join(_line(f"{at}.png", [2, 2, 20, 15]) + "\n" for at in range(6)))
    tiny = ("--model.width", 16, "--train.steps", 2, "--train.batch", 2, "--data.size", 32)
    trained = regard("train", "detect", tmp_path / "run", "--data.train", path, *tiny)
    assert trained.status == 0, trained.err
    assert "map50" in regard("eval", tmp_path / "run").out
    assert "map50" in regard("eval", tmp_path / "run", "--data", path, "--images", tmp_path).out
    images = [str(tmp_path / "0.png"), str(tmp_path / "missing.png"), str(tmp_path / "1.png")]
    found = regard("detect", tmp_path / "run", *images, "--threshold", 0, "--json", "--out", tmp_path / "drawn")
    first, missing, last = map(json.loads, found.out.splitlines())
    assert found.status == 1
    assert "no such file" in missing["error"].lower()
    assert sorted(drawn.name for drawn in (tmp_path / "drawn").iterdir()) == ["0.png", "1.png"]
    assert last["objects"][0]["label"] == "cat"
    for one in first["objects"]:
        left, top, right, bottom = one["box"]
        assert 0 <= left < right <= 40
        assert 0 <= top < bottom <= 20
    for drawing in ("look.png", "look.html"):
        empty = regard("look", tmp_path / "run", images[0], "--threshold", 1, "--out", tmp_path / drawing)
        assert "no object was found in it; a lower --threshold" in empty.err
        assert not (tmp_path / drawing).exists()
    refused = regard("detect", tmp_path / "run", images[0], "--threshold", 2)
    assert "threshold: must be from 0 to 1, got 2" in refused.err


def test_a_model_without_attention_says_so(tmp_path: Path, regard: Callable[..., Result]) -> None:
    tiny = ("--model.width", 16, "--train.steps", 2, "--train.batch", 8, "--data.builtin-scenes", 20)
    trained = regard("train", "detect", tmp_path / "run", "--model.attention", "none", *tiny)
    assert trained.status == 0, trained.err
    assert "on_object" not in regard("eval", tmp_path / "run").out
    _image(tmp_path / "a.png")
    look = regard("look", tmp_path / "run", tmp_path / "a.png", "--out", tmp_path / "look.png")
    assert "this model has no attention" in look.err
