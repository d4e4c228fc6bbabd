"""Recognizes a first line that names the columns of parallel text, and the columns of the two sides."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SOURCES = {"source", "src", "input", "from", "original", "question", "sentence1", "text1"}
_TARGETS = {"target", "tgt", "trg", "output", "to", "translation", "answer", "sentence2", "text2"}
_OTHERS = {
    "id", "idx", "index", "no", "nr", "number", "row", "line", "score", "url", "domain", "origin", "lang", "language",
    "date", "split",
}  # fmt: skip
_FILLERS = {"text", "texts", "sentence", "sentences", "segment", "sent", "string", "column", "side"}
_LANGUAGES = {
    "ar": "arabic", "bg": "bulgarian", "bn": "bengali", "ca": "catalan", "cs": "czech", "da": "danish",
    "de": "german", "el": "greek", "en": "english", "es": "spanish", "et": "estonian", "fa": "persian",
    "fi": "finnish", "fr": "french", "ga": "irish", "he": "hebrew", "hi": "hindi", "hr": "croatian",
    "hu": "hungarian", "id": "indonesian", "is": "icelandic", "it": "italian", "ja": "japanese", "ko": "korean",
    "lt": "lithuanian", "lv": "latvian", "mt": "maltese", "nl": "dutch", "no": "norwegian", "pl": "polish",
    "pt": "portuguese", "ro": "romanian", "ru": "russian", "sk": "slovak", "sl": "slovenian", "sr": "serbian",
    "sv": "swedish", "sw": "swahili", "ta": "tamil", "th": "thai", "tr": "turkish", "uk": "ukrainian", "ur": "urdu",
    "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
_THREE_LETTERS = {
    "ara", "ces", "deu", "eng", "fra", "ger", "heb", "hin", "ita", "jpn", "kor", "nld", "pol", "por", "rus", "spa",
    "swe", "tur", "ukr", "vie", "zho",
}  # fmt: skip
_NAMES = {*_LANGUAGES.values(), *_THREE_LETTERS}


def sides(fields: Sequence[str]) -> list[int] | None:
    """The columns of the source and the target in a first line, if it is a header.

    Returns:
        Their indices, from 0; more or fewer than two if the line is a header but ambiguous; None if it is not a header,
        that is, if one of its fields is not a usual name of a column.

    >>> sides(["id", "src", "tgt"]), sides(["English", "German"]), sides(["A cat.", "Eine Katze."])
    ([1, 2], [0, 1], None)
    >>> sides(["en", "de", "fr"])
    [0, 1, 2]
    """
    kinds = [_kind(field) for field in fields]
    if None in kinds:
        return None
    sources, targets, languages = ([at for at, one in enumerate(kinds) if one == kind] for kind in ("s", "t", "l"))
    if sources or targets:
        sources, targets = sources or languages, targets or languages
        return [*sources, *targets] if sources and targets else None
    names = [fields[at].casefold().strip() for at in languages]
    if len(languages) > 2 and "id" in names:  # an identifier, not Indonesian
        languages.pop(names.index("id"))
    # The same language twice is a pair of equal words, not a header.
    return languages if len(set(names)) > 1 else None


def _kind(field: str) -> str | None:
    """``s``, ``t`` or ``l`` for the name of a source, a target or a language, ``o`` for another usual name."""
    words = [word for word in re.findall(r"[^\W_]+", field.casefold()) if word not in _FILLERS]
    if not words:
        return "o" if field == "" or re.search(r"\w", field) else None
    if len(words) == 1:
        for kind, names in (("s", _SOURCES), ("t", _TARGETS), ("l", _NAMES), ("l", _LANGUAGES), ("o", _OTHERS)):
            if words[0] in names:
                return kind
        return None
    if words[0] in _LANGUAGES and all(len(word) <= 4 for word in words[1:]) and re.search("[-_]", field):
        return "l"  # a code with a region or a script, such as pt-BR
    return "o" if {"lang", "language", "id", "score"} & set(words) else None
