"""Draws the images of docs/hugging_face.md: `python docs/_gallery/model_images.py`.

A small BERT learns the topics of regard's built-in requests, and a small ViT the digits of scikit-learn, both from
random weights: nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from tokenizers import BertWordPieceTokenizer
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
)

from regard import looking
from regard.data.requests import requests
from regard.integrations.transformers import enable
from regard.views import STATISTICS, ModelView, draw_alignment, draw_entropy, draw_grid, draw_on_image

IMAGES = Path(__file__).parent.parent / "images"


def of_texts(steps: int = 300) -> None:
    """The heads, the entropy, and the words of one layer, of a BERT of three layers."""
    torch.manual_seed(0)
    texts = requests(2000)
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(texts.texts, vocab_size=600, show_progress=False)
    tokenizer = BertTokenizerFast(vocab=trained.get_vocab())
    config = BertConfig(
        hidden_dropout_prob=0.0,
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128,
        max_position_embeddings=64, num_labels=len(texts.names),
    )  # fmt: skip
    model: Any = BertForSequenceClassification(config)
    model.set_attn_implementation("regard")
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    labels = torch.from_numpy(texts.labels)
    for step in range(steps):
        rows = torch.randint(len(labels), (32,))
        given = tokenizer([texts.texts[row] for row in rows], return_tensors="pt", padding=True)
        _learn(optimizer, model(**given, labels=labels[rows]).loss, step, steps)
    model.eval()
    given = tokenizer("I need the hotel that was noted on March 3, not April 5.", return_tensors="pt")
    with torch.no_grad(), looking(model, STATISTICS, inputs=True) as seen:
        model(**given)
    view = ModelView(seen, tokenizer.convert_ids_to_tokens(given["input_ids"][0]))
    draw_grid(view, IMAGES / "heads.png")
    draw_entropy(view, IMAGES / "entropy.png")
    # The head that chooses most sharply.
    entropies = {(key, head): float(one) for key in view for head, one in enumerate(view[key].view.entropy.mean(1))}
    key, head = min(entropies, key=lambda at: entropies[at])
    draw_alignment(view[key], IMAGES / "layer.png", head=head)


def of_images(steps: int = 200) -> None:
    """Where the class token of a ViT looks; a patch is a pixel of the digit."""
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.from_numpy(digits.images / 16).float()
    pixels = images.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None].expand(-1, 3, -1, -1)
    labels = torch.from_numpy(digits.target)
    config = ViTConfig(
        image_size=32, patch_size=4, hidden_size=64, num_hidden_layers=3, num_attention_heads=4, intermediate_size=128,
        num_labels=10,
    )  # fmt: skip
    model: Any = ViTForImageClassification(config)
    model.set_attn_implementation("regard")
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for step in range(steps):
        rows = torch.randint(100, len(labels), (32,))
        _learn(optimizer, F.cross_entropy(model(pixels[rows]).logits, labels[rows]), step, steps)
    model.eval()
    with torch.no_grad(), looking(model, STATISTICS, inputs=True) as seen:
        model(pixels[4:5])
    image = (pixels[4].numpy() * 255).astype(np.uint8)
    layers = next(iter(ModelView(seen).groups.values()))
    draw_on_image(layers[-1], image, (8, 8), IMAGES / "patches.png")


def _learn(optimizer: torch.optim.Optimizer, loss: torch.Tensor, step: int, steps: int) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 50 == 0:
        print(f"step {step} of {steps}, loss {loss.item():.3f}", file=sys.stderr)


if __name__ == "__main__":
    enable()
    of_texts()
    of_images()
