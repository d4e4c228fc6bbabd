"""The vectors of the examples of a set, in a mapped file of the cache; each is computed once for its content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO

import numpy as np

from regard.data import cache
from regard.data.codec import KEY
from regard.data.progress import counted

_BLOCK = 64
"""The number of examples whose vectors are computed together."""


def vectors_of(
    origin: tuple[object, ...], keys: Sequence[bytes], dim: int, compute: Callable[[list[int]], np.ndarray]
) -> np.ndarray:
    """The vector of each example, float32 ``(n, dim)``, mapped if the cache can be written.

    Args:
        origin: what identifies the set, and what the vectors depend on besides the content of the examples.
        keys: a digest of the content of each.
        dim: the width of the vectors.
        compute: the vectors of some examples, by their numbers.

    Raises:
        UserError: the cache cannot be written any more.

    >>> import os, tempfile
    >>> from unittest.mock import patch
    >>> with tempfile.TemporaryDirectory() as place, patch.dict(os.environ, REGARD_CACHE=place):
    ...     asked = []
    ...     for keys in (["a", "b"], ["b", "c"]):
    ...         digests = [key.encode() * KEY for key in keys]
    ...         found = vectors_of(("x",), digests, 1, lambda rows: asked.append(rows) or np.ones((len(rows), 1), "f"))
    >>> asked
    [[0, 1], [1]]
    """
    if not cache.writable():
        return _computed(range(len(keys)), dim, compute)
    name = cache.name("vectors", dim, *origin)
    known, kept = _kept(name, dim)
    missing = [row for row, key in enumerate(keys) if key not in known]
    if missing:
        new = _computed(missing, dim, compute)
        kept = np.concatenate([kept, new])
        known |= {keys[row]: len(known) + at for at, row in enumerate(missing)}

        def write(file: IO[bytes]) -> None:
            order = [known[key] for key in dict.fromkeys(keys)]
            file.write(np.ascontiguousarray(kept[order]).data)
            cache.finish(file, {"keys": np.frombuffer(b"".join(dict.fromkeys(keys)), dtype=np.uint8)}, {})

        (cache.folder() / name).unlink(missing_ok=True)
        cache.entry(name, write)
        known, kept = _kept(name, dim)
    order = [known[key] for key in keys]
    return kept[: len(keys)] if order == list(range(len(keys))) else kept[order]


def _computed(rows: Sequence[int], dim: int, compute: Callable[[list[int]], np.ndarray]) -> np.ndarray:
    blocks = []
    with counted("encoding") as count:
        for at in range(0, len(rows), _BLOCK):
            blocks.append(compute(list(rows[at : at + _BLOCK])))
            for _ in blocks[-1]:
                count()
    return np.concatenate([np.zeros((0, dim), np.float32), *blocks])


def _kept(name: str, dim: int) -> tuple[dict[bytes, int], np.ndarray]:
    """The place of each digest in the file of the cache, and its vectors; nothing, if there is no such file."""
    if not cache.exists(name):
        return {}, np.zeros((0, dim), dtype=np.float32)
    with (cache.folder() / name).open("rb") as file:
        content, arrays, _ = cache.load(file)
    digests = arrays["keys"].tobytes()
    places = {digests[KEY * at : KEY * (at + 1)]: at for at in range(len(digests) // KEY)}
    return places, content[: 4 * dim * len(places)].view(np.float32).reshape(len(places), dim)
