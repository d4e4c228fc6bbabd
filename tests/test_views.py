"""`regard.views`: the attention of a model with its tokens, by words, in files, and as images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regard import Causal, Hard, Look, Softcap, Softmax, Sparsemax, Window, attention, looking
from regard.attend import Dot, Mask
from regard.errors import UserError
from regard.views import STATISTICS, ModelView, Tokens, draw_entropy, draw_grid, draw_received, load


class Block(nn.Module):
    """Attention of two sequences with 3 heads, keys in one group."""

    def __init__(self, **options: Any):
        super().__init__()
        self.options = options

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return attention(x, y[:, :1], y[:, :1], **self.options)


def _inputs(queries: int = 6, keys: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, queries, 4, generator=generator), torch.randn(2, 1, keys, 4, generator=generator)


def _seen(look: Look = STATISTICS, inputs: bool = True, size: tuple[int, int] = (6, 8), **options: Any) -> Any:
    model = nn.ModuleDict({"0": Block(**options)})
    with looking(model, look, inputs=inputs) as seen:
        model["0"](*_inputs(*size))
    return seen


KEYS = ["[CLS]", "un", "##seen", "cats", "sleep", "##ing", "##ly", "[SEP]"]


@pytest.mark.parametrize(
    ("pieces", "texts", "words"),
    [
        (KEYS, "[CLS] un seen cats sleep ing ly [SEP]", [0, 1, 1, 2, 3, 3, 3, 4]),
        (["<s>", "▁un", "seen", "▁cats", "</s>"], "<s> un seen cats </s>", [0, 1, 1, 2, 3]),
        (["Un", "seen", "Ġcats", ".", "<|endoftext|>", "A"], "Un seen cats . <|endoftext|> A", [0, 0, 1, 1, 2, 3]),
        (["▁a", "<0x0A>", "b"], "a <0x0A> b", [0, 0, 0]),
        (["un", "seen</w>", "cats</w>", "!</w>"], "un seen cats !", [0, 0, 1, 2]),
        (["a", "b"], "a b", [0, 1]),
        (["▁", "a"], "▁ a", [0, 0]),
        ([], "", []),
    ],
)
def test_words_begin_where_the_marks_of_the_pieces_say(pieces: list[str], texts: str, words: list[int]) -> None:
    tokens = Tokens.of(pieces)
    assert (list(tokens.texts), list(tokens.words)) == (texts.split(), words)


def test_words_of_tokens() -> None:
    assert Tokens.of(KEYS).word_texts == ("[CLS]", "unseen", "cats", "sleepingly", "[SEP]")
    assert Tokens.of(["a", "##b"], ["A", " B"]).word_texts == ("A B",)
    assert Tokens.of(KEYS).part(2, 4) == Tokens(("seen", "cats"), (0, 1))
    for words in ((0,), (0, 2), (1, 1), (0, -1)):
        with pytest.raises(ValueError, match="words: expected"):
            Tokens(("a", "b"), words)


def test_a_view_of_a_model_is_of_one_sequence_with_its_tokens() -> None:
    seen = _seen()
    view = ModelView(seen, KEYS, example=1)
    layer = view["0", 0]
    assert repr(view) == "ModelView(*: 1 × 3 heads, 6 × 8 tokens)"
    assert (layer.heads, layer.queries.texts[0], layer.keys.texts[1:3]) == (3, "seen", ("un", "seen"))
    for name, result in seen["0", 0].results.items():
        assert torch.equal(layer.view.results[name], result[1])
    torch.testing.assert_close(layer.view.tile([2, -1]), seen["0", 0].tile([2, -1])[1])
    assert ModelView(seen)["0", 0].keys == Tokens.positions(8)
    with pytest.raises(ValueError, match="example: must be from -2 to 1, got 2"):
        ModelView(seen, example=2)
    with pytest.raises(ValueError, match="tokens: got 12, but no attention has more than 8 keys"):
        ModelView(seen, ["a"] * 12)


def test_an_example_without_a_batch_or_with_random_weights() -> None:
    x, y = _inputs()
    for given in ((x[0], y[0]), (x[0, 0], y[0, 0])):
        _, view = attention(given[0], given[1], given[1], look=Look(entropy=True))
        alone = view.example()
        assert alone.shape == (3 if given[0].dim() == 3 else 1, 6, 8)
        torch.testing.assert_close(alone.tile([1])[0, 0], view.tile([1]).flatten()[:8])
        assert torch.equal(alone.entropy.flatten(), view.entropy.flatten())
    _, view = attention(x, y, y, normalizer=Hard(seed=3), look=Look(rows=slice(None)))
    assert view.example(1).plan is None
    assert torch.equal(view.example(1).rows, view.rows[1])
    assert view.example(1).shape == view.without_inputs().example(1).shape == (3, 6, 8)


def test_weights_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = ModelView(_seen(), KEYS)["0", 0]
    weights = layer.view.tile(slice(None))
    merged = torch.stack([weights[:, :, part].sum(2) for part in ([0], [1, 2], [3], [4, 5, 6], [7])], 2)
    expected = torch.stack([merged[:, part].mean(1) for part in ([0], [1], [2, 3, 4], [5])], 1)
    words = layer.words()
    torch.testing.assert_close(words.weights, expected)
    assert (words.queries, words.keys[1]) == (("seen", "cats", "sleepingly", "[SEP]"), "unseen")
    some = layer.words([-1, 0])
    torch.testing.assert_close(some.weights, expected[:, [-1, 0]])
    assert some.queries == ("[SEP]", "seen")
    monkeypatch.setattr("regard.views.layer._STORED", 1)
    torch.testing.assert_close(layer.words().weights, expected)
    with pytest.raises(ValueError, match="rows must be from -4 to 3"):
        layer.words([4])


def test_rows_come_from_what_a_view_holds() -> None:
    weights = _seen()["0", 0].tile(slice(None))[0]
    for look in (Look(rows=slice(None)), Look(map=(64, 64))):
        rows = ModelView(_seen(look, inputs=False))["0", 0].rows([5, -6])
        torch.testing.assert_close(rows, weights[:, [5, 0]])
    poor = ModelView(_seen(Look(entropy=True, map=(2, 2)), inputs=False))["0", 0]
    assert poor.holds == ("entropy", "map_mean", "map_max")
    with pytest.raises(ValueError, match=r"rows: the view of 0 holds entropy, map_mean, map_max, .*inputs=True"):
        poor.rows([0])


HOLES = torch.ones(6, 8, dtype=torch.bool)
HOLES[2, 3] = False
TRAPEZE = torch.ones(6, 8, dtype=torch.bool).tril(2)
TRAPEZE[:, 0] = TRAPEZE[4] = False
BY_DISTANCE = torch.arange(3.0)[:, None, None] * (torch.arange(8) - torch.arange(6)[:, None]).abs()
CASES: dict[str, dict[str, Any]] = {
    "plain": {}, "causal": {"mask": Causal()}, "window": {"mask": Window(2, 1)}, "intervals": {"mask": TRAPEZE},
    "capped": {"score": Softcap(Dot(0.3), 2.0)}, "sink": {"normalizer": Softmax(sink=torch.tensor([0.0, 1.0, -1.0]))},
    "distances": {"bias": BY_DISTANCE},
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_weights_of_a_file_are_exact_for_its_rounded_inputs(name: str, tmp_path: Path) -> None:
    view = ModelView(_seen(**CASES[name]), KEYS, example=1)
    view.save(tmp_path / "a.safetensors", inputs=True)
    layer = load(tmp_path / "a.safetensors")["0", 0]
    x, y = (part[1:].half().float() for part in _inputs())
    options = {key: value for key, value in CASES[name].items() if key != "mask"} | {"look": Look(rows=slice(None))}
    mask: Mask | Tensor | None = CASES[name].get("mask")
    expected = attention(x, y[:, :1], y[:, :1], mask=mask, **options)[1].rows[0]
    torch.testing.assert_close(layer.view.tile(slice(None)).float(), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer.rows([3]), view["0", 0].rows([3]), atol=2e-3, rtol=0)
    torch.testing.assert_close(
        layer.view.pool(slice(None), range(4), (1, 2)).max[:, 0, 1], expected[:, :, 2:4].amax((1, 2))
    )
    assert (layer.queries, layer.keys, layer.why) == (view["0", 0].queries, view["0", 0].keys, "")
    for key, result in view["0", 0].view.results.items():
        assert torch.equal(layer.view.results[key], result)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"normalizer": Sparsemax()}, "its normalizer is entmax"),
        ({"mask": HOLES}, "its mask is not an interval of keys for each query"),
        ({"bias": BY_DISTANCE * torch.arange(8)}, "its bias is more than a number for each distance"),
    ],
)
def test_a_file_says_why_a_view_has_no_inputs(options: dict[str, Any], why: str, tmp_path: Path) -> None:
    view = ModelView(_seen(**options))
    view.save(tmp_path / "a.safetensors", inputs=True)
    layer = load(tmp_path / "a.safetensors")["0", 0]
    assert layer.why == why
    assert "inputs" not in layer.holds
    torch.testing.assert_close(layer.rows([1]), view["0", 0].rows([1]))  # from the map, which has all weights
    with pytest.raises(ValueError, match="tile: this view has no queries and keys"):
        layer.view.tile([0])


def test_a_file_without_inputs_and_one_in_bfloat16(tmp_path: Path) -> None:
    model, (x, y) = Block(), _inputs()
    with looking(model, STATISTICS, inputs=True) as seen:
        model(x.bfloat16(), y.bfloat16())
    ModelView(seen).save(tmp_path / "a.safetensors")
    plain = load(tmp_path / "a.safetensors")["", 0]
    assert (plain.view.plan, plain.why) == (None, "")
    ModelView(seen).save(tmp_path / "b.safetensors", inputs=True)
    again = load(tmp_path / "b.safetensors")["", 0].view.tile(slice(None))
    torch.testing.assert_close(again, seen["", 0].tile(slice(None))[0], atol=1e-6, rtol=1e-5)
    large = _seen(normalizer=Softmax(), score=Dot(1e-8))
    large["0", 0].plan.query.mul_(1e6)
    ModelView(large).save(tmp_path / "c.safetensors", inputs=True)
    assert load_file(tmp_path / "c.safetensors")["0.query"].dtype is torch.bfloat16
    ModelView(_seen(inputs=False)).save(tmp_path / "d.safetensors", inputs=True)
    assert load(tmp_path / "d.safetensors")["0", 0].why == "the views were collected without inputs=True"


def _described(path: Path, change: Any) -> None:
    """Write the file again with a changed description or changed tensors."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        content, tensors = json.loads(file.metadata()["regard"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(content, tensors)
    save_file(tensors, path, {"regard": json.dumps(content)})


