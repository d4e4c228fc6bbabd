"""Text classifiers: word embeddings from spelling, an encoder, attention pooling over words and over windows."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Additive, Lengths, Look
from regard.models.layers import TransformerLayer, class_logits
from regard.models.masked import TokenEncoder
from regard.nn import (
    GRU,
    AdditiveAttention,
    Dropout,
    FeedForward,
    Learned,
    MultiHeadAttention,
    SequenceDropout,
    SinusoidalPositions,
)

EncoderKind = Literal["cnn", "gru", "transformer"]

_KERNELS = (3, 4, 5)


class Seen(NamedTuple):
    """Logits ``(B, classes)``, and the weight of each word, ``(B, Q, W, L)``; None: the model has no attention.

    Q is 1, or the number of classes if each has a query of its own.
    """

    logits: Tensor
    places: Tensor | None


class TextClassifier(nn.Module):
    """Classifies texts of any length, which are divided into windows of words.

    The embedding of a word is the sum of those of its features (Bojanowski et al. 2017, arXiv:1607.04606). An encoder
    reads each window. Learned queries attend to its words with the additive score (Bahdanau et al. 2015; Lin et al.
    2017, arXiv:1703.03130), beside the maximum over the words; then one query attends to the windows (Yang et al.
    2016). The keys are the encoder's outputs, which know the context, and the values are the embeddings, which do not:
    the weight of a word is then the share of that word, not of its neighbours too.

    If a text can have several labels, each label has queries of its own (Mullenbach et al. 2018, arXiv:1802.05695), so
    that its weights show the words for this label.

    Args:
        features: the number of features; feature 0 is padding.
        classes: the number of classes.
        kind: ``"cnn"``: convolutions over 3, 4 and 5 words (Kim 2014, arXiv:1408.5882); ``"gru"``: a bidirectional GRU;
            ``"transformer"``: self-attention with sinusoidal positions.
        dim: width of the embeddings.
        width: channels of each convolution, width of both states of the GRU together, or of the Transformer.
        layers: of the Transformer.
        heads: of the pooling, and of the Transformer.
        attention: False: the mean over words and windows in place of the attention, as a baseline.
        dropout: probability, on embeddings and on the encoder's output; and that the maximum of a text is hidden.
        word_dropout: the probability that a word is hidden in training.
        several: whether a text can have several labels, or none: each logit is for a label of its own.

    Attributes:
        thresholds: with several labels, the probability from which each applies, ``(classes,)``, which validation
            chooses; otherwise None.

    Raises:
        ValueError: a size is not positive, or they do not fit each other.
    """

    def __init__(
        self,
        features: int,
        classes: int,
        *,
        kind: EncoderKind = "cnn",
        dim: int = 128,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        attention: bool = True,
        dropout: float = 0.5,
        word_dropout: float = 0.1,
        several: bool = False,
    ):
        super().__init__()
        if min(features, classes, dim, width, layers, heads) < 1:
            raise ValueError("features, classes, dim, width, layers and heads must be positive")
        self.embedding = nn.Embedding(features, dim, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[0] = 0
        self.kind, self.hidden, self.word_dropout = kind, dropout, word_dropout
        self.before, self.after = SequenceDropout(dropout), Dropout(dropout)
        self.encoder: Convolutions | BidirectionalGRU | SelfAttention
        if kind == "cnn":
            self.encoder = Convolutions(dim, width)
        elif kind == "gru":
            self.encoder = BidirectionalGRU(dim, width)
        else:
            self.encoder = SelfAttention(dim, width, layers, heads, dropout)
        out = self.encoder.width
        self.pool: MultiHeadAttention | None = None
        self.among: AdditiveAttention | None = None
        if attention:
            score = Learned(Additive, v=torch.randn(heads, out // heads) * (out // heads) ** -0.5)
            self.pool = MultiHeadAttention(out, heads, memory_width=out, memory_value_width=dim, score=score)
            count = classes if several else 1
            self.seed, self.query = (nn.Parameter(torch.randn(count, out) * out**-0.5) for _ in range(2))
            self.among = AdditiveAttention(out, 2 * out, out)
        self.output = nn.Linear(2 * out, classes)
        self.thresholds: Tensor | None
        self.register_buffer("thresholds", torch.full((classes,), 0.5) if several else None)

    def forward(self, words: Tensor, features: Tensor) -> Tensor:
        """Logits ``(B, classes)``; see `look`."""
        return self.look(words, features, None).logits

    def look(self, words: Tensor, features: Tensor, look: Look | None = Look(rows=slice(None))) -> Seen:  # noqa: B008
        """Classify.

        Args:
            words: int64 ``(B, W, L)``: W windows of at most L words, as rows of ``features``; 0 is padding, at the end.
            features: int64 ``(U, G)``: the features of each distinct word, padded with 0; row 0 has none.
            look: what to report about the weights; None: nothing.

        Returns:
            The logits and the weight of each word, the mean over the heads.
        """
        return self.read(self._embed(words.flatten(0, 1), features).unflatten(0, words.shape[:2]), words > 0, look)

    def read(self, vectors: Tensor, words: Tensor, look: Look | None) -> Seen:
        """Classify texts by the vectors of their words.

        Args:
            vectors: ``(B, W, L, dim)``.
            words: boolean ``(B, W, L)``: False is padding, at the end.
            look: see `look`.
        """
        batch, windows, _ = words.shape
        real = words.flatten(0, 1)
        embedded = self.before(vectors.flatten(0, 1))
        x = self.after(self.encoder(embedded, real))
        lengths = real.sum(1)
        highest = x.masked_fill(~real[..., None], -torch.inf).amax(1).masked_fill(lengths[:, None] == 0, 0.0)
        if self.pool is None or self.among is None:
            pooled = x.masked_fill(~real[..., None], 0.0).sum(1, keepdim=True) / lengths[:, None, None].clamp(min=1)
            places = None
        else:
            queries = self.seed.expand(x.shape[0], -1, -1)
            pooled, view = self.pool(queries, x, embedded, mask=Lengths(lengths), look=look)
            if self.training:
                # The maximum alone would be enough for many texts, and the attention would not be trained.
                highest = highest * (torch.rand(highest.shape[0], 1, device=x.device) >= self.hidden)
            places = None if view is None else view.rows.mean(1).unflatten(0, (batch, windows)).transpose(1, 2)
        every = highest[:, None].expand(-1, pooled.shape[1], -1)
        pairs = torch.cat([every, pooled.to(highest.dtype)], -1).unflatten(0, (batch, windows)).transpose(1, 2)
        text, shares = self._over_windows(pairs, (lengths > 0).unflatten(0, (batch, windows)).sum(1), look)
        if places is not None and shares is not None:
            places = places * shares[..., None]
        return Seen(class_logits(self.output, self.after(text)), places)

    def token_encoder(self) -> TokenEncoder:
        """The embedding and the encoder, to be pretrained: it takes windows of words, see `states`."""
        return TokenEncoder(
            self.states, self.encoder.width, "embedding", embedding=self.embedding, before=self.before,
            encoder=self.encoder,
        )  # fmt: skip

    def states(self, words: Tensor, features: Tensor) -> Tensor:
        """The encoder's outputs ``(N, L, width)`` for windows of words ``(N, L)``; see `look`."""
        encoded: Tensor = self.encoder(self.before(self._embed(words, features)), words > 0)
        return encoded

    def _embed(self, words: Tensor, features: Tensor) -> Tensor:
        """Embeddings ``(N, L, dim)``."""
        return embed_words(self.embedding, words, features, hidden=self.word_dropout if self.training else 0.0)

    def _over_windows(self, vectors: Tensor, counts: Tensor, look: Look | None) -> tuple[Tensor, Tensor | None]:
        """The vectors of each text ``(B, Q, F)`` from those of its windows ``(B, Q, W, F)``, and their weights.

        The weights of the windows are ``(B, Q, W)``.
        """
        if self.among is None:
            return vectors.sum(2) / counts[:, None, None], None  # windows without words are zero
        batch, number = vectors.shape[:2]
        queries = self.query.expand(batch, -1, -1).flatten(0, 1)[:, None]
        mask = Lengths(counts[:, None].expand(-1, number).flatten())
        text, view = self.among(queries, vectors.flatten(0, 1), mask=mask, look=look)
        shares = None if view is None else view.rows[:, 0, 0].unflatten(0, (batch, number))
        return text[:, 0].unflatten(0, (batch, number)), shares


