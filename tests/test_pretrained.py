"""``regard look hf:MODEL``: people's own models of Hugging Face, from a folder or the hub."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Result

transformers = pytest.importorskip("transformers")
pytest.importorskip("tokenizers")

from PIL import Image  # noqa: E402

from pretrained_models import TEXT, save  # noqa: E402
from regard.cli.app import build  # noqa: E402
from regard.errors import UserError  # noqa: E402
from regard.integrations.transformers import disable  # noqa: E402
from regard.pretrained.model import load  # noqa: E402
from regard.views import load as load_views  # noqa: E402

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    yield
    disable()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a model each."""
    path = tmp_path_factory.mktemp("models")
    for family, kind in (("BERT", "WordPiece"), ("GPT-2", "bytes"), ("BART", "Unigram"), ("ViT", "")):
        save(family, path / family, kind=kind)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path / "a.png")
    return path


def _weights(folder: Path, name: str, given: dict[str, Any], attentions: str) -> torch.Tensor:
    """The weights ``(layers, H, Lq, Lk)`` of eager attention."""
    kind = transformers.AutoModelForSeq2SeqLM if "decoder_input_ids" in given else transformers.AutoModel
    model = kind.from_pretrained(folder / name, attn_implementation="eager").eval()
    with torch.inference_mode():
        return torch.stack(model(**given, output_attentions=True)[attentions])[:, 0]


def test_an_encoder_by_its_pieces(folder: Path, regard: Run, tmp_path: Path) -> None:
    result = regard("look", f"hf:{folder / 'BERT'}", "Unseen cats!", "--out", "a.png", "--save", "a.safetensors")
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == f"{folder / 'BERT'}: mean of 2 layers, mean of all heads"
    assert [line.split(" ←")[0].strip() for line in lines[1:-3]] == ["<s>", "unseen", "cats", "<unk>", "</s>"]
    assert lines[-2:] == ["drawn in a.png", "saved in a.safetensors"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "BERT")
    ids = tokenizer("Unseen cats!", return_tensors="pt")["input_ids"]
    mean = _weights(folder, "BERT", {"input_ids": ids}, "attentions").mean((0, 1))
    best = int(mean[1].argmax())
    assert f"unseen ← {['<s>', 'unseen', 'cats', '<unk>', '</s>'][best]} {mean[1, best]:.0%}" in result.out
    assert f"on the first token (<s>): {mean[:, 0].mean():.0%} of all weights" in result.out
    view = load_views(tmp_path / "a.safetensors")
    assert view["encoder.layer.1.attention.self", 0].holds[-1] == "inputs"
    assert view["encoder.layer.1.attention.self", 0].keys.word_texts == ("<s>", "unseen", "cats", "<unk>", "</s>")


def test_a_decoder_by_layer_and_head(folder: Path, regard: Run, tmp_path: Path) -> None:
    text = "The cats sleep"
    ids = transformers.AutoTokenizer.from_pretrained(folder / "GPT-2")(text, return_tensors="pt")["input_ids"]
    weights = _weights(folder, "GPT-2", {"input_ids": ids}, "attentions")
    result = regard("look", f"hf:{folder / 'GPT-2'}", text, "--layer", -1, "--head", 3, "--json", "--out", "a.svg")
    shown = json.loads(result.out)
    assert (shown["queries"], shown["head"], shown["layers"]) == (text.split(), 3, ["h.1.attn"])
    for row, named in zip(weights[1, 3], shown["strongest"], strict=True):
        assert [one["weight"] for one in named] == pytest.approx(sorted(row.tolist(), reverse=True), abs=1e-6)
        assert row[named[0]["key"]].item() == pytest.approx(named[0]["weight"], abs=1e-6)
    assert "sleep" in (tmp_path / "a.svg").read_text() or "<svg" in (tmp_path / "a.svg").read_text()
    lines = regard("look", f"hf:{folder / 'GPT-2'}", text, "--layer", 0).out.splitlines()
    assert lines[0].endswith(": layer 0, mean of all heads")
    assert lines[1] == "  The ← The 100%"
    assert lines[-1] == "drawn in alignment.png"


