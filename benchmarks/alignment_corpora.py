"""Corpora of which word alignments are learned: pairs of texts, tokenized as the test pairs that people aligned are.

    python benchmarks/alignment_corpora.py FOLDER_WITH_THE_DATA OUTPUT_FOLDER

Reads ``multi30k``, ``tatoeba_en_fr`` and ``alignments`` of the folder. Writes ``deen`` and ``enfr``, each with
``train.tsv``, ``valid.tsv`` and ``test.tsv`` (text, tab, translation), in lower case, words and signs between spaces.
The test pairs are in the training part, too, without their links: aligners learn from the texts that they align.
"""

from __future__ import annotations

import gzip
import lzma
import random
import sys
from collections.abc import Iterable
from pathlib import Path

import regex

Pair = tuple[str, str]

_TOKEN = regex.compile(r"\p{L}[\p{L}\p{M}]*['’](?=\p{L})|[\p{L}\p{M}\p{N}]+(?:[.,]\p{N}+)*|\S")
"""A word with its apostrophe, where another word follows; a word or number; a sign."""


def tokenized(text: str) -> str:
    return " ".join(_TOKEN.findall(text.lower()))


def multi30k(data: Path, part: str) -> list[Pair]:
    sides = [gzip.decompress((data / "multi30k" / f"{part}.{side}.gz").read_bytes()).decode() for side in ("de", "en")]
    return [(tokenized(one), tokenized(other)) for one, other in zip(*map(str.splitlines, sides), strict=True)]


def tatoeba(data: Path) -> list[Pair]:
    lines = lzma.decompress((data / "tatoeba_en_fr" / "fra.txt.xz").read_bytes()).decode().splitlines()
    pairs = [line.split("\t")[:2] for line in lines]
    return [(tokenized(one), tokenized(other)) for one, other in pairs]


def german(data: Path) -> list[Pair]:
    sides = [(data / "alignments" / f"deen.test.{side}").read_text().splitlines() for side in ("de", "en")]
    return [(" ".join(one.lower().split()), " ".join(other.lower().split())) for one, other in zip(*sides, strict=True)]


def french(data: Path) -> list[Pair]:
    lines = (data / "alignments" / "enfr.src-tgt").read_text().splitlines()
    sides = (line.split("|||") for line in lines)
    return [(" ".join(one.lower().split()), " ".join(other.lower().split())) for one, other in sides]


def write(folder: Path, name: str, pairs: Iterable[Pair]) -> None:
    (folder / name).write_text("".join(f"{one}\t{other}\n" for one, other in pairs))


def main(data: Path, output: Path) -> None:
    for name, train, valid, test in (
        ("deen", multi30k(data, "train"), multi30k(data, "val"), german(data)),
        ("enfr", *divided(tatoeba(data)), french(data)),
    ):
        folder = output / name
        folder.mkdir(parents=True, exist_ok=True)
        for part, pairs in (("train", train + test), ("valid", valid), ("test", test)):
            write(folder, f"{part}.tsv", pairs)
            write(folder, f"{part}.reversed.tsv", [(other, one) for one, other in pairs])


def divided(pairs: list[Pair]) -> tuple[list[Pair], list[Pair]]:
    """The pairs without those of 1,000 English texts, and those."""
    texts = sorted({one for one, _ in pairs})
    chosen = set(random.Random(0).sample(texts, 1000))
    held = {one: other for one, other in pairs if one in chosen}
    return [pair for pair in pairs if pair[0] not in chosen], list(held.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
