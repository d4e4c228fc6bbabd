"""Steps of decoding in one call of the C++ library give what the steps in Python give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import regard
from regard.decode import beam_search, greedy, select
from regard.kernels.cpu import library
from regard.models.language import TransformerLM
from regard.models.native_step import NativeState
from regard.models.pointer import PointerTransformer
from regard.models.transformer import TransformerTranslator
from threads import use_threads

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

LEVELS = [
    pytest.param(name, marks=() if name in (library.level, "portable") else pytest.mark.long) for name in library.levels
]
SIZES: dict[str, Any] = {
    "narrow": {"dim": 24, "heads": 3, "hidden": 40},
    "wide": {"dim": 128, "heads": 4, "hidden": 200},
}
SOURCES = torch.randint(0, 40, (3, 9), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([9, 4, 7])


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    with library.use_level(request.param):
        yield request.param


def translator(size: str = "narrow", **options: Any) -> TransformerTranslator:
    torch.manual_seed(0)
    options = {"encoder_layers": 1, "decoder_layers": 3, **SIZES[size], **options}
    return spread(TransformerTranslator(40, 37, **options))


def language(**options: Any) -> TransformerLM:
    torch.manual_seed(0)
    return spread(TransformerLM(37, **{"dim": 64, "heads": 4, "hidden": 96, "layers": 2, **options}))


def spread(model: Any, std: float = 0.15) -> Any:
    """The model in evaluation, with weights so large that no part of it can be left out unnoticed."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=std)
    return model.eval()


