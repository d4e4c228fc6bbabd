"""Labelled texts are read from each format, and what cannot be used is named by its line or file."""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
from pathlib import Path

import pytest

from regard.data.requests import TOPICS, requests
from regard.data.texts import Texts, read_texts
from regard.data.word_features import Features, split_words, vocabulary, words_of
from regard.errors import UserError

ROWS = [("good", "It works."), ("bad", "It broke,\ttwice."), ("good", "“Fine”, she said.")]


def _pairs(texts: Texts) -> list[tuple[str, str]]:
    return [(texts.names[label], text) for label, text in zip(texts.labels, texts.texts, strict=True)]


def _plain(text: str) -> str:
    return text.replace("\t", " ")


EXPECTED = [(label, _plain(text)) for label, text in ROWS]

FILES = {
    "t.tsv": "".join(f"{label}\t{_plain(text)}\n" for label, text in ROWS),
    "header.tsv": "text\tlabel\n" + "".join(f"{_plain(text)}\t{label}\n" for label, text in ROWS),
    "usual.tsv": "category\tsentence\n" + "".join(f"{label}\t{_plain(text)}\n" for label, text in ROWS),
    "t.csv": "label,text\n" + "".join(f'{label},"{_plain(text)}"\n' for label, text in ROWS),
    "t.jsonl": "".join(json.dumps({"text": _plain(text), "label": label}) + "\n" for label, text in ROWS),
    "t.txt": "".join(f"{label} {_plain(text)}\n" for label, text in ROWS),
    "fast.txt": "".join(f"__label__{label} {_plain(text)}\n" for label, text in ROWS),
    "train.all": "".join(f"{label} {_plain(text)}\n" for label, text in ROWS),
    "Collection": "".join(f"{label}\t{_plain(text)}\n" for label, text in ROWS),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("pack", [None, gzip.open, lzma.open])
def test_each_format_gives_the_same_texts(name: str, pack: object, tmp_path: Path) -> None:
    path = tmp_path / (name + {None: "", gzip.open: ".gz", lzma.open: ".xz"}[pack])  # type: ignore[index]
    if pack is None:
        path.write_text(FILES[name])
    else:
        with pack(path, "wt", encoding="utf-8") as file:  # type: ignore[operator]
            file.write(FILES[name])
    texts = read_texts(str(path))
    assert _pairs(texts) == EXPECTED
    assert texts.names == ("bad", "good")


def _folder(root: Path) -> Path:
    for number, (label, text) in enumerate(ROWS):
        path = root / "set" / label / f"{number}.txt{'.gz' if number == 2 else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if number == 2 else text.encode())
    return root / "set"


def test_a_folder_for_each_class_and_an_archive_of_it(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "good" / ".DS_Store").write_bytes(b"\0")
    (folder / "good" / "notes.pdf").write_bytes(b"%PDF")
    texts = read_texts(str(folder))
    assert sorted(_pairs(texts)) == sorted(ROWS)
    assert "hidden" in texts.notes[0]
    assert "not a text: good/notes.pdf" in texts.notes[1]
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.add(folder, "set")
    assert sorted(_pairs(read_texts(str(tmp_path / "set.tar")))) == sorted(ROWS)


def test_parts_of_a_folder(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (tmp_path / "all").mkdir()
    folder.rename(tmp_path / "all" / "train")
    _folder(tmp_path).rename(tmp_path / "all" / "test")
    assert len(read_texts(str(tmp_path / "all"), part="train").texts) == 3
    with pytest.raises(UserError, match="is divided into test, train"):
        read_texts(str(tmp_path / "all"))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("t.tsv", b"good\tfine\nbad\n", "1 of 2 lines cannot be used: line 2: no tab"),
    ("t.tsv", b"good\tfine\nbad\t\n", "line 2: empty text"),
    ("t.tsv", b"good\tfine\n\xff\tx\n", "line 2: not UTF-8"),
    ("t.txt", b"good fine\nbad\n", "line 2: no space"),
    ("fast.txt", b"__label__good fine\nnothing\n", "line 2: no __label__ at its beginning"),
    ("fast.txt", b"__label__good __label__new fine\n", "line 1: 2 labels, which need --data.labels multi"),
    ("t.jsonl", b'{"text": "x", "lable": 1}\n', "cannot tell which column is the label"),
    ("t.csv", b"a,b\n1,x\n", "1"),
])  # fmt: skip
def test_bad_lines_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name == "t.csv":
        assert _pairs(read_texts(str(path))) == [("a", "b"), ("1", "x")]
        return
    with pytest.raises(UserError, match=message):
        read_texts(str(path))


def test_bad_files_are_named_or_left_out(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "bad" / "x.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"bad/x.txt: not UTF-8; correct it, or leave such files out"):
        read_texts(str(folder))
    texts = read_texts(str(folder), on_bad_line="skip")
    assert len(texts.texts) == 3
    assert "left out 1 of 4" in texts.notes[-1]


def test_a_class_that_is_not_known_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("new\tfine\n")
    with pytest.raises(UserError, match="has the class 'new', which is not in the training data"):
        read_texts(str(path), names=("bad", "good"))


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("1\tfine\tgood\n2\tpoor\tbad\n")
    assert _pairs(read_texts(str(path), text_column="2", label_column="3")) == [("good", "fine"), ("bad", "poor")]
    path.write_text("id\tnote\tmark\n1\tfine\tgood\n")
    assert _pairs(read_texts(str(path), text_column="note", label_column="mark")) == [("good", "fine")]


@pytest.mark.parametrize(("text", "words"), [
    ("It isn't 3.5 km — really?", ["It", "isn't", "3.5", "km", "—", "really", "?"]),
    ("我们在家。", ["我", "们", "在", "家", "。"]),
    ("हिन्दी में", ["हिन्दी", "में"]),
    (" \u00a0\t", []),
    ("", []),
])  # fmt: skip
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words
    assert all(not text[start:end].isspace() for start, end in split_words(text))


def test_features_of_words() -> None:
    features = Features(("cat",), 100)
    assert features.of("Cat")[0] == features.of("cat")[0] == 2
    assert features.of("Cat")[1] != features.of("cat")[1]  # the shape
    assert features.of("Cat")[2:] == features.of("cat")[2:]
    assert features.of("dog")[0] == 1
    every = [number for word in ("cat", "x" * 1000, "É") for number in features.of(word)]
    assert 1 <= min(every) <= max(every) < features.count
    assert vocabulary([["B", "a"], ["b", "c", "c"]], size=1, least=2) == ("b",)


def test_the_built_in_texts_have_one_deciding_word() -> None:
    texts = requests(300)
    deciding = {word: topic for topic, words in TOPICS.items() for word in words}
    for text, label, at in zip(texts.texts, texts.labels, texts.deciding, strict=True):  # type: ignore[arg-type]
        words = words_of(text)
        assert [word for word in words if word in deciding] == [words[at]]
        assert deciding[words[at]] == texts.names[label]
    assert len(set(texts.texts)) == 300
    assert requests(300).texts == texts.texts
    assert requests(300, seed=1).texts != texts.texts
