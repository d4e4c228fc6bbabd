"""Texts without labels, from text files with one text per line or from a column of a table."""

from __future__ import annotations

from pathlib import Path

from regard.data.columns import Column, Layout
from regard.data.lines import bare_suffix
from regard.data.reading import Reading

_USUAL = ("sentence", "content", "context", "document", "body", "review", "question", "message", "article", "source")


def read_plain(path: str, column: str | int | None = None) -> tuple[list[str], list[str]]:
    """Texts in Unicode's composed form, and lines about them, such as how many lines cannot be used.

    Args:
        path: a text file, one text per line (`.txt`); a table with a column of texts (`.tsv`, `.csv`, `.jsonl`,
            `.parquet`); all but Parquet also with `.gz` or `.xz`; or ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face
            dataset. Empty lines are left out.
        column: the column of the texts, by name or, in files of lines, by number from 1; None: the one with a usual
            name, or the first.

    Raises:
        UserError: the file cannot be read, or has no text.
    """
    lines = not path.startswith("hf:") and bare_suffix(Path(path)) in (".txt", ".text", ".md", "")
    columns = (Column("text", "pretrain.column", column, number=1, usual=_USUAL, required=not lines),)
    endings = (".txt", ".text", ".md", "") if lines else (".tsv",)
    layout = Layout(columns, "text", endings=endings, split=_undivided if lines else None)
    reading = Reading(path, layout, on_bad_line="skip")
    texts = [text for (text,) in reading if text]
    return texts, [line for line in (reading.first(), reading.notice()) if line is not None]


def _undivided(line: str) -> list[str]:
    return [line]