def both(model: Any, *start: Any, steps: int, **options: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Results of the library's steps and of Python's, with the same random tokens and selections of rows."""
    draw = torch.Generator().manual_seed(2)
    states = {}
    with torch.no_grad():
        states[True] = model.start(*start, **options)
    states[False] = model.start(*start, **options)  # with gradients: in Python
    rows = start[0] if isinstance(start[0], int) else len(start[0])
    for at in range(steps):
        tokens = torch.randint(0, 37, (rows,), generator=draw)
        with torch.no_grad():
            ours = model.step(tokens, states[True])
        theirs = model.step(tokens, states[False])
        yield ours.logits, theirs.logits.detach()
        if ours.weights is not None:
            yield ours.weights, theirs.weights.detach()
        rows = (3, 15, 15, 4, 40, 1, 5)[at % 7]
        chosen = torch.randint(0, len(tokens), (rows,), generator=draw).sort().values
        states = {native: select(step.state, chosen) for native, step in ((True, ours), (False, theirs))}


def assert_same(model: Any, *start: Any, steps: int = 9, tolerance: float = 2e-6, **options: Any) -> None:
    for ours, theirs in both(model, *start, steps=steps, **options):
        torch.testing.assert_close(ours, theirs, atol=tolerance * float(theirs.abs().max()), rtol=0)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_translator_writes_the_same(level: str, order: str, positions: str) -> None:
    with use_threads(1):
        assert_same(translator(order=order, positions=positions), SOURCES, LENGTHS, steps=6)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_divide_rows_or_products(level: str, threads: int) -> None:
    with use_threads(threads):
        assert_same(translator("wide"), SOURCES, LENGTHS, steps=6)  # of 3 to 40 rows


@pytest.mark.parametrize("options", [
    {"gated": True, "key_heads": 2}, {"positions": "learned", "key_heads": 1}, {"heads": 2, "hidden": 50},
], ids=["gated, grouped", "learned, one key head", "gelu"])  # fmt: skip
def test_a_language_model_writes_the_same(level: str, options: dict[str, Any]) -> None:
    assert_same(language(**options), 3, steps=6)


def test_biases_and_interleaved_rotation(level: str) -> None:
    model = language(gated=True)
    turn = regard.nn.Rotary(16, turned=8, interleaved=True)
    for layer in model.layers:
        layer.attend = regard.nn.MultiHeadAttention(64, 4, position=turn)
        layer.feed = regard.nn.FeedForward(64, 30, gated=True)
    assert_same(spread(model), 3)


def test_caches_grow() -> None:
    model = translator()
    assert_same(model, SOURCES, LENGTHS, steps=70)


def test_a_window_drops_keys() -> None:
    assert_same(language(), 2, steps=300, length=8, window=5)


def test_a_prompt_of_several_tokens() -> None:
    model, tokens = language(key_heads=2), torch.randint(0, 37, (2, 12))
    expected = model.logits(tokens).detach()
    with torch.no_grad():
        step = model.step(tokens[:, :5], model.start(2))
        torch.testing.assert_close(step.logits, expected[:, 4], atol=2e-6, rtol=2e-6)
        state = step.state
        for at in range(5, 9):
            step = model.step(tokens[:, at], state)
            state = step.state
            assert isinstance(state, NativeState)
            torch.testing.assert_close(step.logits, expected[:, at], atol=2e-6, rtol=2e-6)
        last = model.step(tokens[:, 9:], state).logits
    torch.testing.assert_close(last, expected[:, -1], atol=2e-6, rtol=2e-6)


def test_hypotheses_are_those_of_python() -> None:
    model = translator("wide")
    with torch.no_grad():
        first = torch.ones(3, dtype=torch.int64)
        options: Any = {"eos": 2, "max_length": 20}
        ours = beam_search(model.step, model.start(SOURCES, LENGTHS), first, **options)
        alone = greedy(model.step, model.start(SOURCES, LENGTHS), first, **options)
    state = model.start(SOURCES, LENGTHS)
    assert not isinstance(state.caches, NativeState)
    theirs = beam_search(in_python(model), state, first, **options)
    for our, their in zip(ours, theirs, strict=True):
        assert [one.tokens for one in our] == [one.tokens for one in their]
    assert [one.tokens for one in alone] == [
        one.tokens for one in greedy(in_python(model), model.start(SOURCES, LENGTHS), first, **options)
    ]


def in_python(model: Any) -> Any:
    def step(tokens: Tensor, state: Any) -> Any:
        with torch.enable_grad():
            return model.step(tokens, state)

    return step


def test_a_pointer_copies_words_outside_of_the_vocabulary() -> None:
    torch.manual_seed(0)
    model = spread(PointerTransformer(37, unknown=3, encoder_layers=1, decoder_layers=2, **SIZES["narrow"]))
    assert_same(model, SOURCES % 37, LENGTHS)
    with torch.no_grad():
        state = model.start(SOURCES + 10, LENGTHS)  # with numbers from 37 on
        assert isinstance(state.decoder.caches, NativeState)
        ours = model.step(torch.tensor([40, 5, 38]), state).logits
    theirs = model.step(torch.tensor([40, 5, 38]), model.start(SOURCES + 10, LENGTHS)).logits
    torch.testing.assert_close(ours, theirs.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "bound"), [("bfloat16", 0.02), ("int8", 0.05)])
def test_weights_of_fewer_bits(level: str, kind: Any, bound: float) -> None:
    for model, start in ((translator("wide"), (SOURCES, LENGTHS)), (language(gated=True, key_heads=2), (3,))):
        model.weights = kind
        errors = [(ours - theirs).norm() / theirs.norm() for ours, theirs in both(model, *start, steps=4)]
        assert 1e-4 < max(errors) < bound


def test_a_model_in_bfloat16() -> None:
    model = language(gated=True).to(torch.bfloat16)
    precise = language(gated=True)
    precise.load_state_dict(model.state_dict())
    with torch.no_grad():
        step = model.step(torch.tensor([1, 2]), model.start(2))
        assert isinstance(step.state, NativeState)
        expected = precise.step(torch.tensor([1, 2]), precise.start(2)).logits
    torch.testing.assert_close(step.logits, expected, atol=0.02 * float(expected.abs().max()), rtol=0)


def test_weights_that_changed_are_packed_again() -> None:
    model = translator()
    with torch.no_grad():
        before = model.step(torch.ones(3, dtype=torch.int64), model.start(SOURCES, LENGTHS)).logits
        model.decoder[1].get_parameter("feed.outer.weight").mul_(2)
        after = model.step(torch.ones(3, dtype=torch.int64), model.start(SOURCES, LENGTHS)).logits
    assert (after - before).abs().max() > 1e-3
    assert_same(model, SOURCES, LENGTHS, steps=2)


def _hooked(model: TransformerTranslator) -> None:
    model.decoder[0].feed.register_forward_hook(lambda *_: None)


def _other_score(model: TransformerTranslator) -> None:
    model.decoder[0].attend.score = regard.Dot(scale=1.0)


@pytest.mark.parametrize("change", [_hooked, _other_score, nn.Module.train, nn.Module.double])
def test_other_models_run_in_python(change: Any) -> None:
    model = translator()
    change(model)
    with torch.no_grad():
        assert not isinstance(model.start(SOURCES, LENGTHS).caches, NativeState)


def test_a_model_that_is_looked_at_runs_in_python() -> None:
    model = translator()
    with torch.no_grad(), regard.looking(model):
        assert not isinstance(model.start(SOURCES, LENGTHS).caches, NativeState)


def test_a_state_continues_once() -> None:
    model, tokens = translator(), torch.ones(3, dtype=torch.int64)
    with torch.no_grad():
        state = model.start(SOURCES, LENGTHS)
        other = select(state, torch.tensor([0, 1, 2]))
        model.step(tokens, state)
        with pytest.raises(ValueError, match="continues only once"):
            model.step(tokens, other)


def test_a_token_without_an_embedding() -> None:
    model = translator()
    with torch.no_grad(), pytest.raises(IndexError, match="expected 0 to 36"):
        model.step(torch.tensor([1, 37, 1]), model.start(SOURCES, LENGTHS))


def test_learned_positions_end() -> None:
    model = translator(positions="learned", longest=3)
    with torch.no_grad():
        state = model.start(SOURCES[:, :3], torch.tensor([3, 3, 3]))
        for _ in range(3):
            state = model.step(torch.ones(3, dtype=torch.int64), state).state
        with pytest.raises(ValueError, match="only 3 positions"):
            model.step(torch.ones(3, dtype=torch.int64), state)
