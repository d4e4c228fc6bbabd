"""Several runs of a task of classification, of answers or of recommendation, used as one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Result
from regard.data.questions import Question
from regard.errors import UserError
from regard.tasks import table
from regard.tasks.families.classify.labeller import Classified
from regard.tasks.running import evaluate, load, settings_of, train
from regard.training import run as runs

TASKS = ("classify-text", "classify-image", "classify-sound", "classify-video")


def trained(task: str, folder: Path, count: int = 2, **changes: dict[str, Any]) -> Path:
    """A folder of runs that are trained with different seeds."""
    for seed in range(count):
        settings = asdict(table.spec_of(task).demo.tiny())
        for section, values in {"train": {"seed": seed}, **changes}.items():
            settings[section] |= values
        train(task, settings, folder / str(seed))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of two runs of a task, trained once."""
    place = tmp_path_factory.mktemp("together")

    def of(task: str) -> Path:
        return place / task if (place / task).exists() else trained(task, place / task)

    return of


def labellers(folder: Path) -> tuple[Any, list[Any]]:
    """That of the runs together, and that of each."""
    return load(folder), [load(folder / name) for name in ("0", "1")]


@pytest.mark.parametrize("task", TASKS)
def test_probabilities_and_weights_are_means(task: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folders(task)
    first = folder / "0"
    inputs = table.spec_of(task).load().inputs(settings_of(first), tmp_path)
    both, alone = labellers(folder)
    for item, result in zip(inputs, both.predict(inputs), strict=True):
        own = [one.look(item) for one in alone]
        assert isinstance(result, Classified)
        for name, probability in result.classes:
            assert probability == pytest.approx(np.mean([dict(one.classes)[name] for one in own]), abs=1e-6)
        weights = [np.array(_weights(one)) for one in (both.look(item), *own)]
        assert weights[1].ndim > 0
        np.testing.assert_allclose(weights[0], np.mean(weights[1:], 0), atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_they_are_scored_together_and_not_exported(task: str, folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folders(task)
    both, alone = labellers(folder)
    code, settings = table.spec_of(task).load(), settings_of(folder / "0")
    examples = code.read(settings, lambda line: None).valid
    rows = list(range(len(examples.labels)))
    with torch.no_grad():
        logits = [one.logits(examples, rows) for one in alone]
    probabilities = torch.stack([one.softmax(-1) for one in logits]).mean(0).numpy()
    expected = -np.log(probabilities[rows, examples.labels]).sum()
    outcome = both.score(examples)
    assert outcome.loss == pytest.approx(float(expected), rel=1e-4)
    assert outcome.predicted.tolist() == probabilities.argmax(1).tolist()
    with pytest.raises(UserError, match="export: a file has one model; export each run"):
        both.export(tmp_path / "model.onnx")


def test_several_labels_have_the_mean_threshold(tmp_path: Path) -> None:
    folder = trained("classify-text", tmp_path / "runs", data={"labels": "multi"})
    both, alone = labellers(folder)
    for number, one in enumerate(alone):
        one.thresholds.copy_(torch.full((len(one.names),), 0.2 + 0.2 * number))
    joined = replace(alone[0], others=(alone[1],))
    torch.testing.assert_close(joined.thresholds, torch.full((len(both.names),), 0.3))
    text = "Is my ticket still valid?"
    result = joined.look(text)
    means = {name: np.mean([dict(one.look(text).classes)[name] for one in alone]) for name in both.names}
    assert dict(result.classes) == pytest.approx(means, abs=1e-6)
    assert dict(result.labels) == pytest.approx({name: mean for name, mean in means.items() if mean >= 0.3}, abs=1e-6)


def test_commands_take_a_folder_of_runs(
    folders: Callable[[str], Path], tmp_path: Path, regard: Callable[..., Result]
) -> None:
    folder = folders("classify-text")
    data = tmp_path / "test.tsv"
    names = json.loads((folder / "0" / "classes.json").read_text())["names"]
    data.write_text("".join(f"{name}\tWhat is {name}?\n" for name in names))
    scores = json.loads(regard("eval", folder, "--data", data, "--text-column", 2, "--label-column", 1, "--json").out)
    assert scores["accuracy"]["how"] == f"per cent of {len(names)} texts"
    shown = json.loads(regard("classify", folder, "Is it valid?", "--json", "--top", 1).out)
    looked = json.loads(regard("look", folder, "Is it valid?", "--json").out)
    assert list(shown["classes"]) == list(looked["classes"])[:1]
    assert len(looked["weights"]) == len(looked["words"]) == 4
    for command in (["export", folder], ["train", "classify-text", folder, "--resume"], ["explain", folder]):
        result = regard(*command)
        assert (result.status, len(result.err.splitlines())) == (2, 1)
    assert "not the folder of a run (it has no run.json), but the folder of several; name one of them: 0, 1" in (
        regard("train", "classify-text", folder, "--resume").err
    )


def test_their_own_validation_texts_are_used_if_they_share_them(folders: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name data with --data, because what a run of it held out"):
        evaluate(folders("classify-text"))
    data = tmp_path / "texts.tsv"
    data.write_text("".join(f"{'good' if at % 2 else 'bad'}\ta text with number {at}\n" for at in range(40)))
    shared = trained("classify-text", tmp_path / "shared", data={"train": str(data), "valid": str(data)})
    assert evaluate(shared)["accuracy"].how == "per cent of 40 texts"


def test_runs_that_do_not_fit_are_refused(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(folders("classify-text") / "0", folder / "0")
    other = trained("classify-text", tmp_path / "other", 1, model={"window": 9})
    shutil.copytree(other / "0", folder / "1")
    with pytest.raises(UserError, match=r"runs/1: has other settings of window than .*runs/0, and runs that are used"):
        load(folder)
    shutil.rmtree(folder / "1")
    shutil.copytree(trained("classify-text", tmp_path / "many", 1, data={"labels": "multi"}) / "0", folder / "1")
    with pytest.raises(UserError, match=r"runs/1: has other kinds of labels than"):
        load(folder)
    shutil.copytree(folders("classify-sound") / "0", folder / "2")
    with pytest.raises(UserError, match="runs: has runs of classify-sound and classify-text; name one of them"):
        load(folder)


def test_answers_have_the_mean_of_the_log_odds(folders: Callable[[str], Path]) -> None:
    both, alone = labellers(folders("answer"))
    question = Question("Bern is in Switzerland.", "Where is Bern?", ())
    first, second, mean = (one.odds([question], top=20)[0].spans for one in (*alone, both))
    shared = first.keys() & second.keys()
    assert len(shared) > 1
    assert {span: mean[span] for span in shared} == pytest.approx(
        {span: (first[span] + second[span]) / 2 for span in shared}
    )
    for one, threshold in zip(alone, (0.2, 0.5), strict=True):
        one.model.threshold.fill_(threshold)
    joined = replace(alone[0], others=(alone[1],))
    assert joined.threshold == pytest.approx(1 / 3)  # odds 1 : 4 and 1 : 1 have the mean 1 : 2
    best = max(mean, key=lambda span: mean[span])
    (answer,) = joined.answers([question])
    assert (answer.spans[0].start, answer.spans[0].end) == best
    assert answer.given == (1 / (1 + np.exp(-mean[best])) >= 1 / 3)


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recommenders of the same histories, with the titles of the items."""
    place = tmp_path_factory.mktemp("shops")
    random = np.random.default_rng(0)
    rows = [(f"user {user}", f"item {at}") for user in range(30) for at in random.permutation(9)[:6]]
    (place / "pairs.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in rows))
    (place / "titles.csv").write_text("item,title\n" + "".join(f"item {at},red {at % 3}\n" for at in range(9)))
    data = {"train": str(place / "pairs.csv"), "titles": str(place / "titles.csv"), "builtin_users": 3000}
    model = {"dim": 8, "layers": 1, "length": 6, "blend": 0.25}
    return trained("recommend", place / "runs", data=data, model=model)


def test_recommenders_have_the_mean_of_the_probabilities_before_the_neighbours(shops: Path, tmp_path: Path) -> None:
    both, alone = labellers(shops)
    history = [both.parsed("item 3,item 5"), both.parsed("item 1")]
    mean = np.mean([np.exp(replace(one, blend=0).scores(history)) for one in alone], 0)
    near = both.neighbours.scores(history)
    near /= near.sum(1, keepdims=True)
    np.testing.assert_allclose(np.exp(both.scores(history)), 0.75 * mean + 0.25 * near, rtol=1e-5)
    weights = [one.look("item 3,item 5").to_dict(attention=True)["attention"]["weights"] for one in (both, *alone)]
    np.testing.assert_allclose(weights[0], np.mean(weights[1:], 0), atol=1e-6)
    (tmp_path / "new.csv").write_text("item,title\nnew,red 0\n")
    options = {"items": tmp_path / "new.csv", "top": 99}
    shown = [next(iter(replace(one, blend=0).predict(["item 1,new"], **options))) for one in (*alone, both)]
    first, second, together = (
        {item["item"]: item["score"] for item in one.to_dict()["items"]}
        for one in shown
    )  # fmt: skip
    assert together["new"] == pytest.approx((first["new"] + second["new"]) / 2, rel=1e-4)


def test_commands_take_a_folder_of_recommenders(shops: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    shown = json.loads(regard("recommend", shops, "item 3", "--json", "--top", 9).out)
    looked = json.loads(regard("look", shops, "item 3,what", "--skip-unknown", "--json").out)
    assert len(shown["items"]) == 9
    assert looked["attention"]["weights"] == [pytest.approx(1)]
    scores = json.loads(regard("eval", shops, "--json").out)  # all have the same histories
    assert scores["histories"]["score"] == 30
    assert "export each run" in regard("export", shops, tmp_path / "model.onnx").err


def test_recommenders_that_do_not_fit_are_refused(shops: Path, tmp_path: Path) -> None:
    shutil.copytree(shops / "0", tmp_path / "runs" / "0")
    (tmp_path / "pairs.csv").write_text("user,item\n" + "".join(f"{u},item {at}\n" for u in "ab" for at in range(9)))
    same = settings_of(shops / "0").data.train
    titles = settings_of(shops / "0").data.titles
    for changes, problem in (
        ({"model": {"blend": 0.5}}, "settings of model.blend"), ({"model": {"length": 5}}, "settings of model.length"),
        ({"data": {"train": str(tmp_path / "pairs.csv")}}, "training histories"), ({"data": {"titles": None}}, "items"),
    ):  # fmt: skip
        own: dict[str, Any] = {"model": {"dim": 8, "layers": 1, "length": 6, "blend": 0.25}}
        own["data"] = {"train": same, "titles": titles}
        for section, values in changes.items():
            own[section] |= values
        shutil.rmtree(tmp_path / "runs" / "1", ignore_errors=True)
        shutil.copytree(trained("recommend", tmp_path / problem, 1, **own) / "0", tmp_path / "runs" / "1")
        with pytest.raises(UserError, match=rf"runs/1: has other {problem} than .*runs/0"):
            load(tmp_path / "runs")


def test_commands_take_a_folder_of_runs_of_answers(
    folders: Callable[[str], Path], tmp_path: Path, regard: Callable[..., Result]
) -> None:
    folder = folders("answer")
    (tmp_path / "text.txt").write_text("Bern is in Switzerland. The Aare flows through it.\n")
    asked = (folder, "Where is Bern?", "--context", tmp_path / "text.txt", "--json")
    answered, looked = (json.loads(regard(command, *asked).out) for command in ("answer", "look"))
    assert answered["no_answer"] == looked["no_answer"]
    drawn = looked["alignment"]
    assert np.array(drawn["weights"]).shape == (len(drawn["target"]), len(drawn["source"]))
    (tmp_path / "test.csv").write_text("context,question,answer\nBern is in Switzerland.,Where?,in Switzerland\n")
    scores = json.loads(regard("eval", folder, "--data", tmp_path / "test.csv", "--json").out)
    assert scores["questions"]["score"] == 1
    assert "export each run" in regard("export", folder, tmp_path / "model.onnx").err


def test_runs_of_other_tasks_are_not_used_together(tmp_path: Path) -> None:
    tiny = {"model": {"dim": 8}, "data": {"builtin_pairs": 50}, "train": {"steps": 1}}
    for name in ("a", "b"):
        train("translate", tiny, tmp_path / "runs" / name)
    with pytest.raises(UserError, match="runs: has 2 runs, and only those of classification, of answers and of"):
        load(tmp_path / "runs")
    assert runs.kind(tmp_path / "runs") == "translate"


def _weights(result: Classified) -> Any:
    weights = dict(result.weights())
    return weights.get("places", weights.get("weights"))
