"""Attributions: equal to their formulas with whole matrices; which models cannot be followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("transformers")

from dense_attribution import FORMULAS, MODELS, Classifier, Dense, recorded, start, target
from model_families import FAMILIES, inputs
from regard import Look, attend, attention, looking
from regard.attribution import METHODS, attribute, products
from regard.errors import UserError
from regard.integrations.transformers import disable, enable
from regard.models.text import TextClassifier
from regard.models.transformer import TransformerTranslator

SELF_ONLY = {"block_norms"}


@pytest.fixture(autouse=True)
def known_to_transformers() -> Iterator[None]:
    enable()
    yield
    disable()


def _model(name: str, implementation: str = "regard") -> Any:
    model = FAMILIES[name].build()
    model.set_attn_implementation(implementation)
    return model


def _given(name: str) -> dict[str, Any]:
    return next(iter(inputs(FAMILIES[name].kind).values()))


@pytest.mark.parametrize("name", MODELS)
def test_every_method_equals_its_formula_with_whole_matrices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at = MODELS[name]
    model, given = at.build(), at.given()
    dense = Dense.run(at, model)
    if not name.startswith("regard"):
        model.set_attn_implementation("regard")  # type: ignore[operator]
    methods = [method for method in FORMULAS if not (at.encoder and method in SELF_ONLY)]
    monkeypatch.setattr(products, "queries_per_tile", lambda plan: 5)
    found = attribute(model, given, target, methods=methods)
    first = start(name, dense.calls[-1].weights.shape[2])
    exact = 1e-5 if name == "Llama" else 1e-7  # its own code computes the softmax in float32
    for method in methods:
        expected = FORMULAS[method](at, model, dense, first)
        assert expected.ne(0).sum() > 10
        torch.testing.assert_close(found[method], expected, rtol=exact, atol=exact / 10)


@pytest.mark.parametrize("name", ["BERT", "GPT-2", "T5"])
def test_gradient_times_input_is_that_of_the_vectors_of_the_tokens(name: str) -> None:
    model, given = _model(name), dict(_given(name))
    found = attribute(model, given, target, methods=["gradient_x_input"])["gradient_x_input"]
    vectors = model.get_input_embeddings()(given.pop("input_ids")).detach().requires_grad_()
    if name == "T5":
        given["decoder_inputs_embeds"] = model.get_input_embeddings()(given.pop("decoder_input_ids"))
    target(model(inputs_embeds=vectors, **given)).sum().backward()
    torch.testing.assert_close(found, (vectors * vectors.grad).sum(2))


def test_all_methods_follow_models_of_other_kinds() -> None:
    for name in ("RoBERTa", "DistilBERT", "ALBERT", "ModernBERT", "Mistral", "Qwen3", "Phi-3"):
        for found in attribute(_model(name), _given(name), target, methods=list(METHODS)).values():
            assert found.shape == (2, 12)
            assert torch.isfinite(found).all()
    image = attribute(_model("ViT"), _given("ViT"), target, methods=[m for m in METHODS if m != "gradient_x_input"])
    assert all(found.shape == (2, 17) for found in image.values())
    fused = attribute(_model("BERT", "sdpa"), _given("BERT"), target, methods=list(METHODS))
    for method, found in attribute(_model("BERT"), _given("BERT"), target, methods=list(METHODS)).items():
        torch.testing.assert_close(found, fused[method], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["BERT", "Llama", "T5"])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    model, methods = _model(name), [m for m in METHODS if name != "T5" or m not in SELF_ONLY]
    model = model.to(dtype)
    found = attribute(model, _given(name), target, methods=methods)
    for method, expected in attribute(model.float(), _given(name), target, methods=methods).items():
        assert found[method].dtype is torch.float32
        assert (found[method] - expected).norm() < 50 * torch.finfo(dtype).eps * expected.norm(), method
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for rows in attribute(model, _given(name), target, methods=methods).values():
            assert rows.dtype is torch.float32


def test_a_translator_of_regard_is_followed_through_its_cross_attention() -> None:
    torch.manual_seed(0)
    model = TransformerTranslator(50, 60, dim=16, heads=2, encoder_layers=2, decoder_layers=2, hidden=16).eval()
    source, target_tokens = torch.randint(4, 50, (1, 9)), torch.randint(4, 60, (1, 6))
    given = [source, torch.tensor([9]), target_tokens, torch.tensor([5])]
    methods = [method for method in METHODS if method not in SELF_ONLY]
    found = attribute(model, given, lambda loss: -loss[None], methods=methods)
    with looking(model, Look(rows=slice(None))) as seen:
        model(*given)
    # Five tokens with the first one: four are predicted.
    rows = torch.stack([view.rows[:, :, :4] for (name, _), view in seen.items() if name.endswith("cross")])
    torch.testing.assert_close(found["weights"], rows.mean((0, 2, 3)))
    assert all(row.shape == (1, 9) and bool(row.ne(0).all()) for row in found.values())
    # The rest is that of the target's tokens.
    assert 0 < found["alti"].sum() < 1
    torch.testing.assert_close(found["rollout"].sum(), torch.tensor(0.75))


def test_a_pooling_is_followed_down_to_the_words() -> None:
    torch.manual_seed(0)
    model, given = _texts("transformer", windows=1)
    with recorded(model) as calls:
        values = target(model(*given))
    grads = torch.autograd.grad(values.sum(), [call.weights for call in calls])
    found = attribute(model, given, target, methods=["weights", "norms", "rollout", "relevance"])
    assert model.pool is not None
    weights, bars = calls[-1].weights, [(g * c.weights).clamp(min=0).mean(1) for g, c in zip(grads, calls, strict=True)]
    parts = model.pool.output.weight.T.unflatten(0, (4, -1))
    norms = torch.einsum("bhij,bhje,hed->bijd", weights, calls[-1].values, parts).norm(dim=-1)[:, 0]
    rolled, relevant = weights.mean(1)[:, 0], bars[-1][:, 0]
    for number in (1, 0):
        rolled = 0.5 * rolled + 0.5 * (rolled[:, None] @ calls[number].weights.mean(1))[:, 0]
        relevant = relevant + (relevant[:, None] @ bars[number])[:, 0]
    torch.testing.assert_close(found["weights"], weights.mean(1)[:, 0])
    torch.testing.assert_close(found["norms"], norms / norms.sum(1, keepdim=True))
    torch.testing.assert_close(found["rollout"], rolled)
    torch.testing.assert_close(found["relevance"], relevant)
    with pytest.raises(UserError, match=r"block_norms: is not defined for the cross-attention of TextClassifier"):
        attribute(model, given, methods=["block_norms"])
    with pytest.raises(UserError, match=r"pool: its residual connection is neither"):
        attribute(model, given, methods=["alti"])


@pytest.mark.parametrize("kind", ["gru", "cnn"])
def test_a_pooling_without_self_attention_has_no_rollout(kind: Any) -> None:
    model, given = _texts(kind, windows=1)
    found = attribute(model, given, target, methods=["weights", "norms", "relevance"])
    assert all(one.shape == (2, 7) and bool(one.ne(0).any()) for one in found.values())
    for method in ("rollout", "alti"):
        with pytest.raises(
            UserError, match=rf"{method}: TextClassifier has one attention \(pool\) and no self-attention"
        ):
            attribute(model, given, methods=[method])


def _texts(kind: Any, windows: int) -> tuple[TextClassifier, list[Tensor]]:
    """A classifier of texts, and two texts of windows of seven words."""
    model = TextClassifier(100, 3, kind=kind, dim=16, width=16).double().eval()
    return model, [torch.randint(1, 20, (2, windows, 7)), torch.randint(1, 100, (20, 4))]


def test_a_model_with_more_than_a_stack_is_refused_by_every_method() -> None:
    model, given = _texts("transformer", windows=2)
    for method in METHODS:
        with pytest.raises(UserError, match=r"neither one stack of layers, nor|has no embedding that takes the tokens"):
            attribute(model, given, methods=[method])


def test_padding_gets_nothing() -> None:
    model, given = _model("BERT"), inputs("encoder")["padded"]
    for found in attribute(model, given, target, methods=[m for m in METHODS if m != "gradient_x_input"]).values():
        assert not found[given["attention_mask"] == 0].any()
        assert found[:, 0].gt(0).all()


def test_targets_are_classes_or_functions() -> None:
    model, given = Classifier("pre").eval(), [inputs("encoder")["plain"]["input_ids"]]
    best = model(*given).argmax(1)
    by_class = attribute(model, given, best)["relevance"]
    torch.testing.assert_close(attribute(model, given)["relevance"], by_class)
    torch.testing.assert_close(attribute(model, given, lambda output: output.amax(1))["relevance"], by_class)
    assert not torch.allclose(attribute(model, given, (best + 1) % 5)["relevance"], by_class)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["rolout"]}, "methods: 'rolout' is none of weights, norms"),
        ({"target": 5}, r"target: classes are from 0 to 4, got 5"),
        ({"target": torch.tensor([0, 1, 2])}, r"must be a class or one for each of 2 inputs, got shape \(3,\)"),
        ({"target": lambda output: output}, r"the function must return one number for each input, \(B,\)"),
    ],
)
def test_a_wrong_argument_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        attribute(Classifier("pre").eval(), [inputs("encoder")["plain"]["input_ids"]], **change)


@pytest.mark.parametrize(
    ("name", "implementation", "method", "message"),
    [
        ("BERT", "eager", "weights", r"the attention of encoder.layer.0.attention \(BertAttention\) cannot be"),
        ("CLIP", "regard", "weights", "the attentions of CLIPModel are neither one stack of layers, nor an encoder"),
        ("T5", "regard", "block_norms", "block_norms: is not defined for the cross-attention of T5ForConditionalG"),
        ("T5", "regard", "block_norms", r"\(decoder.block.0.layer.1.EncDecAttention\); the other methods are"),
        ("DINOv2", "regard", "alti", "encoder.layer.*: its residual connection is neither"),
        ("Gemma 2", "regard", "block_norms", "model.layers.*: its residual connection is neither"),
        ("ViT", "regard", "gradient_x_input", "ViTModel has no embedding that takes the tokens"),
    ],
)
def test_what_cannot_be_followed_is_one_line(name: str, implementation: str, method: str, message: str) -> None:
    model = _model(name, implementation)
    given = {"CLIP": lambda output: output.logits_per_text[:, 0]}.get(name, target)
    with pytest.raises(UserError, match=message) as error:
        attribute(model, _given(name), given, methods=[method])
    assert "\n" not in str(error.value)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_training_mode_frozen_models_and_outputs_without_logits_are_refused() -> None:
    given = _given("BERT")
    with pytest.raises(UserError, match=r"BertModel is in training mode.*call model.eval\(\)"):
        attribute(_model("BERT").train(), given, target)
    with pytest.raises(UserError, match="target: BertModel returns no logits; give a function of its output"):
        attribute(_model("BERT"), given)
    with pytest.raises(UserError, match="no gradient in the attentions of ViTModel; its parameters are frozen"):
        attribute(_model("ViT").requires_grad_(False), _given("ViT"), target)
    attribute(_model("BERT").requires_grad_(False), given, target)  # the vectors of the tokens have a gradient


class Bare(nn.Module):
    """An attention without a projection or a residual connection."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(97, 6)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)[:, None]
        return attention(x, x, x)[:, 0, 0]