@pytest.mark.parametrize(("kind", "keys"), [("cross", 6), ("decoder", 4), ("encoder", 6)])
def test_each_attention_of_an_encoder_decoder(folder: Path, kind: str, keys: int) -> None:
    shown = load(str(folder / "BART")).look("the ca", attention=kind, target="the", layer=1)
    own = shown.layers[0]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "BART")
    source, target = (tokenizer(text)["input_ids"] for text in ("the ca", "the"))
    given = {"input_ids": torch.tensor([source]), "decoder_input_ids": torch.tensor([[2, *target[:-1]]])}
    expected = _weights(folder, "BART", given, f"{kind}_attentions")[1]
    torch.testing.assert_close(own.rows(slice(None)), expected, atol=1e-5, rtol=1e-4)
    assert own.queries.texts[0] == ("</s>" if kind != "encoder" else own.keys.texts[0])
    assert shown.title.endswith(f": {kind} layer 1, mean of all heads")


def test_an_encoder_decoder_writes_if_it_gets_no_target(folder: Path, regard: Run) -> None:
    shown = load(str(folder / "BART")).look("the cats")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder / "BART").eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder / "BART")("the cats", return_tensors="pt")["input_ids"]
    written = model.generate(ids, max_new_tokens=63)
    assert len(shown.layers[0].queries) == written.shape[1] - 1
    assert [layer.module.rpartition(".")[2] for layer in shown.layers] == ["encoder_attn"] * 2


def test_an_image(folder: Path, regard: Run, tmp_path: Path) -> None:
    result = regard("look", f"hf:{folder / 'ViT'}", folder / "a.png", "--layer", 1, "--out", "where.png")
    processor = transformers.AutoImageProcessor.from_pretrained(folder / "ViT")
    given = dict(processor(np.asarray(Image.open(folder / "a.png")), return_tensors="pt"))
    row = _weights(folder, "ViT", given, "attentions")[1].mean(0)[0]
    best = int(row.argmax())
    name = "CLS" if best == 0 else f"{(best - 1) // 4},{(best - 1) % 4}"
    assert result.out.splitlines()[1].startswith(f"CLS ← {name} {row[best]:.0%}")
    assert (tmp_path / "where.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("family", ["Whisper", "Wav2Vec2"])
def test_a_sound(family: str, regard: Run, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path / "model"
    if family == "Wav2Vec2":
        save(family, folder, tokenizer=False)
        extractor: dict[str, Any] = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 16_000}
    else:
        config = transformers.WhisperConfig(
            d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=32, decoder_ffn_dim=32, vocab_size=97, num_mel_bins=8, max_source_positions=50,
            pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None,
            begin_suppress_tokens=None,
        )  # fmt: skip
        transformers.utils.logging.disable_progress_bar()
        transformers.WhisperModel(config).save_pretrained(folder)
        # 50 positions of 20 ms: shorter sounds are padded to a second.
        extractor = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 8, "chunk_length": 1}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    samples = np.random.default_rng(0).normal(size=6000).astype(np.float32) / 9
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    result = regard("look", "hf:model", "a.wav", "--layer", 1, "--out", "a.png")
    assert (result.status, result.err) == (0, "")
    seconds = {"Whisper": 1.0, "Wav2Vec2": 0.375}[family]
    lines = result.out.splitlines()
    assert lines[0] == "model: layer 1, mean of all heads"
    assert lines[1].startswith("0 s ")
    assert lines[1].endswith(f" {seconds:.2f} s")
    assert lines[2].startswith("attention: ")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    shown = load(str(folder)).look(str(tmp_path / "a.wav"), layer=1)
    layer = shown.layers[0]
    assert shown.sound is not None
    timeline = shown.sound.timeline(shown.layers, 2)
    np.testing.assert_allclose(timeline.weights, layer.rows(slice(None))[2].mean(0).numpy(), rtol=1e-4, atol=1e-6)
    assert layer.keys.texts[1] == f"{seconds / len(layer.keys):.2f} s"
    assert shown.document().axes[0].pictures[0].startswith("data:image/png")
    (tmp_path / "b.wav").write_text("no sound")
    assert "b.wav: not a usable sound" in regard("look", "hf:model", "b.wav").err


