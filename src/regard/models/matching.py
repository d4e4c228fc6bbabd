"""Matches images and texts: a vector of each, and the attention of each word to the places of an image."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attend import Dot, Lengths, Look, View
from regard.models.text import BidirectionalGRU, SelfAttention, embed_words
from regard.models.vision import PatchMap, ResidualMap
from regard.nn import AttentionPooling, Dropout, SequenceDropout
from regard.nn.optional_look import attend

ImageKind = Literal["resnet", "vit"]
TextKind = Literal["transformer", "gru"]

_LARGE = 96
"""The size of images from which on the first convolution of the residual network has a stride of 2."""
_SCALE = 10.0
"""The factor of the similarities at the beginning, the inverse of the temperature."""
_HIGHEST = 100.0


class Pictures(NamedTuple):
    """Images as the model sees them.

    Attributes:
        vectors: ``(N, dim)``, multiplied by the inverse of the temperature.
        keys: of their places, ``(N, P, dim)``; None: the model has no attention.
        values: likewise.
        pooled: the features of each image before the last layer, ``(N, deep)``.
    """

    vectors: Tensor
    keys: Tensor | None
    values: Tensor | None
    pooled: Tensor


class Captions(NamedTuple):
    """Texts as the model reads them.

    Attributes:
        vectors: of length 1, ``(N, dim)``.
        queries: of their words, ``(N, L, dim)``; None: the model has no attention.
        expected: what each word expects at the places that it attends to, ``(N, L, dim)``; its length is the weight of
            the word in the agreement, 0 for padding.
    """

    vectors: Tensor
    queries: Tensor | None
    expected: Tensor | None


class Pairs(NamedTuple):
    """What the loss needs of images with their captions; see `Pictures` and `Captions`.

    Attributes:
        images: ``(N, dim)``.
        texts: of all captions of each image, ``(N, K, dim)``.
        keys: ``(N, P, dim)``.
        values: ``(N, P, dim)``.
        queries: of the first caption of each image, ``(N, L, dim)``.
        expected: likewise.
        words: the loss of predicting the words of its captions from each image, ``(N,)``.
    """

    images: Tensor
    texts: Tensor
    keys: Tensor | None
    values: Tensor | None
    queries: Tensor | None
    expected: Tensor | None
    words: Tensor


class MatchingModel(nn.Module):
    """Two encoders whose vectors are similar if an image and a text match, and an agreement of words and places.

    The similarity of the vectors is trained with the symmetric contrastive loss of CLIP (Radford et al. 2021,
    arXiv:2103.00020). The agreement is for the pairs that are similar (ALBEF, Li et al. 2021, arXiv:2107.07651): each
    word is a query that attends to the places of the image, and what it finds there is compared with what it expects
    (SCAN, Lee et al. 2018, arXiv:1803.08024). So the weights of a word show where it is on the image.

    Args:
        features: the number of features of words; feature 0 is padding.
        words: the number of words that are predicted from an image in training; 0: none.
        kind: of the image encoder. ``"resnet"``: a residual network with gates on the channels; ``"vit"``: a compact
            Transformer.
        size: height and width of the images.
        width: channels of the first stage of the residual network; a quarter of the width of the Transformer.
        blocks: of each stage, or half the layers of the Transformer.
        text: the text encoder.
        text_width: of the embeddings of words and of the text encoder.
        text_layers: of the Transformer.
        heads: of each attention.
        dim: of the vectors.
        attention: False: the mean over places and over words, and no agreement, as a baseline.
        dropout: probability, on embeddings of words, on the layers and on pooled features.
        word_dropout: the probability that a word of a text is hidden in training.

    Attributes:
        attends: whether it has attention.
        recurrent: whether the text encoder is recurrent.

    Raises:
        ValueError: a size is not positive, or they do not fit each other.
    """

    def __init__(
        self,
        features: int,
        words: int = 0,
        *,
        kind: ImageKind = "resnet",
        size: int = 64,
        width: int = 32,
        blocks: int = 1,
        text: TextKind = "transformer",
        text_width: int = 128,
        text_layers: int = 2,
        heads: int = 4,
        dim: int = 128,
        attention: bool = True,
        dropout: float = 0.1,
        word_dropout: float = 0.1,
    ):
        super().__init__()
        if min(features, size, width, blocks, text_width, text_layers, heads, dim) < 1:
            raise ValueError("features, size, width, blocks, text_width, text_layers, heads, dim: must be positive")
        self.attends, self.recurrent, self.word_dropout = attention, text == "gru", word_dropout
        self.image: ResidualMap | PatchMap
        if kind == "vit":
            self.image = PatchMap(size=size, width=4 * width, layers=2 * blocks, heads=heads, dropout=dropout)
            side = size // 4
        else:
            stride = 2 if size >= _LARGE else 1
            self.image = ResidualMap(width=width, blocks=blocks, attention="se", stride=stride)
            side = -(-size // stride) // 8
        deep = self.image.deep
        self.position = nn.Parameter(torch.randn(side**2, deep) * 0.02)
        self.image_norm, self.image_pool = nn.LayerNorm(deep), AttentionPooling(deep, heads=heads)
        self.image_vector = nn.Linear(deep, dim)
        self.embedding = nn.Embedding(features, text_width, padding_idx=0)
        nn.init.normal_(self.embedding.weight, std=0.1)
        with torch.no_grad():
            self.embedding.weight[0] = 0
        self.before, self.after = SequenceDropout(dropout), Dropout(dropout)
        self.text: BidirectionalGRU | SelfAttention
        if text == "gru":
            self.text = BidirectionalGRU(text_width, text_width)
        else:
            self.text = SelfAttention(text_width, text_width, text_layers, heads, dropout)
        self.text_pool = AttentionPooling(text_width, heads=heads)
        self.text_vector = nn.Linear(text_width, dim)
        self.scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        if attention:
            self.places, self.asks = nn.Linear(deep, 2 * dim), nn.Linear(text_width, 2 * dim)
            self.importance = nn.Linear(text_width, 1)
            self.agreement_scale = nn.Parameter(torch.tensor(math.log(_SCALE)))
        else:
            del self.image_pool, self.text_pool
        self.named = nn.Linear(deep, words) if words else None

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.scale.device

    def see(self, images: Tensor) -> Pictures:
        """The vectors and the places of images ``(N, 3, size, size)``."""
        x = self.image_norm(self.image.map(images)[0].flatten(2).transpose(1, 2)) + self.position
        if self.attends:
            pooled = self.after(self.image_pool(x)[0][:, 0])
            keys, values = self.places(x).chunk(2, -1)
        else:
            pooled, keys, values = self.after(x.mean(1)), None, None
        return Pictures(_unit(self.image_vector(pooled)) * _bounded(self.scale), keys, values, pooled)

    def read(self, words: Tensor, features: Tensor) -> Captions:
        """The vectors and the words of texts.

        Args:
            words: int64 ``(N, L)``, rows of ``features``; 0 is padding, at the end.
            features: int64 ``(U, G)``: the features of each distinct word, padded with 0; row 0 has none.
        """
        real = words > 0
        hidden = self.word_dropout if self.training else 0.0
        x = self.text(self.before(embed_words(self.embedding, words, features, hidden=hidden)), real)
        if not self.attends:
            mean = x.masked_fill(~real[..., None], 0.0).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
            return Captions(_unit(self.text_vector(self.after(mean))), None, None)
        pooled, _ = self.text_pool(x, mask=Lengths(real.sum(1)))
        queries, expected = self.asks(x).chunk(2, -1)
        weights = self.importance(x).float().masked_fill(~real[..., None], -1e4).softmax(1) * real[..., None]
        expected = _unit(expected) * weights * _bounded(self.agreement_scale)
        return Captions(_unit(self.text_vector(self.after(pooled[:, 0]))), queries, expected)

    def forward(self, images: Tensor, words: Tensor, features: Tensor, said: Tensor) -> Pairs:
        """What the loss needs of images and their captions.

        Args:
            images: ``(N, 3, size, size)``.
            words: of K captions of each image, ``(N, K, L)``.
            features: see `read`.
            said: the share of each predicted word in the captions of an image, ``(N, words)``.
        """
        pictures, captions = self.see(images), self.read(words.flatten(0, 1), features)
        lost = torch.zeros_like(pictures.vectors[:, 0])
        if self.named is not None:
            lost = -(said * self.named(pictures.pooled).float().log_softmax(-1)).sum(-1)
        texts = captions.vectors.unflatten(0, words.shape[:2])
        if captions.queries is None or captions.expected is None:
            return Pairs(pictures.vectors, texts, None, None, None, None, lost)
        queries, expected = (x.unflatten(0, words.shape[:2])[:, 0] for x in (captions.queries, captions.expected))
        return Pairs(pictures.vectors, texts, pictures.keys, pictures.values, queries, expected, lost)


def agreement(
    keys: Tensor, values: Tensor, queries: Tensor, expected: Tensor, look: Look | None = None
) -> tuple[Tensor, View | None]:
    """How well what the words of texts find at the places of images is what they expect.

    Args:
        keys: ``(N, P, dim)``, see `Pictures`, as for ``values``.
        values: ``(N, P, dim)``.
        queries: ``(N, L, dim)``, see `Captions`, as for ``expected``.
        expected: ``(N, L, dim)``.
        look: what to report about the weights ``(N, 1, L, P)``.

    Returns:
        ``(N,)``, and the view, None without ``look``.

    >>> keys = torch.tensor([[[9.0, 0.0], [0.0, 9.0]]])
    >>> word = torch.tensor([[[9.0, 0.0]]])
    >>> score, view = agreement(keys, keys, word, torch.tensor([[[1.0, 0.0]]]), Look(rows=slice(None)))
    >>> score.item() > 0.99, view.rows.argmax().item()
    (True, 0)
    """
    context, view = attend(queries, keys, values, Dot(), None, look)
    return (_unit(context) * expected).sum((-1, -2)), view


def _unit(x: Tensor) -> Tensor:
    return F.normalize(x.float(), dim=-1)


def _bounded(scale: Tensor) -> Tensor:
    return scale.exp().clamp(max=_HIGHEST)
