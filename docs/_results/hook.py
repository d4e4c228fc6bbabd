"""The mkdocs hook that copies the output of the benchmarks into the site, where the pages link to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def on_files(files: Files, config: Any) -> Files:
    """Add every file of ``benchmarks/results``."""
    for path in sorted(RESULTS.iterdir()):
        files.append(File.generated(config, f"benchmarks/results/{path.name}", content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """In the repository, ``docs`` and ``benchmarks`` are neighbours; in the site, ``benchmarks`` is below the pages."""
    return markdown.replace("](../benchmarks/results/", "](benchmarks/results/")
