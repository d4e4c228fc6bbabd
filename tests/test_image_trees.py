"""Which files of a folder or an archive are images, and which folders are classes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from image_sets import BLUE, TWO, WAYS, as_folder, as_tar, as_zip, encoded, members, noise, plain, tree
from regard.data.images import read_images
from regard.errors import UserError
from regard.tasks.classify_image.settings import ClassifyImageConfig
from regard.tasks.classify_image.task import ClassifyImage
from regard.tasks.inputs.image_settings import LabelledImagesConfig

ACCEPTED: dict[str, tuple[dict[str, bytes], list[int], tuple[str, ...]]] = {
    "a folder per class": (TWO, [2, 2], ()),
    "any ending, or none": (
        {**TWO, **tree("cat/3.jfif", "cat/4", "dog/3.JPEG", "dog/4.dat", "dog/5.txt")}, [4, 5], ()),
    "inside other folders": ({f"my/set/{name}": content for name, content in TWO.items()}, [2, 2], ()),
    "hidden files and folders": (
        {**TWO, **tree("cat/._x.png", ".ipynb_checkpoints/x.png", ".git/index", "__MACOSX/cat/1.png",
                        "cat/.cache/x.png", "dog/Thumbs.db", content=b"anything")},
        [2, 2], ("left out 6 hidden or system files or folders: .git, .ipynb_checkpoints, __MACOSX and 3 more",)),
    "hidden images": (
        {**TWO, **tree(".ipynb_checkpoints/1.png")}, [2, 2], ("left out 1 hidden or system file or folder: "
                                                               ".ipynb_checkpoints",)),
    "files that are not images": (
        {**TWO, **tree("README.md", "cat/labels.csv", content=b"text")}, [2, 2],
        ("left out 2 files that are not images: README.md, cat/labels.csv",)),
}  # fmt: skip


@pytest.mark.parametrize("source", ["folder", "tar", "tar.xz", "zip"])
@pytest.mark.parametrize("case", ACCEPTED)
def test_images_and_classes_are_recognized(case: str, source: str, tmp_path: Path) -> None:
    members, counts, notes = ACCEPTED[case]
    images = read_images(WAYS[source](dict(sorted(members.items())), tmp_path), 4)
    assert images.names == ("cat", "dog")
    assert np.bincount(images.labels).tolist() == counts
    assert images.notes == notes
    assert images.describe() == f"{sum(counts)} images in 2 classes: cat ({counts[0]}), dog ({counts[1]})"


REFUSED: dict[str, tuple[dict[str, bytes], str]] = {
    "no images": (
        tree("cat/1.txt", content=b"text"), "no images in it; left out 1 file that is not an image: cat/1.txt"),
    "loose image": ({**TWO, **tree("loose.png")}, "loose.png: is not in the folder of a class; expected "),
    "no classes": (tree("1.png", "2.png"), "1.png: is not in the folder of a class; expected "),
    "two folders deep": (tree("cat/day/1.png", "dog/night/1.png"), "could be 'cat' or 'day'; move the images of each"),
    "one and two folders deep": ({**TWO, **tree("dog/night/1.png")}, "could be 'dog' or 'night'; move the images"),
    "a part and a class": ({**TWO, **tree("train/cat/1.png")}, "could be 'train' or 'cat'; move the images"),
    "parts without classes": (
        tree("train/1.png", "val/1.png"), "the folders train, val hold images, but no folders of classes; "
        "expected such as train/CLASS/1.png"),
    "two training parts": (
        tree("train/cat/1.png", "training/cat/1.png", "val/cat/1.png"),
        "both train and training could be the same part"),
    "parts without naming one": (
        {f"{part}/{name}": b for name, b in TWO.items() for part in ("test", "train")},
        "is divided into test, train; "),
    "a class without images": (
        {**TWO, **tree("emu/1.mp4", content=b"film")},
        "classes without images: emu; add images or remove the folders"),
}  # fmt: skip


@pytest.mark.parametrize("source", ["folder", "tar", "tar.xz", "zip"])
@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_and_incomplete_trees_are_refused(case: str, source: str, tmp_path: Path) -> None:
    members, message = REFUSED[case]
    path = WAYS[source](dict(sorted(members.items())), tmp_path)
    with pytest.raises(UserError) as error:
        read_images(path, 4)
    assert str(error.value).startswith(path)
    assert message in str(error.value)


def test_empty_class_folders_are_left_out_on_request(tmp_path: Path) -> None:
    path = as_folder(TWO, tmp_path)
    (tmp_path / "set" / "emu").mkdir()
    with pytest.raises(UserError, match="classes without images: emu; add images or remove the folders"):
        read_images(path, 4)
    for options in ({"on_bad": "skip"}, {"names": ("cat", "dog")}):
        images = read_images(path, 4, **options)
        assert (images.names, images.notes) == (("cat", "dog"), ("left out folders without images: emu",))


def test_links_are_followed(tmp_path: Path) -> None:
    path = Path(as_folder(tree("store/cats/1.png", "store/dogs/1.png"), tmp_path))
    links = tmp_path / "links"
    (links / "dog").mkdir(parents=True)
    (links / "cat").symlink_to(path / "store" / "cats", target_is_directory=True)
    (links / "dog" / "one").symlink_to(path / "store" / "dogs" / "1.png")
    (links / "cat" / "up").symlink_to(links / "cat", target_is_directory=True)  # a cycle
    images = read_images(str(links), 4)
    assert (images.names, images.labels.tolist()) == (("cat", "dog"), [0, 1])
    (links / "dog" / "two").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"dog/two \(a link to a file that does not exist\)"):
        read_images(str(links), 4)
    (links / "dog" / "two").unlink()
    os.mkfifo(links / "dog" / "two.png")
    with pytest.raises(UserError, match=r"dog/two\.png \(not a regular file\)"):
        read_images(str(links), 4)


def test_parts_without_a_training_part_are_refused(tmp_path: Path) -> None:
    path = as_folder({f"{part}/{name}": content for part in ("test", "val") for name, content in TWO.items()}, tmp_path)
    with pytest.raises(
        UserError, match=r"into test, val, none of which is for training; name the folder with --data\.train"
    ):
        read_images(path, 16, part="train")


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_links_in_archives_are_followed(kind: str, tmp_path: Path) -> None:
    def write(target: str) -> str:
        path = tmp_path / f"set.{kind}"
        content = encoded(plain("RGB", BLUE))
        if kind == "tar":
            with tarfile.open(path, "w") as archive:
                for name, link in (("cat/1.png", ""), ("dog/1", target)):
                    info = tarfile.TarInfo(name)
                    info.size, info.linkname = 0 if link else len(content), link
                    info.type = tarfile.SYMTYPE if link else tarfile.REGTYPE
                    archive.addfile(info, None if link else io.BytesIO(content))
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("cat/1.png", content)
                linked = zipfile.ZipInfo("dog/1")
                linked.external_attr = 0o120777 << 16
                archive.writestr(linked, target)
        return str(path)

    images = read_images(write("../cat/1.png"), 4)
    assert (images.names, images.labels.tolist()) == (("cat", "dog"), [0, 1])
    for target in ("../cat/2.png", "../cat", "/etc/passwd"):
        with pytest.raises(UserError, match=r"dog/1 \(a link to "):
            read_images(write(target), 4)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    path = Path(as_zip(members(noise("PNG")), tmp_path))
    content = bytearray(path.read_bytes())
    at = content.index(b"special.png") + 2000
    content[at : at + 4] = b"else"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"special\.png \(cannot be read from the archive: Bad CRC-32"):
        read_images(str(path), 4)
    for kind in ("", "gz", "xz"):
        path = Path(as_tar(members(noise("PNG")), tmp_path, kind))
        path.write_bytes(path.read_bytes()[:-9000] if not kind else path.read_bytes()[:8000])
        with pytest.raises(UserError, match="not readable as a tar archive"):
            read_images(str(path), 4)


def _cut(content: bytes, place: str) -> bytes:
    """An uncompressed archive that ends, or is damaged, after its second member."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        start = archive.getmembers()[2].offset
    ends = {"between members": b"", "in a header": content[start : start + 300], "damaged": b"x" * 512 + bytes(1024)}
    return content[:start] + ends[place]


