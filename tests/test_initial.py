"""Initial weights from another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from conftest import Result
from job import run
from regard.errors import UserError
from regard.training import checkpoint
from regard.training.initial import load_initial
from stopping import tensors


def test_weights_of_the_same_name_and_shape_are_copied(tmp_path: Path) -> None:
    theirs: Any = nn.ModuleDict(
        {"a": nn.Linear(2, 3), "b": nn.Linear(3, 4), **{f"c{i}": nn.Linear(1, 1) for i in range(3)}}
    )
    ours: Any = nn.ModuleDict({"a": nn.Linear(2, 3), "b": nn.Linear(3, 5), "d": nn.Linear(1, 1)})
    random = ours["d"].weight.clone()
    state = {"progress": {"step": 1}}
    checkpoint.save(tmp_path, "one", {"model": dict(theirs.state_dict())}, state, ["best"])
    (tmp_path / "new").mkdir()
    for folder, text in ((tmp_path, "{}"), (tmp_path / "new", "{ }")):
        (folder / "tokenizer.json").write_text(text)
    lines: list[str] = []
    load_initial(ours, tmp_path, tmp_path / "new", lines.append)
    assert torch.equal(ours["a"].weight, theirs["a"].weight)
    assert torch.equal(ours["a"].bias, theirs["a"].bias)
    assert torch.equal(ours["d"].weight, random)
    assert lines == [
        f"initial weights from {tmp_path}: 2 of 6 tensors, 9 of 31 numbers",
        "not copied, of another shape: b.weight (4, 3) → (5, 3), b.bias (4,) → (5,)",
        "not copied, only in this model: d.weight, d.bias",
        "not copied, only in the other run: c0.bias, c0.weight, c1.bias and 3 more",
        "tokenizer.json of the two runs differ: copied rows of embeddings belong to other tokens",
    ]
    with pytest.raises(UserError, match=r"train\.init: no weight of .* has the name and shape"):
        load_initial(nn.Linear(7, 7), tmp_path, tmp_path, lines.append)


def test_training_starts_from_the_best_weights(tmp_path: Path) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    run(folders[0], epochs=1)
    run(folders[1], epochs=1, init=str(folders[0]), learning_rate=1e-30, weight_decay=0.0)
    best, last = tensors(folders[0], which="best"), tensors(folders[1])
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_the_command_names_the_argument(tmp_path: Path, regard: Callable[..., Result]) -> None:
    (tmp_path / "tiny.txt").write_text("the quick brown fox jumps over the lazy dog. " * 18)
    train = ("train", "generate", tmp_path / "run", "--data.train", tmp_path / "tiny.txt", "--train.epochs", 1)
    result = regard(*train, "--train.init", tmp_path / "none")
    assert result.err == f"regard: train.init: {tmp_path / 'none'}: there is no such run\n"
    assert regard(*train).status == 0
    second = ("train", "generate", tmp_path / "second", *train[3:])
    result = regard(*second, "--train.init", tmp_path / "run")
    assert result.status == 0, result.err
    assert f"initial weights from {tmp_path / 'run'}: " in result.err
    assert f"init: {tmp_path / 'run'}" in (tmp_path / "second" / "config.yaml").read_text()
    result = regard("train", "generate", tmp_path / "second", "--resume", "--train.init", tmp_path / "run")
    assert result.status == 2
    assert "--train.init: cannot change with --resume" in result.err
