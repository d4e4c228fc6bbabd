"""Transcription: padding changes nothing, long files are cut where it is quiet, and bad input is named."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from conftest import Result
from regard.data.morse import morse
from regard.data.silences import windows
from regard.data.tokenizer import BOS, EOS
from regard.errors import UserError
from regard.explain.captions import Word, captions, srt, vtt
from regard.models.spec_augment import SpecAugment
from regard.models.transcriber import Transcriber
from regard.tasks.families.speech.predictor import JointSearch
from regard.tasks.running import evaluate, load, resume, settings_of, train
from regard.tasks.transcribe.settings import tiny_settings
from regard.training.interrupt import Interrupted
from sound_sets import encoded, saved, sphinx, tone
from stopping import assert_same, interrupting

TINY: dict[str, Any] = {
    "data": {"rate": 4000}, "model": {"dim": 8, "layers": 1, "bands": 16, "heads": 2},
    "train": {"steps": 2, "tokens": 2000, "metric": "loss"},
}  # fmt: skip


def _model(**options: Any) -> Transcriber:
    torch.manual_seed(0)
    return Transcriber(9, rate=4000, bands=16, dim=16, layers=2, **options).eval()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["gru", "conformer"])
@pytest.mark.parametrize("attention", ["location", "additive"])
def test_padding_changes_nothing(kind: Any, attention: Any) -> None:
    model = _model(kind=kind, attention=attention)
    x, target = torch.randn(1, 3000), torch.tensor([[BOS, 5, 6, EOS]])
    longer = torch.cat([F.pad(x, (0, 1700)), torch.randn(1, 4700)])
    targets, lengths = torch.tensor([[BOS, 5, 6, EOS, 0], [BOS, 7, 8, 5, EOS]]), torch.tensor([3000, 4700])
    alone = model(x, lengths[:1], target, torch.tensor([4]))
    other = model(longer[1:], lengths[1:], targets[1:], torch.tensor([5]))
    both = model(longer, lengths, targets, torch.tensor([4, 5]))
    assert float(both) == pytest.approx(float(alone + other), rel=1e-4)
    first, rows = model.start(x, lengths[:1]), model.start(longer, lengths)
    for token in (BOS, 5):
        one, two = model.step(torch.tensor([token]), first), model.step(torch.tensor([token, token]), rows)
        first, rows = one.state, two.state
        assert one.weights is not None
        assert two.weights is not None
        count = one.weights.shape[1]
        torch.testing.assert_close(two.weights[0, :count], one.weights[0], atol=1e-5, rtol=1e-4)
        assert (two.weights[0, count:] == 0).all()
        assert float(one.weights.sum()) == pytest.approx(1)


@torch.no_grad()
def test_the_loss_is_the_mixture_of_both() -> None:
    x, lengths = torch.randn(2, 3000), torch.tensor([3000, 2000])
    target, count = torch.tensor([[BOS, 5, 6, EOS], [BOS, 4, EOS, 0]]), torch.tensor([4, 3])
    losses = [float(_model(ctc=weight)(x, lengths, target, count)) for weight in (0.0, 1.0, 0.25)]
    assert losses[2] == pytest.approx(0.75 * losses[0] + 0.25 * losses[1], rel=1e-5)
    model = _model(ctc=1.0)
    heard = model.encode(x, lengths)
    assert heard.lengths.tolist() == [19, 12]
    steps = model.log_probabilities(heard).transpose(0, 1)
    expected = F.ctc_loss(steps, target[:, 1:], heard.lengths, count - 2, reduction="sum")
    assert losses[1] == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(ValueError, match="no decoder, only CTC"):
        _model(attention="none").step(torch.tensor([BOS]), None)  # type: ignore[arg-type]


def test_masks_are_of_time_and_of_frequency() -> None:
    torch.manual_seed(0)
    x, lengths = torch.ones(400, 50, 8), torch.full((400,), 50)
    times = SpecAugment(times=1, frames=6)(x, lengths)
    assert (times.amin(2) == times.amax(2)).all()
    masked = (times[..., 0] == 0).sum(1)
    assert set(masked.tolist()) == set(range(7))
    assert (times[..., 0].diff(dim=1) < 0).sum(1).max() <= 1  # a single interval
    assert set((SpecAugment(times=1, frames=40)(x, lengths)[..., 0] == 0).sum(1).tolist()) == set(range(11))
    bands = SpecAugment(times=0, frequencies=2, bands=2)(x, lengths)
    assert (bands == bands[:, :1]).all()
    assert set((bands[:, 0] == 0).sum(1).tolist()) == set(range(5))
    assert torch.equal(SpecAugment(times=5).eval()(x, lengths), x)


def test_long_recordings_are_cut_where_it_is_quiet() -> None:
    random = np.random.default_rng(0)
    x = (8000 * random.normal(size=100_000)).astype(np.int16)
    for quiet in (17_000, 33_000, 50_000, 66_000, 82_000):
        x[quiet : quiet + 1000] = 0
    cuts = list(windows([x], 1000, 20.0))
    assert np.array_equal(np.concatenate([values for _, values in cuts]), x)
    assert [start for start, _ in cuts[1:]] == [start + len(values) for start, values in cuts[:-1]]
    assert all(len(values) <= 20_000 for _, values in cuts)
    assert all((x[start - 5 : start + 5] == 0).all() for start, _ in cuts[1:])
    for size in (700, 21_000, 50_000):
        blocks = (x[at : at + size] for at in range(0, len(x), size))
        assert [start for start, _ in windows(blocks, 1000, 20.0)] == [start for start, _ in cuts]
    start, values = list(windows([random.normal(size=(2500, 13))], 16_000, 10.0))[-1]
    assert start + len(values) == 2500


def test_captions_are_cut_at_pauses_and_lengths() -> None:
    words = [Word("word", 0.4 * at, 0.4 * at + 0.3) for at in range(20)] + [Word("<b>", 20.0, 3661.5)]
    lines = captions(words)
    assert [len(line.text) <= 42 for line in lines] == [True] * len(lines)
    assert " ".join(line.text for line in lines) == " ".join(word.text for word in words)
    assert srt(words).split("\n\n")[0] == "1\n00:00:00,000 --> 00:00:03,100\nword word word word word word word word"
    assert vtt(words).startswith("WEBVTT\n\n00:00:00.000 --> ")
    assert vtt(words).endswith("00:00:20.000 --> 01:01:01.500\n&lt;b&gt;")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A table of tones with texts."""
    pytest.importorskip("soundfile")
    pytest.importorskip("soxr")
    lines = []
    for number in range(12):
        (tmp_path / f"{number}.wav").write_bytes(encoded(tone(300 + 50 * number, 0.5)))
        lines.append({"path": f"{number}.wav", "text": f"tone {number % 5}", "speaker": f"s{number % 4}"})
    (tmp_path / "all.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return tmp_path / "all.jsonl"


def test_a_resumed_run_of_the_default_model_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**TINY, "data": {"rate": 4000, "builtin_recordings": 20}}
    train("transcribe", settings, tmp_path / "whole")
    monkeypatch.setattr("regard.tasks.running.Log", interrupting(1, signal.SIGINT))
    with pytest.raises(Interrupted):
        train("transcribe", settings, tmp_path / "run")
    monkeypatch.undo()
    assert settings_of(tmp_path / "run").model.kind == "gru"
    resume(tmp_path / "run")
    assert_same(tmp_path / "whole", tmp_path / "run")


