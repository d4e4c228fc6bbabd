"""A run finds its data from any folder and after a move, and detects that they have changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from caption_sets import write_table
from clip_sets import write_clips
from conftest import Result, run_command
from regard.errors import UserError
from regard.training.fingerprint import Fingerprint, Part, check_resume, check_validation, save
from regard.training.run import create, locate
from sound_sets import write_classes

WORDS = ("red", "blue", "green", "white", "black", "brown", "grey", "pink", "gold", "teal", "plum", "lime")


def _pairs(folder: Path) -> None:
    lines = [f"a {word} {thing}\tun {thing} {word}\n" for word in WORDS for thing in ("cat", "dog", "bird")]
    (folder / "train.tsv").write_text("".join(lines))


def _documents(folder: Path) -> None:
    (folder / "train").mkdir()
    for number, word in enumerate(WORDS):
        (folder / "train" / f"{number:02}.txt").write_text(
            f"The {word} cat sat on the {word} mat, and was {word}.\n" * 4
        )


def _images(folder: Path) -> None:
    for name, colour in (("cat", 40), ("dog", 200)):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (16, 16), colour + number).save(folder / "train" / name / f"{number}.png")


def _sounds(folder: Path) -> None:
    write_classes(folder, 10).rename(folder / "train")


def _boxes(folder: Path) -> None:
    lines = []
    for number in range(20):
        Image.new("L", (16, 16), 40 + number).save(folder / f"{number}.png")
        objects = [{"label": ("cat", "dog")[number % 2], "box": [2, 2, 9, 9]}]
        lines.append(json.dumps({"image": f"{number}.png", "objects": objects}) + "\n")
    (folder / "train.jsonl").write_text("".join(lines))


def _recordings(folder: Path) -> None:
    write_classes(folder, 6).rename(folder / "sounds")
    rows = [f"sounds/{name}/{at}.wav\ta {name} tone {at}\n" for name in ("low", "high") for at in range(6)]
    (folder / "train.tsv").write_text("".join(rows))


def _clips(folder: Path) -> None:
    write_clips(folder, 10).rename(folder / "train")


def _questions(folder: Path) -> None:
    rows = [f"The cat is {word}.,What colour is the cat?,{word}\n" for word in WORDS]
    (folder / "train.csv").write_text("context,question,answer\n" + "".join(rows))


def _texts(folder: Path) -> None:
    rows = [f"{('low', 'high')[number % 2]}\tThe {word} cat.\n" for number, word in enumerate(WORDS)]
    (folder / "train.tsv").write_text("".join(rows))


def _histories(folder: Path) -> None:
    rows = (f"{user} {' '.join(WORDS[user % 4 : user % 4 + 6])}\n" for user in range(20))
    (folder / "train.txt").write_text("".join(rows))


def _captioned(folder: Path) -> None:
    write_table(folder)


DATA = {
    "translate": (_pairs, "train.tsv"), "generate": (_documents, "train"), "classify-image": (_images, "train"),
    "classify-sound": (_sounds, "train"), "classify-video": (_clips, "train"), "answer": (_questions, "train.csv"),
    "classify-text": (_texts, "train.tsv"), "summarize": (_pairs, "train.tsv"), "recommend": (_histories, "train.txt"),
    "transcribe": (_recordings, "train.tsv"), "detect": (_boxes, "train.jsonl"),
    "match": (_captioned, "train.tsv"),
}  # fmt: skip
"""For each task, the function that writes its data into a folder, and the name of the training data there."""

SMALL = {
    "translate": ["--model.dim", 16, "--model.embedding", 8, "--tokenizer.source-size", 300,
                  "--tokenizer.target-size", 300],
    "summarize": ["--model.dim", 16, "--model.embedding", 8],
    "generate": ["--model.dim", 16, "--model.layers", 1, "--model.heads", 2, "--model.key-heads", 2,
                 "--model.context", 16, "--tokenizer.size", 300],
    "classify-image": ["--data.size", 16, "--model.width", 4, "--model.blocks", 1],
    "classify-text": ["--model.dim", 8, "--model.width", 4, "--model.buckets", 50],
    "recommend": ["--model.dim", 8, "--model.layers", 1],
    "classify-sound": ["--data.rate", 4000, "--model.width", 2, "--model.heads", 2, "--model.bands", 16],
    "transcribe": ["--data.rate", 4000, "--model.dim", 8, "--model.layers", 1, "--model.bands", 16,
                   "--train.metric", "loss"],
    "classify-video": ["--model.width", 8, "--model.heads", 2],
    "detect": ["--data.size", 32, "--model.width", 8, "--model.heads", 2],
    "match": ["--data.size", 16, "--model.width", 4, "--model.text-width", 8, "--model.dim", 8],
    "answer": ["--model.dim", 16, "--model.kind", "conv", "--model.layers", 1, "--tokenizer.size", 300],
}  # fmt: skip


@pytest.fixture(params=DATA)
def trained(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regard: Callable[..., Result]
) -> tuple[str, Path]:
    """A task, and a folder with ``data`` and ``run``; the run was trained in this folder, with a relative path."""
    task, work = request.param, tmp_path / "work"
    (work / "data").mkdir(parents=True)
    DATA[task][0](work / "data")
    monkeypatch.chdir(work)
    options = ["--data.train", f"data/{DATA[task][1]}", *SMALL[task], "--train.epochs", 1, "--train.warmup", 1]
    result = regard("train", task, "run", *options)
    assert result.status == 0, result.err
    return task, work


def test_a_run_finds_its_data_from_another_folder_and_after_a_move(
    trained: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, regard: Callable[..., Result]
) -> None:
    task, work = trained
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert regard("train", task, work / "run", "--resume").status == 0
    shutil.move(work / "run", tmp_path / "alone")
    assert regard("train", task, tmp_path / "alone", "--resume").status == 0
    shutil.move(tmp_path / "alone", work / "run")
    shutil.move(work, tmp_path / "moved")
    assert regard("train", task, tmp_path / "moved" / "run", "--resume").status == 0
    if task not in ("translate", "summarize"):  # the runs of these tasks have no validation text to be scored on
        assert regard("eval", tmp_path / "moved" / "run").status == 0
    shutil.rmtree(tmp_path / "moved" / "data")
    result = regard("train", task, tmp_path / "moved" / "run", "--resume")
    assert result.status == 2
    assert result.err.startswith(f"regard: data/{DATA[task][1]}: no such file")


LOCATED = {
    "data/a.tsv": "{home}/data/a.tsv",
    "./data/../data/a.tsv": "{home}/./data/../data/a.tsv",
    "{home}/data/a.tsv": "{home}/data/a.tsv",
    "data/a.tsv,data/b.tsv": "{home}/data/a.tsv,{home}/data/b.tsv",
    "data/a.tsv, data/b.tsv": "{home}/data/a.tsv,{home}/data/b.tsv",
    "data/comma,here": "{home}/data/comma,here",
    "hf:data": "hf:{home}/data",
    "hf:data:english#test": "hf:{home}/data:english#test",
    "hf:data#test": "hf:{home}/data#test",
    "hf:someone/somewhere:english#test": "hf:someone/somewhere:english#test",
    "data/missing": "data/missing",
    "data/a.tsv,data/missing": "data/a.tsv,data/missing",
}
"""The path in the settings of a run → the path where its data are read later; the run was started in ``home``."""


@pytest.mark.parametrize("setting", LOCATED)
@pytest.mark.parametrize("moved", [False, True], ids=["same place", "moved"])
def test_relative_paths_are_located_from_where_the_run_began(
    setting: str, moved: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    for name in ("a.tsv", "b.tsv", "comma,here"):
        (home / "data" / name).touch()
    monkeypatch.chdir(home)
    create(Path("runs/one"), "translate", lambda folder: None)
    monkeypatch.chdir(tmp_path)
    now = home.rename(tmp_path / "new" if moved else home)
    expected = LOCATED[setting].format(home=now)
    if moved:
        expected = expected.replace("/./data/..", "")  # it is then located relative to the run's folder
    assert locate(now / "runs" / "one", setting.format(home=home)) == expected
    monkeypatch.chdir(now / "runs")
    assert locate(Path("one"), None) is None


def _edit(path: Path, change: Callable[[list[str]], list[str]]) -> None:
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def _delete(*paths: Path) -> None:
    for path in paths:
        path.unlink()


CHANGES: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("recommend", "one choice differs",
     lambda d: _edit(d / "train.txt", lambda rows: [rows[0].replace(" blue ", " green "), *rows[1:]]),
     "training histories: 20 as before, but not the same ones"),
    ("recommend", "a user is new", lambda d: _edit(d / "train.txt", lambda rows: [*rows, "x red blue\n"]),
     "training histories: 21 instead of 20"),
    ("translate", "half is missing", lambda d: _edit(d / "train.tsv", lambda rows: rows[:18]),
     "training pairs: 17 instead of 35"),
    ("translate", "one word differs",
     lambda d: _edit(d / "train.tsv", lambda rows: [rows[0][:-2] + "x\n", *rows[1:]]),
     "training pairs: 35 as before, but not the same ones"),
    ("translate", "the columns are exchanged",
     lambda d: _edit(d / "train.tsv", lambda rows: ["\t".join(row.strip().split("\t")[::-1]) + "\n" for row in rows]),
     "training pairs: 35 as before, but not the same ones; validation pairs: 1 as before, but not the same ones"),
    ("generate", "one document is missing", lambda d: _delete(d / "train" / "00.txt"),
     "training documents: 10 instead of 11"),
    ("generate", "one document has another line",
     lambda d: _edit(d / "train" / "03.txt", lambda rows: ["And then:\n", *rows]),
     "training documents: 11 as before, but not the same ones"),
    ("detect", "one box differs",
     lambda d: _edit(d / "train.jsonl", lambda rows: [rows[0].replace("9, 9", "9, 8"), *rows[1:]]),
     "training images: 18 as before, but not the same ones"),
    ("detect", "a class is renamed",
     lambda d: _edit(d / "train.jsonl", lambda rows: [row.replace("dog", "hund") for row in rows]),
     "classes: 'dog' removed, 'hund' added"),
    ("classify-image", "half is missing", lambda d: _delete(*d.rglob("[0-4].png")), "training images: 8 instead of 18"),
    ("classify-image", "one image differs", lambda d: Image.new("L", (16, 16), 3).save(d / "train" / "cat" / "1.png"),
     "training images: 18 as before, but not the same ones"),
    ("classify-image", "a class is renamed", lambda d: (d / "train" / "cat").rename(d / "train" / "hund"),
     "classes: 'cat' removed, 'hund' added; training images: 18 as before"),
    ("classify-image", "a class is renamed in the same order",
     lambda d: (d / "train" / "cat").rename(d / "train" / "catze"),
     "classes: 'cat' removed, 'catze' added; training images: 18 as before"),
    ("classify-image", "the classes are exchanged", lambda d: [(d / "train" / a).rename(d / "train" / b) for a, b in
     (("cat", "x"), ("dog", "cat"), ("x", "dog"))], "training images: 18 as before, but not the same ones"),
    ("classify-image", "a class is new", lambda d: shutil.copytree(d / "train" / "cat", d / "train" / "bird"),
     "classes: 'bird' added; training images: 27 instead of 18"),
    ("classify-image", "a class is replaced",
     lambda d: shutil.rmtree(shutil.copytree(d / "train" / "cat", d / "train" / "emu").parent / "dog"),
     "classes: 'dog' removed, 'emu' added; training images: 18 as before"),
]  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """For each task, a folder with ``data`` and ``run``."""
    folders = {}
    for task, (make, name) in DATA.items():
        folder = folders[task] = tmp_path_factory.mktemp(task)
        (folder / "data").mkdir()
        make(folder / "data")
        options = ["--data.train", folder / "data" / name, *SMALL[task], "--train.epochs", 1, "--train.warmup", 1]
        assert run_command("train", task, folder / "run", *options) == 0
    return folders


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies a task's run and data; the copied run uses the copied data."""

    def copy(task: str) -> Path:
        folder = tmp_path / "copy"
        shutil.copytree(runs[task], folder)
        mark = json.loads((folder / "run" / "run.json").read_text())
        mark["folder"] = mark["folder"].replace(str(runs[task]), str(folder))
        config = (folder / "run" / "config.yaml").read_text()
        (folder / "run" / "run.json").write_text(json.dumps(mark))
        (folder / "run" / "config.yaml").write_text(config.replace(str(runs[task]), str(folder)))
        return folder

    return copy


