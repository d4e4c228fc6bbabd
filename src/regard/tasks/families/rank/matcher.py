"""A trained model of images and texts, which searches images for a text and texts for an image."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from regard.attend import Look
from regard.data.gallery import Gallery, read_gallery
from regard.data.image_batches import Scale
from regard.data.image_files import read_image, squared
from regard.data.lines import compose, iterate_text_lines
from regard.data.pixels import Pixels
from regard.data.vectors import vectors_of
from regard.data.word_batches import word_batch
from regard.data.word_features import Features, split_words, words_of
from regard.errors import UserError
from regard.explain.words_on_image import WordsOnImage
from regard.models.matching import Captions, MatchingModel, Pictures, agreement
from regard.tasks.families.rank.matching_results import Located, Matches
from regard.tasks.families.rank.results import Candidate
from regard.tasks.results import Failure
from regard.tasks.task import Predictor

TOGETHER = 64
"""The number of images that are encoded together."""

AGAIN = 50
"""The number of the most similar candidates that are ranked again by the attention of the words."""

_TEXTS, _PAIRS = 1024, 1024
"""The number of texts that are read together, and that of images and texts whose agreement is computed together."""
_NO_ATTENTION = "look: this run has no attention to look at (it was trained with --model.attention none)"


@dataclass(frozen=True)
class Matcher(Predictor):
    """A trained model with the features of its words and the normalization of its pixels.

    Attributes:
        model: the model.
        features: of the words of texts.
        scale: the normalization of pixels.
        size: of the images.
        longest: the number of words of a text that are read.
        own: the images to search if the user names none.
    """

    model: MatchingModel
    features: Features
    scale: Scale
    size: int
    longest: int
    own: Callable[[], Gallery]

    def predict(
        self,
        inputs: Iterable[str],
        *,
        image: str | None = None,
        texts: Path | None = None,
        labels: str | None = None,
        among: str | None = None,
        top: int = 10,
    ) -> Iterator[Matches | Failure]:
        """The best images for each text, or the best texts for each image.

        Args:
            inputs: texts; with ``texts`` or ``labels``, image files. One that cannot be used gives a `Failure`.
            image: an image in place of ``inputs``.
            texts: a file with a text per line, to rank for each image.
            labels: labels to rank likewise, separated by commas, each once; their scores are probabilities.
            among: a folder or archive of images to search; None: the run's validation images.
            top: the number of candidates.

        Raises:
            UserError: no text, no label or no image to search can be used.
        """
        if texts is not None or labels is not None:
            listed = (
                [part.strip() for part in (labels or "").split(",")] if texts is None else iterate_text_lines(texts)
            )
            candidates = list(dict.fromkeys(compose(text.strip()) for text in listed if words_of(text.strip())))
            if not candidates:
                raise UserError(f"{'--labels' if texts is None else texts}: has no text to rank")
            read = self.read(candidates)
            for item in inputs if image is None else [image]:
                yield self._best_texts(item, candidates, read, top, shares=labels is not None)
            return
        gallery = self.gallery(among)
        vectors = self.index(gallery)
        for item in inputs:
            text = compose(item.strip())
            if not words_of(text):
                yield Failure(item, f"text: has no word, got {item!r}")
                continue
            at, scores = self.search(text, gallery, vectors)
            best = zip(at[:top].tolist(), scores[:top].tolist(), strict=True)
            yield Matches(item, tuple(Candidate(gallery.names[row], score) for row, score in best), "text", "image")

    def look(self, item: str, *, image: Path | None = None, among: str | None = None) -> Located:
        """Where each word of a text is on an image.

        Args:
            item: the text.
            image: the image; None: the best one of ``among``.
            among: as in `predict`.

        Raises:
            UserError: the model has no attention, or the text or the image cannot be used.
        """
        if not self.model.attends:
            raise UserError(_NO_ATTENTION)
        text = compose(item.strip())
        if not words_of(text):
            raise UserError(f"text: has no word, got {item!r}")
        if image is not None:
            whole = read_image(image)
            name, pixels, shown = str(image), squared(whole, self.size), squared(whole, min(whole.shape[1:]))
        else:
            gallery = self.gallery(among)
            row = int(self.search(text, gallery, self.index(gallery))[0][0])
            name, shown = gallery.names[row], gallery.pixels[[row]][0]
            pixels = shown
        words, score = self.attended(text, pixels)
        return Located(item, name, replace(words, image=shown), score)

    @torch.inference_mode()
    def attended(self, text: str, pixels: np.ndarray) -> tuple[WordsOnImage, float]:
        """The weights of the words of a text on an image, uint8 ``(3, size, size)``, and the score of both.

        The model reads the first words of a long text only.
        """
        spans = split_words(text)[: self.longest]
        pictures, captions = self.see(pixels[None]), self.read([text])
        fine, view = agreement(*_parts_of(pictures, captions, [0], [0]), Look(rows=slice(None)))
        assert view is not None
        side = round(view.rows.shape[-1] ** 0.5)
        weights = view.rows[0, 0, : len(spans)].unflatten(-1, (side, side)).float().cpu().numpy()
        score = float((pictures.vectors @ captions.vectors.T)[0, 0]) + float(fine[0])
        return WordsOnImage(text, spans, weights, pixels), score

    def gallery(self, among: str | None) -> Gallery:
        """The images to search."""
        return self.own() if among is None else read_gallery(among, self.size)

    def index(self, gallery: Gallery) -> np.ndarray:
        """The vectors of images, from the cache as far as it has them, ``(n, dim)``."""
        weights = hashlib.blake2b(digest_size=16)
        for tensor in self.model.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        origin = (gallery.origin, weights.hexdigest(), self.scale, self.size)
        dim = self.model.image_vector.out_features
        return vectors_of(origin, gallery.keys, dim, lambda rows: self.image_vectors(gallery.pixels[rows]))

    def search(self, text: str, gallery: Gallery, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The images in the order in which they match the text, and their scores, likewise.

        The first ones are ranked again by the attention of the words.
        """
        read = self.read([text])
        similarity = vectors @ read.vectors[0].cpu().numpy()
        order = np.argsort(-similarity, kind="stable")
        scores = similarity[order]
        if self.model.attends:
            first = order[:AGAIN]
            fine = similarity[first] + self.agreements(self.see(gallery.pixels[first.tolist()]), read)[:, 0]
            again = np.argsort(-fine, kind="stable")
            order, scores = np.concatenate([first[again], order[AGAIN:]]), np.concatenate([fine[again], scores[AGAIN:]])
        return order, scores

    def _best_texts(
        self, item: str, candidates: Sequence[str], read: Captions, top: int, *, shares: bool
    ) -> Matches | Failure:
        try:
            pixels = squared(read_image(Path(item)), self.size)
        except UserError as error:
            return Failure(item, str(error))
        pictures = self.see(pixels[None])
        scores = (pictures.vectors @ read.vectors.T)[0].cpu().numpy()
        order = np.argsort(-scores, kind="stable")
        if self.model.attends:
            first = order if shares else order[:AGAIN]
            chosen = Captions(*(part[first.tolist()] for part in read if part is not None))
            scores[first] += self.agreements(pictures, chosen)[0]
            order = np.concatenate([first[np.argsort(-scores[first], kind="stable")], order[len(first) :]])
        if shares:
            scores = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        best = tuple(Candidate(candidates[at], float(scores[at])) for at in order[:top])
        return Matches(item, best, "image", "text")

    @torch.inference_mode()
    def see(self, pixels: Pixels, count: Callable[[], None] = lambda: None) -> Pictures:
        """Images, uint8 ``(n, 3, size, size)``, as the model sees them; ``count`` is called for each that is done."""
        blocks = []
        for at in range(0, len(pixels), TOGETHER):
            blocks.append(self.model.see(self.image_tensor(pixels[at : at + TOGETHER])))
            for _ in blocks[-1].vectors:
                count()
        parts: list[Any] = [None if part[0] is None else torch.cat(part) for part in zip(*blocks, strict=True)]
        return Pictures(*parts)

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Captions:
        """Texts as the model reads them."""
        words = [words_of(text) for text in texts]
        blocks = [
            self.model.read(*self.word_tensors(words[at : at + _TEXTS])) for at in range(0, max(1, len(words)), _TEXTS)
        ]
        if len(blocks) == 1:
            return blocks[0]
        parts = zip(*blocks, strict=True)
        joined: list[Any] = [None if part[0] is None else torch.cat(_equally_long(part)) for part in parts]
        return Captions(*joined)

    @torch.inference_mode()
    def agreements(self, pictures: Pictures, captions: Captions) -> np.ndarray:
        """The agreement of every image with every text, ``(images, texts)``."""
        count = len(captions.vectors)
        at = np.arange(len(pictures.vectors) * count)
        return self.agreements_of(pictures, captions, at // count, at % count).reshape(-1, count)

    @torch.inference_mode()
    def agreements_of(
        self, pictures: Pictures, captions: Captions, images: np.ndarray, texts: np.ndarray
    ) -> np.ndarray:
        """The agreement of some pairs, by the numbers of their images and texts, ``(pairs,)``."""
        results = [np.zeros(0, dtype=np.float32)]
        for start in range(0, len(images), _PAIRS):
            image, text = images[start : start + _PAIRS].tolist(), texts[start : start + _PAIRS].tolist()
            fine, _ = agreement(*_parts_of(pictures, captions, image, text))
            results.append(fine.float().cpu().numpy())
        return np.concatenate(results)

    def image_vectors(self, pixels: Pixels) -> np.ndarray:
        """The vectors of images, ``(n, dim)``."""
        vectors: np.ndarray = self.see(pixels).vectors.cpu().numpy()
        return vectors

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The vectors of texts, ``(n, dim)``."""
        vectors: np.ndarray = self.read(texts).vectors.cpu().numpy()
        return vectors

    def image_tensor(self, pixels: np.ndarray) -> Tensor:
        """Normalized images ``(n, 3, size, size)``."""
        return self.scale(pixels, self.model.device)

    def word_tensors(self, texts: Sequence[Sequence[str]]) -> tuple[Tensor, Tensor]:
        """The words of texts ``(n, L)`` and the features of each distinct word; see `MatchingModel.read`."""
        batch = word_batch([words[: self.longest] for words in texts], self.features, self.longest)
        words, features = (torch.from_numpy(part).to(self.model.device) for part in batch)
        return words[:, 0], features


def _equally_long(blocks: Sequence[Tensor]) -> list[Tensor]:
    """The vectors of texts ``(n, dim)``; those of their words ``(n, L, dim)`` with padding, so that L is the same."""
    if blocks[0].dim() == 2:
        return list(blocks)
    longest = max(block.shape[1] for block in blocks)
    return [F.pad(block, (0, 0, 0, longest - block.shape[1])) for block in blocks]


def _parts_of(
    pictures: Pictures, captions: Captions, images: Sequence[int], texts: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The places of some images and the words of some texts, as `agreement` takes them."""
    parts = (pictures.keys, pictures.values, captions.queries, captions.expected)
    assert all(part is not None for part in parts)
    keys, values, queries, expected = parts
    return keys[images], values[images], queries[texts], expected[texts]  # type: ignore[index]
