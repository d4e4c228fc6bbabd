"""What the viewer's pages and notebooks ask the Python side for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from regard import Causal, Hard, Look, Softmax, View, attention
from regard.errors import UserError
from regard.viewer import answers as answering
from regard.viewer.answers import Answer, Answers
from regard.viewer.cells import stored_cells
from regard.viewer.document import Axis, Document, Layer
from regard.views import STATISTICS

QUERIES, KEYS, HEADS = 90, 100, 4


def _view(look: Look = STATISTICS, **options: Any) -> View:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(1, HEADS, QUERIES, 8, generator=generator)
    key = torch.randn(1, 2, KEYS, 8, generator=generator)
    given: dict[str, Any] = {"mask": Causal(), "normalizer": Softmax(sink=torch.tensor([0.0, 1.0, -1.0, 2.0]))}
    view: View = attention(query, key, key, look=look, **(given | options))[1]
    return view.example()


def _answers(view: View, with_inputs: bool = True) -> Answers:
    names = ("entropy", "received", "sinks", "map_mean", "map_max", "rows")
    tensors = {name: part for name, part in view.results.items() if name in names}
    axes = [Axis([str(at) for at in range(length)]) for length in (QUERIES, KEYS)]
    document = Document("title", axes, [Layer("layer", (HEADS, QUERIES, KEYS), 0, 1, tensors)])
    return Answers(document, [view] if with_inputs else [])


def _numbers(answer: Answer) -> Tensor:
    return torch.from_numpy(np.frombuffer(answer.values, "<f4").reshape(answer.rows, answer.columns).copy())


WHOLE = {"layer": 0, "q0": 0, "q1": QUERIES, "k0": 0, "k1": KEYS, "pooling": "mean"}


@pytest.mark.parametrize("head", [-1, 0, 3])
@pytest.mark.parametrize("source", ["inputs", "rows", "random"])
def test_rows_columns_and_tiles_are_those_of_the_view(source: str, head: int) -> None:
    options: dict[str, Any] = {"look": Look(rows=slice(None))} if source == "rows" else {}
    if source == "random":
        options = {"normalizer": Hard("gumbel", seed=1)}
    view = _view(**options)
    answers = _answers(view, source != "rows")
    weights = view.tile(slice(None))
    weights = weights.mean(0) if head < 0 else weights[head]
    row = answers.answer("row", {"layer": 0, "head": head, "query": 7})
    column = answers.answer("column", {"layer": "0", "head": str(head), "key": "9"})
    tile = answers.answer("tile", {"layer": 0, "head": head, "q0": 3, "q1": 20, "k0": 50, "k1": 99, "rows": 400,
                                   "columns": 400, "pooling": "max"})  # fmt: skip
    assert (row.how, column.how, tile.how, tile.rows, tile.columns) == ("exact", "exact", "exact", 17, 49)
    torch.testing.assert_close(_numbers(row)[0], weights[7])
    torch.testing.assert_close(_numbers(column)[0], weights[:, 9])
    torch.testing.assert_close(_numbers(tile), weights[3:20, 50:99])


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("head", [-1, 2])
def test_tiles_are_pooled_exactly(head: int, pooling: str) -> None:
    view = _view()
    found = _answers(view).answer("tile", WHOLE | {"head": head, "rows": 7, "columns": 30, "pooling": pooling})
    weights = view.tile(slice(None))
    weights = weights.mean(0) if head < 0 else weights[head]
    rows, columns = torch.arange(QUERIES) * 7 // QUERIES, torch.arange(KEYS) * 30 // KEYS
    blocks = [[weights[rows == r][:, columns == c] for c in range(30)] for r in range(7)]
    expected = torch.tensor([[float(getattr(block, pooling)()) for block in line] for line in blocks])
    assert found.how == "pooled"
    torch.testing.assert_close(_numbers(found), expected)


def test_large_windows_are_cells_of_the_stored_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_EXACT", 1000)
    view = _view()
    answers = _answers(view)
    whole = answers.answer("tile", WHOLE | {"head": 1, "rows": 64, "columns": 64})
    assert whole.how == "pooled"
    torch.testing.assert_close(_numbers(whole), view.map.mean[1])
    means = answers.answer("thumbnail", {"layer": 0, "head": -1, "size": 64, "pooling": "mean"})
    maxima = answers.answer("thumbnail", {"layer": 0, "head": -1, "size": 64, "pooling": "max"})
    assert (means.how, maxima.how) == ("pooled", "coarse")
    torch.testing.assert_close(_numbers(means), view.map.mean.mean(0))
    part = answers.answer("tile", WHOLE | {"head": 1, "q1": 45, "rows": 45, "columns": 30})
    assert (part.how, part.rows, part.columns) == ("coarse", 45, 30)
    row = view.map.mean[1, torch.arange(QUERIES) * 64 // QUERIES][7, torch.arange(KEYS) * 64 // KEYS]
    columns = torch.arange(KEYS) * 30 // KEYS
    torch.testing.assert_close(_numbers(part)[7], torch.stack([row[columns == at].mean() for at in range(30)]))


def test_stored_cells_are_repeated_or_joined() -> None:
    stored = torch.arange(16.0).view(4, 4)
    cells, aligned = stored_cells(stored, (8, 8), ((2, 6), (0, 8)), (4, 2), "max")
    assert (cells.tolist(), aligned) == ([[5.0, 7.0], [5.0, 7.0], [9.0, 11.0], [9.0, 11.0]], False)
    cells, aligned = stored_cells(stored, (8, 8), ((0, 8), (0, 8)), (2, 2), "mean")
    assert (cells.tolist(), aligned) == ([[2.5, 4.5], [10.5, 12.5]], True)


def test_statistics_and_what_is_not_there() -> None:
    view = _view()
    answers = _answers(view, with_inputs=False)
    entropy = answers.answer("statistic", {"layer": 0, "head": 2, "name": "entropy"})
    assert entropy.how == "exact"
    torch.testing.assert_close(_numbers(entropy)[0], view.entropy[2])
    received = answers.answer("statistic", {"layer": 0, "head": -1, "name": "received"})
    torch.testing.assert_close(_numbers(received)[0], view.received.mean(0))
    assert answers.answer("row", {"layer": 0, "head": 0, "query": 0}).how == "none"
    assert answers.meta["layers"][0]["weights"] == "none"
    assert answers.meta["layers"][0]["shape"] == [HEADS, QUERIES, KEYS]
    few = _answers(_view(look=Look(entropy=True)), with_inputs=False)
    assert few.answer("thumbnail", {"layer": 0, "head": 0, "size": 8, "pooling": "mean"}).how == "none"
    assert few.answer("statistic", {"layer": 0, "head": 0, "name": "sinks"}) == Answer("none", 0, 0, b"")


@pytest.mark.parametrize(
    ("what", "parameters", "message"),
    [
        ("row", {"layer": 1}, "layer: expected a whole number from 0 to 0, got '1'"),
        ("row", {"head": 4, "query": 0}, "head: expected a whole number from -1 to 3, got '4'"),
        ("row", {"query": "1e3"}, "query: expected a whole number from 0 to 89, got '1e3'"),
        ("row", {"query": "٣"}, "query: expected a whole number"),
        ("column", {}, "key: is missing"),
        ("tile", WHOLE | {"q0": 8, "q1": 8}, "q1: expected a whole number from 9 to 90"),
        ("tile", WHOLE | {"rows": 0}, "rows: expected a whole number from 1 to 4096"),
        ("tile", WHOLE | {"pooling": "sum"}, "pooling: expected mean or max, got 'sum'"),
        ("statistic", {"name": "rows"}, "name: expected entropy, received or sinks, got 'rows'"),
        ("picture", {"pooling": "max"}, "'picture': expected tile, row, column, statistic or thumbnail"),
    ],
)
def test_wrong_requests_are_refused(what: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        _answers(_view()).answer(what, {"layer": 0, "head": 0} | parameters)


def test_a_view_of_some_heads_computes_no_others() -> None:
    view = _view()
    some = view.of_heads([3, 1])
    assert some.shape == (2, QUERIES, KEYS)
    torch.testing.assert_close(some.tile([5, 80]), view.tile([5, 80])[[3, 1]])
    assert torch.equal(some.entropy, view.entropy[[3, 1]])
    assert view.without_inputs().of_heads([-1]).shape == (1, QUERIES, KEYS)
    with pytest.raises(ValueError, match="heads must be from -4 to 3"):
        view.of_heads([4])
    words = torch.zeros(3, 1)
    with pytest.raises(ValueError, match="have no heads"):
        attention(words, words, words, look=Look())[1].of_heads([0])
