"""Text that is read once from large files, and found again in the cache by the next start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, TypeVar

from regard.data import cache
from regard.data.corpus import Documents, Store, mapped
from regard.data.lines import bare_suffix
from regard.data.progress import progress
from regard.errors import UserError

_BLOCK = 1 << 22

Notes = TypeVar("Notes")


def read_once(
    files: Sequence[Path], read: Callable[[Store], Notes], kind: str, *settings: object
) -> tuple[Documents, Notes]:
    """The documents that ``read`` adds to a store, which need not fit into memory, and what it returns.

    Those of large files are copied to the cache, under a digest of the files' content, and are not read again as long
    as they are there. Other large ones, such as those of a Hugging Face dataset or a pipe, are in an unnamed file until
    the process ends.

    Args:
        files: which are read; none for a Hugging Face dataset.
        read: adds documents to a store, and returns notes about them, as JSON can represent them.
        kind: of the documents, in the name of the cache's file.
        settings: what the documents depend on besides the content of the files.

    Raises:
        UserError: a file cannot be read, or the cache cannot be written.
    """
    if total_size(files) <= cache.SMALL:
        store = Store()
        notes = read(store)
        return store.documents(), notes

    def write(file: IO[bytes]) -> None:
        store = Store(file)
        notes = read(store)
        store.finish(notes=notes)

    with cache.entry(cache.name(kind, *settings, _digest(files)), write).open("rb") as file:
        documents, kept = mapped(file)
    return documents, kept["notes"]


def total_size(files: Sequence[Path]) -> int:
    """The bytes of all files together; 0 if one is no regular file, such as a pipe, or there are none."""
    return sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else 0


def _digest(files: Sequence[Path]) -> str:
    """Of the content of ``files`` and of their endings, on which it depends how they are read."""
    digest = hashlib.blake2b(digest_size=16)
    with progress("hashing files", total_size(files), first_only=True) as advance:
        for path in files:
            digest.update(f" {bare_suffix(path)} {path.suffix} {path.stat().st_size} ".encode("utf-8", "surrogatepass"))
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        digest.update(block)
                        advance(len(block))
            except OSError as error:
                raise UserError(f"{path}: cannot be read to its end ({error.strerror or error})") from error
    return digest.hexdigest()
