"""The contrastive loss of images and captions, and the loss of their agreement on the most similar wrong pairs."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from regard.models.matching import Pairs, agreement
from regard.tasks.families.rank.scores import row_blocks

_NEVER = -1e4


def similar(pairs: Pairs) -> Tensor:
    """The similarity of each image and each caption, ``(N, N, K)``: image, owner of the caption, caption."""
    return torch.einsum("id,jkd->ijk", pairs.images.float(), pairs.texts.float())


def siblings(texts: Tensor) -> Tensor:
    """Which captions are also right for which other image, because an equal one is its own.

    Args:
        texts: the numbers of the captions of each image, equal for equal texts, ``(N, K)``.

    Returns:
        bool ``(N, N, K)``; True also for an image's own captions.

    >>> siblings(torch.tensor([[1, 2], [3, 1]]))[0].tolist()
    [[True, True], [False, True]]
    """
    return (texts[:, None, None, :] == texts[None, :, :, None]).any(-1)


def contrastive(similarity: Tensor, right: Tensor) -> Tensor:
    """The symmetric contrastive loss, in nats per image: InfoNCE (van den Oord et al. 2018, arXiv:1807.03748).

    Each caption is compared with the other captions that are not right for its image, and each of its images with the
    others for which it is not right.

    Args:
        similarity: ``(N, N, K)``: image, owner of the caption, caption.
        right: which captions are right for which image, likewise.

    >>> one = torch.tensor([[[9.0], [0.0]], [[0.0], [9.0]]])
    >>> contrastive(one, siblings(torch.tensor([[1], [2]]))).item() < 0.01
    True
    """
    own = similarity.diagonal().transpose(0, 1)  # (N, K)
    wrong = similarity.masked_fill(right, _NEVER)
    of_images = F.softplus(wrong.flatten(1).logsumexp(1)[:, None] - own)
    of_texts = F.softplus(wrong.logsumexp(0) - own)
    return (of_images.mean() + of_texts.mean()) / 2


def contrastive_of_all(images: Tensor, texts: Tensor, numbers: Tensor) -> float:
    """`contrastive` of many images with a caption each, of which some rows are compared with all at a time.

    Args:
        images: their vectors, ``(N, dim)``.
        texts: those of their captions, likewise.
        numbers: of the captions, equal for equal texts, ``(N,)``.

    >>> contrastive_of_all(3 * torch.eye(2), 3 * torch.eye(2), torch.tensor([1, 2])) < 0.01
    True
    """

    def lost(inputs: Tensor, candidates: Tensor) -> float:
        losses = []
        for rows in row_blocks(len(inputs), len(candidates)):
            wrong = (inputs[rows] @ candidates.T).masked_fill(numbers[rows, None] == numbers, _NEVER)
            own = (inputs[rows] * candidates[rows]).sum(1)
            losses.append(F.softplus(wrong.logsumexp(1) - own))
        return float(torch.cat(losses).mean())

    return (lost(images, texts) + lost(texts, images)) / 2


def of_hard_pairs(pairs: Pairs, similarity: Tensor, right: Tensor, *, hard: int) -> Tensor:
    """The loss of the agreement on each image's first caption and the most similar wrong pairs.

    The similarity only chooses the pairs. It is not a part of the scores: wrong pairs that were chosen for a high one
    would teach the model that it means nothing.

    Args:
        pairs: with places and words.
        similarity: see `contrastive`, as for ``right``.
        right: likewise.
        hard: the number of wrong images for a caption, and of wrong captions for an image.

    Returns:
        Nats per image; 0 if there is no wrong pair.
    """
    keys, values, queries, expected = pairs.keys, pairs.values, pairs.queries, pairs.expected
    assert keys is not None
    assert values is not None
    assert queries is not None
    assert expected is not None
    similarity, right = similarity[..., 0].detach(), right[..., 0]
    count = len(similarity)
    hard = min(hard, count - 1)
    if not hard:
        return similarity.new_zeros(())
    wrong = similarity.masked_fill(right, _NEVER)
    length = int((expected.detach().abs().sum(-1) > 0).any(0).nonzero().max()) + 1
    own = torch.arange(count, device=similarity.device)[:, None]
    # The right pair first, then the wrong ones: for each image its captions, then for each caption its images.
    texts = torch.cat([own, wrong.topk(hard, dim=1).indices], 1)
    images = torch.cat([own, wrong.topk(hard, dim=0).indices.T], 1)
    at_image = torch.cat([own.expand_as(texts), images]).flatten()
    at_text = torch.cat([texts, own.expand_as(images)]).flatten()
    fine, _ = agreement(keys[at_image], values[at_image], queries[at_text, :length], expected[at_text, :length])
    scores = fine.view(2 * count, 1 + hard)
    # Among the most similar ones may be some that are right, if there are few that are wrong.
    also_right = right[at_image, at_text].view_as(scores)
    also_right[:, 0] = False
    scores = scores.masked_fill(also_right, _NEVER)
    return F.cross_entropy(scores, scores.new_zeros(2 * count, dtype=torch.int64))