@pytest.mark.parametrize(
    ("task", "change", "expected"),
    [(task, change, expected) for task, _, change, expected in CHANGES],
    ids=[f"{row[0]}: {row[1]}" for row in CHANGES],
)
def test_resuming_with_changed_data_is_an_error_that_names_the_change(
    task: str,
    change: Callable[[Path], object],
    expected: str,
    copied: Callable[[str], Path],
    regard: Callable[..., Result],
) -> None:
    folder = copied(task)
    before = (folder / "run" / "last.json").read_bytes()
    change(folder / "data")
    result = regard("train", task, folder / "run", "--resume")
    assert result.status == 2
    assert expected in result.err.splitlines()[-1]
    assert "restore them, or train a new run in another folder" in result.err
    assert (folder / "run" / "last.json").read_bytes() == before


@pytest.mark.parametrize(
    ("task", "change"),
    [("classify-image", row[2]) for row in CHANGES if row[0] == "classify-image" and row[1] != "one image differs"]
    + [("generate", lambda data: (data / "train" / "11.txt").write_text("Something else.\n" * 9))],
)  # fmt: skip
def test_eval_refuses_changed_data_that_may_contain_training_examples(
    task: str, change: Callable[[Path], object], copied: Callable[[str], Path], regard: Callable[..., Result]
) -> None:
    folder = copied(task)
    change(folder / "data")
    result = regard("eval", folder / "run")
    assert result.status == 2
    assert "its data have changed since the run began" in result.err
    assert "name the data to score on with --data" in result.err


