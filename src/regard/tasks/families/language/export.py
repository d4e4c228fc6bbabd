"""Exporting a language model to a file that other programs run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regard.data.tokenizer import EOS
from regard.models.language import TransformerLM
from regard.tasks.exporting import Exportable, recurrent


class _Logits(nn.Module):
    """A language model as a function of tokens to logits."""

    def __init__(self, model: TransformerLM):
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> Tensor:
        return self.model.logits(tokens)


def exportable(model: nn.Module, vocabulary: int, context: int, task: str) -> Exportable:
    """The model of a ``task``, from tokens to the logits of each next token. Raises UserError: it is recurrent."""
    if not isinstance(model, TransformerLM):
        raise recurrent("transformer")

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        return (torch.randint(vocabulary, (sizes["batch"], sizes["length"])),)

    limits = {} if model.position is None else {"length": context}
    notes = {
        "task": task, "end": EOS, "context": context, "tokenizer": "tokenizer.json",
        "use": "a new document begins with the token end; logits of each next token",
    }  # fmt: skip
    return Exportable(_Logits(model), {"tokens": ("batch", "length")}, sample, limits, notes)
