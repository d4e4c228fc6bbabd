"""Each task has the same losses with two processes as with one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from caption_sets import write_table
from clip_sets import write_clips
from sound_sets import encoded, tone
from stopping import tensors
from torchrun import by_processes

COMMON = ["--train.epochs", "5", "--train.warmup", "2", "--train.seed", "3"]

TASKS = {
    "translate": [
        "--model.kind", "transformer", "--model.dim", "16", "--model.dropout", "0", "--transformer.hidden", "24",
        "--transformer.heads", "2", "--transformer.encoder-layers", "1", "--transformer.decoder-layers", "1",
        "--tokenizer.source-size", "300", "--tokenizer.target-size", "300", "--train.tokens", "400",
        "--train.metric", "exact", "--train.validate-on", "6",
    ],
    "summarize": [
        "--model.kind", "transformer", "--model.dim", "16", "--model.dropout", "0", "--model.coverage", "0.5",
        "--transformer.hidden", "24", "--transformer.heads", "2", "--transformer.encoder-layers", "1",
        "--transformer.decoder-layers", "1", "--train.tokens", "400", "--train.metric", "rouge1",
    ],
    "generate": [
        "--tokenizer.kind", "char", "--model.context", "24", "--model.dim", "16", "--model.layers", "1",
        "--model.heads", "2", "--model.dropout", "0", "--train.tokens", "240",
    ],
    "classify-image": [
        "--model.width", "4", "--model.blocks", "1", "--data.size", "16", "--augment.crop", "0", "--augment.no-flip",
        "--augment.cutout", "0", "--train.batch", "5",
    ],
    "classify-image vit": [
        "--model.kind", "vit", "--model.width", "4", "--model.blocks", "1", "--model.dropout", "0", "--data.size", "16",
        "--augment.crop", "0", "--augment.no-flip", "--augment.cutout", "0", "--train.batch", "5",
    ],
    "classify-sound": [
        "--data.rate", "4000", "--model.bands", "16", "--model.width", "2", "--model.heads", "2",
        "--model.dropout", "0", "--augment.shift", "0", "--augment.speed", "0", "--augment.noise", "0",
        "--train.batch", "5",
    ],
    "classify-video": [
        "--model.width", "8", "--model.heads", "2", "--model.dropout", "0", "--augment.no-mirror",
        "--augment.speed", "0", "--augment.shift", "0", "--augment.rotate", "0", "--augment.stretch", "0",
        "--augment.noise", "0", "--train.batch", "5",
    ],
    "classify-video frames": [
        "--data.kind", "frames", "--data.size", "16", "--model.width", "8", "--model.heads", "2",
        "--model.dropout", "0", "--augment.no-mirror", "--augment.speed", "0", "--augment.shift", "0",
        "--augment.crop", "0", "--train.batch", "5",
    ],
    "classify-text": [
        "--model.dim", "8", "--model.width", "4", "--model.buckets", "50", "--model.dropout", "0",
        "--model.word-dropout", "0", "--train.batch", "8",
    ],
    "answer": [
        "--model.dim", "16", "--model.heads", "2", "--model.dropout", "0", "--tokenizer.size", "300",
        "--data.window", "12", "--data.overlap", "6", "--train.tokens", "200",
    ],
    "recommend": [
        "--model.dim", "16", "--model.layers", "1", "--model.dropout", "0", "--train.tokens", "120",
        "--train.loss", "sampled", "--train.negatives", "8",
    ],
    "transcribe": [
        "--data.rate", "4000", "--model.dim", "16", "--model.heads", "2", "--model.layers", "1", "--model.bands", "16",
        "--model.dropout", "0", "--augment.speed", "0", "--augment.time-masks", "0", "--train.tokens", "400",
        "--train.metric", "wer", "--train.validate-on", "3",
    ],
    "detect": ["--data.size", "32", "--model.width", "16", "--train.batch", "5"],
    "match": [
        "--model.width", "4", "--model.text-width", "8", "--model.text-layers", "1", "--model.dim", "8",
        "--model.dropout", "0", "--model.word-dropout", "0", "--data.size", "16", "--augment.crop", "0",
        "--train.batch", "7", "--train.hard", "2",
    ],
    "match vit": [
        "--model.kind", "vit", "--model.width", "4", "--model.text-width", "8", "--model.text-layers", "1",
        "--model.dim", "8", "--model.dropout", "0", "--model.word-dropout", "0", "--data.size", "16",
        "--augment.crop", "0", "--train.batch", "7", "--train.hard", "2",
    ],
}  # fmt: skip
TASKS["transcribe conformer"] = [*TASKS["transcribe"], "--model.kind", "conformer"]
"""A task and, where it has several models, which one: settings without randomness, since each process draws its own
random numbers."""


def _data(row: str, folder: Path, images: int = 24) -> Path:
    task = row.split()[0]
    random = np.random.default_rng(0)
    words = ["red", "green", "blue", "cat", "dog", "owl", "runs", "sleeps"]
    lines = [" ".join(random.choice(words, 4)) for _ in range(80)]
    if task == "classify-image":
        for number in range(images):
            path = folder / "images" / words[number % 3] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
        return folder / "images"
    if task == "detect":
        listed = ""
        for number in range(images):
            Image.fromarray(random.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(folder / f"{number}.png")
            box = [*random.integers(0, 9, 2).tolist(), *random.integers(10, 20, 2).tolist()]
            objects = [{"label": words[number % 3], "box": box}]
            listed += json.dumps({"image": f"{number}.png", "objects": objects}) + "\n"
        (folder / "boxes.jsonl").write_text(listed)
        return folder / "boxes.jsonl"
    if task == "match":
        return write_table(folder, images)
    if task == "classify-sound":
        return _sounds(folder)
    if task == "classify-video":
        return _animations(folder) if "frames" in row else write_clips(folder, 12)
    if task == "transcribe":
        (folder / "sounds.tsv").write_text("".join(f"{at}.wav\t{line}\n" for at, line in enumerate(lines[:30])))
        for at in range(30):
            (folder / f"{at}.wav").write_bytes(encoded(tone(300 + 40 * at, 1 + 0.02 * at)))
        return folder / "sounds.tsv"
    if task == "answer":
        path = folder / "questions.csv"
        rows = (f"{line},What {line.split()[0]}?,{line.split()[-1]}\n" for line in lines)
        path.write_text("context,question,answer\n" + "".join(rows))
        return path
    if task == "recommend":
        path = folder / "histories.txt"
        path.write_text("".join(f"{user} {line} {line.swapcase()}\n" for user, line in enumerate(lines)))
        return path
    if task == "classify-text":
        path = folder / "labelled.tsv"
        path.write_text("".join(f"{line.split()[0]}\t{line}\n" for line in lines))
        return path
    path = folder / ("text.tsv" if task in ("translate", "summarize") else "text.txt")
    path.write_text("".join(f"{line}\t{line.upper()}\n" for line in lines))
    return path


def _sounds(folder: Path) -> Path:
    """Low and high tones of different lengths, so that batches are padded."""
    for at in range(24):
        path = folder / "sounds" / ("low", "high")[at % 2] / f"{at}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(tone((300, 1500)[at % 2] + 20 * at, 0.3 + 0.02 * at)))
    return folder / "sounds"


def _animations(folder: Path) -> Path:
    """Dark and bright frames in clips of different lengths."""
    random = np.random.default_rng(0)
    for at in range(24):
        path = folder / "clips" / ("dark", "bright")[at % 2] / f"{at}.gif"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames = random.integers(0, (120, 255)[at % 2], (6 + at, 16, 16, 3), dtype=np.uint8)
        first, *others = map(Image.fromarray, frames)
        first.save(path, save_all=True, append_images=others)
    return folder / "clips"


def _train(count: int, task: str, run: Path, data: Path, *options: str) -> str:
    """Train with ``count`` processes; returns their standard error."""
    result = by_processes(count, "-m", "regard", "train", task, run, "--data.train", data, *COMMON, *options)
    assert result.returncode == 0, result.stderr
    return result.stderr


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=() if row in ("translate", "answer", "classify-video") else pytest.mark.long)
        for row in TASKS
    ],
)
def test_two_processes_have_the_loss_of_one(row: str, tmp_path: Path) -> None:
    data, metrics = _data(row, tmp_path), []
    for count in (1, 2):
        run = tmp_path / f"run{count}"
        _train(count, row.split()[0], run, data, *TASKS[row])
        metrics.append([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()])
    one, two = metrics
    assert len(one) == len(two) > 5
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        for name in {"loss", "valid_loss", "norm"} & first.keys():
            assert second[name] == pytest.approx(first[name], rel=2e-3)


@pytest.mark.long
def test_two_processes_choose_the_thresholds_of_one(tmp_path: Path) -> None:
    data, thresholds = _data("classify-text", tmp_path), []
    for count in (1, 2):
        run = tmp_path / f"run{count}"
        _train(count, "classify-text", run, data, *TASKS["classify-text"], "--data.labels", "multi")
        thresholds.append(tensors(run)["thresholds"])
    assert (thresholds[0] != 0.5).any()
    torch.testing.assert_close(thresholds[1], thresholds[0], rtol=2e-3, atol=2e-3)


def test_two_processes_do_not_warn_about_strides(tmp_path: Path) -> None:
    data = _data("classify-image", tmp_path, images=80)  # smaller batches take another path in PyTorch
    network = ["--model.attention", "self", "--model.width", "8", "--model.blocks", "1", "--data.size", "32"]
    assert "strides" not in _train(2, "classify-image", tmp_path / "run", data, "--train.batch", "64", *network)