def test_eval_on_separate_validation_images_does_not_need_the_training_images(
    tmp_path: Path, regard: Callable[..., Result]
) -> None:
    _images(tmp_path)
    shutil.copytree(tmp_path / "train", tmp_path / "valid")
    options = ["--data.train", tmp_path / "train", "--data.valid", tmp_path / "valid", "--train.epochs", 1]
    assert (
        regard(
            "train", "classify-image", tmp_path / "run", *options, "--train.warmup", 1, *SMALL["classify-image"]
        ).status
        == 0
    )
    shutil.rmtree(tmp_path / "train")
    assert regard("eval", tmp_path / "run").status == 0
    (tmp_path / "valid" / "cat" / "1.png").unlink()
    assert "validation images: 19 instead of 20" in regard("eval", tmp_path / "run").err
    (tmp_path / "valid" / "cat").rename(tmp_path / "valid" / "hund")
    assert "has the class 'hund', which is not in the training data" in regard("eval", tmp_path / "run").err


def test_resuming_with_data_in_another_order_prints_a_message(
    copied: Callable[[str], Path], regard: Callable[..., Result]
) -> None:
    folder = copied("translate")
    _edit(folder / "data" / "train.tsv", lambda rows: rows[::-1])
    result = regard("train", "translate", folder / "run", "--resume")
    assert result.status == 0
    assert "the training pairs are the same as before, but in another order" in result.err


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("translate", "target.tokenizer.json"),
        ("generate", "tokenizer.json"),
        ("classify-image", "classes.json"),
        ("detect", "classes.json"),
        ("answer", "tokenizer.json"),
    ],
)
def test_a_changed_or_missing_tokenizer_or_list_of_classes_is_an_error(
    task: str, name: str, copied: Callable[[str], Path], regard: Callable[..., Result]
) -> None:
    run = copied(task) / "run"
    commands = [("train", task, run, "--resume"), ("eval", run), ("look", run, "a"), ("export", run, "a.pt2")]
    path = run / name
    path.write_text(path.read_text() + " ")
    for command in commands:
        result = regard(*command)
        assert (result.status, result.err) == (
            2, f"regard: {path}: has changed since the run began, and its weights do not fit it; restore it\n"
        )  # fmt: skip
    path.unlink()
    for command in commands:
        assert f"{path}: no such file" in regard(*command).err


