"""Sound classification: padding changes nothing, augmentation keeps what it should, and bad input is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Result
from regard.attend import Look
from regard.data.sound_batches import augment
from regard.data.tones import GLIDES, tones
from regard.errors import UserError
from regard.explain.timeline import Timeline
from regard.models.sound import SoundClassifier
from regard.tasks.running import evaluate, load, train
from sound_sets import encoded, saved, tone, write_classes

TINY = {
    "data": {"rate": 4000}, "model": {"bands": 16, "width": 2, "heads": 2}, "train": {"steps": 2, "batch": 8},
}  # fmt: skip


@pytest.mark.parametrize("width", [0, 13])
@pytest.mark.parametrize("attention", [True, False])
def test_padding_changes_no_logit_and_has_no_weight(width: int, attention: bool) -> None:
    torch.manual_seed(0)
    model = SoundClassifier(3, rate=4000, width=width, bands=16, channels=4, heads=2, attention=attention)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
    model.eval()
    x = torch.randn(1, 90, width) if width else torch.randn(1, 2000)
    padded = torch.nn.functional.pad(x, (0, 0, 0, 37) if width else (0, 1500))
    alone = model.look(x, torch.tensor([x.shape[1]]))
    both = model.look(padded, torch.tensor([x.shape[1]]))
    assert torch.allclose(alone.logits, both.logits, atol=1e-5)
    if alone.places is None or both.places is None:
        assert not attention
        return
    count = alone.places.shape[-1]
    assert torch.allclose(alone.places, both.places[..., :count], atol=1e-6)
    assert (both.places[..., count:] == 0).all()


def test_augmentation_shifts_and_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(1.0, 9.0)[None]
    lengths = torch.tensor([8])
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.ones(shape))
    later, longer = augment(x, lengths, shift=2, speed=0.0, noise=0.0, least=1)
    assert later.tolist() == [[0, 0, 1, 2, 3, 4, 5, 6, 7, 8]]
    assert longer.tolist() == [10]
    faster, shorter = augment(x, lengths, shift=0, speed=1.0, noise=0.0, least=1)
    assert (faster.tolist(), shorter.tolist()) == ([[1, 3, 5, 7]], [4])
    features, _ = augment(x[..., None], lengths, shift=2, speed=0.0, noise=0.0, least=1)
    assert features[0, :3, 0].tolist() == [1, 1, 1]
    noisy, _ = augment(x.repeat(500, 1), lengths.repeat(500), shift=0, speed=0.0, noise=0.5, least=1)
    assert float((noisy - x).std()) == pytest.approx(0.5 * float(x.std()), rel=0.05)


def test_the_glide_of_a_built_in_sound_is_where_it_says() -> None:
    sounds = tones(40, 8000)
    assert sounds.deciding is not None
    assert set(sounds.labels.tolist()) == set(range(len(GLIDES)))
    for row in np.flatnonzero(sounds.labels == sounds.names.index("rise"))[:4]:
        first, last = (round(8000 * second) for second in sounds.deciding[row])
        x = sounds.values[row][first:last].astype(float)
        pitches = [np.abs(np.fft.rfft(part)).argmax() / len(part) for part in np.array_split(x, 4)]
        assert pitches == sorted(pitches)
        assert pitches[-1] > 1.2 * pitches[0]


def test_a_timeline_is_shown_and_its_share_measured(tmp_path: Path) -> None:
    line = Timeline(np.random.default_rng(0).normal(size=(40, 8)), np.array([0.1] * 9 + [0.1]), 0.4, 0.04)
    assert np.allclose(line.share(0.08, 0.16), 0.2)
    line.save(tmp_path / "a.svg", title="a $b$")
    assert "<svg" in (tmp_path / "a.svg").read_text()
    with pytest.raises(UserError, match=r"expected a name that ends in \.png or \.svg"):
        line.save(tmp_path / "a.html", title="")


def test_sounds_are_classified_and_bad_ones_named(tmp_path: Path, regard: Callable[..., Result]) -> None:
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    folder, run = write_classes(tmp_path, 6), tmp_path / "run"
    train("classify-sound", {**TINY, "data": {"rate": 4000, "train": str(folder)}}, run)
    (tmp_path / "stereo.flac").write_bytes(encoded(np.stack([tone(rate=44_100)] * 2, 1), 44_100, "FLAC"))
    (tmp_path / "silent.wav").write_bytes(encoded(0 * tone()))
    (tmp_path / "features.npy").write_bytes(saved(np.random.default_rng(0).normal(size=(9, 16))))
    names = [tmp_path / name for name in ("stereo.flac", "silent.wav", "features.npy", "none.wav")]
    result = regard("classify", run, *names)
    assert (result.status, len(result.out.splitlines())) == (1, 1)
    assert result.out.startswith(f"{names[0]}\t")
    reasons = (
        "not a usable sound: is silent",
        "not a usable sound: has 16 features per frame, where the others have samples",
        "No such file or directory",
    )
    assert result.err.endswith(
        "".join(f"regard: {name}: {why}\n" for name, why in zip(names[1:], reasons, strict=True))
    )
    drawn = regard("look", run, names[0], "--out", tmp_path / "look.png", "--json")
    attention = json.loads(drawn.out)
    assert len(attention["seconds"]) == len(attention["weights"]) == 7
    assert sum(attention["weights"]) == pytest.approx(1, abs=1e-4)
    (tmp_path / "test.tsv").write_text(f"{folder}/low/0.wav\tlow\n{names[1]}\tlow\n")
    assert "silent.wav" not in evaluate(run, str(tmp_path / "test.tsv"), on_bad="skip")
    with pytest.raises(UserError, match=r"test\.tsv: line 2 \(is silent\)"):
        evaluate(run, str(tmp_path / "test.tsv"))


@pytest.mark.parametrize("several", [False, True])
def test_features_are_trained_on_too(several: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(24):
        (tmp_path / f"{number}.npy").write_bytes(saved(random.normal(size=(30 + number, 13)) + 3 * (number % 2)))
    labels = ["low", "high|odd"] if several else ["low", "high"]
    (tmp_path / "all.csv").write_text("path,label\n" + "".join(f"{n}.npy,{labels[n % 2]}\n" for n in range(24)))
    data = {"train": str(tmp_path / "all.csv"), "labels": "multi" if several else "single"}
    train("classify-sound", {**TINY, "data": data, "augment": {"mixup": 0.2}}, tmp_path / "run")
    shown = load(tmp_path / "run").look(str(tmp_path / "1.npy"))
    assert ("labels" in shown.to_dict()) is several
    assert shown.to_dict(attention=True)["weights"]


def test_the_model_without_attention_has_no_weights() -> None:
    model = SoundClassifier(2, rate=4000, bands=16, channels=2, heads=2, attention=False)
    assert model.look(torch.randn(2, 2000), torch.tensor([2000, 900]), Look(rows=[0])).places is None
