"""Recommendation: its model, its training, and its commands on the user's own histories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import Result
from regard.errors import UserError
from regard.models.sequential import SequentialModel
from regard.tasks.families.rank.history_settings import HistoriesConfig
from regard.tasks.families.rank.predictor import Recommender
from regard.tasks.families.rank.settings import RecommendTrainConfig, SequentialConfig
from regard.tasks.recommend.settings import RecommendConfig
from regard.tasks.recommend.task import Recommend
from regard.tasks.running import evaluate, load, train
from stopping import tensors

SMALL = {"dim": 16, "layers": 1, "heads": 2, "length": 6, "dropout": 0.0, "item_dropout": 0.0}


def _model(**changes: Any) -> SequentialModel:
    torch.manual_seed(0)
    return SequentialModel(11, **{"dim": 8, "layers": 2, "length": 6, "dropout": 0.0, **changes}).eval()


@pytest.mark.parametrize("attention", ["self", "none"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_scores_depend_on_the_history_only(attention: Any, positions: Any) -> None:
    model = _model(attention=attention, positions=positions)
    items = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 0, 0]])
    together = model.scores(items, torch.tensor([5, 3]))
    alone = model.scores(items[1:, :3], torch.tensor([3]))
    torch.testing.assert_close(together[1:], alone)
    items[1, 3:] = 7  # padding
    torch.testing.assert_close(model.scores(items, torch.tensor([5, 3])), together)
    items[0, 0] = 8
    assert not torch.allclose(model.scores(items, torch.tensor([5, 3]))[0], together[0])


def test_the_loss_is_the_cross_entropy_of_the_next_items() -> None:
    model = _model()
    items, lengths = torch.tensor([[3, 1, 4], [9, 2, 0]]), torch.tensor([3, 2])
    wanted = torch.tensor([[1, 4, 7], [2, 5, -1]])
    states, _ = model.read(items, lengths, model.table())
    logits = states @ model.table().T
    log = logits.log_softmax(-1)
    expected = -sum(log[b, at, wanted[b, at]] for b in range(2) for at in range(3) if wanted[b, at] >= 0)
    torch.testing.assert_close(model(items, lengths, wanted), expected)
    # With every item as a negative, once, the sampled loss is the full one: the wanted item does not count twice.
    every = torch.arange(11).repeat(2, 1)
    torch.testing.assert_close(model(items, lengths, wanted, every), expected)


def test_a_new_item_is_ranked_by_the_words_of_its_title() -> None:
    words, offsets = torch.tensor([0, 1, 0, 2]), torch.tensor([0, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4])
    model = _model(words=words, offsets=offsets, vocabulary=3)
    table = model.table(torch.tensor([0, 1]), torch.tensor([0]))
    assert model.titles is not None
    torch.testing.assert_close(table[11], model.titles.weight[[0, 1]].sum(0))
    torch.testing.assert_close(table[0] - model.embedding.weight[0], table[11])
    torch.testing.assert_close(table[2], model.embedding.weight[2])
    assert model.scores(torch.tensor([[11, 3]]), torch.tensor([2]), table).shape == (1, 12)


def _shops(folder: Path, users: int = 80) -> Path:
    """Pairs in which b follows a, d follows c, and anything else is random."""
    random = np.random.default_rng(0)
    lines = []
    for user in range(users):
        history = list(dict.fromkeys(f"item {at}" for at in random.integers(0, 12, 4)))
        first = [["a", "b"], ["c", "d"]][user % 2]
        for time, item in enumerate([*history, *first]):
            lines.append(f"user{user}\t{item}\t5\t{time}\n")
    (folder / "pairs.tsv").write_text("".join(lines))
    (folder / "titles.tsv").write_text(
        "a\tred start\nb\tred end\nc\tblue start\nd\tblue end\n"
        + "".join(f"item {at}\tthing {at}\n" for at in range(12))
    )
    return folder / "pairs.tsv"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned that b follows a."""
    folder = tmp_path_factory.mktemp("recommend")
    data = {"train": str(_shops(folder)), "titles": str(folder / "titles.tsv"), "split": "none"}
    settings = {"epochs": 40, "tokens": 128, "learning_rate": 1e-2, "seed": 1}
    train("recommend", {"data": data, "model": {**SMALL, "item_dropout": 0.3}, "train": settings}, folder / "run")
    return folder / "run"


def test_trained_on_everything_it_recommends_what_follows(run: Path, regard: Callable[..., Result]) -> None:
    result = regard("recommend", run, "--history", "item 3, item 5, a", "--exclude-seen", "--top", 2, "--json")
    assert result.status == 0, result.err
    answer = json.loads(result.out)
    assert answer["items"][0]["item"] == "b"
    assert answer["items"][0]["title"] == "red end"
    assert len(answer["items"]) == 2
    assert regard("recommend", run, '["item 3", "item 5", "c"]', "--top", 1).out.startswith("d 0.")
    seen = {one["item"] for one in next(iter(load(run).predict(["a,b"], top=99, exclude_seen=True))).to_dict()["items"]}
    assert "a" not in seen
    assert len(seen) == 14
    with pytest.raises(UserError, match="was trained on everything; name other histories"):
        evaluate(run)


