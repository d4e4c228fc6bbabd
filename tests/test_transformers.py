"""regard as the attention of transformers' models: equal to theirs, and errors where it cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from model_families import FAMILIES, inputs, output

transformers = pytest.importorskip("transformers")
masking = pytest.importorskip("transformers.masking_utils")

from regard import Dropout, Softmax, attention  # noqa: E402
from regard.integrations.transformers import disable, enable, use  # noqa: E402
from regard.integrations.transformers.calls import attend  # noqa: E402
from regard.integrations.transformers.visibility import Visibility, visible  # noqa: E402

CASES = [(name, given) for name, family in FAMILIES.items() for given in inputs(family.kind)]
GENERATING = [name for name, family in FAMILIES.items() if family.kind in ("decoder", "seq2seq", "speech")][1:]


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    enable()
    yield
    disable()


def _gradients(model: Any, given: Mapping[str, Any]) -> tuple[Tensor, list[Tensor]]:
    model.zero_grad()
    result = output(model, given)
    result.float().square().sum().backward()
    return result.detach(), [part.grad for part in model.parameters() if part.grad is not None]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_outputs_and_gradients_are_those_of_eager(name: str, case: str) -> None:
    model, given = FAMILIES[name].build(), inputs(FAMILIES[name].kind)[case]
    model.set_attn_implementation("eager")
    expected, wanted = _gradients(model, given)
    model.set_attn_implementation("regard")
    result, gradients = _gradients(model, given)
    assert (result - expected).abs().max() <= 1e-5
    largest = max(float(part.abs().max()) for part in wanted)
    assert max(float((a - b).abs().max()) for a, b in zip(gradients, wanted, strict=True)) <= 1e-4 * largest


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_is_as_near_as_eager(name: str) -> None:
    """The distance from float32 is not much larger than that of eager in bfloat16."""
    model, given = FAMILIES[name].build(), next(iter(inputs(FAMILIES[name].kind).values()))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        exact = output(model, given)
        model.bfloat16()
        given = {key: value.bfloat16() if value.is_floating_point() else value for key, value in given.items()}
        eager = (output(model, given).float() - exact).square().mean().sqrt()
        model.set_attn_implementation("regard")
        ours = (output(model, given).float() - exact).square().mean().sqrt()
    assert ours <= 1.5 * eager


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("name", GENERATING)
def test_generation_is_equal_token_for_token(name: str, beams: int, cache: str) -> None:
    kind, model = FAMILIES[name].kind, FAMILIES[name].build()
    given = inputs(kind)["padded on the left" if kind == "decoder" else "plain"]
    given = {key: value for key, value in given.items() if key != "decoder_input_ids"}
    texts = []
    for implementation in ("eager", "regard"):
        model.set_attn_implementation(implementation)
        with warnings.catch_warnings(action="ignore"):
            texts.append(
                model.generate(
                    **given, max_new_tokens=9, min_new_tokens=9, do_sample=False, num_beams=beams,
                    cache_implementation=cache, disable_compile=True,
                )
            )  # fmt: skip
    assert texts[0].shape[1] >= 9
    assert torch.equal(*texts)


@pytest.mark.parametrize(
    "name", [name if name == "Mistral" else pytest.param(name, marks=pytest.mark.long) for name in FAMILIES]
)
def test_compiled_in_one_graph(name: str) -> None:
    kind, model = FAMILIES[name].kind, FAMILIES[name].build()
    given = list(inputs(kind).values())[-1]
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = output(model, given)
    model.set_attn_implementation("regard")
    torch._dynamo.reset()
    with torch.no_grad():
        result = output(torch.compile(model, backend="aot_eager", fullgraph=kind in ("encoder", "decoder")), given)
    assert (result - expected).abs().max() <= 1e-5


_PACKED = torch.tensor([[0, 0, 0, 1, 1, 2, 2, 2, 2, 2], [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]])
_PLACES = torch.tensor([[0, 1, 2, 0, 1, 0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]])
_FUNCTIONS = {
    "causal": masking.causal_mask_function,
    "bidirectional": masking.bidirectional_mask_function,
    "window": masking.sliding_window_causal_mask_function(3),
    "window on both sides": masking.sliding_window_bidirectional_mask_function(2),
    "chunks": masking.chunked_causal_mask_function(4, torch.tensor([0, 3])),
    "packed": masking.and_masks(
        masking.remap_positions_for_packed_sequence(masking.causal_mask_function, _PLACES),
        masking.packed_sequence_mask_function(_PACKED),
    ),
    "packed windows": masking.and_masks(
        masking.remap_positions_for_packed_sequence(masking.sliding_window_causal_mask_function(2), _PLACES),
        masking.packed_sequence_mask_function(_PACKED),
    ),
}
_OTHERS = {
    "packed chunks": masking.and_masks(
        masking.remap_positions_for_packed_sequence(masking.chunked_causal_mask_function(2, torch.zeros(2)), _PLACES),
        masking.packed_sequence_mask_function(_PACKED),
    ),
    "images": masking.or_masks(masking.causal_mask_function, masking.blockwise_overlay(_PACKED)),
    "a user's": lambda batch, head, query, key: (key <= query) | (key < 2),
}


def _dense(mask: Visibility | Tensor, queries: int, keys: int) -> Tensor:
    if isinstance(mask, Tensor):
        return mask.expand(2, 1, queries, keys)
    shape, device = (2, 1, queries, keys), torch.device("cpu")
    if mask.mask is None:
        return torch.ones(shape, dtype=torch.bool)
    return mask.mask.lower(shape, device).whole(shape, device).expand(shape)


@pytest.mark.parametrize("padding", ["none", "left", "right", "holes", "nothing real"])
@pytest.mark.parametrize("name", [*_FUNCTIONS, *_OTHERS])
def test_masks_are_those_of_transformers(name: str, padding: str) -> None:
    function = (_FUNCTIONS | _OTHERS)[name]
    real = torch.ones(2, 10, dtype=torch.bool)
    real[1] = {
        "none": torch.ones(10), "left": torch.arange(10) >= 3, "right": torch.arange(10) < 6,
        "holes": torch.arange(10) % 3 > 0, "nothing real": torch.zeros(10),
    }[padding]  # fmt: skip
    # Complete; a step of a cache; several queries after a cache; a sliding cache whose first keys are gone.
    sizes = [(10, 10, 0, 0)] if "packed" in name or name == "images" else [(10, 10, 0, 0), (1, 10, 9, 0), (4, 10, 6, 0),
                                                                          (1, 5, 9, 5)]  # fmt: skip
    for queries, keys, first_query, first_key in sizes:
        given = {
            "batch_size": 2, "q_length": queries, "kv_length": keys, "q_offset": first_query, "kv_offset": first_key,
            "mask_function": function, "attention_mask": real,
        }  # fmt: skip
        mask = visible(**given)
        assert isinstance(mask, Visibility) == (name in _FUNCTIONS)
        expected = masking.sdpa_mask(**given, allow_is_causal_skip=False)
        assert torch.equal(_dense(mask, queries, keys), expected.expand(2, 1, queries, keys))


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_known_masks_are_intervals(name: str) -> None:
    """Without a boolean for each query and key, so that they can be long."""
    real = torch.ones(2, 10, dtype=torch.bool)
    real[1, :3] = False
    mask = visible(batch_size=2, q_length=10, kv_length=10, mask_function=_FUNCTIONS[name], attention_mask=real)
    assert isinstance(mask, Visibility)
    assert mask.mask is not None
    lowered = mask.mask.lower((2, 1, 10, 10), torch.device("cpu"))
    assert lowered.dense is None
    assert lowered.layout is None


@pytest.mark.parametrize("name", ["indices", "block_indices", "sinks", "cu_seq_lens_q", "anything"])
def test_unknown_arguments_are_refused_by_name(name: str) -> None:
    x = torch.randn(1, 2, 3, 4)
    given: dict[str, Any] = {name: torch.zeros(1)}
    with pytest.raises(TypeError, match=rf"Linear passes '{name}' to its attention, which regard does not know"):
        attend(torch.nn.Linear(1, 1), x, x, x, None, **given)
    harmless: dict[str, Any] = {name: None, "position_ids": torch.zeros(1)}
    result, weights = attend(torch.nn.Linear(1, 1), x, x, x, None, **harmless)
    assert (result.shape, weights) == ((1, 3, 2, 4), None)


def test_a_window_without_a_mask_is_refused() -> None:
    x = torch.randn(1, 2, 5, 4)
    with pytest.raises(ValueError, match="Linear passes sliding_window 3 without a mask"):
        attend(torch.nn.Linear(1, 1), x, x, x, None, sliding_window=3)


def test_a_number_as_mask_is_added() -> None:
    """As a user's own mask of four dimensions."""
    model, given = FAMILIES["Llama"].build(), inputs("decoder")["plain"]
    mask = torch.zeros(2, 1, 12, 12).masked_fill(torch.rand(2, 1, 12, 12) < 0.3, -1e9)
    mask[..., 0] = 0
    results = []
    for implementation in ("eager", "regard"):
        model.set_attn_implementation(implementation)
        results.append(output(model, {**given, "attention_mask": mask, "use_cache": False}))
    assert (results[0] - results[1]).abs().max() <= 1e-5


