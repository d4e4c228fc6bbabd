"""From sounds to text: convolutions, a recurrent encoder or a Conformer, CTC, and a recurrent decoder that attends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.decode import Step
from regard.models.conformer import ConformerLayer
from regard.models.decoder import DecoderState, Memory, RecurrentDecoder, token_embedding
from regard.models.layers import real_places
from regard.models.spec_augment import SpecAugment
from regard.nn import Dropout, LogMel, linear_cross_entropy

STEP = 4
"""The number of frames of features for each step of the encoder."""

_LIMIT = 5.0
"""The largest normalized feature; those of digital silence would be far out."""
_KERNEL = 5

EncoderKind = Literal["gru", "conformer"]
AttentionKind = Literal["location", "additive", "none"]


class Heard(NamedTuple):
    """An encoded batch of sounds.

    ``states`` ``(B, T, dim)``; ``lengths`` int64 ``(B,)``, their steps; ``features`` ``(B, frames, F)``, before the
    normalization.
    """

    states: Tensor
    lengths: Tensor
    features: Tensor


class Transcriber(RecurrentDecoder):
    """The hybrid of CTC and attention of Watanabe et al. 2017, with one encoder for both.

    Two convolutions over time, with a stride of 2 each, read the features, so that a step is four frames. Two layers
    then score tokens: a linear one the tokens of each step, for CTC, and a decoder the next token, with attention to
    all steps. The loss is ``λ · CTC + (1 − λ) · cross-entropy``.

    Args:
        size: the number of tokens; ``blank`` is one of them, which is never written.
        rate: samples per second.
        width: the number of features of a frame, if the inputs are features; 0: they are samples.
        bands: of the log-mel energies of samples.
        dim: width of the encoder's outputs and of the decoder's state. Even.
        layers: the number of layers of the encoder.
        kind: ``"gru"``, bidirectional, with half of the features from each direction; or ``"conformer"``.
        heads: of a Conformer's attention.
        attention: the score of the decoder's attention: ``"location"``, which has the weights of the step before
            (Chorowski et al. 2015), or ``"additive"`` (Bahdanau et al. 2015); ``"none"``: no decoder, CTC alone.
        ctc: λ, from 0 to 1.
        dropout: probability.
        masking: changes the features in training.
        scale: the mean and the standard deviation of each feature over the training sounds; None: 0 and 1. The mean of
            each sound is subtracted as well.
        blank: the token that stands for the blank of CTC.

    Raises:
        ValueError: ``dim`` is odd.
    """

    deviation: Tensor

    def __init__(
        self,
        size: int,
        *,
        rate: int = 16_000,
        width: int = 0,
        bands: int = 64,
        dim: int = 256,
        layers: int = 2,
        kind: EncoderKind = "gru",
        heads: int = 4,
        attention: AttentionKind = "location",
        ctc: float = 0.3,
        dropout: float = 0.2,
        masking: SpecAugment | None = None,
        scale: tuple[Sequence[float], Sequence[float]] | None = None,
        blank: int = 0,
    ):
        super().__init__()
        if dim < 2 or dim % 2:
            raise ValueError(f"dim: must be even, because each direction of the encoder has half of it, got {dim}")
        self.mel = LogMel(rate, bands=bands) if width == 0 else None
        features = width or bands
        self.register_buffer("deviation", torch.tensor((scale or ([], [1.0] * features))[1]), persistent=False)
        self.masking, self.drop = masking, Dropout(dropout)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, dim, _KERNEL, stride=2, padding=_KERNEL // 2) for before in (features, dim)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in self.convolutions)
        self.recurrent: nn.GRU | None = None
        self.conformer = nn.ModuleList()
        if kind == "gru":
            between = dropout if layers > 1 else 0.0
            self.recurrent = nn.GRU(dim, dim // 2, layers, batch_first=True, bidirectional=True, dropout=between)
        else:
            self.conformer.extend(ConformerLayer(dim, heads, dropout=dropout) for _ in range(layers))
        self.labels = nn.Linear(dim, size)
        self.blank, self.ctc = blank, 1.0 if attention == "none" else ctc
        self.attend = None
        if attention != "none":
            self.target_embedding = token_embedding(size, dim // 2)
            self._add_decoder(dim // 2, dim, size, attention, dropout)

    def encode(self, x: Tensor, lengths: Tensor) -> Heard:
        """Encode sounds.

        Args:
            x: samples ``(B, N)``, at least a frame, or features ``(B, frames, width)``; padded at the end.
            lengths: int64 ``(B,)``, the number of samples or frames of each.
        """
        features = x if self.mel is None else self.mel(x)
        lengths = lengths if self.mel is None else self.mel.frames(lengths)
        real = real_places(features.shape[1], lengths)[..., None]
        mean = (features * real).sum(1, keepdim=True) / lengths[:, None, None]
        x = ((features - mean) / self.deviation).clamp(-_LIMIT, _LIMIT) * real
        if self.masking is not None:
            x = self.masking(x, lengths)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            lengths = (lengths + 1) // 2
            x = norm(convolution(x.transpose(1, 2)).transpose(1, 2))
            x = F.gelu(x) * real_places(x.shape[1], lengths)[..., None].to(x.dtype)
        x = self.drop(x)
        if self.recurrent is not None:
            x = self._recur(x, lengths, self.recurrent)
        for layer in self.conformer:
            x = layer(x, lengths)
        return Heard(self.drop(x), lengths, features)

    def _recur(self, x: Tensor, lengths: Tensor, recurrent: nn.GRU) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, _ = nn.utils.rnn.pad_packed_sequence(recurrent(packed)[0], batch_first=True, total_length=x.shape[1])
        return states

    def log_probabilities(self, heard: Heard) -> Tensor:
        """Of CTC: ``(B, T, size)``."""
        logits: Tensor = self.labels(heard.states)
        return logits.float().log_softmax(-1)

    def remember(self, heard: Heard) -> DecoderState:
        """The decoder's state before the first token. The model has attention."""
        real = real_places(heard.states.shape[1], heard.lengths)[..., None].to(heard.states.dtype)
        final = (heard.states * real).sum(1) / heard.lengths[:, None]
        memory: Memory = self._remember(heard.states, heard.lengths, final)
        return self._begin(memory)

    def start(self, x: Tensor, lengths: Tensor) -> DecoderState:
        """See `regard.models.encoder_decoder.EncoderDecoder`; arguments as in `encode`."""
        return self.remember(self.encode(x, lengths))

    def step(self, tokens: Tensor, state: DecoderState) -> Step:
        """See `regard.models.encoder_decoder.EncoderDecoder`. Raises ValueError: the model has no decoder."""
        if self.attend is None:
            raise ValueError("step: the model has no decoder, only CTC")
        return super().step(tokens, state)

    def forward(
        self, x: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float = 0.0
    ) -> Tensor:
        """The summed loss of the target tokens, ``λ · CTC + (1 − λ) · cross-entropy``.

        A text that has too many tokens for the steps of its sound counts 0 for CTC.

        Args:
            x: see `encode`.
            lengths: see `encode`.
            target: int64 ``(B, Lt + 1)``, BOS, the tokens and EOS, padded.
            target_lengths: int64 ``(B,)``, including BOS.
            smoothing: label smoothing of the cross-entropy.
        """
        heard = self.encode(x, lengths)
        loss = heard.states.new_zeros(())
        if self.ctc:
            steps = self.log_probabilities(heard).transpose(0, 1)
            loss = loss + self.ctc * F.ctc_loss(
                steps, target[:, 1:], heard.lengths, target_lengths - 2, self.blank, "sum", zero_infinity=True
            )
        if self.attend is not None and self.ctc < 1:
            features, wanted = self._teach(self.remember(heard), target, target_lengths)
            weight, bias = self.target_embedding.weight, self.output_bias
            loss = loss + (1 - self.ctc) * linear_cross_entropy(features, weight, bias, wanted, smoothing)
        return loss


class Labels(nn.Module):
    """The logits of CTC of sounds without padding, ``(B, T, size)``.

    Args:
        model: the model.
    """

    def __init__(self, model: Transcriber):
        super().__init__()
        self.model, self.mel = model, model.mel

    def forward(self, x: Tensor) -> Tensor:
        """From samples ``(B, N)`` or features ``(B, frames, width)``."""
        lengths = torch.full_like(x.flatten(1)[:, 0], x.shape[1], dtype=torch.int64)
        logits: Tensor = self.model.labels(self.model.encode(x, lengths).states)
        return logits
