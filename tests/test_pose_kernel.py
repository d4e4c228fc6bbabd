"""The kernel classifier beside a classifier of poses: its features, its fit, and the mixture of both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from regard.data.figures import figures
from regard.data.pooled_poses import mirrored_poses, pooled_poses
from regard.data.ragged import Ragged
from regard.data.skeletons import SKELETONS
from regard.errors import UserError
from regard.tasks.classify_video.task import ClipLabeller
from regard.tasks.families.classify.labeller import Classified
from regard.tasks.fitted.kernel import _RIDGE, KernelClassifier, _ridge
from regard.tasks.inputs.poses import pooled
from regard.tasks.running import evaluate, load, train

MIRRORED = SKELETONS["coco"].mirrored


def test_place_and_size_of_a_body_change_no_feature() -> None:
    joints = np.random.default_rng(0).normal(size=(20, 17, 2))
    np.testing.assert_allclose(pooled_poses(3 * joints + [5, -2]), pooled_poses(joints), rtol=1e-5, atol=1e-6)


def test_features_are_statistics_over_time() -> None:
    """One joint moves to and fro, and another one stands still."""
    joints = np.zeros((90, 2, 2))
    joints[:, 0, 0] = np.sin(2 * np.pi * np.arange(90) / 20)
    features = pooled_poses(joints)
    around = joints - joints.mean(1, keepdims=True)
    x = around[:, 0, 0] / np.sqrt(np.square(around).sum(2).mean())
    first = features[: 4 * (4 + 3 + 4)].reshape(-1, 4)[:, 0]
    expected = [x.mean(), x.std(), x.min(), x.max(), x[:30].mean(), x[30:60].mean(), x[60:].mean()]
    np.testing.assert_allclose(first[:7], expected, atol=1e-6)
    # A period of 20 frames is 4 in 80, and the second band has 4, 5 and 6.
    assert first[7:].argmax() == 1


@pytest.mark.parametrize("frames", [1, 2, 3, 79, 81, 200])
def test_clips_of_any_length_have_the_same_features(frames: int) -> None:
    joints = np.random.default_rng(frames).normal(size=(frames, 5, 3))
    features = pooled_poses(joints)
    assert features.shape == pooled_poses(joints[:1]).shape
    assert np.isfinite(features).all()


def test_a_still_point_has_features() -> None:
    assert np.isfinite(pooled_poses(np.ones((5, 3, 2)))).all()


def test_a_long_clip_has_the_mean_of_its_windows() -> None:
    joints = np.random.default_rng(0).normal(size=(12, 5, 2))
    values = Ragged.of([joints[:3], joints])
    expected = np.mean([pooled_poses(joints[start : start + 8]) for start in (0, 4)], 0)
    features = pooled(values, [1, 0], 8)
    np.testing.assert_allclose(features[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features[1], pooled_poses(joints[:3]), rtol=1e-5, atol=1e-6)


def test_errors_are_those_of_fits_without_each_clip() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(12, 4))
    kernel, targets = np.exp(-np.square(x[:, None] - x).sum(2)), random.normal(size=(12, 3))
    weight, errors = _ridge(kernel, targets)
    np.testing.assert_allclose(kernel @ weight + _RIDGE * weight, targets)
    for row in range(12):
        rest = np.arange(12) != row
        fitted = np.linalg.solve(kernel[rest][:, rest] + _RIDGE * np.eye(11), targets[rest])
        np.testing.assert_allclose(errors[row], targets[row] - kernel[row, rest] @ fitted)


@pytest.mark.parametrize("several", [False, True])
def test_a_mirror_image_has_the_same_logits(several: bool, tmp_path: Path) -> None:
    clips = figures(60, seed=0)
    joints = [clips.values[row] for row in range(60)]
    features = np.array([[pooled_poses(one) for one in joints], [_mirrored(one) for one in joints]])
    labels = np.eye(len(clips.names), dtype=bool)[clips.labels] if several else clips.labels
    model = KernelClassifier.fit(features[:, :50], labels[:50], len(clips.names))
    logits = model.logits(features[0, 50:], several=several)
    torch.testing.assert_close(model.logits(features[1, 50:], several=several), logits, rtol=1e-3, atol=1e-3)
    model.save(tmp_path / "kernel.safetensors")
    again = KernelClassifier.load(tmp_path / "kernel.safetensors")
    assert torch.equal(again.logits(features[0, 50:], several=several), logits)
    assert (model.logits(features[0, :50], several=several).argmax(1).numpy() == clips.labels[:50]).mean() > 0.9


def _mirrored(joints: np.ndarray) -> np.ndarray:
    return pooled_poses(mirrored_poses(joints, MIRRORED))


def test_a_run_mixes_both_models(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "data": {"builtin_clips": 60},
        "model": {"width": 8, "heads": 2, "kernel": 0.25},
        "train": {"steps": 3, "batch": 16},
    }
    train("classify-video", settings, tmp_path / "run")
    mixed = load(tmp_path / "run")
    assert isinstance(mixed, ClipLabeller)
    assert mixed.companion is not None
    clip = np.random.default_rng(0).normal(size=(9, 17, 2)).astype(np.float32)
    np.save(tmp_path / "clip.npy", clip)
    (result,) = mixed.predict([str(tmp_path / "clip.npy")])
    assert isinstance(result, Classified)
    with torch.no_grad():
        own = mixed.model(torch.from_numpy(clip)[None], torch.tensor([9])).softmax(-1)
    expected = (0.75 * own + 0.25 * mixed.companion.model.logits(pooled_poses(clip)[None]).softmax(-1))[0]
    for at, name in enumerate(mixed.names):
        assert dict(result.classes)[name] == pytest.approx(float(expected[at]), abs=1e-5)
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    *_, validated = (line["valid_loss"] for line in lines if "valid_loss" in line)
    assert evaluate(tmp_path / "run", checkpoint="last")["loss"].value == pytest.approx(validated, rel=1e-4)


def test_clips_with_several_labels_have_a_kernel_classifier(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(24):
        labels = [name for name, value in (("up", number % 2), ("wide", number % 3 == 0)) if value]
        clip = random.normal(size=(6, 15, 2)) * [1 + 2 * ("wide" in labels), 1] + [0, 9 * ("up" in labels)]
        rows.append(json.dumps({"pose": clip.round(2).tolist(), "label": labels}))
    (tmp_path / "clips.jsonl").write_text("\n".join(rows))
    settings: dict[str, Any] = {
        "data": {"train": str(tmp_path / "clips.jsonl"), "labels": "multi"},
        "model": {"width": 8, "heads": 2, "kernel": 0.5},
        "train": {"steps": 2, "batch": 16},
    }
    train("classify-video", settings, tmp_path / "run")
    mixed = load(tmp_path / "run")
    assert isinstance(mixed, ClipLabeller)
    assert mixed.companion is not None
    with torch.no_grad():
        own = mixed.model(torch.from_numpy(clip.astype(np.float32))[None], torch.tensor([6])).sigmoid()
    expected = (own + mixed.companion.model.logits(pooled_poses(clip)[None], several=True).sigmoid())[0] / 2
    np.save(tmp_path / "clip.npy", clip)
    assert dict(mixed.look(str(tmp_path / "clip.npy")).classes) == pytest.approx(
        dict(zip(mixed.names, expected.tolist(), strict=True)), abs=1e-5
    )


def test_a_kernel_classifier_needs_poses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.kernel: needs poses, and data\.kind is frames"):
        train("classify-video", {"data": {"kind": "frames"}, "model": {"kernel": 0.5}}, tmp_path / "run")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"none")
    with pytest.raises(UserError, match=r"x\.safetensors: is not a kernel classifier"):
        KernelClassifier.load(tmp_path / "x.safetensors")