def test_dropout_is_of_the_weights() -> None:
    module, x = torch.nn.Linear(1, 1), torch.randn(1, 2, 5, 4)
    torch.manual_seed(3)
    result, _ = attend(module, x, x, x, Visibility(None), dropout=0.5)
    torch.manual_seed(3)
    expected = attention(x, x, x, normalizer=Dropout(Softmax(), 0.5))
    assert torch.equal(result.transpose(1, 2), expected)
    assert not torch.allclose(expected, attention(x, x, x))


def test_use_warns_of_a_model_with_an_attention_of_its_own() -> None:
    config = transformers.FalconConfig(vocab_size=97, hidden_size=32, num_hidden_layers=1, num_attention_heads=4)
    model = use(transformers.FalconModel(config))
    ids = torch.tensor([[5, 6, 7]])
    with pytest.warns(UserWarning, match="FalconModel made no call of its attention function"):
        model(input_ids=ids)
    with warnings.catch_warnings(action="error"):
        model(input_ids=ids)
        assert use(FAMILIES["BERT"].build())(input_ids=ids).last_hidden_state.shape == (1, 3, 32)


def test_disable_forgets_the_name() -> None:
    model = FAMILIES["BERT"].build()
    model.set_attn_implementation("regard")
    disable()
    with pytest.raises(KeyError, match="regard"):
        model(**inputs("encoder")["plain"])
    disable()


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.__version__", "5.14.2")
    with pytest.raises(Exception, match=r"transformers 5\.14\.2: needs 5\.15 or newer"):
        enable()
