"""Text that is not held in memory: the same tokens, fingerprints and training as in memory, and a safe cache."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import Result
from regard.data import cache, corpus
from regard.data.corpus import Documents, Store, first_cut, last_cut
from regard.data.documents import open_documents, read_documents
from regard.data.encoding import Encoder, tokenize, train_tokenizer
from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.tasks.families.language.data import Text, fingerprint, set_aside

ALPHABET = "ab é.1'\n\r\t\u00a0\x1c\u3000\u0301\u1100\u1161\u11a8漢—s"
WORDS = (
    "the",
    "river's",
    "café",
    "e\u0301te\u0301",
    "漢字",
    "12,5",
    "—",
    "\t",
    "\u00a0",
    "end.\n",
    "\n\n",
    "  ",
    "\u0301",
)


def _words(count: int, seed: int = 0) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache; everything from 1,000 bytes on goes there."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SMALL", 1000)
    return tmp_path / "cache"


@pytest.fixture(params=["byte", "char", "word"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.train([_words(500), "a b é"], kind=request.param, size=320)


BYTE, CHAR, WORD = (
    Tokenizer.train([_words(500), "abc é."], kind=kind, size=320)  # type: ignore[arg-type]
    for kind in ("byte", "char", "word")
)


@given(st.lists(st.text(st.sampled_from(ALPHABET), max_size=60), max_size=4))
@settings(max_examples=300)
def test_the_encoder_gives_the_tokens_of_the_tokenizer(texts: list[str]) -> None:
    for tokenizer in (BYTE, CHAR, WORD):
        assert [row.tolist() for row in Encoder(tokenizer).encode(texts)] == tokenizer.encode_batch(texts)


def test_the_encoder_forgets_words(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.encoding._KNOWN", 10)
    encoder = Encoder(tokenizer)
    texts = [_words(40, seed) for seed in range(9)]
    assert [encoder.encode([text])[0].tolist() for text in texts] == tokenizer.encode_batch(texts)


@given(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=200), st.integers(8, 30))
@settings(max_examples=300)
def test_pieces_give_the_tokens_of_the_document(text: str, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "PIECE", size)
        documents = Documents.of([text])
        pieces = list(documents.pieces(0))
        assert "".join(pieces) == unicodedata.normalize("NFC", text) == documents[0]
        assert list(itertools.chain.from_iterable(BYTE.encode_batch(pieces))) == BYTE.encode(text)


def test_text_without_white_space_is_cut_between_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "PIECE", 8)
    monkeypatch.setattr(corpus, "_LONGEST_PIECE", 32)
    text = "e\u0301\u1100\u1161" * 40
    pieces = list(Documents.of([text]).pieces(0))
    assert len(pieces) > 5
    assert "".join(pieces) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("text", ["a b  c\n\n d", "a\u00a0 b", " a", "", "ab"])
def test_cuts_are_before_white_space_that_follows_other_characters(text: str) -> None:
    cuts = [at for at in range(1, len(text)) if text[at] in " \n" and not text[at - 1].isspace()]
    assert (first_cut(text), last_cut(text)) == ((cuts[0], cuts[-1]) if cuts else (-1, 0))


@pytest.mark.parametrize("kind", ["one document", "many documents", "gz"])
def test_large_text_is_that_of_small_text(kind: str, place: Path, tmp_path: Path) -> None:
    texts = [_words(60) * 50] if kind != "many documents" else [_words(30, seed) for seed in range(40)]
    path = tmp_path / {"one document": "a.txt", "many documents": "a.jsonl", "gz": "a.txt.gz"}[kind]
    if kind == "many documents":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, " "]))
    else:
        path.write_bytes(gzip.compress(texts[0].encode()) if kind == "gz" else texts[0].encode())
    lines: list[str] = []
    small, large = (
        set_aside(documents, lines.append) for documents in (read_documents(str(path)), open_documents(str(path)))
    )
    assert large.train.large
    assert not small.train.large
    assert lines[0] == lines[1]
    assert (list(small.train), list(small.valid)) == (list(large.train), list(large.valid))
    assert small.valid_bytes == large.valid_bytes
    assert fingerprint(small) == fingerprint(large) == fingerprint(large)
    tokens = [tokenize(part, BYTE) for part in (small.train, large.train, large.train)]
    for other in tokens[1:]:
        assert other.tokens.tolist() == tokens[0].tokens.tolist() == _tokens(small)
        assert other.ends.tolist() == tokens[0].ends.tolist()
    kinds = sorted(name.name.split("-")[0] for name in place.iterdir())
    assert kinds == ["part", "part", *([] if kind == "gz" else ["text"]), "tokens"]


def _tokens(text: Text) -> list[int]:
    return [number for row in BYTE.encode_batch(list(text.train)) for number in (*row, EOS)]


def test_the_sample_is_spread_evenly() -> None:
    texts = [f"{number} " + "x y " * 200 for number in range(100)]
    sample = Documents.of(texts).sample(20_000, 1000)
    assert 15_000 < sum(map(len, sample)) < 25_000
    assert [int(text.split()[0]) for text in sample] == list(range(0, 100, 5))
    assert Documents.of([" ".join(map(str, range(9999)))]).sample(5000, 1000)[1].startswith(" ")


@pytest.mark.parametrize("kind", ["byte", "char"])
def test_the_tokenizer_of_large_text_is_trained_on_a_sample(kind: str, place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(_words(3000) + " only here: Ω")
    documents = open_documents(str(tmp_path / "a.txt"))
    lines: list[str] = []
    tokenizers = [train_tokenizer(documents, kind, 300, lines.append) for _ in range(2)]  # type: ignore[arg-type]
    assert tokenizers[0].text() == tokenizers[1].text()
    assert [line.split(" of ")[0] for line in lines] == (["training the tokenizer on 0"] if kind == "byte" else [])
    assert tokenizers[0].decode(tokenizers[0].encode("Ω")) == "Ω"


def test_a_changed_file_is_read_again(place: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a b " * 500)
    first = open_documents(str(path))
    path.write_text("a c " * 500)
    assert open_documents(str(path))[0] != first[0] == "a b " * 500


def test_training_on_large_text_takes_the_same_steps(
    place: Path, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text(_words(2000))
    settings = ["--tokenizer.size", 300, "--model.context", 16, "--model.dim", 16, "--model.layers", 1]
    settings += ["--train.tokens", 64, "--train.steps", 10]
    figures = []
    for small in (10**9, 1000):
        monkeypatch.setattr(cache, "SMALL", small)
        run = tmp_path / f"run{small}"
        assert regard("train", "generate", run, "--data.train", tmp_path / "a.txt", *settings).status == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        figures.append([row.get("loss", row.get("valid_loss")) for row in rows])
        data = json.loads((run / "data.json").read_text())
        figures[-1] += [data["train"], data["valid"]]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 4
    assert regard("eval", run).status == 0


def test_an_interrupted_write_leaves_no_file(place: Path) -> None:
    def write(file: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.entry("x", write)
    assert list(place.iterdir()) == []
    (place / ".x.tmp").write_bytes(b"left by a killed process")
    assert cache.entry("x", lambda file: file.write(b"new")).read_bytes() == b"new"
    assert [path.name for path in place.iterdir()] == ["x"]


WRITER = """
import sys, time
from regard.data import cache
def write(file):
    print("writing", flush=True)
    time.sleep(0.5)
    file.write(b"content")
    if sys.argv[1] == "fail":
        raise KeyError