def test_an_attention_without_a_projection_has_weights_but_no_vectors() -> None:
    given = [inputs("encoder")["plain"]["input_ids"]]
    found = attribute(Bare().eval(), given, methods=["weights", "rollout", "relevance", "gradient_x_input"])
    torch.testing.assert_close(found["rollout"][:, 1:], found["weights"][:, 1:] / 2)
    with pytest.raises(UserError, match="no linear layer takes the joined outputs of its heads"):
        attribute(Bare().eval(), given, methods=["norms"])
    with pytest.raises(UserError, match="has no dimension of inputs; give the model a batch of one"):
        attribute(Unbatched().eval(), [torch.randn(3, 4)], lambda output: output[:1])


class Unbatched(nn.Module):
    """An attention over a single sequence."""

    def forward(self, x: Tensor) -> Tensor:
        return attention(x, x, x)[0]


def test_no_matrix_of_all_queries_and_keys_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    tile = attend.View.tile

    def watched(view: attend.View, *at: Any) -> Tensor:
        found = tile(view, *at)
        sizes.append(found.numel())
        return found

    monkeypatch.setattr(attend.View, "tile", watched)
    torch.manual_seed(0)
    tokens = torch.randint(97, (1, 1500))
    found = attribute(Classifier("pre").eval(), [tokens], methods=["rollout", "relevance", "alti"])
    assert all(torch.isfinite(one).all() for one in found.values())
    assert max(sizes) <= 1 << 22 < 4 * 1500 * 1500