DAMAGE: dict[str, Any] = {
    "version": lambda c, t: c.update(version=2),
    "format": lambda c, t: c.update(format="x"),
    "no layers": lambda c, t: c.pop("layers"),
    "layers": lambda c, t: c.update(layers=3),
    "shape": lambda c, t: c["layers"][0].update(shape=[3, 5, 8]),
    "shape of two": lambda c, t: c["layers"][0].update(shape=[3, 5]),
    "side": lambda c, t: c["layers"][0].update(queries=9),
    "words": lambda c, t: c["tokens"][0].update(words=[5]),
    "unknown result": lambda c, t: c["layers"][0].update(results=["a"]),
    "missing tensor": lambda c, t: t.pop("0.entropy"),
    "missing query": lambda c, t: t.pop("0.query"),
    "wrong shape": lambda c, t: t.update({"0.entropy": torch.zeros(3, 7)}),
    "wrong heads": lambda c, t: t.update({"0.key": torch.zeros(2, 8, 4, dtype=torch.float16)}),
    "wrong type": lambda c, t: t.update({"0.query": torch.zeros(3, 6, 4, dtype=torch.int8)}),
    "interval outside": lambda c, t: t.update({"0.end": torch.full((1, 6), 9, dtype=torch.int32)}),
    "score": lambda c, t: c["layers"][0]["inputs"].update(score="x"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    ModelView(_seen(mask=Causal())).save(path, inputs=True)
    _described(path, DAMAGE[name])
    with pytest.raises(UserError, match=r"a\.safetensors: not a file of views that regard wrote \(.+\)$"):
        load(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(UserError, match=r"a\.safetensors: cannot be read \(No such file"):
        load(path)
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path)
    ModelView(_seen()).save(path)
    whole = path.read_bytes()
    for content in (b"", b"\0" * 7, whole[:40], whole[:-5], whole + b"x", b"\x80\x04K\x01.", b"{" * 5000):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a file of views that regard wrote") as error:
            load(path)
        assert "\n" not in str(error.value)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UserError, match="of another program"):
        load(path)
    with pytest.raises(UserError, match="cannot be written"):
        ModelView(_seen()).save(tmp_path / "no" / "a.safetensors")


def test_the_sides_of_an_encoder_decoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 2, 2, 16, batch_first=True, dropout=0.0).eval()
    with looking(model, STATISTICS, inputs=True) as seen:
        model(torch.randn(1, 8, 8), torch.randn(1, 3, 8))
    view = ModelView(seen, KEYS, target=["▁a", "▁b", "c"])
    assert list(view.groups) == [
        "encoder.layers.*.self_attn", "decoder.layers.*.self_attn", "decoder.layers.*.multihead_attn",
    ]  # fmt: skip
    layer = view["decoder.layers.1.multihead_attn", 0]
    assert (layer.queries.texts, layer.keys.texts) == (("a", "b", "c"), Tokens.of(KEYS).texts)
    assert view["decoder.layers.1.self_attn", 0].keys.texts == ("a", "b", "c")
    assert layer.words().weights.shape == (2, 2, 5)
    for name, draw in (("g", draw_grid), ("e", draw_entropy), ("r", draw_received)):
        draw(view, tmp_path / f"{name}.png")
        draw(view, tmp_path / f"{name}.svg")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "multihead_attn" in (tmp_path / f"{name}.svg").read_text()
    draw_grid(view, tmp_path / "one.svg", group="decoder.layers.*.self_attn")
    assert "multihead_attn" not in (tmp_path / "one.svg").read_text()


