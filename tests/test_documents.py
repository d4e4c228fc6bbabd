"""Texts read from files, and the stream of tokens that a language model trains on."""

from __future__ import annotations

import gzip
import itertools
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.data.documents import read_documents
from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.tasks.families.language.data import Text, set_aside
from regard.tasks.families.language.stream import Stream, batches
from regard.tasks.generate.task import reference


def test_one_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\n")
    assert read_documents(str(tmp_path / "a.txt")) == ["one\ntwo"]
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("three")
    assert read_documents(str(tmp_path / "b.txt.gz")) == ["three"]


def test_a_folder_gives_its_texts_sorted_by_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.md").write_text("second")
    (tmp_path / "a.txt").write_text("first")
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / "z.jsonl").write_text('{"text": "third"}\n{"text": " "}\n{"text": "fourth"}\n')
    assert read_documents(str(tmp_path)) == ["first", "second", "third", "fourth"]


def test_hidden_files_are_left_out_and_counted(tmp_path: Path) -> None:
    for name in (".DS_Store", ".git/index", ".ipynb_checkpoints/a.txt", "b/.c/d.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"\xff\x00")
    (tmp_path / "a.txt").write_text("first")
    lines: list[str] = []
    assert read_documents(str(tmp_path), notify=lines.append) == ["first"]
    assert lines == [f"{tmp_path}: 4 hidden files left out (their name or folder begins with a dot)"]


def test_documents_of_a_column_of_parquet(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"story": ["one", "two"]}), tmp_path / "a.parquet")
    assert read_documents(str(tmp_path / "a.parquet"), column="story") == ["one", "two"]


def test_output_of_wikiextractor_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "AA"
    folder.mkdir()
    (folder / "wiki_00").write_text(
        '<doc id="1" title="Cat">\nCat\n\nA cat is.\n</doc>\n<doc id="2" title="Dog">\nDog\n</doc>\n'
    )
    (folder / "wiki_01").write_text(json.dumps({"id": "3", "title": "Owl", "text": "Owls fly."}) + "\n")
    assert read_documents(str(tmp_path)) == ["Cat\n\nA cat is.", "Dog", "Owls fly."]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"caf\xe9\n", "line 1 is not UTF-8"),
        ("a.jsonl", b'{"body": "x"}\n', r"record 1 has no text in 'text'; it has body \(--data.column\)"),
        ("a.jsonl", b'{"text": null}\n', "record 1: 'text' is null"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', "record 1: not Unicode: half a surrogate pair"),
        ("a.jsonl", b"nonsense\n", "record 1: not JSON"),
        ("a.pdf", b"%PDF", "unknown ending .pdf"),
        ("a.txt", b" \n", "no text in it"),
        ("a.txt", b"", "the file is empty"),
    ],
)
def test_errors_of_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_documents(str(tmp_path / name))


def test_a_missing_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_documents(str(tmp_path / "a.txt"))
    with pytest.raises(UserError, match="no text file in it"):
        read_documents(str(tmp_path))


def test_the_last_tenth_is_set_aside() -> None:
    text = set_aside([str(i) for i in range(40)], lambda line: None)
    assert (len(text.train), list(text.valid)) == (36, ["36", "37", "38", "39"])
    text = set_aside(["first", "0123456789"], lambda line: None)
    assert (list(text.train), list(text.valid)) == (["first", "012345678"], ["9"])
    with pytest.raises(UserError, match="too little text"):
        set_aside(["x"], lambda line: None)


COMPOSED, DECOMPOSED = "caf\xe9 na\xefve \uac00", "cafe\u0301 nai\u0308ve \u1100\u1161"


@pytest.mark.parametrize("count", [1, 20])
def test_text_is_composed_and_bytes_are_counted_in_the_file(tmp_path: Path, count: int) -> None:
    texts = []
    for name, text in (("composed", COMPOSED), ("decomposed", DECOMPOSED)):
        (tmp_path / name).mkdir()
        for at in range(count):
            (tmp_path / name / f"{at:02}.txt").write_text(f"{text} {at}")
        texts.append(set_aside(read_documents(str(tmp_path / name)), lambda line: None))
    if count > 1:
        assert list(texts[0].train) == list(texts[1].train) == [f"{COMPOSED} {at}" for at in range(18)]
        assert list(texts[0].valid) == list(texts[1].valid) == [f"{COMPOSED} {at}" for at in (18, 19)]
    assert texts[0].valid_bytes == sum(len(text.encode()) for text in texts[0].valid)
    assert texts[1].valid_bytes == sum(len(unicodedata.normalize("NFD", text).encode()) for text in texts[1].valid)


@pytest.mark.parametrize("text", [DECOMPOSED * 9, "e\u0301" * 40, "\u1100\u1161\u11a8" * 40, "e\u0323\u0302" * 41])
def test_the_split_of_one_text_is_between_characters(text: str) -> None:
    split = set_aside([text], lambda line: None)
    assert split.train[0] + split.valid[0] == unicodedata.normalize("NFC", text)
    assert split.valid_bytes == len(unicodedata.normalize("NFD", split.valid[0]).encode())


def test_the_size_of_a_stream_is_the_number_of_bytes_in_the_file() -> None:
    tokenizer = Tokenizer.train([COMPOSED], kind="char")
    text = Text.of([], [DECOMPOSED, "\xe9"])
    streams = [Stream.of(text.valid, tokenizer), Stream.of([COMPOSED, "\xe9"], tokenizer)]
    assert np.array_equal(streams[0].tokens, streams[1].tokens)
    assert [stream.size for stream in streams] == [len(f"{one}\xe9".encode()) for one in (DECOMPOSED, COMPOSED)]


def test_the_built_in_text_is_the_reference_of_python() -> None:
    texts = reference()
    assert len(texts) > 50
    assert sum(map(len, texts)) > 300_000
    assert any("expression" in text for text in texts)


@pytest.fixture(scope="module")
def stream() -> Stream:
    texts = ["abcab" * 9, "cab" * 11, "b"]
    return Stream.of(texts, Tokenizer.train(texts, kind="char"))


def test_a_stream_has_eos_after_each_document(stream: Stream) -> None:
    assert np.flatnonzero(stream.tokens == EOS).tolist() == [45, 79, 81]
    assert stream.ends.tolist() == [46, 80, 82]
    assert stream.size == 79
    tokens, labels, documents = stream.windows([40, 44], 6, torch.device("cpu"))
    assert torch.equal(tokens[:, 1:], labels[:, :-1])
    assert documents is not None
    assert documents.tolist() == [[0] * 6, [0, 0, 1, 1, 1, 1]]


def test_an_epoch_has_every_window_once_in_an_order_of_its_own(stream: Stream) -> None:
    orders = [batches(stream, context=7, tokens=21, seed=3, epoch=epoch) for epoch in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    for order in orders:
        starts = sorted(start for batch in order for start in batch)
        assert all(b - a == 7 for a, b in itertools.pairwise(starts))
        assert starts[0] < 7
        assert 82 - 1 - 7 >= starts[-1] > 82 - 1 - 14
        assert {len(batch) for batch in order[:-1]} == {3}
