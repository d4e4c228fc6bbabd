"""The documentation: every mechanism has a page, examples run, and the site builds without warnings and dead links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from cyclopts import CycloptsError

import regard
from regard.cli.app import build
from regard.tasks.spec import TaskSpec
from regard.tasks.table import TASKS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs" / "_gallery"))
from run import figure, refusals, run  # noqa: E402
from table import ENTRIES, Entry  # noqa: E402


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_an_example_of_the_gallery_sets_weights(entry: Entry) -> None:
    example = run(entry)
    assert example.weights.shape == (12, 12)
    assert (example.weights >= 0).all()
    sums = example.weights.sum(-1)
    if entry.sums_to_one:
        assert sums.allclose(sums.new_ones(12))
    assert refusals(example)["reference"] is None
    assert figure(example.weights, entry.name) == figure(run(entry).weights, entry.name)


def test_every_mechanism_has_an_example() -> None:
    code = "\n".join(entry.code for entry in ENTRIES)
    bases = {"Bias", "Mask", "Normalizer", "Score"}
    others = {"View", "attend", "attention", "explain_choice", "load", "looking", "nn", "train", "use_backend", "views"}
    assert {name for name in regard.__all__ if f"{name}(" not in code} <= bases | others
    assert len({entry.slug for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.long
def test_the_site_is_complete(tmp_path: Path) -> None:
    """The site builds as by ``make docs``; one test, so that several processes build it only once."""
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # a warning fails
    assert result.returncode == 0, result.stderr
    check_that_every_mechanism_has_a_figure_and_a_formula(tmp_path)
    check_that_the_translator_of_the_tutorial_has_learned(tmp_path)
    check_that_links_and_images_exist(tmp_path)
    check_that_pages_contain_no_unprocessed_markup(tmp_path)


def check_that_every_mechanism_has_a_figure_and_a_formula(site: Path) -> None:
    assert len(list((site / "gallery").glob("*.svg"))) == 2 * len(ENTRIES)


def check_that_the_translator_of_the_tutorial_has_learned(site: Path) -> None:
    page = (site / "tutorials" / "train_on_your_files.html").read_text()
    exact = re.search(r"exact +([0-9.]+)", re.sub(r"<[^>]+>", "", page))
    assert exact is not None
    assert float(exact[1]) > 90


def check_that_links_and_images_exist(site: Path) -> None:
    missing = set()
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="(?!https?:|mailto:|data:|#)([^"#?]+)', page.read_text()):
            if page.name != "404.html" and not (page.parent / unquote(link)).exists():
                missing.add(f"{page.relative_to(site)}: {link}")
    assert missing == set()


def check_that_pages_contain_no_unprocessed_markup(site: Path) -> None:
    """The markup of a Markdown extension that is missing in mkdocs.yml would appear in the text of the page."""
    unprocessed = set()
    for page in site.rglob("*.html"):
        text = re.sub(r"<(pre|code|script|style)\b.*?</\1>", "", page.read_text(), flags=re.DOTALL)
        markup = re.findall(r"!!!.*|```.*|\]\(.*|\{ *width.*", text)
        unprocessed |= {f"{page.relative_to(site)}: {mark}" for mark in markup}
    assert unprocessed == set()


def test_the_example_of_the_first_page_runs() -> None:
    page = (ROOT / "docs" / "index.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example: dict[str, Any] = {}
    exec(compile(block, "index.md", "exec"), example)
    assert example["view"].top.keys.shape == (2, 8, 5, 2)


def _commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks that run regard, without the prompt."""
    blocks = re.findall(r"^```(?:shell|console|bash|)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    return re.findall(r"^(?:\$ )?regard (.*)$", "".join(blocks), re.MULTILINE)


PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").rglob("*.md")) if _commands(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_commands_of_a_page_parse(page: Path) -> None:
    commands = _commands(page)
    assert commands
    for command in commands:
        words = shlex.split(command, comments=True)
        specs: list[TaskSpec | None] = [
            spec for spec in TASKS if words[0] in ("eval", "look") or words[0] == spec.verb.name
        ]
        assert any(_parses(words, spec) for spec in specs or [None]), command


def _parses(words: list[str], run_task: TaskSpec | None) -> bool:
    """Whether a command line that names a run of this task has only arguments that there are."""
    try:
        build(run_task, words).parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError:
        return False
    return True
