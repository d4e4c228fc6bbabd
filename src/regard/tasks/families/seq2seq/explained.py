"""How probable a model finds given outputs, for attributions to the pieces of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from regard.attribution.compared import Case, Explainable
from regard.data.tokenizer import BOS, EOS, UNK
from regard.models.encoder_decoder import EncoderDecoder
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.text import TextPredictor


class LogProbability(nn.Module):
    """The logarithm of the probability of targets given their sources, the mean over the targets' tokens.

    Args:
        model: with a method ``logits``.
    """

    def __init__(self, model: EncoderDecoder):
        super().__init__()
        self.model: Any = model

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """``(B,)``, in nats, of sources int64 ``(B, Ls)`` and targets ``(B, Lt)`` that begin with BOS."""
        lengths, written = (torch.full((len(one),), one.shape[1], device=one.device) for one in (source, target))
        logits = self.model.logits(source, lengths, target, written)
        wanted = target[:, 1:]
        logs = logits.float().log_softmax(-1).unflatten(0, wanted.shape)
        mean: Tensor = logs.gather(2, wanted[..., None])[..., 0].mean(1)
        return mean


def explainable(predictor: TextPredictor[Any], pairs: PairList, limit: int) -> Explainable:
    """The log-probability of each of the first targets given its source, by the pieces of the source."""
    cases, device = [], predictor.model.device
    for text, target in islice(pairs, limit):
        source = torch.tensor([[*predictor.source.encode(text.strip()), EOS]], device=device)
        written = torch.tensor([[BOS, *predictor.target.encode(target.strip()), EOS]], device=device)
        candidates = torch.arange(source.shape[1]) < source.shape[1] - 1
        cases.append(Case({"source": source, "target": written}, candidates, _itself))
    unknown: Sequence[str] = predictor.source.pieces([UNK])
    notes = [
        "of which the log-probability of the target is explained, in nats for each of its tokens",
        f"removed pieces of the source are replaced by {unknown[0]}",
    ]
    return Explainable(LogProbability(predictor.model).eval(), cases, UNK, "pairs", notes)


def _itself(value: Tensor) -> Tensor:
    return value
