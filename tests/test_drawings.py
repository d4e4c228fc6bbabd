"""Images of one layer of a view: words, and a row over an image, over a sound and along its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from regard import looking
from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.views import (
    STATISTICS,
    LayerView,
    ModelView,
    draw_alignment,
    draw_on_image,
    draw_on_sound,
    draw_row,
    drawings,
)

KEYS = ["[CLS]", "un", "##seen", "cats", "sleep", "##ing", "##ly", "[SEP]", "a"]


@pytest.fixture
def layer() -> LayerView:
    torch.manual_seed(0)
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0), 1).eval()
    with looking(model, STATISTICS, inputs=True) as seen:
        model(torch.randn(1, 9, 8))
    return ModelView(seen, KEYS)["layers.0.self_attn", 0]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The numbers that are drawn."""
    found: list[Any] = []
    monkeypatch.setattr(drawings, "save_overlay", lambda image, places, path, title: found.append((places, title)))
    monkeypatch.setattr(drawings, "save_picture", lambda alignment, path, title: found.append((alignment, title)))
    monkeypatch.setattr(Timeline, "save", lambda timeline, path, title: found.append((timeline, title)))
    return found


def test_what_is_drawn_are_the_weights(layer: LayerView, drawn: list[Any]) -> None:
    rows, words = layer.rows(slice(None)).numpy(), layer.words().weights.numpy()
    draw_on_image(layer, np.zeros((3, 4, 8), np.uint8), (2, 4), "a.png", query=3, head=1)
    np.testing.assert_allclose(drawn[0][0], rows[1, 3, 1:].reshape(2, 4), rtol=1e-6)
    assert drawn[0][1] == "layers.0.self_attn, head 1, from cats"
    draw_alignment(layer, "a.png")
    np.testing.assert_allclose(drawn[1][0].weights, words.mean(0), rtol=1e-6)
    assert drawn[1][0].source == ("[CLS]", "unseen", "cats", "sleepingly", "[SEP]", "a")
    draw_on_sound(layer, np.zeros((30, 5)), 4.5, "a.png", query=-1)
    np.testing.assert_allclose(drawn[2][0].weights, rows[:, -1].mean(0), rtol=1e-6)
    assert (drawn[2][0].step, drawn[2][1]) == (0.5, "layers.0.self_attn, mean of all heads, from a")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_images_are_written(layer: LayerView, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    image = np.arange(96, dtype=np.uint8).reshape(3, 4, 8)
    for draw in (
        lambda: draw_alignment(layer, path, head=0),
        lambda: draw_on_image(layer, image, (2, 4), path),
        lambda: draw_on_sound(layer, np.random.default_rng(0).random((30, 5)), 4.5, path),
        lambda: draw_row(layer, path, query=2),
    ):
        draw()
        assert path.read_bytes().startswith(b"\x89PNG" if ending == "png" else b"<?xml")
        path.unlink()


def test_what_does_not_fit_is_named(layer: LayerView, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="grid: 4 × 4 patches do not fit 9 keys"):
        draw_on_image(layer, np.zeros((3, 8, 8), np.uint8), (4, 4), tmp_path / "a.png")
    with pytest.raises(ValueError, match="head: expected a number from 0 to 1, got 2"):
        draw_row(layer, tmp_path / "a.png", head=2)
    with pytest.raises(ValueError, match="9"):
        draw_row(layer, tmp_path / "a.png", query=9)
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
        draw_row(layer, tmp_path / "a.gif")
