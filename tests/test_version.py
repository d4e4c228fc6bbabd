"""The version is defined once, in the package; the command line, the citation and the changelog agree with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import regard

ROOT = Path(__file__).parent.parent


def test_the_command_line_prints_the_version() -> None:
    result = subprocess.run([sys.executable, "-m", "regard", "--version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip()) == (0, regard.__version__)


def test_the_build_reads_the_version_from_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in settings["project"]
    assert settings["project"]["dynamic"] == ["version"]
    source = ROOT / settings["tool"]["scikit-build"]["metadata"]["version"]["input"]
    assert source == Path(regard.__file__)


def test_the_citation_and_the_changelog_have_the_version() -> None:
    cited = re.search(r"version = \{(.*?)\}", (ROOT / "README.md").read_text())
    newest = re.search(r"^## ([^ ,]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert cited is not None
    assert newest is not None
    assert (cited[1], newest[1]) == (regard.__version__, regard.__version__)
