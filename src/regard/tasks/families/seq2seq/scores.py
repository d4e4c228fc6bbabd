"""BLEU, chrF and exact match of output texts with their references."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from regard.errors import UserError, require
from regard.tasks.results import Score, Scores


def bleu_and_chrf(texts: Sequence[str], references: Sequence[str], tokenize: str | None = None) -> Scores:
    """``bleu`` and ``chrf`` of sacreBLEU on plain text (Post 2018, arXiv:1804.08771), 0 to 100, with their signatures.

    Args:
        texts: the outputs.
        references: a reference for each.
        tokenize: one of sacreBLEU's tokenizers for BLEU; None: `bleu_tokenizer` chooses one.

    Raises:
        UserError: there is no such tokenizer, or a package or model that it needs is missing.
    """
    metrics: Any = require("sacrebleu.metrics", "text", "BLEU")
    tokenizer = tokenize or bleu_tokenizer(references)
    if tokenizer not in metrics.BLEU.TOKENIZERS:
        raise UserError(f"--tokenize: expected one of {', '.join(metrics.BLEU.TOKENIZERS)}, got {tokenizer!r}")
    try:
        bleu = metrics.BLEU(tokenize=tokenizer)
        words = max((len(bleu.tokenizer(reference).split()) for reference in references), default=0)
        score = float(bleu.corpus_score(list(texts), [list(references)]).score)
    except (Exception, SystemExit) as error:  # the tokenizer needs a package or a model that is missing
        reason = " ".join(str(error).split()) or repr(error)
        raise UserError(
            f"--tokenize: {tokenizer} cannot be used ({reason}); "
            "pip install 'sacrebleu[ja,ko]' sentencepiece, or use char"
        ) from error
    note = "" if words >= 4 else "; no reference has four words, so BLEU is meaningless: see chrf and exact"
    chrf = metrics.CHRF()
    return {
        "bleu": Score(score, str(bleu.get_signature()) + note),
        "chrf": Score(float(chrf.corpus_score(list(texts), [list(references)]).score), str(chrf.get_signature())),
    }


def exact(texts: Sequence[str], references: Sequence[str]) -> float:
    """The percentage of texts that equal their reference.

    >>> exact(["a", "b"], ["a", "c"])
    50.0
    """
    return 100.0 * sum(map(str.__eq__, texts, references)) / max(1, len(texts))


def bleu_tokenizer(references: Sequence[str]) -> str:
    """The tokenizer of sacreBLEU that suits these references.

    If more than half of the letters are of a language without spaces between words: ``zh`` for Chinese, and ``char``
    for Japanese, Thai, Lao, Khmer, Burmese and Tibetan. Otherwise sacreBLEU's default, ``13a``.
    """
    letters = [ord(letter) for text in references for letter in text if letter.isalpha()]
    han = sum(0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF for code in letters)
    kana = sum(0x3040 <= code <= 0x30FF for code in letters)
    others = sum(0xE00 <= code <= 0x109F or 0x1780 <= code <= 0x17FF for code in letters)
    if 2 * (han + kana + others) <= len(letters):
        return "13a"
    return "zh" if han > 10 * kana and han > others else "char"
