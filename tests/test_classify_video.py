"""Video classification: padding changes nothing, augmentation keeps what it should, and bad input is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from clip_sets import poses, write_clips, write_openpose
from conftest import Result
from regard.data.pose_batches import augment
from regard.data.ragged import Ragged
from regard.data.skeletons import SKELETONS
from regard.errors import UserError
from regard.explain.film import PoseFilm
from regard.models.video import ClipClassifier, Joints, joint_features
from regard.tasks.inputs.clips import one_of_each, windows
from regard.tasks.running import evaluate, load, train

TINY = {"model": {"width": 8, "heads": 2}, "train": {"steps": 2, "batch": 8}}


def _model(*, attention: bool = True, several: bool = False) -> ClipClassifier:
    torch.manual_seed(0)
    model = ClipClassifier(3, Joints(5, 2, 8), 8, heads=2, attention=attention, several=several)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.bias)
    return model.eval()


def _clips(*lengths: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(len(lengths), max(lengths), 5, 2)
    for one, length in zip(x, lengths, strict=True):
        one[length:] = 0
    return x, torch.tensor(lengths)


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("attention", [True, False])
def test_padding_changes_no_logit_and_has_no_weight(attention: bool, several: bool) -> None:
    model = _model(attention=attention, several=several)
    x, lengths = _clips(9, 14)
    both, alone = model.look(x, lengths), model.look(x[:1, :9], lengths[:1])
    torch.testing.assert_close(both.logits[:1], alone.logits)
    if both.places is None or alone.places is None:
        assert not attention
        return
    assert both.places.shape == (2, 3 if several else 1, 14, 5)
    torch.testing.assert_close(both.places[:1, :, :9], alone.places)
    assert (both.places[0, :, 9:] == 0).all()
    torch.testing.assert_close(both.places.sum((2, 3)), torch.ones(2, 3 if several else 1))


def test_place_and_size_of_a_body_change_no_logit() -> None:
    model = _model()
    x, lengths = _clips(9, 14)
    moved = (7 * x + torch.tensor([100.0, -20.0])) * (x != 0)
    torch.testing.assert_close(model(moved, lengths), model(x, lengths), rtol=1e-3, atol=1e-3)


def test_the_features_of_joints_are_those_of_the_formulas() -> None:
    x, lengths = _clips(3, 4)
    features, clip = joint_features(x, lengths)[0], x[0, :3].double().numpy()
    around = clip - clip.mean(1, keepdims=True)
    size = np.sqrt((around**2).sum(2).mean())
    after, later = clip[[1, 2, 2]] - clip, clip[[2, 2, 2]] - clip
    distances = np.linalg.norm(clip[:, :, None] - clip[:, None], axis=3)
    expected = np.concatenate([around, after, later, distances], 2) / size
    np.testing.assert_allclose(features[:3].numpy(), expected, atol=1e-5)


def test_the_logits_of_a_long_clip_are_the_mean_of_its_windows() -> None:
    model, random = _model(), np.random.default_rng(0)
    clips = Ragged.of([random.normal(size=(length, 5, 2)).astype(np.float32) for length in (20, 6)])
    x, lengths, owners = windows(clips, [1, 0], 8)
    assert (lengths.tolist(), owners.tolist()) == ([6, 8, 8, 8, 8], [0, 1, 1, 1, 1])
    logits = model(x, lengths, owners)
    torch.testing.assert_close(logits[1], model(x[1:], lengths[1:]).mean(0))
    torch.testing.assert_close(logits[:1], model(x[:1], lengths[:1]))
    chosen = {tuple(one_of_each(owners).tolist()) for _ in range(60)}
    assert chosen == {(0, at) for at in range(1, 5)}


def test_mirroring_swaps_the_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    mirrored = SKELETONS["coco"].mirrored
    x, lengths = torch.from_numpy(poses()).float()[None], torch.tensor([6])
    options = {"rotate": 0.0, "stretch": 0.0, "noise": 0.0}
    middle = x - x.mean((1, 2), keepdim=True)
    torch.testing.assert_close(augment(x, lengths, mirrored=None, **options), middle)
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.zeros(shape))
    turned = augment(x, lengths, mirrored=mirrored, **options)
    torch.testing.assert_close(turned[0, :, 5, 0], -middle[0, :, 6, 0])
    torch.testing.assert_close(turned[0, :, 5, 1], middle[0, :, 6, 1])


def test_turning_and_stretching_keep_what_they_should() -> None:
    torch.manual_seed(0)
    x, lengths = torch.randn(4, 6, 5, 3), torch.full((4,), 6)
    turned = augment(x, lengths, mirrored=None, rotate=180, stretch=0, noise=0)
    assert not torch.allclose(turned, x, atol=0.1)
    torch.testing.assert_close(torch.cdist(turned, turned), torch.cdist(x, x))
    stretched = augment(x, lengths, mirrored=None, rotate=0, stretch=0.1, noise=0)
    ratio = stretched / (x - x.mean((1, 2), keepdim=True))
    assert (ratio.amax((1, 2)) - ratio.amin((1, 2))).max() < 1e-3
    assert ((ratio - 1).abs() <= 0.1001).all()


def test_a_film_is_printed_and_drawn(tmp_path: Path) -> None:
    weights = np.full((9, 17), 0.5 / 153)
    weights[4, 9] += 0.5
    film = PoseFilm(weights, poses(9), *SKELETONS["coco"])
    assert 4 in film.drawn
    assert film.strongest().startswith("left wrist 9")
    film.save(tmp_path / "a.svg", title="a $b$")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
        film.save(tmp_path / "a.html", title="")


def test_clips_are_classified_and_bad_ones_named(tmp_path: Path, regard: Callable[..., Result]) -> None:
    folder, run = write_clips(tmp_path, 6), tmp_path / "run"
    train("classify-video", {**TINY, "data": {"train": str(folder), "window": 6}}, run)
    write_openpose(tmp_path / "clip", poses(20))
    (tmp_path / "short.json").write_text(json.dumps(poses(3, 15).tolist()))
    (tmp_path / "none.jsonl").write_text("[]\n[]\n")
    names = [tmp_path / name for name in ("clip", "short.json", "none.jsonl", "missing.json")]
    result = regard("classify", run, *names)
    assert (result.status, len(result.out.splitlines())) == (1, 1)
    assert result.out.startswith(f"{names[0]}\t")
    reasons = ("has 15 joints, where the others have 17", "no person in 2 frames", "no such file")
    assert all(
        f"regard: {name}: not a usable clip: {why}" in result.err for name, why in zip(names[1:], reasons, strict=True)
    )
    drawn = json.loads(regard("look", run, names[0], "--out", tmp_path / "look.png", "--json").out)
    assert drawn["frames"] == list(range(1, 21))
    assert np.array(drawn["places"]).shape == (20, 17)
    assert sum(drawn["weights"]) == pytest.approx(1, abs=1e-4)
    (tmp_path / "test.tsv").write_text(f"{folder}/still/0.json\tstill\n{names[2]}\tstill\n")
    assert evaluate(run, str(tmp_path / "test.tsv"), on_bad="skip")
    with pytest.raises(UserError, match=r"test\.tsv: line 2 \(no person in 2 frames\)"):
        evaluate(run, str(tmp_path / "test.tsv"))
    other = write_clips(tmp_path / "other", 2, joints=15)
    with pytest.raises(UserError, match="other/clips: has 15 joints, where the training data have 17"):
        evaluate(run, str(other))
    with pytest.raises(UserError, match=r"data\.skeleton: coco has 17 joints, and the clips have 15"):
        train("classify-video", {**TINY, "data": {"train": str(other), "skeleton": "coco"}}, tmp_path / "second")


def test_a_clip_can_have_several_labels(tmp_path: Path) -> None:
    rows = [{"pose": poses(8, 5, seed).tolist(), "label": [["a"], ["a", "b"], []][seed % 3]} for seed in range(24)]
    (tmp_path / "set.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    data = {"train": str(tmp_path / "set.jsonl"), "labels": "multi"}
    train("classify-video", {**TINY, "data": data}, tmp_path / "run")
    (tmp_path / "clip.json").write_text(json.dumps(rows[0]["pose"]))
    shown = load(tmp_path / "run").look(str(tmp_path / "clip.json")).to_dict(attention=True)
    assert set(shown["classes"]) == {"a", "b"}
    assert set(shown["weights"]) <= {"a", "b"}


def test_settings_that_do_not_fit_the_built_in_clips_are_refused(tmp_path: Path) -> None:
    for data, message in (({"labels": "multi"}, "one class each"), ({"dims": 3}, "have 2 coordinates")):
        with pytest.raises(UserError, match=message):
            train("classify-video", {"data": data}, tmp_path / "run")
