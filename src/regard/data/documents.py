"""Text for language models from a user's files: documents from text files, folders, JSONL, Parquet or Hugging Face."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from regard.data.columns import Bad
from regard.data.corpus import Block, Documents, Store
from regard.data.lines import bare_suffix, check_file, is_unicode, read_blocks
from regard.data.progress import Advance, progress
from regard.data.records import Records, json_records, open_records
from regard.data.stored import read_once, total_size
from regard.errors import UserError

_RECORDS = (".jsonl", ".ndjson", ".parquet")
_TEXTS = (".txt", ".md", ".rst", ".text", "")

Notify = Callable[[str], None]


def read_documents(path: str, *, column: str = "text", notify: Notify = lambda line: None) -> list[str]:
    """Read the documents of ``path``, without those that have only white space.

    Their text is as in the file, with LF between lines. `open_documents` does not hold them as strings.

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
    documents, blocks = [], []
    for block, last in _blocks(path, _files(path, notify), column):
        blocks.append(block)
        if last:
            documents.append("".join(blocks))
            blocks.clear()
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise UserError(f"{path}: no text in it")
    return documents


def open_documents(path: str, *, column: str = "text", notify: Notify = lambda line: None) -> Documents:
    """The documents that `read_documents` reads, which need not fit into memory: see `regard.data.stored.read_once`.

    Raises:
        UserError: see `read_documents`, or the cache cannot be written.
    """
    files = _files(path, notify)

    def read(store: Store) -> None:
        with progress("reading text", total_size(files)) as advance:
            store.extend(_blocks(path, files, column, advance))

    documents, _ = read_once(files, read, "text", column)
    if not len(documents):
        raise UserError(f"{path}: no text in it")
    return documents


def _files(path: str, notify: Notify) -> list[Path]:
    """The files of ``path``; none for a Hugging Face dataset."""
    if path.startswith("hf:"):
        return []
    if not Path(path).is_dir():
        check_file(Path(path))
        if not _known(Path(path)):
            endings = ", ".join(ending for ending in (*_TEXTS, *_RECORDS) if ending)
            raise UserError(f"{path}: unknown ending {bare_suffix(Path(path))}; expected {endings}, or a folder")
        return [Path(path)]
    files = [file for file in sorted(Path(path).rglob("*")) if file.is_file()]
    visible = [file for file in files if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    if len(visible) < len(files):
        notify(f"{path}: {len(files) - len(visible):,} hidden files left out (their name or folder begins with a dot)")
    known = [file for file in visible if _known(file)]
    if not known:
        raise UserError(f"{path}: no text file in it; expected {', '.join(filter(None, _TEXTS))}, .jsonl or .parquet")
    return known


def _known(path: Path) -> bool:
    suffix = bare_suffix(path)
    return suffix in _RECORDS or suffix in _TEXTS


def _blocks(path: str, files: Iterable[Path], column: str, advance: Advance = lambda size: None) -> Iterator[Block]:
    """The parts of all documents; ``advance`` is called with the bytes that were read of the files or dataset."""
    if path.startswith("hf:"):
        for text, last in _texts(open_records(path), column):
            advance(len(text.encode()))
            yield text, last
    for file in files:
        yield from _read(file, column, advance)


def _read(path: Path, column: str, advance: Advance) -> Iterator[Block]:
    suffix = bare_suffix(path)
    if path.is_file() and not path.stat().st_size:
        return  # in a folder, an empty file is not an error
    if suffix in _RECORDS:
        yield from _texts(open_records(str(path), advance), column)
        if suffix == ".parquet":
            advance(path.stat().st_size)
        return
    blocks = read_blocks(path, advance)
    first = next(blocks)
    blocks = itertools.chain((first,), blocks)
    if suffix == "" and first.startswith("{"):  # WikiExtractor with --json, in files such as wiki_00
        yield from _texts(Records(str(path), lambda names: json_records(_lines(blocks))), column)
    elif first.startswith("<doc "):  # WikiExtractor without it
        yield from ((article, True) for article in _articles(_lines(blocks)))
    else:
        yield from ((block, False) for block in blocks)
        yield "", True


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """The lines of a text in blocks."""
    rest: list[str] = []
    for block in blocks:
        first, *others = block.split("\n")
        rest.append(first)
        if others:
            yield "".join(rest)
            yield from others[:-1]
            rest = [others[-1]]
    yield "".join(rest)


def _articles(lines: Iterable[str]) -> Iterator[str]:
    article: list[str] | None = None
    for line in lines:
        if article is None:
            if line.startswith("<doc ") and line.endswith(">"):
                article = []
        elif line == "</doc>":
            yield "\n".join(article).strip()
            article = None
        else:
            article.append(line)


def _texts(records: Records, column: str) -> Iterator[Block]:
    origin = records.origin
    for number, record in enumerate(records.read([column] if column in (records.columns or ()) else None), 1):
        if isinstance(record, Bad):
            raise UserError(f"{origin}: record {number:,}: {record.reason}")
        text = record.get(column)
        if column in record and text is None:
            raise UserError(f"{origin}: record {number:,}: {column!r} is null")
        if isinstance(text, str) and not is_unicode(text):
            raise UserError(f"{origin}: record {number:,}: not Unicode: half a surrogate pair")
        if not isinstance(text, str):
            columns = ", ".join(records.columns or record)
            raise UserError(f"{origin}: record {number:,} has no text in {column!r}; it has {columns} (--data.column)")
        yield text, True
