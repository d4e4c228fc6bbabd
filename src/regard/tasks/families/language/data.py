"""Documents: read from the user's files, with a part for validation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from regard.data import split
from regard.data.corpus import PIECE, Documents, facts
from regard.data.documents import open_documents
from regard.tasks.families.language.settings import DocumentsConfig
from regard.training.fingerprint import Fingerprint, Long, Part, row_digest

_SET_ASIDE = 0.1


@dataclass(frozen=True)
class Text:
    """Training and validation documents."""

    train: Documents
    valid: Documents

    @property
    def valid_bytes(self) -> int:
        """The size of the validation documents in UTF-8 as the user wrote them, composed or not.

        Bits per byte are over these bytes, so that they are comparable with those of models that do not compose text.
        """
        return self.valid.size

    @classmethod
    def of(cls, train: Iterable[str], valid: Iterable[str]) -> Text:
        """From documents as the user wrote them."""
        return cls(Documents.of(train), Documents.of(valid))


def read(path: str, config: DocumentsConfig, notify: Callable[[str], None]) -> Text:
    """The documents of ``path``, and those for validation; messages about them go to ``notify``.

    Raises:
        UserError: a file cannot be used.
    """
    train = open_documents(path, column=config.column, notify=notify)
    if config.valid is not None:
        text = Text(train, open_documents(config.valid, column=config.column, notify=notify))
        shared = _shared(text)
        if shared:
            notify(split.shared_notice(shared, len(text.valid), "documents"))
        return text
    return set_aside(train, notify)


def fingerprint(text: Text) -> Fingerprint:
    """The fingerprint of the documents."""
    return Fingerprint("documents", _part(text.train), _part(text.valid))


def _part(documents: Documents) -> Part:
    def compute() -> dict[str, Any]:
        return asdict(Part.of((row,) for row in _fields(documents)))

    return Part(**facts("part", compute, (documents,)))


def _shared(text: Text) -> int:
    """The number of validation documents that are training documents too."""

    def compute() -> dict[str, Any]:
        train, valid = ((row_digest((field,)) for field in _fields(part)) for part in (text.train, text.valid))
        return {"count": split.repeated(train, list(valid))}

    return int(facts("shared", compute, (text.train, text.valid))["count"])


def _fields(documents: Documents) -> Iterator[str | Long]:
    for index in range(len(documents)):
        if documents.ends[index] - documents.starts[index] <= PIECE:
            yield documents[index]
        else:
            yield Long(piece.encode() for piece in documents.pieces(index))


def set_aside(documents: Sequence[str], notify: Callable[[str], None]) -> Text:
    """Set the last tenth aside for validation: see `split.last_part`. Raises UserError: there is too little text."""
    documents = documents if isinstance(documents, Documents) else Documents.of(documents)
    train, valid, part = split.last_part(documents, share=_SET_ASIDE)
    notify(split.notice(part))
    return Text(train, valid)
