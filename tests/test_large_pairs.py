"""Parallel text that is not held in memory: the same pairs, tokens, fingerprints and training as in memory."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conftest import Result
from regard.data import cache, split
from regard.data.batching import Batches
from regard.data.corpus import Documents
from regard.data.pairs import Pairs
from regard.data.parallel import open_parallel, read_parallel
from regard.data.tokenizer import EOS
from regard.errors import UserError
from regard.tasks.families.seq2seq.data import fingerprint, read, set_aside
from regard.tasks.families.seq2seq.rows import drop_long, encode, train_tokenizers
from regard.tasks.families.seq2seq.settings import PairsConfig, TokenizerConfig

WORDS = ("one", "two", "café", "e\u0301te\u0301", "12,5", "漢字")
CONFIG = TokenizerConfig(source_size=300, target_size=300)


def _write(path: Path, count: int = 300) -> Path:
    words = random.Random(0)
    lines = (f"{' '.join(words.choices(WORDS, k=3))}\t{' '.join(words.choices(WORDS, k=5))}\n" for _ in range(count))
    path.write_text("".join(lines))
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the cache; everything from 1,000 bytes on goes there."""
    monkeypatch.setenv("REGARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SMALL", 1000)
    return tmp_path / "cache"


def test_large_pairs_are_those_of_small_ones(place: Path, tmp_path: Path) -> None:
    path = str(_write(tmp_path / "a.tsv"))
    expected = read_parallel(path)
    pairs, lines = open_parallel(path)
    assert pairs.source.large
    assert list(pairs) == expected.pairs
    assert lines == [expected.reading.first()]
    assert list(pairs[3:5]) == expected.pairs[3:5]
    tokenizers = train_tokenizers(pairs, CONFIG)
    rows, small = encode(pairs, *tokenizers), encode(expected.pairs, *tokenizers)
    assert (
        list(rows.source)
        == list(small.source)
        == [[*row, EOS] for row in tokenizers[0].encode_batch([s for s, _ in pairs])]
    )
    assert list(rows.target) == list(small.target)
    assert np.array_equal(rows.lengths, small.lengths)


@pytest.mark.parametrize("aligned", [False, True], ids=["one file", "two files"])
def test_large_pairs_are_read_once(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aligned: bool) -> None:
    path = str(_write(tmp_path / "a.tsv"))
    if aligned:
        for side, name in enumerate("ab"):
            lines = [line.split("\t")[side] for line in Path(path).read_text().splitlines()]
            (tmp_path / name).write_text("\n".join(lines))
        path = f"{tmp_path}/a,{tmp_path}/b"
    pairs, lines = open_parallel(path, on_bad_line="skip")
    with monkeypatch.context() as patch:
        patch.setattr("regard.data.parallel.Reading", None)
        again = open_parallel(path, on_bad_line="skip")
    assert (list(again[0]), again[1]) == (list(pairs), lines)
    for file in path.split(","):
        with Path(file).open("a") as extended:
            extended.write("\nnew" if aligned else "new\tneuf\n")
    assert len(open_parallel(path, on_bad_line="skip")[0]) == 301


def test_pairs_of_large_text_are_set_aside_by_source(place: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    text = read(str(_write(tmp_path / "a.tsv")), PairsConfig(), 3, lines.append)
    again = read(str(tmp_path / "a.tsv"), PairsConfig(), 3, lines.append)
    assert fingerprint(text) == fingerprint(again)
    assert text.train.source.large
    assert len(text.train) + len(text.valid) == 300
    assert not {source for source, _ in text.train} & {source for source, _ in text.valid}
    with pytest.raises(UserError, match="at least two different source texts"):
        set_aside(Pairs.of([("a", "b")] * 3), 0, lines.append)


def test_shared_pairs_of_large_text_are_counted(place: Path, tmp_path: Path) -> None:
    lines = _write(tmp_path / "a.tsv").read_text().splitlines()
    (tmp_path / "b.tsv").write_text("\n".join([lines[0], "x\ty", lines[7]]))
    printed: list[str] = []
    read(str(tmp_path / "a.tsv"), PairsConfig(valid=str(tmp_path / "b.tsv")), 0, printed.append)
    assert printed[-1] == split.shared_notice(2, 3, "pairs")


def test_long_pairs_are_left_out() -> None:
    pairs = Pairs.of([("a", "b"), ("abcd", "b"), ("b", "a")])
    tokenizers = train_tokenizers(pairs, CONFIG)
    printed: list[str] = []
    rows = drop_long(encode(pairs, *tokenizers), 3, printed.append)
    assert rows.lengths.tolist() == [[2, 2], [2, 2]]
    assert [tokenizers[0].decode(row) for row in rows.source] == ["a", "b"]
    assert printed == ["left out 1 of 3 training pairs, which are longer than 3 tokens (--data.max-length)"]
    with pytest.raises(UserError, match="all 3 training pairs are longer than 1 tokens"):
        drop_long(encode(pairs, *tokenizers), 1, printed.append)


def test_training_on_large_pairs_takes_the_same_steps(
    place: Path, tmp_path: Path, regard: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, valid = _write(tmp_path / "a.tsv"), _write(tmp_path / "b.tsv", 20)
    options = ["--data.train", path, "--data.valid", valid, "--train.steps", 10, "--train.tokens", 200]
    options += ["--model.dim", 8, "--model.embedding", 4, "--train.epochs", 9]
    options += ["--tokenizer.source-size", 300, "--tokenizer.target-size", 300]
    # So that the tokenizers are the same: those of large text are trained on a sample.
    monkeypatch.setattr(Documents, "sample", lambda documents, *sizes: list(documents))
    figures = []
    for small in (10**9, 1000):
        monkeypatch.setattr(cache, "SMALL", small)
        run = tmp_path / f"run{small}"
        assert regard("train", "translate", run, *options).status == 0
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        figures.append([row.get("loss", row.get("valid_loss")) for row in rows])
        data = json.loads((run / "data.json").read_text())
        figures[-1] += [data["train"], data["valid"]]
    assert figures[0] == figures[1]
    assert any(path.name.startswith("tokens-") for path in place.iterdir())


def test_aligned_files_of_different_lengths_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("a\nb\nc\n")
    (tmp_path / "a.fr").write_text("a\n\0\nc\n")
    assert len(read_parallel(f"{tmp_path}/a.en,{tmp_path}/a.fr").pairs) == 3
    for name in ("en", "fr"):
        with (tmp_path / f"a.{name}").open("a") as file:
            file.write("d\n" * (3 if name == "en" else 7))
    with pytest.raises(UserError, match=r"a.en has 6 lines, .*a.fr 10: aligned files must have the same number"):
        read_parallel(f"{tmp_path}/a.en,{tmp_path}/a.fr")


def test_batches_are_a_sequence_of_lists() -> None:
    batches = Batches(np.array([5, 3, 4]), np.array([1, 0]), np.array([3, 1]))
    assert (list(batches), batches[-1], batches[:1], len(batches)) == ([[3, 4], [5]], [5], [[3, 4]], 2)
    assert batches == [[3, 4], [5]]
    assert batches != [[3, 4]]
