"""All tokens through the layers in one call of the C++ library: encoders, and the prompts of language models."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.kernels.cpu import library
from regard.models.language import TransformerLM
from regard.models.modules import evaluating, modules_of
from regard.models.native_encoder import encoded
from regard.models.native_step import NativeState
from regard.models.transformer import TransformerTranslator
from test_native_step import LEVELS, spread
from threads import use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    with library.use_level(request.param):
        yield request.param


def translator(**options: Any) -> TransformerTranslator:
    sizes = {"dim": 24, "heads": 3, "hidden": 40, "encoder_layers": 3, "decoder_layers": 1}
    made = TransformerTranslator(40, 37, **{**sizes, **options})
    torch.manual_seed(0)
    return spread(made, std=0.2)


def language(**options: Any) -> TransformerLM:
    sizes = {"dim": 32, "heads": 4, "key_heads": 2, "hidden": 40, "layers": 3, "context": 150}
    made = TransformerLM(37, **{**sizes, **options})
    torch.manual_seed(0)
    return spread(made, std=0.2)


def batch(rows: int, length: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(rows * length)
    lengths = torch.randint(1, length + 1, (rows,), generator=draw)
    lengths[0] = length
    return torch.randint(0, 37, (rows, length), generator=draw), lengths


def native(model: TransformerTranslator, source: Tensor, lengths: Tensor) -> Tensor | None:
    """The states by the library; None: they are left to PyTorch."""
    x = model.source_position(model.source_embedding(source) * model.scale)  # type: ignore[misc]
    return encoded(model.encoder, model.encoder_norm, x, lengths, model.weights)


def assert_states(model: TransformerTranslator, rows: int, length: int) -> None:
    source, lengths = batch(rows, length)
    expected = deepcopy(model).double().states(source, lengths).detach()
    with torch.no_grad():
        states = native(model, source, lengths)
    assert states is not None
    torch.testing.assert_close(states.double(), expected, atol=3e-6 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_states_of_an_encoder(level: str, order: str, positions: str) -> None:
    model = translator(order=order, positions=positions)
    for rows, length in ((1, 1), (1, 5), (3, 17), (2, 70), (40, 3)):
        assert_states(model, rows, length)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_divide_products_and_rows(level: str, threads: int) -> None:
    with use_threads(threads):
        assert_states(translator(dim=128, heads=4, hidden=300), 7, 43)


def test_changed_weights_are_packed_again() -> None:
    model = translator()
    assert_states(model, 2, 5)
    feed: Any = model.encoder[1].feed
    nn.init.normal_(feed.inner.weight)
    assert_states(model, 2, 5)


def test_what_follows_the_layers_is_left_to_pytorch() -> None:
    model, (source, lengths) = translator(), batch(2, 5)
    assert native(model, source, lengths) is None  # gradients
    with torch.no_grad():
        assert native(model, source, lengths) is not None
        with regard.looking(model) as seen:
            model.states(source, lengths)
        assert len(seen) == 3
        with torch.autocast("cpu"):
            assert native(model, source, lengths) is None
        hook = model.encoder[2].attend.output.register_forward_hook(lambda *_: None)
        assert native(model, source, lengths) is None
        hook.remove()
        model.encoder[0].feed.train()
        assert native(model, source, lengths) is None
        assert evaluating(model) is model
        assert native(model, source, lengths) is not None
        model.encoder[0].attend.normalizer = regard.Sparsemax()
        assert native(model, source, lengths) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", [
    {}, {"positions": "learned"}, {"positions": "none"}, {"gated": True, "key_heads": 4}, {"key_heads": 1},
], ids=["rotary", "learned", "none", "gated", "one key head"])  # fmt: skip
def test_prompts_and_what_follows_them(level: str, options: dict[str, Any], dtype: torch.dtype) -> None:
    model, draw = language(**options).to(dtype), torch.Generator().manual_seed(1)
    for rows, count in ((1, 2), (3, 40), (2, 141)):
        tokens = torch.randint(0, 37, (rows, count + 5), generator=draw)
        expected = deepcopy(model).double().logits(tokens)[:, count - 1 :].float().detach()
        with torch.no_grad():
            step = model.step(tokens[:, :count], model.start(rows, length=count))
            assert isinstance(step.state, NativeState)
            logits = [step.logits]
            for one in tokens[:, count:].unbind(1):
                step = model.step(one, step.state)
                logits.append(step.logits)
        tolerance = 3e-6 if dtype is torch.float32 else 1e-2
        atol = tolerance * float(expected.abs().max())
        torch.testing.assert_close(torch.stack(logits, 1), expected, atol=atol, rtol=0)


def test_a_prompt_that_is_longer_than_the_window_is_left_to_pytorch() -> None:
    model, tokens = language(), torch.randint(0, 37, (1, 9))
    with torch.no_grad():
        assert isinstance(model.step(tokens, model.start(1, window=9)).state, NativeState)
        assert not isinstance(model.step(tokens, model.start(1, window=8)).state, NativeState)


def test_modules_in_their_order() -> None:
    model = translator()
    assert {id(one) for one in modules_of(model)} == {id(one) for one in model.modules()}
    assert modules_of(None, model.encoder_norm) == [model.encoder_norm]