@pytest.mark.parametrize("place", ["between members", "in a header", "damaged"])
@pytest.mark.parametrize(("kind", "compress"), [("", bytes), ("gz", gzip.compress), ("xz", lzma.compress),
                                                ("bz2", bz2.compress)])  # fmt: skip
def test_an_archive_without_its_end_is_refused(
    kind: str, compress: Callable[[bytes], bytes], place: str, tmp_path: Path
) -> None:
    path = Path(as_tar(TWO, tmp_path))
    content = path.read_bytes()
    named = path.with_name(f"set.tar{'.' if kind else ''}{kind}")
    named.write_bytes(compress(_cut(content, place)))
    with pytest.raises(UserError, match=rf"{named}: not readable as a tar archive \((its end is missing|damaged: )"):
        read_images(str(named), 4)
    # One block of zeros is an end, and so is that of the first of two archives.
    end = len(content.rstrip(b"\0"))
    for whole in (content[: end + -end % 512 + 512], content + content):
        named.write_bytes(compress(whole))
        assert len(read_images(str(named), 4).keys) == 4


def test_windows_paths_in_an_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in TWO.items():
            archive.writestr(name.replace("/", "\\"), content)
    assert read_images(str(tmp_path / "a.zip"), 4).names == ("cat", "dog")


