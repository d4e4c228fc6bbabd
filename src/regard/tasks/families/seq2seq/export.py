"""Exporting a Transformer from text to text to a file that other programs run."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from regard.data.tokenizer import BOS, EOS, PAD
from regard.models.transformer import TransformerTranslator
from regard.tasks.exporting import Exportable, recurrent


class _NextToken(nn.Module):
    """The model as a function of source and target to the logits of the target's next tokens."""

    def __init__(self, model: TransformerTranslator):
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, source_lengths: Tensor, target: Tensor) -> Tensor:
        return self.model.following(source, source_lengths, target)


USE = "a source ends with the token end, a target begins with the token start; logits of each next token"
"""What users of an exported file need to know about its inputs and outputs."""


def exportable(
    model: nn.Module, source_size: int, target_size: int, task: str, notes: Mapping[str, object]
) -> Exportable:
    """The model of a ``task``, from source and target to the logits of each next target token.

    Args:
        model: a Transformer.
        source_size: the number of source tokens.
        target_size: the number of target tokens.
        task: its name.
        notes: what users of the file need to know besides the special tokens.

    Raises:
        UserError: the model is recurrent.
    """
    if not isinstance(model, TransformerTranslator):
        raise recurrent("transformer")

    def sample(sizes: Mapping[str, int]) -> tuple[Tensor, ...]:
        batch, source_length, target_length = sizes["batch"], sizes["source_length"], sizes["target_length"]
        lengths = torch.full((batch,), source_length)
        lengths[1:] = (source_length + 1) // 2
        source = torch.randint(4, source_size, (batch, source_length))
        return source, lengths, torch.randint(4, target_size, (batch, target_length))

    limits = {} if model.longest is None else {"source_length": model.longest, "target_length": model.longest}
    inputs = {
        "source": ("batch", "source_length"),
        "source_lengths": ("batch",),
        "target": ("batch", "target_length"),
    }
    return Exportable(
        _NextToken(model), inputs, sample, limits, {"task": task, "pad": PAD, "start": BOS, "end": EOS, **notes}
    )