print(cache.entry("x", write).read_bytes())
"""


@pytest.mark.parametrize("first", ["write", "fail"])
def test_of_two_processes_one_writes(first: str, place: Path) -> None:
    def start(argument: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", WRITER, argument], stdout=-1, stderr=-3, text=True)

    one = start(first)
    assert one.stdout is not None
    assert one.stdout.readline() == "writing\n"
    others = [start("write") for _ in range(2)]
    outputs = [other.communicate()[0] for other in others]
    rest = one.communicate()[0]
    assert ("content" in rest) == (first == "write")
    assert "".join(outputs).count("writing") == (first == "fail")
    assert all("b'content'" in output for output in outputs)
    assert [path.name for path in place.iterdir()] == ["x"]


def test_a_folder_that_cannot_be_written_is_an_error(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"file: the cache cannot be written \(File exists\); name another folder in"):
        cache.entry("x", lambda file: None)
    store = Store()
    with pytest.raises(UserError, match="the cache cannot be written"):
        store.add("x" * 2000, True)


COMMAND = """
import sys
from regard.cli.main import main
from regard.data import cache
cache.SMALL = 1000
main(sys.argv[1:])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_tokenizing_leaves_no_partial_file(number: int, tmp_path: Path) -> None:
    words = random.Random(0)
    lines = (" ".join(f"{words.getrandbits(40):x}" for _ in range(20)) for _ in range(20_000))
    (tmp_path / "a.txt").write_text("\n".join(lines))
    (tmp_path / "valid.txt").write_text("a b c\n" * 9)
    environment = os.environ | {"REGARD_CACHE": str(tmp_path / "cache")}
    options = ["--data.train", "a.txt", "--data.valid", "valid.txt", "--tokenizer.kind", "char", "--model.context", "9"]
    command = [sys.executable, "-c", COMMAND, "train", "generate", "run", *options]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL)
    try:
        while not list((tmp_path / "cache").glob(".tokens-*")):
            assert process.poll() is None
            assert not (tmp_path / "run" / "metrics.jsonl").exists(), "the tokens were complete before the signal"
            time.sleep(0.01)
        process.send_signal(number)
        began = time.monotonic()
        assert process.wait(60) != 0
        assert time.monotonic() - began < 20  # 2 seconds on a machine that has nothing else to do
    finally:
        process.kill()
        process.wait()
    assert not [path.name for path in (tmp_path / "cache").iterdir() if "tokens" in path.name or "tmp" in path.name]
    assert not (tmp_path / "run").exists()
