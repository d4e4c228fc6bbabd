"""How the examples of a set of files are decoded and held; a worker process imports little else."""

from __future__ import annotations

import hashlib
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import BinaryIO, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np

from regard.data.class_trees import Item
from regard.data.file_trees import BadItem

KEY = 16
"""Bytes of a digest."""

_BLOCK = 1 << 18

NOTHING = np.zeros(0, dtype=np.uint8)

Values = TypeVar("Values")


class Result(NamedTuple):
    """What decoding gave: the item without its content, a digest of the content, and why it cannot be used, or None."""

    item: Item
    key: bytes
    reason: str | None


class Codec(ABC, Generic[Values]):
    """Decodes the examples of a set, and holds their values, such as pixels, in memory or in a file."""

    kind: ClassVar[str]
    """The examples in a word, also in the names of files in the cache: one of `regard.data.cache.KINDS`."""
    slot: int | None = None
    """Bytes of the values of an example; None: they differ."""

    @property
    @abstractmethod
    def depends_on(self) -> tuple[object, ...]:
        """The settings, and the versions of packages, on which the values depend."""

    @abstractmethod
    def decode(self, content: bytes | np.ndarray) -> np.ndarray:
        """The values of an example, from the content of its file. Raises BadItem: it cannot be used."""

    def keyed(self, item: Item) -> tuple[bytes, Callable[[], np.ndarray]]:
        """The digest of the content of an example, and a function that decodes it; it raises BadItem, as `decode`.

        Raises:
            BadItem: the content cannot be read.
        """
        content = item.load()
        return digest(content), partial(self.decode, content)

    @abstractmethod
    def held(self, values: list[np.ndarray]) -> Values:
        """The values of all examples together, in memory."""

    @abstractmethod
    def mapped(self, content: np.ndarray, lengths: np.ndarray, rows: np.ndarray) -> Values:
        """The values of the examples ``rows`` of a file.

        Args:
            content: the bytes of the file, from its beginning.
            lengths: the number of bytes of each example in the file, one after the other.
            rows: which of them to use.
        """

    def decode_group(self, path: str, numbered: list[tuple[int, Item]]) -> list[tuple[Result, np.ndarray]]:
        """Decode items in a worker process. The values that it returns are added to the end of the file ``path``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [decode_item(item, self) for _, item in numbered]


def decode_item(item: Item, codec: Codec[Values]) -> tuple[Result, np.ndarray]:
    """Decode an item; if it cannot be used, the values are empty."""
    empty = item._replace(content=b"")
    try:
        key, decode = codec.keyed(item)
    except BadItem as error:
        return Result(empty, b"", str(error)), NOTHING
    try:
        return Result(empty, key, None), decode()
    except BadItem as error:
        return Result(empty, key, str(error)), NOTHING


def first_usable(items: Iterable[Item], codec: Codec[Values]) -> np.ndarray | None:
    """The values of the first item that can be used, on which may depend how all are decoded; None: there is none."""
    results = (decode_item(item, codec) for item in items)
    return next((values for result, values in results if result.reason is None), None)


def digest(content: bytes | np.ndarray) -> bytes:
    """Identifies the content of an example, in `KEY` bytes."""
    data = content if isinstance(content, bytes) else content.tobytes()
    return hashlib.blake2b(data, digest_size=KEY).digest()


def file_digest(file: BinaryIO) -> bytes:
    """The `digest` of the content of a file, which is read in blocks."""
    state = hashlib.blake2b(digest_size=KEY)
    while block := file.read(_BLOCK):
        state.update(block)
    return state.digest()


def version_of(package: str) -> str:
    """The version of an installed package, whose decoders may change; empty: it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
