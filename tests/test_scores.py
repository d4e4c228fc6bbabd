"""BLEU's tokenizer: chosen by the script of the references, named by the user, or refused."""

from __future__ import annotations

import sys

import pytest

from regard.errors import UserError
from regard.tasks.families.seq2seq.scores import bleu_and_chrf, bleu_tokenizer

TEXTS = {
    "13a": ["a black cat sleeps on the mat", "un chat noir", "שלום עולם", "고양이가 잔다", ""],
    "zh": ["我今天去学校上课。", "他昨天买了一本书。"],
    "char": ["今日は学校へ行きます。", "ฉันรักภาษาไทย", "ຂ້ອຍຮັກລາວ"],
}


@pytest.mark.parametrize(("tokenizer", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_the_tokenizer_is_chosen_by_the_script(tokenizer: str, text: str) -> None:
    assert bleu_tokenizer([text]) == tokenizer


@pytest.mark.parametrize("tokenizer", ["zh", "char"])
def test_equal_texts_score_100(tokenizer: str) -> None:
    for text in TEXTS[tokenizer]:
        scores = bleu_and_chrf([text], [text])
        assert scores["bleu"].value == pytest.approx(100.0)
        assert f"tok:{tokenizer}" in scores["bleu"].how
    assert bleu_and_chrf(TEXTS["zh"], TEXTS["zh"], "13a")["bleu"].value == 0.0


def test_references_of_under_four_words_are_noted() -> None:
    note = "no reference has four words, so BLEU is meaningless"
    assert note in bleu_and_chrf(["un chat"], ["un chat"])["bleu"].how
    assert note not in bleu_and_chrf(["un chat tout noir"], ["un chat tout noir"])["bleu"].how


def test_unknown_tokenizers_are_refused() -> None:
    with pytest.raises(UserError, match=r"--tokenize: expected one of none, .*13a.*, got 'latin'"):
        bleu_and_chrf(["a"], ["a"], "latin")


def test_the_missing_package_of_a_tokenizer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "MeCab", None)
    monkeypatch.delitem(sys.modules, "sacrebleu.tokenizers.tokenizer_ja_mecab", raising=False)
    with pytest.raises(UserError, match=r"--tokenize: ja-mecab cannot be used .*pip install 'sacrebleu\[ja,ko\]'"):
        bleu_and_chrf(["猫"], ["猫"], "ja-mecab")
