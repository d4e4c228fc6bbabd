"""`looking`: the views of the attentions of any module, with the outputs that it has without looking."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from regard import Causal, Look, attention, looking
from regard.nn import MultiHeadAttention

LOOK = Look(entropy=True, received=True)


class Own(nn.Module):
    """A block with PyTorch's fused attention, in the middle of a forward pass."""

    def __init__(self, **options: Any):
        super().__init__()
        self.lift, self.options = nn.Linear(8, 24), options

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.lift(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, **self.options).transpose(1, 2).flatten(2)


class Eager(nn.Module):
    """SoftmaxAttention that nobody can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return (x @ x.mT).softmax(-1) @ x


class LonelyAttention(Eager):
    pass


def _x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 5, 8)


MASK = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.6
MASK[:, 0] = True
_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {}, "causal": {"is_causal": True}, "boolean": {"attn_mask": MASK}, "scale": {"scale": 0.3},
    "numbers": {"attn_mask": torch.linspace(-2, 2, 25).view(5, 5)},
}  # fmt: skip


@pytest.mark.parametrize("name", _OPTIONS)
def test_the_fused_function_is_followed(name: str) -> None:
    own, x = Own(**_OPTIONS[name]), _x()
    model = nn.Sequential(nn.Linear(8, 8), own)
    expected = model(x)
    with looking(model, Look(rows=slice(None))) as seen:
        output = model(x)
    torch.testing.assert_close(output, expected)
    q, k, _ = own.lift(model[0](x)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    unit = torch.eye(5).expand(2, 2, 5, 5)
    weights = F.scaled_dot_product_attention(q, k, unit, **_OPTIONS[name])
    torch.testing.assert_close(seen["1", 0].rows, weights)
    assert (list(seen), seen.missed) == ([("1", 0)], ())


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("need", [True, False])
def test_multi_head_attention_is_followed_with_its_weights(need: bool, average: bool, batched: bool) -> None:
    model, x = nn.MultiheadAttention(8, 2, batch_first=True).eval(), _x() if batched else _x()[0]
    options = {"need_weights": need, "average_attn_weights": average, "attn_mask": ~MASK}
    output, weights = model(x, x, x, **options)
    with looking(model, LOOK) as seen:
        ours, own = model(x, x, x, **options)
    torch.testing.assert_close(ours, output)
    assert (own is None) == (weights is None)
    if weights is not None:
        torch.testing.assert_close(own, weights)
    assert seen["", 0].entropy.shape == (2 if batched else 1, 2, 5)


def test_layers_of_pytorch_without_their_fast_path() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval(), _x()
    padding = torch.zeros(2, 5, dtype=torch.bool)
    padding[1, 3:] = True
    with torch.inference_mode():
        expected = model(x, src_key_padding_mask=padding)
        with looking(model, LOOK) as seen:
            output = model(x, src_key_padding_mask=padding)
    torch.testing.assert_close(output[~padding], expected[~padding])
    assert seen.modules == ("layers.0.self_attn", "layers.1.self_attn")
    assert not seen["layers.1.self_attn", 0].received[1, :, 3:].any()
    assert torch.backends.mha.get_fastpath_enabled()


def test_layers_of_regard_and_direct_calls() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attend = MultiHeadAttention(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            y, view = self.attend(x, x, x, mask=Causal(), look=Look(top=2))
            assert view is not None
            assert view.top.keys.shape == (2, 2, 5, 2)
            return attention(y, y, y[..., :3])

    model, x = Model(), _x()
    expected = model(x)
    with looking(model, LOOK, inputs=True) as seen:
        output = model(x)
        attention(x, x, x)  # of no module
    assert torch.equal(output, expected)
    assert list(seen) == [("attend", 0), ("", 0)]
    view = seen["attend", 0]
    torch.testing.assert_close(view.tile(slice(None)).sum(-2), view.received)
    with pytest.raises(AttributeError, match="this view has no top"):
        _ = view.top


def test_a_module_that_runs_again_has_several_calls_and_only_the_last_are_kept() -> None:
    model = Own()
    with looking(model) as seen:
        for length in range(1, 5):
            model(_x()[:, :length])
    assert [(key, view.entropy.shape[-1]) for key, view in seen.items()] == [(("", n), n + 1) for n in range(4)]
    assert [view.received.shape[-1] for view in seen.of("")] == [1, 2, 3, 4]
    with looking(model, last=2) as seen:
        for length in range(1, 5):
            model(_x()[:, :length])
    assert list(seen) == [("", 2), ("", 3)]
    with pytest.raises(KeyError):
        _ = seen["", 0]
    assert repr(seen) == "Seen(2 calls of 1 modules)"


def test_a_map_and_the_largest_weights_are_at_most_those_of_a_call() -> None:
    model = Own()
    with looking(model, Look(map=(8, 3), top=9)) as seen:
        model(_x())
    assert seen["", 0].map.mean.shape == (2, 2, 5, 3)
    assert seen["", 0].top.keys.shape == (2, 2, 5, 5)


def test_views_keep_no_inputs_unless_asked() -> None:
    model, x = Own(), _x().requires_grad_()
    with looking(model, Look(entropy=True, lse=True)) as seen:
        output = model(x)
    with pytest.raises(ValueError, match="this view has no queries and keys; with looking"):
        seen["", 0].tile([0])
    assert not seen["", 0].lse.requires_grad
    output.sum().backward()
    assert x.grad is not None


def test_gradients_are_those_without_looking() -> None:
    model, grads = Own(is_causal=True), []
    for look in (False, True):
        x = _x().requires_grad_()
        if look:
            with looking(model):
                model(x).square().sum().backward()
        else:
            model(x).square().sum().backward()
        grads.append(x.grad)
    torch.testing.assert_close(*grads)


def test_a_repeated_forward_pass_of_checkpointing_is_not_seen() -> None:
    model, x = Own(), _x().requires_grad_()
    with looking(model) as seen:
        output: Any = checkpoint(model, x, use_reentrant=False)
        output.sum().backward()
    assert len(seen) == 1


def test_what_cannot_be_followed_is_named() -> None:
    model = nn.Sequential(Own(), LonelyAttention(), LonelyAttention())
    message = r"no call of attention of 1 \(LonelyAttention\), 2 \(LonelyAttention\) could"
    with pytest.warns(UserWarning, match=message), looking(model) as seen:
        model(_x())
    assert seen.missed == ("1", "2")
    assert len(seen) == 1
    with pytest.warns(UserWarning, match=r"no call of attention of Eager could be seen"), looking(Eager()) as seen:
        pass
    assert (len(seen), seen.missed) == (0, ())


def test_a_compiled_model_is_seen() -> None:
    model = Own()
    compiled: Any = torch.compile(model, backend="eager")
    expected = compiled(_x())
    with looking(model) as seen:
        output = compiled(_x())
    torch.testing.assert_close(output, expected)
    assert len(seen) == 1


def test_everything_is_undone_after_an_error() -> None:
    model = nn.Sequential(Own(), nn.Linear(7, 7))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), looking(model):
        model(_x())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    with looking(model[0]) as seen:
        attention(_x(), _x(), _x())
        with looking(model[0]) as inner:
            model[0](_x())
        model[0](_x()[:, :2])
    assert (len(seen), len(inner)) == (1, 1)
    assert seen["", 0].entropy.shape == (2, 2, 2)
    with pytest.raises(ValueError, match="last: must be positive, got 0"), looking(model, last=0):
        pass


@pytest.mark.parametrize("implementation", ["sdpa", "regard"])
@pytest.mark.parametrize("name", ["BERT", "ALBERT", "GPT-2", "T5", "Whisper", "ViT", "GPT-OSS", "Gemma 2"])
def test_models_of_hugging_face(name: str, implementation: str) -> None:
    pytest.importorskip("transformers")
    from model_families import FAMILIES, inputs, output
    from regard.integrations.transformers import disable, enable

    model, given = FAMILIES[name].build(), next(iter(inputs(FAMILIES[name].kind).values()))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = model(**given, output_attentions=True)
    weights = {"T5": "encoder_attentions", "Whisper": "decoder_attentions"}.get(name, "attentions")
    enable()
    try:
        if implementation == "sdpa" and name in ("GPT-OSS", "Gemma 2"):
            pytest.skip("has no such implementation")
        model.set_attn_implementation(implementation)
        with torch.inference_mode(), looking(model, Look(rows=slice(None))) as seen:
            result = output(model, given)
        wanted = output(model, given)
        if implementation == "regard" and name != "GPT-2":  # it passes no weights on
            again = model(**given, output_attentions=True)
            torch.testing.assert_close(again[weights], expected[weights], atol=1e-5, rtol=1e-4)
    finally:
        disable()
    torch.testing.assert_close(result, wanted, atol=1e-5, rtol=1e-4)
    assert seen.missed == ()
    rows = [view.rows for view in seen.values()]
    if name == "GPT-2":
        assert len(rows) == 2
    else:
        every = [one for key in expected if "attentions" in key and expected[key] for one in expected[key]]
        assert len(rows) == len(every)
        for wanted_rows in expected[weights]:
            assert any(a.shape == wanted_rows.shape and torch.allclose(a, wanted_rows, atol=1e-5) for a in rows)


def test_generation_is_seen_step_by_step() -> None:
    pytest.importorskip("transformers")
    from model_families import FAMILIES, inputs

    model, given = FAMILIES["Llama"].build(), inputs("decoder")["plain"]
    with warnings.catch_warnings(action="ignore"):
        expected = model.generate(**given, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    with looking(model, LOOK) as seen:
        text = model.generate(**given, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    assert torch.equal(text, expected)
    views = seen.of("model.layers.1.self_attn")
    assert [view.received.shape[-1] for view in views] == [12, 13, 14, 15, 16]
