"""Copies of models that read packed weights: outputs, memory, what they refuse, and the commands that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from regard.decode import beam_search
from regard.errors import UserError
from regard.kernels.cpu import library
from regard.kernels.packed import Kind
from regard.models.language import RecurrentLM, TransformerLM
from regard.models.native_step import NativeState
from regard.models.pointer import PointerRNN
from regard.models.rnn import RNNTranslator
from regard.nn import StepLinear, packed_bytes, packed_linears
from regard.tasks import running
from regard.tasks.generate.task import Writer
from regard.tasks.packing import packed

kernels = pytest.mark.skipif(library.level is None, reason=library.why_none)


def _tied() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(512, 128), nn.Linear(128, 512), nn.GELU(), nn.Linear(512, 128), nn.Linear(128, 2)
    )
    model.append(nn.Linear(2, 2))
    return model


@kernels
def test_a_copy_shares_weights_and_packs_the_large_ones_it_uses() -> None:
    model = _tied()
    copy = packed_linears(model, "bfloat16")
    assert [one.data_ptr() for one in copy.parameters()][:2] == [one.data_ptr() for one in model.parameters()][:2]
    assert packed_bytes(copy) == 0
    with torch.no_grad():
        tokens = torch.arange(6)
        errors = (copy(tokens) - model(tokens)).abs().max()
    assert 0 < errors < 0.01
    assert packed_bytes(copy) == 2 * 2 * 128 * 512  # not the embedding, nor the small layers
    assert model.training
    assert not copy.training
    assert list(copy.state_dict()) == list(model.state_dict())


@kernels
def test_gradients_are_refused() -> None:
    copy = packed_linears(_tied())
    with pytest.raises(ValueError, match="for inference"):
        copy(torch.arange(6))


@kernels
def test_float64_is_refused() -> None:
    with pytest.raises(ValueError, match="its dtype is float64"):
        packed_linears(_tied().double())


@kernels
def test_a_step_linear_reads_its_packed_weight() -> None:
    torch.manual_seed(1)
    model = StepLinear(256, 256, bias=False)
    copy = packed_linears(model)
    with torch.no_grad():
        x = torch.randn(3, 256)
        assert torch.allclose(copy.bound()(x), model.bound()(x), atol=1e-5)
    assert packed_bytes(copy) == 4 * 256 * 256


@kernels
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_translators_write_the_same(kind: Kind) -> None:
    torch.manual_seed(2)
    model = RNNTranslator(600, 600, embedding=128, dim=128).eval()
    source, lengths = torch.randint(4, 600, (3, 9)), torch.tensor([9, 7, 4])

    def written(one: RNNTranslator) -> Tensor:
        state = one.start(source, lengths)
        best = beam_search(one.step, state, torch.ones(3, dtype=torch.int64), eos=2, max_length=6)
        return torch.tensor([hypotheses[0].score for hypotheses in best])

    with torch.inference_mode():
        packed = packed_linears(model, kind)
        errors = (written(packed) - written(model)).abs().max()
        assert errors < {"float32": 1e-4, "bfloat16": 0.02, "int8": 0.02}[kind]
        assert packed_bytes(packed) > 600 * 128


@kernels
def test_pointers_and_recurrent_language_models_step() -> None:
    torch.manual_seed(3)
    pointer = PointerRNN(600, unknown=3, embedding=128, dim=128, dropout=0.0).eval()
    language = RecurrentLM(600, dim=256).eval()
    source, lengths, tokens = torch.randint(4, 600, (2, 5)), torch.tensor([5, 3]), torch.tensor([4, 5])
    with torch.inference_mode():
        ours, packed = (
            one.step(tokens, one.start(source, lengths)).logits for one in (pointer, packed_linears(pointer))
        )
        assert torch.allclose(ours, packed, atol=1e-4)
        ours, packed = (one.step(tokens[:, None], one.start(2)).logits for one in (language, packed_linears(language)))
        assert torch.allclose(ours, packed, atol=1e-4)


@kernels
@pytest.mark.parametrize("kind", ["float32", "bfloat16", "int8"])
def test_a_step_of_a_packed_transformer_is_one_call_of_the_library(kind: Kind) -> None:
    torch.manual_seed(0)
    model = TransformerLM(600, dim=128, heads=4, hidden=256, layers=2).eval()
    tokenizer: Any = None
    copy = packed(Writer(model, tokenizer, 16), kind).model
    model.weights = kind
    with torch.inference_mode():
        states: list[Any] = [one.start(2) for one in (model, copy)]
        for tokens in torch.randint(0, 600, (4, 2)):
            theirs, ours = (one.step(tokens, state) for one, state in zip((model, copy), states, strict=True))
            states = [theirs.state, ours.state]
            assert isinstance(ours.state, NativeState)
            assert torch.equal(ours.logits, theirs.logits)
    assert packed_bytes(copy) == 0  # its linear layers are not called


@kernels
def test_a_run_is_loaded_and_scored_with_packed_weights(tmp_path: Path) -> None:
    tiny = {"model": {"dim": 64}, "data": {"builtin_pairs": 60}, "train": {"steps": 2}}
    running.train("translate", tiny, tmp_path / "run")
    plain, packed = (running.load(tmp_path / "run", weights=weights) for weights in (None, "float32"))
    texts = [[result.text for result in one.predict(["Monday", "May 4"])] for one in (plain, packed)]
    assert texts[0] == texts[1]
    scores = [running.evaluate(tmp_path / "run", beam=1, weights=weights) for weights in (None, "int8")]
    assert scores[0].keys() == scores[1].keys()


def test_without_kernels_only_float32_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"model": {"dim": 8, "embedding": 512}, "data": {"builtin_pairs": 60}, "train": {"steps": 2}}
    running.train("translate", tiny, tmp_path / "run")
    monkeypatch.setattr(library, "level", None)
    monkeypatch.setattr(library, "why_none", "there was no C++ compiler")
    running.load(tmp_path / "run", weights="float32")
    with pytest.raises(UserError, match=r"--weights int8: .*no C\+\+ compiler"):
        running.load(tmp_path / "run", weights="int8")
