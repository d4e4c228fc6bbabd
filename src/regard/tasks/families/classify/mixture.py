"""The mean of the probabilities of several classifiers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def mixture(logits: Sequence[Tensor], shares: Sequence[float], *, several: bool) -> Tensor:
    """Logits of the mixture of the probabilities of several models.

    Args:
        logits: of each model, ``(B, classes)``.
        shares: of each model, above 0; their sum is 1.
        several: whether each logit is for a label of its own.

    >>> logits = mixture([torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, -5.0]])], [0.5, 0.5], several=False)
    >>> [round(probability, 2) for probability in logits.softmax(-1)[0].tolist()]
    [0.75, 0.25]
    """
    every = torch.stack(list(logits))
    weights = torch.tensor(shares, dtype=torch.float64).log().to(every)[:, None, None]
    if not several:
        return (every.log_softmax(-1) + weights).logsumexp(0)
    return (F.logsigmoid(every) + weights).logsumexp(0) - (F.logsigmoid(-every) + weights).logsumexp(0)
