"""What each head adds to the residual stream: norms and shares of the transformed vectors of keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from regard.attribution.trace import Call
from regard.errors import UserError

_KEYS = 1024
"""Keys whose vectors of all heads are stored at once."""


def projections(call: Call) -> Tensor:
    """The part of the output projection that each head's values pass through, ``(H, Ev, D)``.

    Raises:
        UserError: the projection of this attention cannot be told.
    """
    if call.projection is None:
        raise UserError(
            f"{call.name}: no linear layer takes the joined outputs of its heads, so the vectors that they add are "
            "not known; weights, rollout, relevance and gradient_x_input do not need them"
        )
    weight = call.projection.weight
    assert isinstance(weight, Tensor)
    if isinstance(call.projection, nn.Linear):
        weight = weight.T
    parts: Tensor = weight.detach().to(call.output.dtype).unflatten(0, (call.output.shape[1], -1))
    return parts


@dataclass(eq=False)
class Block:
    """An attention with the residual connection around it and the normalization of their sum, if there is one.

    The vector that query i gets from key j is ``T_ij = L(Σ_h a_ij^h v_j^h W^h + [i = j] x_i) / σ_i``, with L the linear
    part of the normalization and σ its divisor; in a layer that normalizes before, L is the identity and σ is 1.

    Attributes:
        residual: x, ``(B, L, D)``.
        result: the output of the block, ``(B, L, D)``.
        norm: the normalization after the block; None: there is none.
        divisor: σ, ``(B, L)``.
    """

    residual: Tensor
    result: Tensor
    norm: nn.LayerNorm | None
    divisor: Tensor

    def linear(self, vectors: Tensor) -> Tensor:
        """L, of vectors ``(…, D)``."""
        if self.norm is None:
            return vectors
        centered = vectors - vectors.mean(-1, keepdim=True)
        return centered if self.norm.weight is None else centered * self.norm.weight.detach().to(vectors.dtype)

    def pulled(self, vectors: Tensor) -> Tensor:
        """The transpose of L, of vectors ``(…, D)``."""
        if self.norm is None:
            return vectors
        scaled = vectors if self.norm.weight is None else vectors * self.norm.weight.detach().to(vectors.dtype)
        return scaled - scaled.mean(-1, keepdim=True)


def block(call: Call) -> Block:
    """The block around an attention.

    Raises:
        UserError: it is not ``norm(x + f(x))`` or ``x + f(norm(x))``.
    """
    projections(call)
    if call.projected is not None and call.after is not None and call.entered is not None:
        total = call.after.input.to(call.output.dtype)
        if total.shape == call.projected.shape:
            x = total - call.projected
            # A sum is as exact as its numbers.
            near = max(1e-5, 2 * torch.finfo(call.projected.dtype).eps) * float(total.norm())
            if call.before is not None and _near(call.before.input, x, near):
                return Block(x, total, None, torch.ones_like(total[..., 0]))
            if _near(call.entered, x, near) and isinstance(call.after.module, nn.LayerNorm):
                variance, result = total.var(-1, correction=0), call.after.output.to(total.dtype)
                return Block(x, result, call.after.module, (variance + call.after.module.eps).sqrt())
    raise UserError(
        f"{call.name}: its residual connection is neither norm(x + f(x)) nor x + f(norm(x)), so the vectors that it "
        "adds are not known; weights, norms, rollout, relevance and gradient_x_input do not need them"
    )


def _near(one: Tensor, other: Tensor, distance: float) -> bool:
    return one.shape == other.shape and float((one - other).norm()) <= distance


def gram(values: Tensor, projection: Tensor, linear: Callable[[Tensor], Tensor] = lambda vectors: vectors) -> Tensor:
    """``G_j``, ``(B, Lk, H, H)``: the products of the vectors ``L(v_j^h W^h)`` of all heads of key j.

    Args:
        values: ``(B, H, Lk, Ev)``.
        projection: W, ``(H, Ev, D)``, see `projections`.
        linear: L, of vectors ``(…, D)``.
    """
    parts = []
    for some in values.split(_KEYS, 2):
        vectors = linear(torch.einsum("bhje,hed->bjhd", some, projection))
        parts.append(vectors @ vectors.mT)
    return torch.cat(parts, 1)


def squared_norms(weights: Tensor, products: Tensor) -> Tensor:
    """``a_ijᵀ G_j a_ij`` ``(B, n, Lk)``, of weights ``(B, H, n, Lk)``."""
    by_head = products.permute(2, 3, 0, 1)[:, :, :, None]  # (H, H, B, 1, Lk)
    total = torch.zeros_like(weights[:, 0])
    for head, own in enumerate(weights.unbind(1)):
        # Each pair of heads is there twice. Products over all heads as matrices of H × H take four times as long.
        inner = own * by_head[head, head].contiguous()
        for other in range(head):
            inner.addcmul_(weights[:, other], by_head[head, other].contiguous(), value=2)
        total.addcmul_(own, inner)
    return total


class Norms:
    """``‖Σ_h a_ij^h v_j^h W^h‖``, rows of Kobayashi et al. 2020.

    Args:
        call: the attention.
    """

    def __init__(self, call: Call):
        self._products = gram(call.values, projections(call))

    def __call__(self, call: Call, at: Tensor) -> Tensor:
        """The rows of some queries, ``(B, n, Lk)``."""
        return squared_norms(call.tile(at), self._products).clamp(min=0).sqrt()


class BlockNorms:
    """``‖T_ij‖`` with the residual connection and the normalization after it, rows of Kobayashi et al. 2021.

    Args:
        call: the attention.
    """

    def __init__(self, call: Call):
        self.block = block(call)
        self._products = gram(call.values, projections(call), self.block.linear)
        self._residual = self.block.linear(self.block.residual)

    def __call__(self, call: Call, at: Tensor) -> Tensor:
        """The rows of some queries, ``(B, n, Lk)``."""
        return self.squared(call, at, call.tile(at)).clamp(min=0).sqrt()

    def squared(self, call: Call, at: Tensor, weights: Tensor) -> Tensor:
        """``‖T_ij‖²``, ``(B, n, L)``, for the weights of some queries."""
        size = squared_norms(weights, self._products)
        own = self.block.linear(self.added(call, at, weights))
        x = self._residual[:, at]
        size[:, torch.arange(at.numel(), device=at.device), at] += (2 * own * x + x * x).sum(2)
        return size / self.block.divisor[:, at, None] ** 2

    def added(self, call: Call, at: Tensor, weights: Tensor) -> Tensor:
        """What each query's own key adds to it, ``(B, n, D)``, before L."""
        diagonal = weights[:, :, torch.arange(at.numel(), device=at.device), at]
        return torch.einsum("bhi,bhie,hed->bid", diagonal, call.values[:, :, at], projections(call))


