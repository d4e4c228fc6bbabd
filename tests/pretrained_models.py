"""Small models of Hugging Face with random weights in folders, with tokenizers and image processors of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_families import FAMILIES, VOCABULARY

TEXT = "The unseen cats sleep because the cats are tired. Nobody has seen unseen cats asleep."


def save(family: str, folder: Path, *, kind: str = "WordPiece", tokenizer: bool = True) -> Path:
    """Write a model of a family of `model_families`, and what makes its inputs, to ``folder``."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    FAMILIES[family].build().save_pretrained(folder)
    if FAMILIES[family].kind == "image":
        processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    elif tokenizer:
        _tokenizer(kind).save_pretrained(folder)
    return folder


def _tokenizer(kind: str) -> Any:
    """A tokenizer that was trained on `TEXT`, with at most as many tokens as the models have."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<s>", "</s>", "<unk>"]
    if kind == "WordPiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Lowercase()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=special)
    elif kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    if kind != "bytes":
        template = "<s> $A </s>" if kind == "WordPiece" else "$A </s>"
        tokenizer.post_processor = processors.TemplateProcessing(
            single=template, special_tokens=[(name, special.index(name)) for name in ("<s>", "</s>")]
        )
    names = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=60, **names)
