"""`regard explain`: a table and a drawing for a classifier in a folder, and one line for every mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from conftest import run_command
from regard.tasks.running import train

transformers = pytest.importorskip("transformers")

WORDS = ("good", "bad", "film", "the", "was", "a", "plot", "very")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that has learned that one word decides."""
    path = tmp_path_factory.mktemp("model")
    tokens = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS)
    tokenizer = transformers.BertTokenizerFast(vocab={token: number for number, token in enumerate(tokens)})
    torch.manual_seed(0)
    model: Any = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=16, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
            id2label={0: "negative", 1: "positive"},
        )
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        rows = torch.randint(7, len(tokenizer), (32, 8))
        rows[torch.rand(rows.shape) < 0.3] = 4
        labels = torch.randint(2, (32,))
        rows[torch.arange(32), torch.randint(1, 8, (32,))] = torch.where(labels == 1, 5, 6)
        rows[:, 0] = 2
        model(input_ids=rows, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.tsv"
    rows = ("Positive\tthe film was very good", "Negative\ta bad plot", "Positive\tgood a film the plot was")
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_table_has_every_method_and_the_random_one(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "scores.svg"
    assert run_command("explain", f"hf:{folder}", "--data", data, "--out", image) == 0
    printed = capsys.readouterr().out
    assert "3 texts, 3 of 3 classified as labelled\nremoved tokens are replaced by [MASK]\n" in printed
    rows = [line.split()[0] for line in printed.splitlines()[4:-1]]
    assert rows == ["weights", "norms", "block_norms", "rollout", "alti", "relevance", "gradient_x_input", "random"]
    assert image.read_text().startswith("<?xml")
    again = ["--methods", "relevance,alti", "--scores", "deletion", "--limit", 2, "--json"]
    assert run_command("explain", f"hf:{folder}", "--data", data, *again) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["texts"] == 2
    assert list(found["scores"]) == ["relevance", "alti", "random"]
    assert list(found["scores"]["alti"]) == ["deletion"]


def test_methods_that_find_the_word_are_better_than_random(
    folder: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("explain", f"hf:{folder}", "--data", data, "--json") == 0
    found = json.loads(capsys.readouterr().out)["scores"]
    best = max(row["comprehensiveness"] for name, row in found.items() if name != "random")
    assert best > found["random"]["comprehensiveness"] + 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "runs/mine"}, "runs/mine: there is no such run"),
        ({"--methods": "rolout"}, "--methods: 'rolout' is none of weights, norms"),
        ({"--scores": "aopc"}, "--scores: 'aopc' is none of comprehensiveness, sufficiency"),
        ({"--limit": 0}, "--limit: must be positive, got 0"),
        ({"--out": "scores.gif"}, "scores.gif: expected a name that ends in .png or .svg"),
        ({"--data": "nowhere.tsv"}, "nowhere.tsv"),
    ],
)
def test_a_wrong_argument_is_one_line(
    folder: Path, data: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = {"--data": data, "--limit": 3} | change
    model = options.pop("model", f"hf:{folder}")
    assert run_command("explain", model, *(part for option in options.items() for part in option)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs on built-in data."""
    folder = tmp_path_factory.mktemp("runs")
    small = {"dim": 16, "width": 16, "layers": 1, "heads": 2}
    for kind in ("transformer", "gru"):
        settings: dict[str, Any] = {
            "model": {"kind": kind, **small, "dropout": 0.0}, "data": {"builtin_texts": 300},
            "train": {"steps": 100 if kind == "transformer" else 2, "batch": 32, "learning_rate": 0.01},
        }  # fmt: skip
        train("classify-text", settings, folder / kind)
    for kind in ("transformer", "gru"):
        settings = {"model": {"kind": kind, "dim": 16}, "data": {"builtin_pairs": 60}, "train": {"steps": 2}}
        if kind == "transformer":
            settings["transformer"] = {"heads": 2, "hidden": 16, "encoder_layers": 1, "decoder_layers": 2}
        train("translate", settings, folder / f"translate-{kind}")
    return {path.name: path for path in folder.iterdir()}


def test_words_that_decide_are_hit_more_often_than_at_random(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("explain", runs["transformer"], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["texts"] == 20
    assert list(found["scores"]) == ["weights", "norms", "rollout", "relevance", "gradient_x_input", "random"]
    assert "its residual connection is neither" in found["left_out"]["alti"]
    assert "is not defined for the cross-attention" in found["left_out"]["block_norms"]
    assert found["scores"]["norms"]["hit rate"] > found["scores"]["random"]["hit rate"] + 0.3
    assert found["scores"]["norms"]["comprehensiveness"] > found["scores"]["random"]["comprehensiveness"]


def test_a_recurrent_classifier_names_what_is_not_defined(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("explain", runs["gru"], "--limit", 3, "--out", tmp_path / "a.svg") == 0
    printed = capsys.readouterr()
    assert "removed words are hidden" in printed.out
    assert [line.split()[0] for line in printed.out.splitlines()[4:-1]] == [
        "weights", "norms", "relevance", "gradient_x_input", "random"
    ]  # fmt: skip
    assert "left out rollout: NumberedWords has one attention (model.pool) and no self-att" in printed.err


def test_pairs_are_explained_by_the_probability_of_the_target(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = tmp_path / "pairs.tsv"
    pairs.write_text("a red house\tune maison rouge\ntwo cats\tdeux chats\n")
    assert run_command("explain", runs["translate-transformer"], "--data", pairs, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pairs"] == 2
    assert list(found["left_out"]) == ["block_norms"]
    assert "hit rate" not in found["scores"]["random"]
    assert run_command("explain", runs["translate-gru"], "--limit", 2, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["scores"]) == ["weights", "relevance", "gradient_x_input", "random"]
    assert "has no self-attention between its cross-attentions" in found["left_out"]["rollout"]


def test_a_task_without_attributions_is_named(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model": {"dim": 8, "layers": 1}, "data": {"builtin_users": 60}, "train": {"steps": 1}}
    train("recommend", settings, tmp_path / "run")
    capsys.readouterr()
    assert run_command("explain", tmp_path / "run") == 2
    assert "attributions are for runs of classify-text and translate" in capsys.readouterr().err


def test_files_that_do_not_fit_are_one_line(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.tsv"
    other.write_text("neutral\tthe film was\n")
    assert run_command("explain", f"hf:{folder}", "--data", other) == 2
    assert "the model has no class 'neutral', only negative, positive, or a number" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run_command("explain", f"hf:{tmp_path / 'empty'}", "--data", data) == 2
    error = capsys.readouterr().err
    assert "has no config.json; expected the folder of a model" in error
    assert error.count("\n") == 1


def test_models_that_are_no_classifier_or_cannot_be_followed_are_one_line(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 16}
    bert = transformers.BertConfig(**sizes, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    bloom = transformers.BloomConfig(**sizes, n_layer=1, n_head=2)
    models = {
        "is no classifier, its file has no classifier.bias; fine-tune it first": transformers.BertModel(bert),
        "BloomForSequenceClassification cannot run with regard's attention": (
            transformers.BloomForSequenceClassification(bloom)
        ),
    }
    for message, model in models.items():
        path = tmp_path / type(model).__name__
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
        capsys.readouterr()
        assert run_command("explain", f"hf:{path}", "--data", data) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_weights_that_are_pickled_are_refused(
    folder: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "pickled"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert run_command("explain", f"hf:{copy}", "--data", data) == 2
    assert "none are safetensors; regard reads no others" in capsys.readouterr().err
