"""``regard export``: files in ONNX and torch.export's format, for the models of every task."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from conftest import Result
from regard.data.image_batches import Scale
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.models.language import RecurrentLM, TransformerLM
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator
from regard.models.vision import Mirrored, ResNet, ViT
from regard.tasks.classify_image.task import ImageLabeller
from regard.tasks.exporting import SUFFIXES, Exportable, export
from regard.tasks.generate.task import Writer
from regard.tasks.translate.predictor import Translator

TEXT = ["the quick brown fox jumps over the lazy dog", "le vif renard brun saute par-dessus le chien paresseux"] * 5


def _tokenizer() -> Tokenizer:
    return Tokenizer.train(TEXT, kind="byte", size=300)


def _writer(**options: Any) -> Exportable:
    tokenizer = _tokenizer()
    model = TransformerLM(len(tokenizer), dim=16, layers=1, heads=4, hidden=24, context=20, **options)
    return Writer(model, tokenizer, 20).exportable()


def _translator(**options: Any) -> Exportable:
    tokenizer = _tokenizer()
    sizes: dict[str, Any] = {"dim": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "hidden": 24}
    model = TransformerTranslator(len(tokenizer), len(tokenizer), **sizes, **options)
    return Translator(model, tokenizer, tokenizer).exportable()


def _labeller(model: ResNet | ViT | Mirrored) -> Exportable:
    return ImageLabeller(model, ("cat", "dog", "owl"), Scale((0.5, 0.4, 0.3), (0.2, 0.2, 0.1)), 16).exportable()


def _resnet(kind: Any) -> Exportable:
    return _labeller(ResNet(3, width=8, blocks=1, attention=kind))


MODELS: dict[str, Callable[[], Exportable]] = {
    "translator": lambda: _translator(),
    "translator, learned positions": lambda: _translator(positions="learned", longest=40),
    "translator, rotary, post-norm": lambda: _translator(positions="rotary", order="post"),
    "language model": lambda: _writer(key_heads=2),
    "language model, learned positions": lambda: _writer(positions="learned", gated=False),
    "vit": lambda: _labeller(ViT(3, size=16, width=16, layers=1)),
    "resnet, mirrored": lambda: _labeller(Mirrored(ResNet(3, width=8, blocks=1))),
    **{f"resnet, {kind}": partial(_resnet, kind) for kind in ("none", "se", "cbam", "self", "query")},
}


LONG = ("translator, learned positions", "translator, rotary, post-norm", "language model, learned positions")
FILES: list[Any] = [  # an ONNX file is made from an exported program
    pytest.param(name, "onnx", marks=[pytest.mark.long] if name in LONG else []) for name in MODELS
]
FILES += [(name, "torch-export") for name in ("translator", "language model", "resnet, self")]


@pytest.mark.parametrize(("name", "form"), FILES)
def test_an_exported_file_gives_the_same_logits_as_the_model(
    name: str, form: Literal["onnx", "torch-export"], tmp_path: Path
) -> None:
    if form == "onnx":
        for module in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(module)
    torch.manual_seed(0)
    exportable = MODELS[name]()
    path = tmp_path / f"model{SUFFIXES[form]}"
    difference, size = export(exportable, path, form)
    assert size == path.stat().st_size
    assert list(tmp_path.iterdir()) == [path]
    assert difference < 1e-5
    inputs = exportable.examples((2, 11, 8))
    with torch.no_grad():
        expected = exportable.module(*inputs)
    torch.testing.assert_close(_run(path, exportable, inputs), expected, rtol=1e-4, atol=1e-5)
    assert _notes(path) == json.loads(json.dumps(dict(exportable.notes)))


def _run(path: Path, exportable: Exportable, inputs: tuple[Tensor, ...]) -> Tensor:
    """The logits of the model in a file."""
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(*inputs)
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    feed = {name: tensor.numpy() for name, tensor in zip(exportable.inputs, inputs, strict=True)}
    return torch.from_numpy(session.run(["logits"], feed)[0])


def test_axes_of_an_onnx_file_have_the_documented_names(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    export(_translator(), tmp_path / "model.onnx", "onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    axes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert axes == {
        "source": ["batch", "source_length"],
        "source_lengths": ["batch"],
        "target": ["batch", "target_length"],
        "logits": ["batch", "target_length", 300],
    }


def test_the_documented_example_predicts_the_same_class_as_regard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = ResNet(3, width=8, blocks=1)
    names = ("cat", "dog", "owl")
    labeller = ImageLabeller(model.eval(), names, Scale((0.5, 0.4, 0.3), (0.2, 0.2, 0.1)), 16)
    Path("runs/birds").mkdir(parents=True)
    export(labeller.exportable(), Path("runs/birds/model.onnx"), "onnx")
    photo = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(photo).save("photo.jpg")
    page = (Path(__file__).parents[1] / "docs" / "exporting.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example: dict[str, Any] = {}
    exec(compile(block, "exporting.md", "exec"), example)
    classes = labeller.look("photo.jpg").classes
    exported = torch.from_numpy(example["logits"])[0].softmax(-1)
    torch.testing.assert_close(exported, torch.tensor([dict(classes)[name] for name in names]), rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out == f"{classes[0][0]}\n"


def _notes(path: Path) -> object:
    """The notes that regard stores in an exported file."""
    if path.suffix == ".pt2":
        files = {"regard.json": ""}
        torch.export.load(path, extra_files=files)
        return json.loads(files["regard.json"])
    import onnx

    return json.loads({entry.key: entry.value for entry in onnx.load(path).metadata_props}["regard"])


def test_an_exported_file_with_other_results_is_deleted(tmp_path: Path) -> None:
    class Different(nn.Module):
        """Computes something else while it is exported."""

        def forward(self, x: Tensor) -> Tensor:
            return x if torch.compiler.is_compiling() else x + 1

    exportable = Exportable(Different(), {"x": ("batch", 2)}, lambda sizes: (torch.ones(sizes["batch"], 2),))
    with pytest.raises(
        UserError, match=r"differ from the model's by 1 at sizes \{'batch': 1\}; the file is not written"
    ):
        export(exportable, tmp_path / "a.pt2", "torch-export")
    assert not list(tmp_path.iterdir())


def test_recurrent_models_cannot_be_exported() -> None:
    tokenizer = _tokenizer()
    translator = Translator(RNNTranslator(300, 300, embedding=8, dim=8), tokenizer, tokenizer)
    with pytest.raises(UserError, match="export: a recurrent model cannot be exported"):
        translator.exportable()
    with pytest.raises(UserError, match="export: a recurrent model cannot be exported"):
        Writer(RecurrentLM(300, dim=8, layers=1), tokenizer, 20).exportable()


def test_the_command_prints_the_inputs_and_checks_the_path(tmp_path: Path, regard: Callable[..., Result]) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (2, 6, 16, 16, 3), dtype=np.uint8)
    from PIL import Image

    for label, images in zip(("cat", "dog"), pixels, strict=True):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number, array in enumerate(images):
            Image.fromarray(array).save(tmp_path / "data" / label / f"{number}.png")
    run = tmp_path / "run"
    small = ["--data.size", 16, "--model.width", 4, "--model.blocks", 1, "--train.epochs", 1, "--train.batch", 4]
    assert regard("train", "classify-image", run, "--data.train", tmp_path / "data", *small).status == 0
    result = regard("export", run, "--format", "torch-export")
    assert (result.status, result.err) == (0, "")
    assert "model.pt2" in result.out
    assert "images          (batch, 3, 16, 16)" in result.out
    for arguments, text in (
        (["--format", "onnx", tmp_path / "a.pt2"], "a file of the format onnx must end in .onnx"),
        ([tmp_path / "no" / "a.onnx"], "there is no folder"),
    ):
        result = regard("export", run, *arguments)
        assert result.status == 2
        assert text in result.err