def test_new_items_are_ranked_by_their_titles(run: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "new.tsv").write_text("x\tred end\ny\tsomething else\n")
    result = regard("recommend", run, "item 3,a", "--items", tmp_path / "new.tsv", "--top", 99, "--json")
    names = [one["item"] for one in json.loads(result.out)["items"]]
    assert len(names) == 18
    assert names.index("x") < names.index("y")
    assert names.index("x") < 3
    assert regard("recommend", run, "x,y", "--items", tmp_path / "new.tsv").status == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--history", ""], "history: expected items separated by commas, got ''"),
        ([" , "], "history: expected items separated by commas"),
        (["item 3,A"], "does not know the item 'A'; did you mean 'a'?; --skip-unknown passes over unknown items"),
        (["zzzz", "--skip-unknown"], "does not know the item 'zzzz'; it knows 16 items"),
        (['["a"'], "history: not a JSON list"),
        (["a", "--history", "b"], "--history: is the history; give no other one with it"),
        (["a", "--top", "0"], "--top: must be at least 1, got 0"),
        (["a", "--blend", "1"], "--blend: must be at least 0 and below 1"),
        (["a", "--items", "missing.tsv"], "missing.tsv: no such file"),
    ],
)
def test_bad_input_gives_a_one_line_error(
    arguments: list[str], message: str, run: Path, regard: Callable[..., Result]
) -> None:
    result = regard("recommend", run, *arguments)
    assert result.status in (1, 2)
    assert message in result.err
    assert result.err.count("\n") == 1


def test_unknown_items_are_passed_over_if_the_user_wants_that(run: Path, regard: Callable[..., Result]) -> None:
    with_unknown = regard("recommend", run, "item 3,zzzz,a", "--skip-unknown").out
    assert with_unknown == regard("recommend", run, "item 3,a").out != ""


def test_look_passes_over_unknown_items_as_its_error_says(run: Path, regard: Callable[..., Result]) -> None:
    refused = regard("look", run, "item 3,zzzz,a", "--json")
    assert (refused.status, "--skip-unknown passes over unknown items" in refused.err) == (2, True)
    looked = json.loads(regard("look", run, "item 3,zzzz,a", "--skip-unknown", "--json").out)
    assert looked["attention"] == json.loads(regard("look", run, "item 3,a", "--json").out)["attention"]


def test_other_histories_are_scored_and_unknown_items_count_as_missed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.txt").write_text("p\titem 3\ta\tb\nq\titem 4\tc\tnew\n")
    scores = evaluate(run, str(tmp_path / "other.txt"))
    assert scores["hr5"].value == 0.5
    assert "1 of 6 choices are of unknown items" in capsys.readouterr().err
    sampled = evaluate(run, str(tmp_path / "other.txt"), protocol="sampled-99")
    assert "hr10_of_100" in sampled
    assert "hr10" not in sampled


def test_a_blend_is_between_the_model_and_the_neighbours(run: Path) -> None:
    recommender = load(run)
    assert isinstance(recommender, Recommender)
    history = [np.array([recommender.catalogue.numbers["a"]])]
    alone, near = recommender.scores(history), recommender.neighbours.scores(history)
    (half,) = (next(iter(recommender.predict(["a"], top=16, blend=0.5))) for _ in range(1))
    expected = 0.5 * np.exp(alone[0]) + 0.5 * near[0] / near[0].sum()
    for one in half.to_dict()["items"]:
        assert one["score"] == pytest.approx(expected[recommender.catalogue.numbers[one["item"]]], rel=1e-4)


@pytest.mark.parametrize("blend", [0.0, 0.25])
def test_an_export_says_that_it_is_without_the_neighbours(
    blend: float, tmp_path: Path, regard: Callable[..., Result]
) -> None:
    settings = {"data": {"builtin_users": 20}, "model": {**SMALL, "blend": blend}, "train": {"steps": 1}}
    train("recommend", settings, tmp_path / "run")
    result = regard("export", tmp_path / "run", "--format", "torch-export")
    assert result.status == 0, result.err
    said = "the file is without the neighbours, whose share is 0.25 (--model.blend)" in result.out
    assert said == bool(blend)


