"""The demo of each task: its time, its scores, the attention on the place that decides, and the task's lines of code.

    python benchmarks/demos.py [TASK …] [--runs FOLDER]

Each demo is run as a new process, as a user does; beside other work, its processor time tells more than the seconds
that it took. Demos whose deciding place is known print the share of the attention
on it and the share that it would get by chance. Then the same model without attention (for summarize: without copying)
is trained in the same way, and its scores are printed on one line. The lines of code are those of the task's own
folder, and those of the modules beside it in ``tasks``, such as families, that no other task imports, blank lines and
documentation included; the model, readers and what several tasks share are not counted. The table is printed, for
``benchmarks/results/demos.txt``.
"""

from __future__ import annotations

import argparse
import ast
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from comparison import trained
from machine import machine

import regard
from regard.tasks.running import evaluate
from regard.tasks.spec import TaskSpec
from regard.tasks.table import TASKS

TASK_FOLDERS = Path(regard.__file__).parent / "tasks"
WITHOUT: dict[str, dict[str, Any]] = {"summarize": {"copy": False}}
"""By task, the settings of the model that turn its attention off, where it is not ``attention: none``."""
ONLY_ATTENTION = {"generate"}
"""Tasks whose model is nothing without attention."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    specs = {spec.name: spec for spec in TASKS}
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"by default all of {', '.join(specs)}")
    parser.add_argument("--runs", type=Path, help="folder for the runs; by default a temporary one")
    arguments = parser.parse_args()
    if unknown := set(arguments.tasks) - specs.keys():
        parser.error(f"no such task: {', '.join(sorted(unknown))}")
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.runs or Path(temporary)
        for name in arguments.tasks or specs:
            print("", *measured(specs[name], folder / name), sep="\n", flush=True)
            if name not in ONLY_ATTENTION:
                print(without_attention(specs[name], folder / f"{name}-without"), flush=True)


def measured(spec: TaskSpec, run: Path) -> list[str]:
    """Run the demo of a task: its time, lines of code, and the scores that it prints."""
    began, before = time.monotonic(), _processor_seconds()
    command = [sys.executable, "-m", "regard", "demo", spec.name, str(run)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=run.parent).stdout.splitlines()
    seconds, used = time.monotonic() - began, _processor_seconds() - before
    first = next(at for at, line in enumerate(output) if line.startswith(f"On {spec.demo.scored[:30]}"))
    scores = output[first : output.index("", first)]
    times = f"{seconds:.0f} seconds, {used:.0f} of processor time"
    return [f"{spec.name}: {times}, {described_lines(spec)}", *scores]


def _processor_seconds() -> float:
    """The processor time of the processes that this one has started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def without_attention(spec: TaskSpec, run: Path) -> str:
    """Train the demo's model without attention, and score it on the same examples."""
    changed = WITHOUT.get(spec.name, {"attention": "none"})
    trained(spec.name, asdict(spec.demo.settings()), {"model": changed}, run)
    scores = evaluate(run, **spec.demo.options)
    what = ", ".join(f"{name}: {value}" for name, value in changed.items())
    return f"with {what}: " + ", ".join(f"{name} {score.value:.{score.digits}f}" for name, score in scores.items())


def described_lines(spec: TaskSpec) -> str:
    """The lines of code of a task's folder, and of the modules of ``tasks`` that only this task imports."""
    shared = set().union(*(imported_by(other) for other in TASKS if other != spec))
    only = imported_by(spec) - shared
    return f"{_lines(_folder(spec))} lines of code, and {_lines(only)} in shared folders that no other task uses"


def imported_by(spec: TaskSpec) -> set[Path]:
    """The files in ``tasks``, outside of the task's folder, that it imports, and those that they import."""
    own = _folder(spec)
    found, left = set[Path](), list(own)
    while left:
        for name in _imported(left.pop()):
            file = TASK_FOLDERS.joinpath(*name.split(".")[2:]).with_suffix(".py")
            if name.startswith("regard.tasks.") and file.exists() and file not in found | own:
                found.add(file)
                left.append(file)
    return {file for file in found if file.parent != TASK_FOLDERS}


def _imported(file: Path) -> set[str]:
    """The modules that a file imports, and its names from modules, which may be modules, too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def _folder(spec: TaskSpec) -> set[Path]:
    return set((TASK_FOLDERS / spec.code.split(".")[2]).glob("*.py"))


def _lines(files: set[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


if __name__ == "__main__":
    main()
