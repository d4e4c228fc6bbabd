"""Restores masked tokens of a text, to pretrain the part of a model that reads texts: Devlin et al. 2019."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.nn import linear_cross_entropy


class TokenEncoder(nn.Module):
    """The part of a model that gives a state for each token. It shares the weights of the model.

    Args:
        states: the method of the model that computes the states ``(B, L, width)``; it uses ``parts`` alone.
        width: of the states.
        embedding: which of the parts has the embeddings of the tokens.
        **parts: submodules of the model, by their names in it.
    """

    def __init__(self, states: Callable[..., Tensor], width: int, embedding: str, /, **parts: nn.Module):
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)
        self._states, self.width, self._embedding = states, width, embedding

    @property
    def embeddings(self) -> Tensor:
        """The embedding of each token, ``(tokens, dim)``."""
        embedding = self.get_submodule(self._embedding)
        assert isinstance(embedding, nn.Embedding)
        return embedding.weight

    def forward(self, *inputs: Tensor) -> Tensor:
        """The states of the tokens."""
        return self._states(*inputs)


class MaskedModel(nn.Module):
    """Restores masked tokens from the states of an encoder.

    The output layer's weights are embeddings of the encoder (Press and Wolf 2017, arXiv:1608.05859), after a layer that
    brings the states to their width.

    Args:
        encoder: what is pretrained.
        frequencies: how often each token that can be restored occurs, ``(count,)``; the biases of the output layer are
            their logarithms at first.
        first: the row of ``encoder.embeddings`` that belongs to the first of these tokens; the others follow it.
    """

    def __init__(self, encoder: TokenEncoder, frequencies: Tensor, first: int = 0):
        super().__init__()
        self.encoder, self.first = encoder, first
        dim = encoder.embeddings.shape[1]
        self.head = nn.Sequential(nn.Linear(encoder.width, dim), nn.GELU(), nn.LayerNorm(dim))
        counts = frequencies.float() + 1
        self.bias = nn.Parameter((counts / counts.sum()).log())

    def forward(self, inputs: tuple[Tensor, ...], rows: Tensor, places: Tensor, targets: Tensor) -> Tensor:
        """The summed cross-entropy of masked tokens.

        Args:
            inputs: of the encoder.
            rows: int64 ``(N,)``: the text of each masked token.
            places: int64 ``(N,)``: its place in the text.
            targets: int64 ``(N,)``: the tokens to restore, counted from ``first``.
        """
        features = self.head(self.encoder(*inputs)[rows, places])
        return linear_cross_entropy(features, self._weight(), self.bias, targets)

    def logits(self, inputs: tuple[Tensor, ...], rows: Tensor, places: Tensor) -> Tensor:
        """The logits of all tokens at masked places, ``(N, count)``; arguments as in `forward`."""
        features = self.head(self.encoder(*inputs)[rows, places])
        with torch.autocast(features.device.type, enabled=False):
            return F.linear(features.to(self.bias.dtype), self._weight(), self.bias)

    def _weight(self) -> Tensor:
        return self.encoder.embeddings[self.first : self.first + len(self.bias)]
