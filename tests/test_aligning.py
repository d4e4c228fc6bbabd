"""Links between the words of a text and its translation, by a translation model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Result
from regard.data.padding import pad
from regard.data.tokenizer import EOS, PAD
from regard.errors import UserError
from regard.explain.links import to_pharaoh
from regard.tasks.families.seq2seq.aligning import Aligner, linked
from regard.tasks.running import load, train

PAIRS = [("a red house", "une maison rouge"), ("two cats", "deux chats noirs"), ("hello", "bonjour")]
MODELS = {
    "transformer": {"kind": "transformer", "dim": 16},
    "gru": {"kind": "gru", "dim": 16},
    "none": {"kind": "gru", "dim": 16, "attention": "none"},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    layers = {"heads": 2, "hidden": 16, "encoder_layers": 1, "decoder_layers": 3}
    for name, model in MODELS.items():
        config: dict[str, Any] = {"model": model, "data": {"builtin_pairs": 60}, "train": {"steps": 2}}
        if model["kind"] == "transformer":
            config["transformer"] = layers
        train("translate", config, folder / name)
    return {name: folder / name for name in MODELS}


def predictor(run: Path) -> Any:
    return load(run)


@pytest.mark.parametrize("kind", ["transformer", "gru"])
def test_links_are_the_largest_weights_of_what_look_draws(runs: dict[str, Path], kind: str) -> None:
    model = predictor(runs[kind])
    for pair, links in zip(PAIRS, linked(PAIRS, Aligner(model)), strict=True):
        shown = model.align(*pair)
        assert links == shown.words().links()
        assert sorted(target for _, target in links) == list(range(len(pair[1].split())))
        assert max(source for source, _ in links) < len(pair[0].split())


def test_all_layers_and_heads_of_a_batch_are_those_of_single_pairs(runs: dict[str, Path]) -> None:
    model = predictor(runs["transformer"])
    for layer in range(3):
        heads = []
        for head in (0, 1, None):
            aligner = Aligner(model, layer, head)
            batch = aligner.alignments(PAIRS)
            for pair, alignment in zip(PAIRS, batch, strict=True):
                np.testing.assert_allclose(alignment.weights, aligner.alignments([pair])[0].weights, atol=1e-6)
            heads.append(batch[0].weights)
        np.testing.assert_allclose((heads[0] + heads[1]) / 2, heads[2], atol=1e-6)


@pytest.mark.parametrize("kind", ["transformer", "gru"])
def test_the_next_step_is_that_of_which_the_word_is_the_input(runs: dict[str, Path], kind: str) -> None:
    model = predictor(runs[kind])
    every = model.align(*PAIRS[0]).weights  # EOS last
    own, later = (Aligner(model, next_step=later).alignments(PAIRS[:1])[0] for later in (False, True))
    np.testing.assert_allclose(own.weights, every[:-1], atol=1e-6)
    np.testing.assert_allclose(later.weights, every[1:], atol=1e-6)


def test_norms_are_those_of_the_weighted_vectors(runs: dict[str, Path]) -> None:
    model = predictor(runs["transformer"])
    tokens = [*model.source.encode(PAIRS[0][0]), EOS]
    cross = model.model.decoder[1].cross
    with torch.no_grad():
        memory = model.model.encode(*pad([tokens], PAD, torch.device("cpu"))).layers[1]
        parts = cross.output.weight.T.unflatten(0, (2, -1))
        vectors = torch.einsum("hje,hed->hjd", memory.value[0], parts)
    weights = [Aligner(model, 1, head).alignments(PAIRS[:1])[0].weights for head in (0, 1)]
    for head in (0, 1):
        found = Aligner(model, 1, head, norms=True).alignments(PAIRS[:1])[0].weights
        np.testing.assert_allclose(found, weights[head] * vectors[head].norm(dim=-1).numpy(), rtol=1e-4, atol=1e-7)
    found = Aligner(model, 1, norms=True).alignments(PAIRS[:1])[0].weights
    total = np.einsum("hij,hjd->ijd", np.stack(weights), vectors.numpy())
    np.testing.assert_allclose(found, np.linalg.norm(total, axis=2), rtol=1e-4, atol=1e-7)


def test_a_model_of_the_other_direction_is_turned(runs: dict[str, Path]) -> None:
    aligner = Aligner(predictor(runs["transformer"]))
    turned = next(linked([PAIRS[0][::-1]], aligner))
    forward = next(linked([PAIRS[0]], aligner))
    both = next(linked([PAIRS[0]], aligner, aligner, "union"))
    assert both == forward | {(source, target) for target, source in turned}


def test_what_cannot_be_aligned_is_named(runs: dict[str, Path]) -> None:
    for kind, options, message in (
        ("transformer", (3, None), "--layer: expected a number from 0 to 2, got 3"),
        ("transformer", (None, -1), "--head: expected a number from 0 to 1, got -1"),
        ("gru", (0, None), "--layer: only for a Transformer"),
        ("gru", (None, None, False, True), "--norms: only for a Transformer"),
    ):
        with pytest.raises(UserError, match=message):
            Aligner(predictor(runs[kind]), *options)
    with pytest.raises(UserError, match="no attention"):
        list(linked(PAIRS, Aligner(predictor(runs["none"]))))


def test_the_command_writes_links_and_the_error_rate(
    runs: dict[str, Path], tmp_path: Path, regard: Callable[..., Result]
) -> None:
    pairs, gold = tmp_path / "pairs.tsv", tmp_path / "gold.txt"
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in PAIRS))
    links = list(linked(PAIRS, Aligner(predictor(runs["gru"]))))
    gold.write_text("".join(to_pharaoh((a + 1, b + 1) for a, b in one) + "\n" for one in links))
    done = regard("align", runs["gru"], pairs, "--gold", gold)
    assert done.out.splitlines() == [to_pharaoh(one) for one in links]
    assert "alignment error rate 0.0 %, precision 100.0 %" in done.err

    pairs.write_text("no tab\n")
    done = regard("align", runs["gru"], pairs)
    assert (done.status, done.err) == (
        2,
        f"regard: {pairs}, line 1: expected a text, a tab and its translation, got 0 tabs\n",
    )