def test_look_shades_the_history(run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    result = regard("look", run, "item 3,item 5,a", "--out", tmp_path / "a.svg", "--html", tmp_path / "a.html")
    assert result.status == 0, result.err
    assert "thing 3 · thing 5 · red start" in result.out
    assert "attention: " in result.out
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")
    weights = load(run).look("item 3,item 5,a").to_dict(attention=True)["attention"]
    assert weights["items"] == ["item 3", "item 5", "a"]
    assert sum(weights["weights"]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("prefixes", ["none", "random", "every"])
def test_each_choice_is_learned_once_and_windows_cover_long_histories(prefixes: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("u " + " ".join("abcdefghij") + "\nv a b c\n")
    config = RecommendConfig(
        HistoriesConfig(train=str(tmp_path / "a.txt")),
        SequentialConfig(dim=8, layers=1, length=4),
        RecommendTrainConfig(epochs=1, tokens=64, prefixes=prefixes, loss="sampled", negatives=3),
    )
    task = Recommend()
    sets = task.read(config, lambda line: None)
    task.prepare(config, sets, tmp_path, lambda line: None)
    trainable = task.trainable(config, tmp_path, sets, lambda line: None)
    wanted: list[int] = []

    def model(items: Any, lengths: Any, targets: Any, negatives: Any, smoothing: float) -> torch.Tensor:
        assert negatives.shape == (len(items), 3)
        assert items.shape[1] <= 4
        wanted.extend(targets[targets >= 0].tolist())
        return torch.zeros(())

    rows = [row for batch in trainable.batches(0) for row in batch]
    _, count = trainable.loss(model, rows)  # type: ignore[arg-type]
    assert count == len(wanted)
    if prefixes == "random":
        assert set(wanted) <= set(range(8))
        assert trainable.batches(1) is not None
    else:  # of u, all but the first, and the two that are held out
        assert sorted(wanted) == list(range(1, 8))


def test_two_processes_have_the_same_negatives(run: Path, tmp_path: Path) -> None:
    """The negatives of a history do not depend on the batch in which it is."""
    config = RecommendConfig(
        HistoriesConfig(builtin_users=30), SequentialConfig(dim=8, layers=1, length=10, dropout=0.0, item_dropout=0.0),
        RecommendTrainConfig(epochs=1, tokens=64, loss="sampled"),
    )  # fmt: skip
    task = Recommend()
    sets = task.read(config, lambda line: None)
    task.prepare(config, sets, tmp_path, lambda line: None)
    trainable = task.trainable(config, tmp_path, sets, lambda line: None)
    trainable.batches(3)
    whole, count = trainable.loss(trainable.model, [0, 1, 2, 3])
    halves = [trainable.loss(trainable.model, rows) for rows in ([0, 2], [1, 3])]
    assert sum(part for _, part in halves) == count
    torch.testing.assert_close(sum(loss for loss, _ in halves), whole)


def test_the_weights_of_titles_are_trained(run: Path) -> None:
    assert {"embedding.weight", "titles.weight"} <= set(tensors(run))
    assert not {"words", "offsets"} & set(tensors(run))


def test_without_attention_there_is_nothing_to_look_at(tmp_path: Path, regard: Callable[..., Result]) -> None:
    config = {"data": {"builtin_users": 20}, "model": {**SMALL, "attention": "none"}, "train": {"steps": 1}}
    train("recommend", config, tmp_path / "run")
    result = regard("look", tmp_path / "run", "amber 1")
    assert (result.status, result.out) == (2, "")
    assert "it was trained with --model.attention none" in result.err
    scores = evaluate(tmp_path / "run")
    assert "on_deciding" not in scores
    assert scores["best_hr10"].value > scores["hr10"].value


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": {"share": 0.5}}, r"data\.share: must be at least 0\.001 and at most 0\.4"),
        ({"model": {"dim": 10}}, r"model\.dim: must be a multiple of twice model\.heads"),
        (
            {"train": {"loss": "sampled", "label_smoothing": 0.1}},
            r"train\.label_smoothing: only for --train\.loss full",
        ),
        ({"data": {"valid": "x.txt"}}, r"data\.valid: needs --data\.train"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        train("recommend", settings, tmp_path / "run")


def test_histories_without_two_items_to_train_on_are_refused(tmp_path: Path) -> None:
    (tmp_path / "three.csv").write_text("user,item\n" + "".join(f"{u},{u}{at}\n" for u in "abc" for at in range(3)))
    with pytest.raises(UserError, match=r"data\.train: no user has two items to train on"):
        train("recommend", {"data": {"train": str(tmp_path / "three.csv")}, "model": SMALL}, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_titles_of_other_items_are_refused(tmp_path: Path) -> None:
    path = _shops(tmp_path)
    (tmp_path / "other.tsv").write_text("zzz\ttitle\n")
    with pytest.raises(UserError, match=r"has no item of the histories, such as 'a'; its first item is 'zzz'"):
        train("recommend", {"data": {"train": str(path), "titles": str(tmp_path / "other.tsv")}}, tmp_path / "run")


def test_histories_of_other_users_are_validated(tmp_path: Path) -> None:
    path = _shops(tmp_path, 20)
    (tmp_path / "valid.tsv").write_text("z\titem 3\t5\t1\nz\ta\t5\t2\nz\tb\t5\t3\n")
    settings = {"steps": 2, "tokens": 64}
    data = {"train": str(path), "valid": str(tmp_path / "valid.tsv")}
    train("recommend", {"data": data, "model": SMALL, "train": settings}, tmp_path / "run")
    assert evaluate(tmp_path / "run")["histories"].value == 1