def test_steps_of_a_generation_have_the_tokens_at_the_end() -> None:
    pytest.importorskip("transformers")
    from model_families import FAMILIES, inputs

    model, given = FAMILIES["Llama"].build(), {"input_ids": inputs("decoder")["plain"]["input_ids"][:1]}
    with looking(model, STATISTICS) as seen:
        text = model.generate(**given, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    view = ModelView(seen, [f"▁{number}" for number in text[0].tolist()])
    layer = view["model.layers.1.self_attn", 2]
    assert layer.queries.texts == (str(text[0, 13].item()),)
    assert len(layer.keys) == 14
    assert view.groups.keys() == {"model.layers.*.self_attn"}


def test_images_of_what_a_view_does_not_hold(tmp_path: Path) -> None:
    view = ModelView(_seen(Look(lse=True), inputs=False))
    for draw, name in ((draw_grid, "map_mean"), (draw_entropy, "entropy"), (draw_received, "received")):
        with pytest.raises(UserError, match=f"0: its view has no {name}; collect it with regard.views.STATISTICS"):
            draw(view, tmp_path / "a.png")
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
        draw_entropy(ModelView(_seen()), tmp_path / "a.gif")
    with pytest.raises(ValueError, match=r"group: expected one of \*, got 'x'"):
        draw_grid(view, tmp_path / "a.png", group="x")