def test_classes_in_another_order_are_an_error_on_resume(tmp_path: Path) -> None:
    def of(*classes: str) -> Fingerprint:
        return Fingerprint.of("images", [("a",)], [("b",)], classes)

    save(tmp_path, of("cat", "dog"))
    check_resume(tmp_path, of("cat", "dog"), pytest.fail)
    with pytest.raises(
        UserError, match="changed since the run began: classes: in another order; restore them, or train"
    ):
        check_resume(tmp_path, of("dog", "cat"), pytest.fail)
    with pytest.raises(UserError, match=r"classes: 'a', 'b', 'c', 'd', 'e' and 2 more added; restore them, or name"):
        check_validation(tmp_path, of("cat", "dog", *"abcdefg"))


def test_a_fingerprint_depends_on_the_examples_and_their_order() -> None:
    rows = [("ab", "c"), ("d", "e"), ("d", "e")]
    part = Part.of(rows)
    assert part == Part.of(iter(rows))
    backwards = Part.of(rows[::-1])
    assert (backwards.count, backwards.content) == (3, part.content)
    assert backwards.order != part.order
    for other in ([("a", "bc"), *rows[1:]], [rows[0], rows[0], rows[1]], [("c", "ab"), *rows[1:]]):
        assert Part.of(other).content != part.content
    assert Part.of([("é",)]) == Part.of([("é".encode(),)])


@pytest.mark.parametrize("content", ["{}", '{"files": {}, "train": 3}', "nothing", None])
def test_an_unreadable_fingerprint_is_an_error(
    content: str | None, copied: Callable[[str], Path], regard: Callable[..., Result]
) -> None:
    path = copied("classify-image") / "run" / "data.json"
    path.unlink() if content is None else path.write_text(content)
    result = regard("train", "classify-image", path.parent, "--resume")
    assert result.status == 2
    assert result.err.splitlines()[-1].startswith(f"regard: {path}: ")