def test_files_are_transcribed_and_bad_ones_named(
    recordings: Path, tmp_path: Path, regard: Callable[..., Result], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    train("transcribe", {**TINY, "data": {"rate": 4000, "train": str(recordings), "seconds": 1.0}}, run)
    assert "set aside 3 of 12 recordings of 1 speakers" in capsys.readouterr().err
    (tmp_path / "long.flac").write_bytes(encoded(np.stack([tone(seconds=3.4, rate=44_100)] * 2, 1), 44_100, "FLAC"))
    (tmp_path / "silent.wav").write_bytes(encoded(0 * tone()))
    names = [tmp_path / name for name in ("long.flac", "silent.wav", "none.wav")]
    result = regard("transcribe", run, *names, "--json")
    assert result.status == 1
    assert [next(iter(json.loads(line).values())) for line in result.out.splitlines()] == [str(name) for name in names]
    assert f"regard: {names[1]}: not a usable sound: is silent\n" in result.err
    assert f"{names[2]}: No such file" in result.err
    assert regard("transcribe", run, names[0], "--form", "vtt").out.startswith("WEBVTT")
    looked = regard("look", run, names[0], "--text", "tone 1", "--start", 2.0, "--out", tmp_path / "a.png", "--json")
    heard = json.loads(looked.out)
    assert heard["characters"] == list("tone 1")
    assert [word["word"] for word in heard["words"]] == ["tone", "1"]
    assert 2.0 <= heard["words"][0]["start"] < heard["words"][0]["end"] <= heard["words"][1]["end"] <= 3.1
    assert np.allclose(np.array(heard["weights"]).sum(1), 1, atol=1e-4)
    assert "--start: 9, and" in regard("look", run, names[0], "--start", 9).err
    assert "too many for 12 steps" in regard("look", run, tmp_path / "0.wav", "--text", "tone " * 9).err
    assert "--text: 'Zone' has a character" in regard("look", run, tmp_path / "0.wav", "--text", "Zone").err
    with recordings.open("a") as file:
        file.write(json.dumps({"path": "silent.wav", "text": "none"}) + "\n")
    with pytest.raises(UserError, match=r"silent\.wav \(is silent\)"):
        evaluate(run, str(recordings))
    scores = evaluate(run, str(recordings), on_bad="skip", output=tmp_path / "texts.txt", beam=1)
    assert {"wer", "cer", "loss", "recordings"} == set(scores)
    assert scores["recordings"].value == (tmp_path / "texts.txt").read_text().count("\n") == 12


def test_texts_that_are_too_long_for_their_sounds_are_counted(
    recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [json.loads(line) for line in recordings.read_text().splitlines()]
    valid, steps = tmp_path / "valid.jsonl", 12
    valid.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    lines[0]["text"], lines[1]["text"], lines[2]["text"] = "ab" * 6, "ab" * 5 + "abb", "abb" + "ab" * 4 + "a"
    assert [len(line["text"]) for line in lines[:3]] == [steps, steps + 1, steps]
    recordings.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    data = {"rate": 4000, "train": str(recordings), "valid": str(valid), "seconds": 1.0}
    train("transcribe", {**TINY, "data": data}, tmp_path / "run")
    assert "2 of 12 texts have more tokens than their sounds have steps of 40 ms, so" in capsys.readouterr().err


def test_captions_of_several_sounds_are_several_files(
    recordings: Path, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    run, folder = tmp_path / "run", tmp_path / "captions" / "here"
    train("transcribe", {**TINY, "data": {"rate": 4000, "train": str(recordings), "seconds": 1.0}}, run)
    sounds = [tmp_path / "0.wav", tmp_path / "missing.wav", tmp_path / "1.wav"]
    for form in ("srt", "vtt"):
        result = regard("transcribe", run, *sounds, "--form", form, "--output", folder)
        assert result.status == 1
        assert f"{sounds[1]}: No such file" in result.err
        assert {path.name for path in folder.glob(f"*.{form}")} == {f"0.{form}", f"1.{form}"}
        for number in (0, 1):
            alone = tmp_path / f"alone.{form}"
            regard("transcribe", run, sounds[2 * number], "--form", form, "--output", alone)
            assert alone.read_bytes() == (folder / f"{number}.{form}").read_bytes()
    (tmp_path / "names.txt").write_text(f"{sounds[0]}\n{sounds[2]}\n")
    assert (
        regard("transcribe", run, "--file", tmp_path / "names.txt", "--form", "srt", "--output", tmp_path).status == 0
    )
    assert (tmp_path / "0.srt").read_bytes() == (folder / "0.srt").read_bytes()
    for arguments, message in (
        (
            [*sounds, "--output", tmp_path / "o.vtt"],
            r"--output: name a folder, got .*o\.vtt; with --form vtt, 3 files get",
        ),
        (sounds, r"--output: name a folder; with --form vtt, 3 files get a \.vtt file each"),
        ([*sounds, "--output", recordings], "name a folder, got"),
        (
            [*sounds, sounds[0].with_suffix(".mp3"), "--output", folder],
            r"0\.mp3: its output and that of .*0\.wav would",
        ),
    ):
        result = regard("transcribe", run, *arguments, "--form", "vtt")
        assert result.status != 0
        assert re.search(message, result.err)
    assert regard("transcribe", run, *sounds[::2], "--form", "vtt", "--json").out.count("\n") == 2


def test_features_of_sphinx_are_trained_on_without_attention(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names, texts = [], []
    for number in range(10):
        (tmp_path / f"a{number}.mfc").write_bytes(sphinx(random.normal(size=(60 + number, 13)), ">"))
        names.append(f"a{number}\n")
        texts.append(f"<s> AB {'CDE'[number % 3]} </s> (a{number})\n")
    (tmp_path / "all.fileids").write_text("".join(names))
    (tmp_path / "all.transcription").write_text("".join(texts))
    config = {**TINY, "model": {**TINY["model"], "attention": "none"}, "train": {**TINY["train"], "metric": "cer"}}
    train("transcribe", {**config, "data": {"train": str(tmp_path / "all.fileids")}}, tmp_path / "run")
    predictor: Any = load(tmp_path / "run")
    assert predictor.model.attend is None
    shown = predictor.look(str(tmp_path / "a0.mfc"), text="AB C")
    assert shown.to_dict(attention=True)["weights"] is None
    shown.save(tmp_path / "look.svg")
    (tmp_path / "b.npy").write_bytes(saved(random.normal(size=(60, 9))))
    assert "9 features per frame" in next(predictor.predict([str(tmp_path / "b.npy")])).error


def test_texts_are_split_into_pieces_of_words(recordings: Path, tmp_path: Path) -> None:
    data = {"rate": 4000, "train": str(recordings), "seconds": 1.0}
    train("transcribe", {**TINY, "data": data, "tokenizer": {"kind": "word", "size": 50}}, tmp_path / "run")
    predictor: Any = load(tmp_path / "run")
    shown = predictor.look(str(tmp_path / "0.wav"), text="tone 3 tone")
    assert shown.heard.pieces == ["tone", " ", "3", " tone"]
    assert [word.text for word in shown.words] == ["tone", "3", "tone"]
    times = [second for word in shown.words for second in (word.start, word.end)]
    assert times == sorted(times)
    one = next(predictor.predict([str(tmp_path / "0.wav")]))
    tokens = predictor.hypotheses(predictor.sources(one.file), JointSearch())[0].tokens
    assert one.text == predictor.tokenizer.decode(tokens)


def test_the_attention_on_known_times_is_scored(tmp_path: Path) -> None:
    train("transcribe", tiny_settings(), tmp_path / "run")
    placed = evaluate(tmp_path / "run", beam=1)["placed"]
    predictor: Any = load(tmp_path / "run")
    valid = morse(20, 4000, split="valid")
    assert valid.spans is not None
    expected = []
    for row, text in enumerate(valid.texts):
        sound = predictor.listener.sound(valid.values[row])
        [weights] = predictor.weights([sound], [[*predictor.tokenizer.encode(text), EOS]])
        fine = np.repeat(weights[: len(text)] / 40, 40, axis=1)  # a millisecond each
        at = (np.arange(fine.shape[1]) + 0.5) / 1000
        inside = (at > valid.spans[row][:, :1] - 0.04) & (at < valid.spans[row][:, 1:] + 0.04)
        expected.append((fine * inside).sum(1).mean())
    assert placed.value == pytest.approx(100 * np.mean(expected), rel=0.02)


def test_settings_out_of_range_are_refused(tmp_path: Path) -> None:
    for section, setting, message in (
        ("model", {"ctc": 1.5}, r"model\.ctc: must be at least 0 and below 1, got 1\.5"),
        ("model", {"dim": 12, "kind": "conformer"}, r"model\.dim: must be a multiple of 8, got 12"),
        ("model", {"bands": 300}, r"model\.bands: must be at most 115 for data\.rate 16,000"),
        ("augment", {"time_masks": -1}, r"augment\.time_masks: must not be below 0"),
        ("data", {"seconds": 0}, r"data\.seconds: must be above 0"),
        ("tokenizer", {"size": 10}, r"tokenizer\.size: must be at least 50, got 10"),
    ):
        with pytest.raises(UserError, match=message):
            train("transcribe", {section: setting}, tmp_path / "run")
