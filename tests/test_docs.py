"""The gallery: every mechanism has a page, every example runs, and the site builds without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import regard

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_gallery"))
from run import picture, refusals, run  # noqa: E402
from table import ENTRIES, Entry  # noqa: E402


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_example_runs_and_leaves_weights(entry: Entry) -> None:
    ran = run(entry)
    assert ran.weights.shape == (12, 12)
    assert (ran.weights >= 0).all()
    sums = ran.weights.sum(-1)
    if entry.sums_to_one:
        assert sums.allclose(sums.new_ones(12))
    assert refusals(ran)["reference"] is None
    assert picture(ran.weights, entry.name) == picture(run(entry).weights, entry.name)


def test_every_mechanism_has_an_example() -> None:
    shown = "\n".join(entry.code for entry in ENTRIES)
    bases = {"Bias", "Mask", "Normalizer", "Score"}
    others = bases | {"View", "attend", "attention", "explain_choice", "nn", "use_backend"}
    assert {name for name in regard.__all__ if f"{name}(" not in shown} <= others
    assert len({entry.slug for entry in ENTRIES}) == len(ENTRIES)


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert len(list((tmp_path / "gallery").glob("*.svg"))) == 2 * len(ENTRIES)
    page = (tmp_path / "tutorials" / "train_on_your_files.html").read_text()
    exact = re.search(r"exact +([0-9.]+)", re.sub(r"<[^>]+>", "", page))
    assert exact is not None
    assert float(exact[1]) > 90
