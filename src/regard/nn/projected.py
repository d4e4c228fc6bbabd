"""Single-head attention over a memory, with projections: soft, hard and variational."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from regard.attend import Dot, Hard, Look, Mask, Normalizer, Score, Variational, View
from regard.nn.layer import Device, Layer, check_sequences
from regard.nn.learned import SOFTMAX, Learned, row_of, value_of
from regard.nn.optional_look import attend

_DOT = Dot()


class SoftAttention(Layer):
    """``softmax(score(W_q x, W_k m)) W_v m``: a weighted mean of a memory.

    Args:
        width: of queries and context.
        memory_width: of the memory; None: ``width``.
        key_width: d_k, of projected queries and keys; None: ``width / 2``.
        score: any score, or a `Learned` one.
        normalizer: any normalizer, or a `Learned` one.
        dropout: the probability that a weight is dropped in training.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive, or ``dropout`` is out of range.

    Example:
        >>> layer = SoftAttention(8, memory_width=6)
        >>> context, view = layer(torch.randn(2, 5, 8), torch.randn(2, 7, 6), look=Look(entropy=True))
        >>> context.shape, view.entropy.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 1, 5]))
    """

    def __init__(
        self,
        width: int,
        memory_width: int | None = None,
        *,
        key_width: int | None = None,
        score: Score | Learned[Score] = _DOT,
        normalizer: Normalizer | Learned[Normalizer] = SOFTMAX,
        dropout: float = 0.0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        memory_width = width if memory_width is None else memory_width
        key_width = max(1, width // 2) if key_width is None else key_width
        if min(width, memory_width, key_width) < 1:
            raise ValueError(f"widths must be positive, got {width}, {memory_width}, {key_width}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: must be at least 0 and below 1, got {dropout}")
        self.query = nn.Linear(width, key_width, bias=False, device=device, dtype=dtype)
        self.key = nn.Linear(memory_width, key_width, bias=False, device=device, dtype=dtype)
        self.value = nn.Linear(memory_width, width, bias=False, device=device, dtype=dtype)
        self.score, self.normalizer, self.dropout = score, normalizer, dropout

    def forward(
        self,
        query: Tensor,
        memory: Tensor | None = None,
        *,
        mask: Mask | Tensor | None = None,
        look: Look | None = None,
    ) -> tuple[Tensor, View | None]:
        """Attend.

        Args:
            query: ``(B, Lq, width)``, or ``(Lq, width)`` of a single sequence.
            memory: ``(B, Lk, memory_width)`` or ``(Lk, memory_width)``; None: the queries themselves.
            mask: as in `regard.attention`, with one head.
            look: what to report about the weights.

        Returns:
            The context, of query's shape, and the view, None without ``look``.

        Raises:
            ValueError: ``query`` has neither 2 nor 3 dimensions, or ``memory`` has another number.
        """
        check_sequences(query, memory=memory)
        memory = query if memory is None else memory
        return attend(
            self.query(query), self.key(memory), self.value(memory), value_of(self.score), mask, look,
            normalizer=row_of(self.normalizer, self.dropout, self.training),
        )  # fmt: skip


class HardAttention(SoftAttention):
    """One key for each query (Xu et al. 2015, arXiv:1502.03044); in evaluation, the one with the largest score.

    With ``"reinforce"``, add ``reinforce(cost, view.log_prob, …)`` to the loss; the other estimators need only the
    loss. See `regard.Hard`.

    Args:
        width: of queries and context.
        memory_width: of the memory; None: ``width``.
        key_width: d_k; None: ``width / 2``.
        estimator: the gradient estimator of the choice.
        temperature: of the softmax from which the key is drawn.
        score: any score, or a `Learned` one.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> layer = HardAttention(8, estimator="reinforce")
        >>> context, view = layer(torch.randn(2, 5, 8), look=Look(log_prob=True))
        >>> cost = context.square().mean(-1)  # of each choice, here an arbitrary one
        >>> loss = reinforce(cost, view.log_prob, baseline=cost.mean())
    """

    def __init__(
        self,
        width: int,
        memory_width: int | None = None,
        *,
        key_width: int | None = None,
        estimator: Literal["gumbel", "reinforce", "straight-through"] = "gumbel",
        temperature: float = 1.0,
        score: Score | Learned[Score] = _DOT,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        row = Hard(estimator, temperature)
        super().__init__(
            width, memory_width, key_width=key_width, score=score, normalizer=row, device=device, dtype=dtype
        )


class VariationalAttention(SoftAttention):
    """Latent weights: softmax of scores with learned Gaussian noise (Fan et al. 2020, arXiv:2010.10604).

    ``Look(kl=True)`` gives the divergence from the prior N(0, ``prior_scale``²) of each query: add its mean to the loss
    with a factor that grows from 0. Evaluation uses the mean scores.

    Args:
        width: of queries and context.
        memory_width: of the memory; None: ``width``.
        key_width: d_k; None: ``width / 2``.
        scale: initial scale of the noise; its logarithm is learned.
        prior_scale: standard deviation of the prior.
        score: any score, or a `Learned` one.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a size, ``scale`` or ``prior_scale`` is not positive.

    Example:
        >>> context, view = VariationalAttention(8)(torch.randn(2, 5, 8), look=Look(kl=True))
        >>> loss = context.square().mean() + 0.1 * view.kl.mean()
    """

    def __init__(
        self,
        width: int,
        memory_width: int | None = None,
        *,
        key_width: int | None = None,
        scale: float = 0.5,
        prior_scale: float = 1.0,
        score: Score | Learned[Score] = _DOT,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ):
        if min(scale, prior_scale) <= 0:
            raise ValueError(f"scale and prior_scale must be positive, got {scale}, {prior_scale}")
        row: Learned[Normalizer] = Learned(
            partial(_variational, prior_scale=prior_scale),
            device=torch.get_default_device() if device is None else device,
            dtype=torch.get_default_dtype() if dtype is None else dtype,
            log_scale=torch.tensor([math.log(scale)], dtype=torch.float64, device="cpu"),
        )
        super().__init__(
            width, memory_width, key_width=key_width, score=score, normalizer=row, device=device, dtype=dtype
        )


def _variational(log_scale: Tensor, prior_scale: float) -> Variational:
    return Variational(log_scale.exp(), prior_scale=prior_scale)


def reinforce(cost: Tensor, log_prob: Tensor, baseline: Tensor | float) -> Tensor:
    """The term of the loss that trains `Hard` choices by their cost (Williams 1992; Xu et al. 2015, equation 12).

    Args:
        cost: the cost of the choice, of the shape of ``log_prob`` or broadcastable to it; its gradient is not used.
        log_prob: ``view.log_prob``.
        baseline: the expected cost, such as a running mean: it reduces the variance of the gradient, not its mean.

    Returns:
        The mean of ``(cost − baseline) · log_prob``.

    Example:
        >>> reinforce(torch.tensor([1.0, 3.0]), torch.tensor([-0.5, -1.0]), baseline=2.0)
        tensor(-0.2500)
    """
    return ((cost - baseline).detach() * log_prob).mean()
