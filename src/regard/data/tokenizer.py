"""Byte-pair encoding by the ``tokenizers`` library (Sennrich et al. 2016, arXiv:1508.07909), saved with the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from regard.data.lines import compose
from regard.data.workers import interruptible
from regard.errors import UserError, require
from regard.files import write_text

PAD, BOS, EOS, UNK = range(4)
"""Padding, beginning of sequence, end of sequence, unknown: the same numbers in every tokenizer."""

SIGNS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""The names of these special tokens, by number. Such a name within a text is plain text."""

WORD = "▁"
"""In readable pieces, the mark before a piece that begins a word."""

Kind = Literal["byte", "word", "char"]

_DECODERS: dict[str, Kind] = {"ByteLevel": "byte", "Metaspace": "word", "Fuse": "char"}
"""Decoder of the library → kind."""


class Tokenizer:
    """Converts text to token numbers and back.

    ``byte``: pieces of UTF-8 bytes: no text is unknown, and decoding returns composed text exactly. ``word``: pieces of
    characters within words; characters that are not in the training text become unknown, and white space is folded. In
    both, each digit is a separate piece. ``char``: single characters of the training text; others are unknown. Text is
    composed first (Unicode's NFC), in training and in encoding; the saved tokenizer includes this step.
    """

    def __init__(self, library: Any, kind: Kind):
        self._library = library
        self._library.encode_special_tokens = True
        self.kind: Kind = kind

    @classmethod
    def train(cls, texts: Iterable[str], *, kind: Kind = "byte", size: int = 8000, min_frequency: int = 2) -> Tokenizer:
        """Learn pieces from ``texts``, at most ``size`` with the special tokens; the same texts give the same pieces.

        There are more than ``size`` only if the single bytes (256) or characters and the special tokens are more.
        Raises ValueError: ``kind`` is unknown.
        """
        if kind not in _DECODERS.values():
            raise ValueError(f"kind: expected {', '.join(_DECODERS.values())}, got {kind!r}")
        tokenizers: Any = require("tokenizers", "text", "cutting text into tokens")
        parts = tokenizers.pre_tokenizers
        if kind == "char":
            characters: set[str] = set()
            for text in texts:
                characters.update(compose(text))
            names = [*SIGNS, *sorted(characters)]
            vocabulary = {name: number for number, name in enumerate(names)}
            library = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=SIGNS[UNK]))
            library.pre_tokenizer = parts.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
            library.normalizer = tokenizers.normalizers.NFC()
            library.decoder = tokenizers.decoders.Fuse()
            library.add_special_tokens(list(SIGNS))
            return cls(library, kind)
        digits = parts.Digits(individual_digits=True)
        options: dict[str, Any] = {}
        if kind == "byte":
            library = tokenizers.Tokenizer(tokenizers.models.BPE())
            library.pre_tokenizer = parts.Sequence([digits, parts.ByteLevel(add_prefix_space=False)])
            library.decoder = tokenizers.decoders.ByteLevel()
            options["initial_alphabet"] = sorted(parts.ByteLevel.alphabet())
        else:
            library = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token=SIGNS[UNK]))
            library.pre_tokenizer = parts.Sequence(
                [parts.WhitespaceSplit(), parts.Metaspace(WORD), parts.Punctuation(), digits]
            )
            library.decoder = tokenizers.decoders.Metaspace(WORD)
        library.normalizer = tokenizers.normalizers.NFC()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=size, min_frequency=min_frequency, special_tokens=list(SIGNS), show_progress=False, **options
        )
        interruptible(lambda: library.train_from_iterator(texts, trainer))
        return cls(library, kind)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what `save` wrote. Raises UserError: the file is missing or not one of regard's tokenizers."""
        tokenizers: Any = require("tokenizers", "text", "cutting text into tokens")
        try:
            library = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise UserError(f"{path}: no such file") from error
        except Exception as error:  # the library raises a bare Exception
            raise UserError(f"{path}: not a tokenizer ({str(error).splitlines()[0]})") from error
        if [library.id_to_token(number) for number in range(len(SIGNS))] != list(SIGNS):
            raise UserError(f"{path}: a tokenizer, but not one of regard's: tokens 0 to 3 must be {', '.join(SIGNS)}")
        return cls(library, _DECODERS[type(library.decoder).__name__])

    def save(self, path: Path) -> None:
        """Write as JSON. Raises UserError: the file cannot be written."""
        write_text(path, self.text())

    def text(self) -> str:
        """What `save` writes."""
        text: str = self._library.to_str(pretty=True)
        return text

    def __len__(self) -> int:
        return int(self._library.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """Token numbers, without special tokens."""
        numbers: list[int] = self._library.encode(text, add_special_tokens=False).ids
        return numbers

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token numbers of each text."""
        return [encoding.ids for encoding in self._library.encode_batch(list(texts), add_special_tokens=False)]

    def encode_places(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Token numbers of each text, and the start and end of each token in it, in characters of the composed text."""
        encodings = self._library.encode_batch([compose(text) for text in texts], add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text, without special tokens."""
        text: str = self._library.decode([number for number in numbers if number >= len(SIGNS)])
        return text

    def spelled(self, numbers: Sequence[int]) -> list[str]:
        """The text of each token of a sequence, of ``word`` with the space before it, except at the beginning."""
        if self.kind != "word":
            return [self.decode([number]) for number in numbers]
        pieces = [self._library.id_to_token(number).replace(WORD, " ") for number in numbers]
        return [piece.removeprefix(" ") if at == 0 else piece for at, piece in enumerate(pieces)]

    def pieces(self, numbers: Sequence[int]) -> list[str]:
        """Each token in readable form: ``▁`` begins a word; bytes that are only a part of a character are ``⟨c3⟩``."""
        names = [self._library.id_to_token(number) for number in numbers]
        if self.kind != "byte":
            return names
        pieces = [name if n < len(SIGNS) else _readable(name) for name, n in zip(names, numbers, strict=True)]
        if pieces and numbers[0] >= len(SIGNS) and not pieces[0].startswith(WORD):
            pieces[0] = WORD + pieces[0]
        return pieces


def _readable(name: str) -> str:
    """A byte-level piece as text: the library writes each byte as one printable character."""
    raw = bytes(_BYTES[character] for character in name)
    text = "".join(
        character if not 0xDC80 <= ord(character) <= 0xDCFF else f"⟨{ord(character) - 0xDC00:02x}⟩"
        for character in raw.decode("utf-8", "surrogateescape")
    )
    return WORD + text[1:] if text.startswith(" ") else text


def _byte_characters() -> dict[str, int]:
    """GPT-2's table (Radford et al. 2019): printable Latin-1 bytes are themselves, the others U+0100 and following."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + at): byte for at, byte in enumerate(hidden)}


_BYTES = _byte_characters()
