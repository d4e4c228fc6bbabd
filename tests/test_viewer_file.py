"""Weights that the viewer computes from a document, beside those of the kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from documents import asked, needs_node
from regard import ALiBi, Causal, Entmax, Look, Softcap, Softmax, View, Window, attention
from regard.attend import Distance, Dot
from regard.viewer.cells import stored_cells
from regard.viewer.document import Axis, Document, Layer
from regard.views import STATISTICS, ModelView
from regard.views.document import document_of

pytestmark = needs_node

QUERIES, KEYS, HEADS, GROUPS, WIDTH = 90, 100, 4, 2, 8
HOLES = torch.ones(QUERIES, KEYS, dtype=torch.bool).tril(5)
HOLES[:, 0] = HOLES[4] = False

MECHANISMS: dict[str, dict[str, Any]] = {
    "plain": {}, "causal": {"mask": Causal()}, "window": {"mask": Window(9, 3)}, "intervals": {"mask": HOLES},
    "scaled": {"score": Dot(0.7)}, "capped": {"score": Softcap(Dot(2.0), 3.0)}, "distance": {"score": Distance(0.3)},
    "sink": {"normalizer": Softmax(sink=torch.tensor([0.0, 3.0, -1.0, 2.0])), "mask": HOLES},
    "alibi": {"bias": ALiBi(), "mask": Causal()}, "capped distance": {"score": Softcap(Distance(0.5), 2.0)},
}  # fmt: skip


def _view(look: Look = STATISTICS, dtype: torch.dtype = torch.float32, factor: float = 1.0, **options: Any) -> View:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, HEADS, QUERIES, WIDTH, generator=generator).to(dtype) * factor
    key = torch.randn(1, GROUPS, KEYS, WIDTH, generator=generator).to(dtype)
    view: View = attention(query, key, key, look=look, **options)[1]
    return view


def _document(view: View, **options: Any) -> Document:
    return document_of(ModelView({("layers.0", 0): view}), **options)


def _weights(view: View) -> Tensor:
    return view.tile(slice(None))[0].float()


WHOLE = {"q0": 0, "q1": QUERIES, "k0": 0, "k1": KEYS}


def _compare(view: View, document: Document, folder: Path, how: str, error: float) -> None:
    weights = _weights(view)
    requests: list[list[Any]] = [["tile", 0, head, WHOLE, QUERIES, KEYS, "mean"] for head in range(HEADS)]
    requests += [["tile", 0, -1, WHOLE, 200, 200, "max"], ["row", 0, 1, 50], ["column", 0, 3, 7]]
    meta, answers = asked(document, folder, *requests)
    assert meta["layers"][0]["weights"] == how
    wanted = [*weights, weights.mean(0), weights[1, 50], weights[3, :, 7]]
    for answer, expected in zip(answers, wanted, strict=True):
        assert answer.how == how
        torch.testing.assert_close(answer.values, expected, rtol=0, atol=error)


@pytest.mark.parametrize("name", MECHANISMS)
def test_weights_are_those_of_the_kernel_in_single_precision(name: str, tmp_path: Path) -> None:
    view = _view(**MECHANISMS[name])
    _compare(view, _document(view, precision="single"), tmp_path, "exact", 1e-6)


@pytest.mark.parametrize("name", ["plain", "distance", "sink"])
def test_weights_are_those_of_the_kernel_in_half_precision(name: str, tmp_path: Path) -> None:
    view = _view(**MECHANISMS[name])
    _compare(view, _document(view), tmp_path, "half", 2e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_queries_and_keys_of_half_precision_are_exact(dtype: torch.dtype, tmp_path: Path) -> None:
    view = _view(dtype=dtype)
    _compare(view, _document(view), tmp_path, "exact", 1e-5)


def test_numbers_too_large_for_float16_are_in_bfloat16(tmp_path: Path) -> None:
    view = _view(score=Dot(1e-6), factor=1e6)
    document = _document(view)
    assert document.layers[0].tensors["query"].dtype is torch.bfloat16
    _compare(view, document, tmp_path, "half", 1e-2)


def test_windows_are_pooled_exactly(tmp_path: Path) -> None:
    view = _view(mask=Causal())
    window = {"q0": 10, "q1": 83, "k0": 5, "k1": 98}
    requests: list[list[Any]] = [
        ["tile", 0, head, window, 20, 31, pooling] for head in (2, -1) for pooling in ("mean", "max")
    ]
    _, answers = asked(_document(view, precision="single"), tmp_path, *requests)
    weights = _weights(view)[:, 10:83, 5:98]
    rows, columns = torch.arange(73) * 20 // 73, torch.arange(93) * 31 // 93
    for answer, (_, _, head, _, _, _, pooling) in zip(answers, requests, strict=True):
        part = weights.mean(0) if head < 0 else weights[head]
        blocks = [[part[rows == r][:, columns == c] for c in range(31)] for r in range(20)]
        expected = torch.tensor([[float(getattr(block, pooling)()) for block in line] for line in blocks])
        assert answer.how == "pooled"
        torch.testing.assert_close(answer.values, expected, rtol=0, atol=1e-6)


def test_chosen_heads_have_their_numbers_and_keys(tmp_path: Path) -> None:
    view = _view(**MECHANISMS["sink"])
    document = _document(view, heads=[3, 1], precision="single")
    meta, (row, mean, entropy) = asked(
        document, tmp_path, ["row", 0, 0, 60], ["row", 0, -1, 60], ["statistic", 0, 1, "entropy"]
    )
    weights = _weights(view)
    assert meta["layers"][0]["heads"] == [3, 1]
    torch.testing.assert_close(row.values, weights[3, 60], rtol=0, atol=1e-6)
    torch.testing.assert_close(mean.values, weights[[3, 1], 60].mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(entropy.values, view.entropy[0, 1])


def test_as_many_heads_as_fit_have_queries_and_keys(tmp_path: Path) -> None:
    view = _view(mask=Causal())
    # Two queries and the keys that they share, in half precision.
    document = _document(view, limit=2 * WIDTH * (2 * QUERIES + KEYS))
    meta, (known, unknown, mean, tile) = asked(
        document, tmp_path, ["row", 0, 1, 60], ["row", 0, 2, 60], ["row", 0, -1, 60],
        ["tile", 0, 2, WHOLE, 64, 64, "mean"],
    )  # fmt: skip
    assert meta["layers"][0]["known"] == [0, 1]
    assert meta["notes"][0].startswith("This file has queries and keys of 2 of 4 heads")
    torch.testing.assert_close(known.values, _weights(view)[1, 60], rtol=0, atol=2e-3)
    assert [unknown.how, mean.how, unknown.values.numel()] == ["none", "none", 0]
    assert tile.how == "pooled"
    torch.testing.assert_close(tile.values, view.map.mean[0, 2], rtol=1e-3, atol=1e-6)


def test_a_mechanism_that_cannot_be_recomputed_has_rows_or_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = _view(normalizer=Entmax(1.5))
    meta, (row, mean) = asked(
        _document(view, precision="single"), tmp_path, ["row", 0, 1, 60], ["tile", 0, -1, WHOLE, 90, 100, "mean"]
    )
    assert (meta["layers"][0]["weights"], meta["layers"][0]["why"]) == ("exact", "")
    torch.testing.assert_close(row.values, _weights(view)[1, 60])
    torch.testing.assert_close(mean.values, _weights(view).mean(0))
    monkeypatch.setattr("regard.views.document._ROWS", 10)
    meta, (row, thumbnail, part) = asked(
        _document(view), tmp_path, ["row", 0, 1, 60], ["thumbnail", 0, 1, 40, "max"],
        ["tile", 0, -1, WHOLE | {"q0": 20}, 50, 60, "max"],
    )  # fmt: skip
    assert (meta["layers"][0]["weights"], row.how) == ("none", "none")
    assert meta["layers"][0]["why"] == "its normalizer is entmax"
    expected, _ = stored_cells(view.map.max[0, 1], (QUERIES, KEYS), ((0, QUERIES), (0, KEYS)), (32, 32), "max")
    assert thumbnail.how == "pooled"
    torch.testing.assert_close(thumbnail.values, expected, rtol=1e-3, atol=1e-6)
    expected, _ = stored_cells(view.map.max[0].mean(0), (QUERIES, KEYS), ((20, QUERIES), (0, KEYS)), (50, 60), "max")
    assert part.how == "coarse"
    torch.testing.assert_close(part.values, expected, rtol=1e-3, atol=1e-6)


def test_one_long_head_has_a_finer_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.views.document._POOLED", 10)
    monkeypatch.setattr("regard.views.document._FINE", 75)
    view = _view(mask=Causal())
    (layer,) = _document(view, heads=[2], precision="single").layers
    pooled = view.of_heads([2]).pool(slice(None), slice(None), (75, 75))
    torch.testing.assert_close(layer.tensors["map_mean"], pooled.mean[0])
    torch.testing.assert_close(layer.tensors["map_max"], pooled.max[0])
    assert _document(view).layers[0].tensors["map_mean"].shape == (HEADS, 64, 64)


def test_rows_give_statistics_and_thumbnails(tmp_path: Path) -> None:
    weights = torch.tensor([[[0.75, 0.25, 0.0], [0.5, 0.25, 0.25]], [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    axes = [
        Axis(["a", "b"], words=[0, 0]),
        Axis(["x", "y", "z"], pictures=["data:,"], places=[(0, 0.0, 0.0, 0.5, 1.0), None, None]),
    ]
    document = Document("</script> & “title”", axes, [Layer("cross", (2, 2, 3), 0, 1, {"rows": weights})], ["note"])
    meta, answers = asked(
        document, tmp_path, ["statistic", 0, 0, "entropy"], ["statistic", 0, -1, "received"],
        ["statistic", 0, 1, "sinks"], ["thumbnail", 0, -1, 2, "max"], ["statistic", 0, 0, "received"],
    )  # fmt: skip
    assert (meta["title"], meta["notes"], meta["axes"][0]["words"]) == (document.title, ["note"], [0, 0])
    assert meta["axes"][1]["places"] == [[0, 0.0, 0.0, 0.5, 1.0], None, None]
    assert meta["layers"][0]["group"] == "cross"
    torch.testing.assert_close(answers[0].values, torch.special.entr(weights[0]).sum(-1))
    torch.testing.assert_close(answers[1].values, weights.sum(1).mean(0))
    torch.testing.assert_close(answers[2].values, weights[1, :, 0])
    torch.testing.assert_close(answers[3].values, torch.tensor([[0.875, 0.0], [0.25, 0.625]]))
    torch.testing.assert_close(answers[4].values, weights[0].sum(0))
