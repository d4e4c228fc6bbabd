"""The folder of a run: its task, and where its data are; made whole or not at all."""

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
from regard.train import checkpoint, fingerprint

_MARK = "run.json"


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
        problem = "holds a run already; continue it with --resume, or" if taken else "the folder is not empty;"
        raise UserError(f"{run}: {problem} name another folder")


def create(run: Path, task: str, fill: Callable[[Path], None]) -> None:
    """Create a run's folder: ``fill`` writes into a temporary folder, which is then renamed.

    Raises:
        UserError: the folder is taken, or cannot be written.
    """
    check_free(run)
    run = Path(os.path.realpath(run))  # a link to a folder stays
    new_parent = not run.parent.exists()
    fresh = run.with_name(f".{run.name}.{os.getpid()}.tmp")
    try:
        fresh.mkdir(parents=True)
        fill(fresh)
        places = {"folder": os.path.abspath(run), "cwd": os.getcwd()}
        checkpoint.write_json(fresh / _MARK, {"task": task, "version": __version__, **places})
        if run.exists():
            run.rmdir()
        fresh.rename(run)
    except OSError as error:
        raise UserError(f"{run}: cannot create the folder ({error.strerror or error})") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
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
    """Check that ``run`` is a run's folder, of ``task`` if given, with its own files unchanged.

    Raises:
        UserError: it is not, or a file such as a tokenizer is missing or has changed.
    """
    if not run.exists():
        near = (
            sorted(path.name for path in run.parent.glob("*/") if (path / _MARK).exists())
            if run.parent.is_dir()
            else []
        )
        others = f"; runs there: {', '.join(near[:5])}" if near else ""
        raise UserError(f"{run}: no such run folder{others}")
    if not (run / _MARK).exists():
        raise UserError(f"{run}: not the folder of a run (it has no {_MARK})")
    actual = kind(run)
    if task is not None and actual != task:
        raise UserError(f"{run}: is a run of the task {actual!r}, not of {task!r}")
    fingerprint.check_files(run)


def kind(run: Path) -> str:
    """The task of a run. Raises UserError: the folder is not that of a run."""
    if not (run / _MARK).exists():
        raise UserError(f"{run}: not the folder of a run (it has no {_MARK})")
    return str(checkpoint.read_json(run / _MARK).get("task"))


def locate(run: Path, path: str | None) -> str | None:
    """Where the data are that were named ``path`` when the run began, from any current folder.

    They are looked for where they were then, and then at the same place relative to the run's folder, which may have
    been moved together with them. Two files ``"a,b"`` and a local folder ``"hf:FOLDER[:CONFIG][#SPLIT]"`` are
    understood. A path that is found in neither place is returned as it is.
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
