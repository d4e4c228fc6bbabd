"""Messages about validation text that is also training text, and about the pairs read."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from regard.data import split
from regard.tasks.families.language import data as document_data
from regard.tasks.families.language.settings import DocumentsConfig
from regard.tasks.families.seq2seq import data as pair_data
from regard.tasks.families.seq2seq.settings import PairsConfig


def test_validation_pairs_in_the_training_text_are_counted(tmp_path: Path) -> None:
    pairs = ["café\tthé", "a\tb", "a\tb", "c\td"]
    (tmp_path / "train.tsv").write_text("\n".join(pairs))
    (tmp_path / "valid.tsv").write_text("\n".join([unicodedata.normalize("NFD", pairs[0]), "a\tb", "a\tc", "x\ty"]))
    paths = [str(tmp_path / name) for name in ("train.tsv", "valid.tsv")]
    lines: list[str] = []
    pair_data.read(paths[0], PairsConfig(valid=paths[1]), 0, lines.append)
    assert lines == [
        f"{paths[0]}: 4 pairs, the first 'café' → 'thé'",
        f"{paths[1]}: 4 pairs, the first 'café' → 'thé'",
        split.shared_notice(2, 4, "pairs"),
    ]
    lines.clear()
    (tmp_path / "valid.tsv").write_text("x\ty\n")
    pair_data.read(paths[0], PairsConfig(valid=paths[1]), 0, lines.append)
    assert not [line for line in lines if "training text" in line]


def test_validation_documents_in_the_training_text_are_counted(tmp_path: Path) -> None:
    for folder, texts in (("train", ["café", "a", "b"]), ("valid", ["cafe\u0301", "c", "b"])):
        (tmp_path / folder).mkdir()
        for number, content in enumerate(texts):
            (tmp_path / folder / f"{number}.txt").write_text(content)
    paths = [str(tmp_path / folder) for folder in ("train", "valid")]
    lines: list[str] = []
    text = document_data.read(paths[0], DocumentsConfig(valid=paths[1]), lines.append)
    assert lines == [split.shared_notice(2, 3, "documents")]
    assert (text.valid[0], text.valid_bytes) == ("café", len("cafe\u0301cb".encode()))