def test_a_long_text_has_a_map_and_not_all_lines(tmp_path: Path, regard: Run) -> None:
    folder = save("T5", tmp_path / "T5", kind="Unigram")
    text = " ".join([TEXT] * 3)
    result = regard("look", "hf:T5", text, "--attention", "encoder", "--target", "cats", "--head", 0, "--out", "a.png")
    lines = result.out.splitlines()
    assert len(lines) == 1 + 60 + 3
    assert " more tokens; --json has all" in lines[61]
    assert (folder.parent / "a.png").read_bytes().startswith(b"\x89PNG")


def _changed(folder: Path, path: Path, family: str, change: Callable[[Path], object]) -> str:
    shutil.copytree(folder / family, path / "model")
    change(path / "model")
    return "model"


def _config(path: Path, **settings: Any) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | settings))


def _pickled(path: Path) -> None:
    (path / "model.safetensors").unlink()
    torch.save({}, path / "pytorch_model.bin")


def _own_code(path: Path) -> None:
    (path / "own.py").write_text("raise SystemExit('the code ran')")
    _config(path, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModel": "own.M"})


def _truncated(path: Path) -> None:
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])


def _without_tokenizer(path: Path) -> None:
    for file in path.glob("tokenizer*"):
        file.unlink()


Change = Callable[[Path], object]
BROKEN: list[tuple[str, str, Change, str]] = [
    ("no config", "BERT", lambda p: (p / "config.json").unlink(), "has no config.json; expected the folder of a model"),
    ("bad config", "BERT", lambda p: (p / "config.json").write_text("{"), "config.json cannot be used (It looks like"),
    ("empty config", "BERT", lambda p: (p / "config.json").write_text("{}"), "cannot be used (Unrecognized model"),
    ("own code", "BERT", _own_code, "the model needs code of its repository, which regard does not run"),
    ("no weights", "BERT", lambda p: (p / "model.safetensors").unlink(), "its weights cannot be used (none are"),
    ("pickled weights", "BERT", _pickled, "its weights cannot be used (none are safetensors; regard reads no others"),
    ("truncated weights", "BERT", _truncated, "its weights cannot be used (Error while deserializing header"),
    ("other sizes", "BERT", lambda p: _config(p, hidden_size=64), "its weights cannot be used (they do not fit config"),
    ("no tokenizer", "BERT", _without_tokenizer, "has no tokenizer; expected one beside the weights"),
    ("bad tokenizer", "BERT", lambda p: (p / "tokenizer.json").write_text("{"), "tokenizer cannot be used (Expecting"),
    ("no processor", "ViT", lambda p: (p / "preprocessor_config.json").unlink(), "its image processor cannot be used"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "change", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_folder_gives_a_one_line_error(
    family: str, change: Change, message: str, folder: Path, regard: Run, tmp_path: Path
) -> None:
    name = _changed(folder, tmp_path, family, change)
    result = regard("look", f"hf:{name}", folder / "a.png")
    assert result.status == 2
    assert result.out == ""
    assert result.err.startswith("regard: model: ")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "alignment.png").exists()


def test_a_page_has_all_layers_or_those_that_are_chosen(folder: Path, regard: Run, tmp_path: Path) -> None:
    result = regard("look", f"hf:{folder / 'BERT'}", "the cats sleep", "--html", "a.html")
    assert (result.status, (tmp_path / "a.html").stat().st_size > 100_000) == (0, True)
    assert "drawn in a.html" in result.out
    look = load(str(folder / "BERT")).look("the cats sleep", layer=1, head=2)
    document = look.document()
    assert [(layer.name, layer.heads) for layer in document.layers] == [(look.layers[0].module, (2,))]
    assert document.title == f"{look.name}: layer 1, head 2"
    assert len(load(str(folder / "BERT")).look("the cats sleep").document().layers) == 2


def test_a_page_of_an_image_has_the_places_of_its_patches(folder: Path) -> None:
    look = load(str(folder / "ViT")).look(str(folder / "a.png"))
    axes = look.document().axes
    assert look.grid is not None
    rows, columns = look.grid
    assert [axis.pictures[0][:22] for axis in axes] == ["data:image/png;base64,"]
    assert [axis.labels[0] for axis in axes] == ["CLS"]
    assert axes[0].places[0] is None
    assert axes[0].places[-1] == (0, 1 - 1 / columns, 1 - 1 / rows, 1.0, 1.0)


def test_names_and_inputs_that_cannot_be_used(folder: Path, regard: Run, tmp_path: Path) -> None:
    bert, bart = f"hf:{folder / 'BERT'}", f"hf:{folder / 'BART'}"
    (tmp_path / "file").write_text("x")
    for arguments, message in (
        (["hf:./none", "a"], "regard: ./none: no such folder; expected the folder of a model, or a name on the hub"),
        (["hf:a/b/c", "a"], "regard: a/b/c: no such folder"),
        (["hf:", "a"], "regard: hf: needs the folder of a model of Hugging Face or its name on the hub"),
        (["hf:file", "a"], "regard: file: is a file; expected the folder of a model of Hugging Face"),
        (["hf:nobody/nothing", "a"], "regard: nobody/nothing: config.json cannot be used"),
        ([bert, ""], "regard: text: is empty; expected text"),
        ([bert, "a \udcff"], "regard: text: is not UTF-8"),
        ([bert, "cats " * 70], f"regard: text: expected 1 to 60 tokens, which {folder / 'BERT'} takes, got 72"),
        ([bert, "cats", "--layer", 2], "regard: --layer: this model has layers 0 to 1, got 2"),
        ([bert, "cats", "--head", 4], "regard: --head: this model has heads 0 to 3, got 4"),
        ([bert, "cats", "--head", -1], "regard: --head: this model has heads 0 to 3, got -1"),
        ([bert, "cats", "--target", "a"], "regard: --target: is for an encoder–decoder, which"),
        ([bert, "cats", "--attention", "cross"], "regard: --attention: is for an encoder–decoder, which"),
        ([bert, "cats", "--html", "a.png"], "--html: expected a name that ends in .html"),
        ([bert, "cats", "--out", "a.gif"], "expected a name that ends in .png or .svg"),
        ([bert, "cats", "--out", "a.png", "--save", "no/a"], "regard: no/a: cannot be written"),
        ([bert, "two", "words"], "words: not expected after the arguments of regard look"),
        ([bart, "cats", "--target", ""], "regard: --target: is empty"),
        ([f"hf:{folder / 'ViT'}", "none.png"], "regard: none.png: No such file or directory"),
        ([f"hf:{folder / 'ViT'}", tmp_path / "file"], "file: not a usable image"),
    ):
        result = regard("look", *arguments)
        assert result.status == 2, arguments
        assert message in result.err, arguments
        assert result.err.count("\n") == 1, arguments


def test_models_that_take_something_else_or_attend_in_their_own_way(regard: Run, tmp_path: Path) -> None:
    save("CLIP", tmp_path / "clip")
    save("GPT-2", tmp_path / "bloom", kind="bytes")
    settings = {"vocab_size": 97, "hidden_size": 32, "n_layer": 1, "n_head": 4}
    transformers.BloomModel(transformers.BloomConfig(**settings)).save_pretrained(tmp_path / "bloom")
    for name, message in (
        ("clip", "clip: this input cannot be used"),
        (
            "bloom",
            "bloom: BloomModel computes its attention in code of its own, or has none; regard cannot look into it",
        ),
    ):
        result = regard("look", f"hf:{name}", "cats")
        assert message in result.err
        assert (result.status, result.err.count("\n")) == (2, 1)


def test_without_transformers_the_extra_is_named(regard: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "transformers", None)
        result = regard("look", "hf:x", "cats")
    assert result.err == "regard: looking into a model of Hugging Face needs transformers: pip install 'regard[hf]'\n"


def test_the_help_has_the_options_of_these_models_only(regard: Run) -> None:
    own = regard("look", "hf:x", "--help").out
    assert all(option in own for option in ("--layer", "--head", "--attention", "--target", "--save", "--out"))
    assert "--checkpoint" not in own
    plain = regard("look", "--help").out
    assert "hf:FOLDER" in plain
    assert "--layer INT" not in plain
    build(None, ["look", "hf:x"]).parse_args(["look", "hf:x", "a", "--save", "b"], exit_on_error=False)


def test_what_is_read_is_not_unpickled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*arguments: Any, **options: Any) -> None:
        raise AssertionError("unpickled")

    monkeypatch.setattr("torch.load", forbidden)
    monkeypatch.setattr("pickle.load", forbidden)
    assert load(str(folder / "BERT")).look("cats").layers
    with pytest.raises(UserError, match="no such folder"):
        load("/none")