def embed_words(embedding: nn.Embedding, words: Tensor, features: Tensor, *, hidden: float = 0.0) -> Tensor:
    """The embeddings of words, each the sum of those of its features, divided by the root of their number.

    Args:
        embedding: of the features; feature 0 is padding.
        words: int64 ``(N, L)``, rows of ``features``; 0 is padding.
        features: int64 ``(U, G)``, padded with 0; row 0 has none.
        hidden: the probability that a word is hidden.

    Returns:
        ``(N, L, dim)``.
    """
    counts = (features > 0).sum(1, keepdim=True).clamp(min=1)
    vectors = embedding(features).sum(1) * counts.rsqrt()
    if hidden > 0:
        words = words * (torch.rand(words.shape, device=words.device) >= hidden)
    return F.embedding(words, vectors)


class Convolutions(nn.Module):
    """Convolutions over 3, 4 and 5 words, side by side.

    Args:
        dim: width of the input.
        channels: of each convolution; the output has three times as many.
    """

    def __init__(self, dim: int, channels: int):
        super().__init__()
        self.width = len(_KERNELS) * channels
        self.convolutions = nn.ModuleList(nn.Conv1d(dim, channels, size) for size in _KERNELS)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """``(N, L, dim)`` to ``(N, L, width)``; ``real`` ``(N, L)`` is False for padding."""
        x = (x * real[..., None]).transpose(1, 2)
        # Padded so that there is an output for each word, in the middle of what it covers.
        padded = (F.pad(x, ((size - 1) // 2, size // 2)) for size in _KERNELS)
        outputs = [convolution(one) for convolution, one in zip(self.convolutions, padded, strict=True)]
        return F.relu(torch.cat(outputs, 1)).transpose(1, 2)


class BidirectionalGRU(nn.Module):
    """A GRU in each direction.

    Args:
        dim: width of the input.
        width: of the output, half of it from each direction.
    """

    def __init__(self, dim: int, width: int):
        super().__init__()
        self.width = width
        self.forwards, self.backwards = GRU(dim, width // 2), GRU(dim, width // 2)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """As `Convolutions.forward`."""
        return torch.cat([self.forwards(x, real)[0], self.backwards(x, real, reverse=True)[0]], -1)


class SelfAttention(nn.Module):
    """A Transformer encoder with sinusoidal positions.

    Args:
        dim: width of the input.
        width: of the layers and of the output.
        layers: their number.
        heads: of each attention.
        dropout: on the output of each sublayer.
    """

    def __init__(self, dim: int, width: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.width = width
        self.project, self.positions = nn.Linear(dim, width), SinusoidalPositions(width)

        def layer() -> TransformerLayer:
            feed = FeedForward(width, 4 * width, activation="gelu")
            return TransformerLayer(
                MultiHeadAttention(width, heads), feed, lambda: nn.LayerNorm(width), dropout=dropout
            )

        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """As `Convolutions.forward`."""
        mask = Lengths(real.sum(1))
        x = self.positions(self.project(x))
        for layer in self.layers:
            x, _ = layer(x, mask)
        normed: Tensor = self.norm(x)
        return normed
