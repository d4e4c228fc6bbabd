"""Text for language models from a user's files: documents from text files, folders, JSONL, Parquet or Hugging Face."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from regard.data.formats import Bad, hub_records, json_records, parquet_rows
from regard.data.lines import bare_suffix, check_file, is_unicode, read_lines, read_text_lines
from regard.errors import UserError

_RECORDS = (".jsonl", ".ndjson", ".parquet")
_TEXTS = (".txt", ".md", ".rst", ".text", "")
_ARTICLE = re.compile(r"^<doc [^\n]*>\n(.*?)\n</doc>$", re.DOTALL | re.MULTILINE)


def read_documents(path: str, *, column: str = "text", notify: Callable[[str], None] = lambda line: None) -> list[str]:
    """Read the documents of ``path``, without those that have only white space.

    Their text is as in the file, with LF between lines; `regard.tasks.generate.data.Text.of` composes it.

    Args:
        path: a text file, one document (`.txt`, `.md`, `.rst`, also with `.gz` or `.xz`); JSONL or Parquet, one
            document per record; an extract of a Wikipedia dump (WikiExtractor's, in either format); a folder, for all
            such files in and below it, sorted by name, without hidden files and folders (``.git``); or
            ``"hf:NAME[:CONFIG][#SPLIT]"``, a Hugging Face dataset.
        column: the column of a record with its text.
        notify: is called with a line about hidden files that were left out.

    Raises:
        UserError: the file is missing, empty, not UTF-8 or of unknown format; a record has no text; there is no text.
    """
    if path.startswith("hf:"):
        documents = list(_texts(hub_records(path.removeprefix("hf:")), path, column))
    elif Path(path).is_dir():
        files = [file for file in sorted(Path(path).rglob("*")) if file.is_file()]
        visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
        if len(visible) < len(files):
            notify(
                f"{path}: {len(files) - len(visible):,} hidden files left out (their name or folder begins with a dot)"
            )
        known = [file for file in visible if _known(file)]
        if not known:
            raise UserError(
                f"{path}: no text file in it; expected {', '.join(filter(None, _TEXTS))}, .jsonl or .parquet"
            )
        documents = [document for file in known for document in _read(file, column)]
    else:
        check_file(Path(path))
        if not _known(Path(path)):
            endings = ", ".join(ending for ending in (*_TEXTS, *_RECORDS) if ending)
            raise UserError(f"{path}: unknown ending {bare_suffix(Path(path))}; expected {endings}, or a folder")
        documents = list(_read(Path(path), column))
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise UserError(f"{path}: no text in it")
    return documents


def _known(path: Path) -> bool:
    suffix = bare_suffix(path)
    return suffix in _RECORDS or suffix in _TEXTS


def _read(path: Path, column: str) -> Iterator[str]:
    suffix = bare_suffix(path)
    if path.is_file() and not path.stat().st_size:
        return  # in a folder, an empty file is not an error
    if suffix in _RECORDS:
        records = parquet_rows(path) if suffix == ".parquet" else json_records(read_lines(path))
        yield from _texts(records, path, column)
        return
    lines = read_text_lines(path)
    text = "\n".join(lines)
    if suffix == "" and text.startswith("{"):  # WikiExtractor with --json, in files such as wiki_00
        yield from _texts(json_records(lines), path, column)
    elif text.startswith("<doc "):  # WikiExtractor without it
        yield from (article.strip() for article in _ARTICLE.findall(text))
    else:
        yield text


def _texts(records: Iterator[dict[str, Any] | Bad], origin: object, column: str) -> Iterator[str]:
    for number, record in enumerate(records, 1):
        if isinstance(record, Bad):
            raise UserError(f"{origin}: record {number:,}: {record.reason}")
        text = record.get(column)
        if column in record and text is None:
            raise UserError(f"{origin}: record {number:,}: {column!r} is null")
        if isinstance(text, str) and not is_unicode(text):
            raise UserError(f"{origin}: record {number:,}: not Unicode: half a surrogate pair")
        if not isinstance(text, str):
            raise UserError(
                f"{origin}: record {number:,} has no text in {column!r}; it has {', '.join(record)} (--data.column)"
            )
        yield text