class Contributions:
    """Shares of ``max(0, ‖y_i‖ − ‖y_i − T_ij‖)``, rows of ALTI with the 2-norm, y the output of the block.

    Args:
        call: the attention.
    """

    def __init__(self, call: Call):
        self._norms = BlockNorms(call)

    def __call__(self, call: Call, at: Tensor) -> Tensor:
        """The rows of some queries, ``(B, n, Lk)``."""
        block, weights = self._norms.block, call.tile(at)
        y, divisor = block.result[:, at], block.divisor[:, at, None]
        dot = _products_with(y, block, call, weights)
        dot[:, torch.arange(at.numel(), device=at.device), at] += (block.pulled(y) * block.residual[:, at]).sum(2)
        rows = _nearer(y, dot / divisor, self._norms.squared(call, at, weights))
        return rows / rows.sum(2, keepdim=True).clamp(min=torch.finfo(rows.dtype).tiny)


class CrossContributions:
    """The same of a cross-attention, whose shares leave room for that of the residual connection: ALTI+.

    Ferrando et al. 2022, arXiv:2205.11631, section 3. A row sums to 1 minus the share of ``L(x_i) / σ_i``.

    Args:
        call: the attention.
    """

    def __init__(self, call: Call):
        self.block = block(call)
        self._products = gram(call.values, projections(call), self.block.linear)

    def __call__(self, call: Call, at: Tensor) -> Tensor:
        """The rows of some queries, ``(B, n, Lk)``."""
        block, weights = self.block, call.tile(at)
        y, divisor = block.result[:, at], block.divisor[:, at, None]
        x = block.linear(block.residual[:, at]) / divisor
        own = _nearer(y, (x * y).sum(2, keepdim=True), x.square().sum(2, keepdim=True))
        dot = _products_with(y, block, call, weights)
        rows = _nearer(y, dot / divisor, squared_norms(weights, self._products) / divisor**2)
        return rows / (rows.sum(2, keepdim=True) + own).clamp(min=torch.finfo(rows.dtype).tiny)


def _products_with(y: Tensor, around: Block, call: Call, weights: Tensor) -> Tensor:
    """``y_i · L(Σ_h a_ij^h v_j^h W^h)``, ``(B, n, Lk)``, of some queries."""
    seen = torch.einsum("bid,hed->bhie", around.pulled(y), projections(call))
    return (weights * (seen @ call.values.mT)).sum(1)


def _nearer(y: Tensor, dot: Tensor, size: Tensor) -> Tensor:
    """``max(0, ‖y‖ − ‖y − T‖)``, from the products ``y · T`` and the squares ``‖T‖²``."""
    length = y.square().sum(2, keepdim=True)
    return (length.sqrt() - (length - 2 * dot + size).clamp(min=0).sqrt()).clamp(min=0)