def test_class_names_have_to_be_utf8(tmp_path: Path) -> None:
    path = as_folder(TWO, tmp_path)
    os.rename(os.fsencode(f"{path}/cat"), os.fsencode(path) + b"/caf\xe9")
    with pytest.raises(UserError, match=r"the name of the folder 'caf\\udce9' is not UTF-8; rename it"):
        read_images(path, 4)


def test_class_names_are_unicode_composed(tmp_path: Path) -> None:
    path = as_folder(tree("cafe\u0301/1.png", "tea/1.png"), tmp_path)
    assert read_images(path, 4, names=("caf\u00e9", "tea")).labels.tolist() == [0, 1]


@pytest.mark.parametrize("source", ["folder", "tar", "zip"])
@pytest.mark.parametrize(
    "names", [("train", "val"), ("Training", "validation"), ("train", "valid", "test"), ("train", "test")]
)
def test_training_and_validation_parts_are_recognized(names: tuple[str, ...], source: str, tmp_path: Path) -> None:
    members = {f"{part}/{label}/{n}.png": encoded(plain("L", at * 40 + len(label) * 5 + n))
               for at, part in enumerate(names) for label in ("red", "blue")
               for n in range(4 if part == names[0] else 3)}  # fmt: skip
    members |= {f"{names[1]}/red/.hidden.png": b"", f"{names[1]}/notes.txt": b"text"}
    path = WAYS[source](members, tmp_path)
    lines: list[str] = []
    sets = ClassifyImage().read(ClassifyImageConfig(data=LabelledImagesConfig(train=path, size=16)), lines.append)
    divided = len(names) > 2 or names[1] != "test"
    assert (len(sets.train.labels), len(sets.valid.labels)) == ((8, 6) if divided else (6, 2))
    assert lines[0] == f"{path}: using the folder {names[0]} (of {', '.join(sorted(names))})"
    assert lines[1] == f"{path}: 8 images in 2 classes: blue (4), red (4)"
    if divided:
        assert lines[2:] == [f"{path}: using the folder {names[1]} (of {', '.join(sorted(names))})",
                            f"{path}: left out 1 hidden or system file or folder: {names[1]}/red/.hidden.png",
                            f"{path}: left out 1 file that is not an image: {names[1]}/notes.txt",
                            f"{path}: 6 images in 2 classes: blue (3), red (3)"]  # fmt: skip
    unpack = "" if source == "folder" else "unpack it, and "
    with pytest.raises(UserError) as error:
        read_images(path, 16)
    assert str(error.value) == (
        f"{path}: is divided into {', '.join(sorted(names))}; {unpack}name one of them, such as {path}/{names[-1]}"
    )
    if source == "folder":
        assert len(read_images(f"{path}/{names[1]}", 16).labels) == 6
    if not divided:
        with pytest.raises(UserError, match=r"none of which is for validation; name the folder with --data\.valid"):
            read_images(path, 16, part="valid")


def test_numeric_class_names_are_sorted_as_numbers(tmp_path: Path) -> None:
    path = as_folder(tree(*(f"{n}/1.png" for n in range(12)), "a/1.png", "7/2.png"), tmp_path)
    images = read_images(path, 4)
    assert images.names == (*map(str, range(12)), "a")
    assert images.describe() == "14 images in 13 classes: 0 (1), 1 (1), 2 (1), …; the smallest 0 (1), the largest 7 (2)"
