"""A recurrent translator: bidirectional GRU encoder, and a GRU decoder that attends.

Bahdanau, Cho and Bengio 2015 (arXiv:1409.0473) for the encoder and the additive score; the decoder is that of
`regard.models.decoder`. ``attention="none"`` is the same model with one fixed context, the final states of the encoder
(Cho et al. 2014, arXiv:1406.1078), as a baseline.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.models.decoder import DecoderState, Memory, RecurrentDecoder, token_embedding
from regard.models.masked import TokenEncoder
from regard.nn import GRU, linear_cross_entropy

AttentionKind = Literal["additive", "dot", "general", "concat", "none"]


class RNNTranslator(RecurrentDecoder):
    """Encoder, attention and decoder.

    Args:
        source_size: number of source tokens.
        target_size: number of target tokens.
        embedding: width of the embeddings; the target's are also the output layer's weights (Press and Wolf 2017,
            arXiv:1608.05859).
        dim: width of the decoder's state and of the memory, half of it from each direction of the encoder. Even.
        attention: the score, or ``"none"`` for a fixed context.
        dropout: probability, on embeddings, memory and output.
        shared: whether source and target have the same tokens and the same embeddings.

    Raises:
        ValueError: ``dim`` is odd, or ``dropout`` is not in [0, 1).
    """

    def __init__(
        self,
        source_size: int,
        target_size: int,
        *,
        embedding: int = 256,
        dim: int = 512,
        attention: AttentionKind = "additive",
        dropout: float = 0.3,
        shared: bool = False,
    ):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim: must be even, because each direction of the encoder has half of it, got {dim}")
        self.source_embedding = None if shared else token_embedding(source_size, embedding)
        self.target_embedding = token_embedding(target_size, embedding)
        self.forwards = GRU(embedding, dim // 2)
        self.backwards = GRU(embedding, dim // 2)
        self._add_decoder(embedding, dim, target_size, attention, dropout)

    def encode(self, source: Tensor, lengths: Tensor) -> Memory:
        """Encode a padded batch: ``source`` int64 ``(B, Ls)``, ``lengths`` int64 ``(B,)``."""
        states, final = self._read(source, lengths)
        return self._remember(states, lengths, final)

    def token_encoder(self) -> TokenEncoder:
        """The embedding and the encoder of the source, to be pretrained: it takes what `states` does."""
        name = "target_embedding" if self.source_embedding is None else "source_embedding"
        parts = {name: self.get_submodule(name), "forwards": self.forwards, "backwards": self.backwards}
        return TokenEncoder(self.states, self.bridge.in_features, name, dropout=self.dropout, **parts)

    def states(self, source: Tensor, lengths: Tensor) -> Tensor:
        """The encoder's outputs ``(B, Ls, dim)``; arguments as in `encode`."""
        return self._read(source, lengths)[0]

    def _read(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The states of the encoder ``(B, Ls, dim)``, and the last one of each direction ``(B, dim)``."""
        real = torch.arange(source.shape[1], device=source.device) < lengths[:, None]
        embedded = self.dropout((self.source_embedding or self.target_embedding)(source))
        ahead, last_ahead = self.forwards(embedded, real)
        back, last_back = self.backwards(embedded, real, reverse=True)
        return torch.cat([ahead, back], -1), torch.cat([last_ahead, last_back], -1)

    def start(self, source: Tensor, lengths: Tensor) -> DecoderState:
        """The decoder's state before the first token; arguments as in `encode`."""
        return self._begin(self.encode(source, lengths))

    def forward(
        self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """The summed cross-entropy of the target tokens, each given all before it (teacher forcing).

        Args:
            source: int64 ``(B, Ls)``, padded.
            lengths: int64 ``(B,)``.
            target: int64 ``(B, Lt + 1)``, BOS, the tokens and EOS, padded.
            target_lengths: int64 ``(B,)``, including BOS.
            smoothing: label smoothing.
        """
        features, wanted = self._teach(self.start(source, lengths), target, target_lengths)
        return linear_cross_entropy(features, self.target_embedding.weight, self.output_bias, wanted, smoothing)

    def logits(self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> Tensor:
        """Logits of each target token given all before it, row by row, padding left out; arguments as in `forward`."""
        features, _ = self._teach(self.start(source, lengths), target, target_lengths)
        return F.linear(features, self.target_embedding.weight, self.output_bias)
