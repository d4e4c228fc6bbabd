"""The mkdocs hook that runs the tutorials and adds their output and figures to their pages.

A tutorial is a Markdown file in this folder. Its blocks run from top to bottom in one empty folder: ``python`` blocks
share one namespace, ``console`` blocks run each line that begins with ``$``. A block that fails stops the build.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).parent

_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Run every tutorial, and add its page and its figures to the site."""
    for source in sorted(HERE.glob("*.md")):
        page, figures = run(source)
        files.append(File.generated(config, f"tutorials/{source.name}", content=page))
        for name, content in figures.items():
            files.append(File.generated(config, f"tutorials/{name}", content=content))
    return files


def run(source: Path) -> tuple[str, dict[str, bytes]]:
    """The page of one tutorial, with the output below each block, and the figures that it shows.

    Raises:
        RuntimeError: a block fails.
    """
    text = source.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        page = "".join(_parts(text, source.name))
        names = [name for name in _IMAGE.findall(text) if ":" not in name]
        return page, {name: Path(name).read_bytes() for name in names}


def _parts(text: str, name: str) -> Iterator[str]:
    namespace: dict[str, Any] = {}
    end = 0
    for block in _BLOCK.finditer(text):
        yield text[end : block.start()]
        end = block.end()
        language, code = block.groups()
        if language == "console":
            yield f"```console\n{''.join(_console(code, name))}```\n"
            continue
        yield block.group()
        printed = _python(code, name, namespace)
        if printed:
            yield f"\n```text\n{printed}```\n"
    yield text[end:]


def _python(code: str, name: str, namespace: dict[str, Any]) -> str:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), namespace)
    except Exception as error:
        raise RuntimeError(f"{name}: a Python block fails: {error!r}\n{code}") from error
    return printed.getvalue()


def _console(code: str, name: str) -> Iterator[str]:
    """Each command, followed by its standard output."""
    regard = f'regard() {{ "{sys.executable}" -m regard "$@"; }}\n'
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    for command in re.findall(r"^\$ (.*)$", code, re.MULTILINE):
        result = subprocess.run(
            ["bash", "-c", regard + command], capture_output=True, text=True, env=environment, timeout=600, check=False
        )
        if result.returncode:
            raise RuntimeError(f"{name}: {command!r} fails: {result.stderr[-2000:]}")
        yield f"$ {command}\n{result.stdout}"
