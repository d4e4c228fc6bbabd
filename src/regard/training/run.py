"""The folder of a run: how it is created, locked and checked, and where the run's data are."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from regard import __version__
from regard.errors import UserError
from regard.training import checkpoint, fingerprint

_MARK = "run.json"
"""The file that marks a folder as a run."""


def fresh_name(task: str) -> Path:
    """A name for the folder of a new run: under ``runs``, with the task and the time."""
    return Path("runs") / f"{task}-{time.strftime('%Y%m%d-%H%M%S')}"


def check_free(run: Path) -> None:
    """Check that ``run`` can be the folder of a new run. Raises UserError: it is not empty."""
    if run.exists() and not run.is_dir():
        raise UserError(
            f"{run}: is a file; name a folder for the run, and the data with --data.train {shlex.quote(str(run))}"
        )
    if run.exists() and any(run.iterdir()):
        taken = (run / _MARK).exists()
        problem = "has a run already; continue it with --resume, or" if taken else "the folder is not empty;"
        raise UserError(f"{run}: {problem} name another folder")


def create(run: Path, task: str, fill: Callable[[Path], None]) -> None:
    """Create a run's folder, completely or not at all: ``fill`` writes to a temporary folder, which is then renamed.

    Raises:
        UserError: the folder is not empty, or cannot be written.
    """
    check_free(run)
    run = Path(os.path.realpath(run))  # a link to a folder is kept
    new_parent = not run.parent.exists()
    temporary = run.with_name(f".{run.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        fill(temporary)
        places = {"folder": os.path.abspath(run), "cwd": os.getcwd()}
        checkpoint.write_json(temporary / _MARK, {"task": task, "version": __version__, **places})
        if run.exists():
            run.rmdir()
        temporary.rename(run)
    except OSError as error:
        raise UserError(f"{run}: cannot create the folder ({error.strerror or error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if new_parent and not run.exists():
            with suppress(OSError):
                run.parent.rmdir()


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """Lock ``run`` against training by another process; the lock of a killed process is released.

    Raises:
        UserError: another process is training in it.
    """
    with (run / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{run}: another process is training in this folder; stop it first") from error
        yield


def check(run: Path, task: str | None = None) -> None:
    """Check that ``run`` is the folder of a run, of ``task`` if given, and that its own files are unchanged.

    Raises:
        UserError: it is not, or a file such as a tokenizer is missing or has changed.
    """
    if not run.exists():
        others = [one.name for one in _inside(run.parent)]
        hint = f"; the folder has these runs: {', '.join(others[:5])}" if others else ""
        raise UserError(f"{run}: there is no such run{hint}")
    if not (run / _MARK).exists():
        inside = [one.name for one in _inside(run)]
        more = f", but the folder of several; name one of them: {', '.join(inside[:5])}" if inside else ""
        raise UserError(f"{run}: not the folder of a run (it has no {_MARK}){more}")
    actual = kind(run)
    if task is not None and actual != task:
        raise UserError(f"{run}: is a run of the task {actual!r}, not of {task!r}")
    fingerprint.check_files(run)


def together(folder: Path, task: str | None = None) -> list[Path]:
    """The runs that are used together if ``folder`` is named: itself, or those in it, by name; each is checked.

    Raises:
        UserError: see `check`; or the runs in it are of different tasks.
    """
    runs = _inside(folder) or [folder]
    for run in runs:
        check(run, task)
    kinds = sorted({kind(run) for run in runs})
    if len(kinds) > 1:
        raise UserError(
            f"{folder}: has runs of {' and '.join(kinds)}; name one of them, or a folder of one task's runs"
        )
    return runs


def kind(run: Path) -> str:
    """The task of a run, or of the runs in a folder. Raises UserError: the folder is not that of a run."""
    run = next(iter(_inside(run)), run)
    if not (run / _MARK).exists():
        raise UserError(f"{run}: not the folder of a run (it has no {_MARK})")
    return str(checkpoint.read_json(run / _MARK).get("task"))


def _inside(folder: Path) -> list[Path]:
    """The runs in a folder that is none itself, by name."""
    if (folder / _MARK).exists() or not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if (path / _MARK).exists() and not path.name.startswith("."))


def locate(run: Path, path: str | None) -> str | None:
    """The present path of data that were named ``path`` when the run began, whatever the current folder is.

    It is looked for where it was then, and then at the same place relative to the run's folder, in case both have been
    moved together. Two files ``"a,b"`` and a local folder ``"hf:FOLDER[:CONFIG][#SPLIT]"`` are understood. A path that
    exists in neither place is returned unchanged.
    """
    if path is None:
        return None
    mark = checkpoint.read_json(run / _MARK)
    cwd, folder = (str(mark.get(name, "")) for name in ("cwd", "folder"))

    def existing(name: str) -> str | None:
        before = os.path.join(cwd, name)
        after = os.path.abspath(os.path.join(run, os.path.relpath(before, folder)))
        return next((place for place in (before, after) if os.path.exists(place)), None)

    if path.startswith("hf:"):
        name = re.split("[:#]", path[3:], maxsplit=1)[0]
        there = existing(name)
        return path if there is None else f"hf:{there}{path[3 + len(name) :]}"
    there = existing(path)
    if there is None and "," in path:
        parts = [existing(name.strip()) for name in path.split(",")]
        there = ",".join(part for part in parts if part is not None) if None not in parts else None
    return path if there is None else there
