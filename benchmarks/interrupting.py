"""Ctrl-C and SIGTERM in each phase of a command: ``python benchmarks/interrupting.py --text 200``.

``regard train generate`` runs on a generated text of so many MB, and ``regard generate`` uses a trained model. In each
phase, the command gets a signal; the table shows the seconds until it has ended, and what is kept. The model has about
20 million parameters, so that a step and a checkpoint take a noticeable time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from large_data import write_text
from machine import machine

_RUN = """
import importlib, sys
import regard.cli.main
module, names, count = sys.argv[1], sys.argv[2].split("."), int(sys.argv[3])
if module:
    owner = importlib.import_module(module)
    for name in names[:-1]:
        owner = getattr(owner, name)
    original = getattr(owner, names[-1])
    def counted(*args, **options):
        global count
        count -= 1
        if not count:
            print("PHASE BEGINS", file=sys.stderr, flush=True)
        return original(*args, **options)
    setattr(owner, names[-1], counted)
regard.cli.main.main(sys.argv[4:])
"""
"""Runs a command, and says when it calls a function for the given time."""

_MODEL = ("--model.dim", "384", "--model.layers", "8", "--model.heads", "6", "--tokenizer.size", "8000")
_TRAIN = (
    *("--train.epochs", "1", "--train.tokens", "1024", "--train.warmup", "10"),
    *("--train.save-every", "8", "--train.evaluate-every", "12"),
)


@dataclass(frozen=True)
class Phase:
    """A phase of a command: it begins with a call of a function.

    Attributes:
        name: for the table.
        module: where the function is.
        function: its name.
        count: which of its calls begins the phase.
        delay: seconds after the beginning at which the signal is sent.
    """

    name: str
    module: str
    function: str
    count: int = 1
    delay: float = 0.5


_PHASES = (
    Phase("reading", "regard.data.corpus", "Store.extend"),
    Phase("training the tokenizer", "regard.data.encoding", "train_tokenizer", delay=2.0),
    Phase("tokenizing", "regard.data.encoding", "tokenize", delay=2.0),
    Phase("step", "regard.training.loop", "_Run._train_step", count=5, delay=0.05),
    Phase("validation", "regard.training.loop", "_Run._validated"),
    Phase("saving", "regard.training.checkpoint", "save", delay=0.05),
)


def interrupt(phase: Phase, sent: signal.Signals, arguments: list[str], cache: Path) -> tuple[float, int]:
    """Run a command and send it a signal in a phase; returns the seconds until it ended, and its exit status."""
    command = [sys.executable, "-c", _RUN, phase.module, phase.function, str(phase.count), *arguments]
    environment = {**os.environ, "REGARD_CACHE": str(cache)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "PHASE BEGINS" in line:
                break
        else:
            raise SystemExit(f"{phase.name}: the command ended before")
        time.sleep(phase.delay)
        began = time.monotonic()
        process.send_signal(sent)
        lines = process.stderr.read()
        process.wait()
        seconds = time.monotonic() - began
    if "Traceback" in lines:
        raise SystemExit(lines)
    return seconds, process.returncode


def kept(run: Path, cache: Path) -> str:
    """What the command has left, in words."""
    last = run / "last.json"
    if last.exists():
        return f"checkpoint {json.loads(last.read_text())['checkpoint']}"
    files = [path.name.split("-")[0] for path in cache.iterdir() if not path.name.startswith(".")]
    return f"no run; in the cache: {', '.join(sorted(set(files))) or 'nothing'}"


def prediction(run: Path, sent: signal.Signals) -> tuple[float, int, int]:
    """Interrupt the generation for many prompts; returns seconds, exit status, and the number of complete lines."""
    options = ["--tokens", "30", "--checkpoint", "last"]
    command = [sys.executable, "-c", _RUN, "", "", "0", "generate", str(run), *options]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write("\n".join(["The"] * 5_000))
        process.stdin.close()
        process.stdout.readline()
        time.sleep(1)
        began = time.monotonic()
        process.send_signal(sent)
        lines = process.stdout.read()
        process.wait()
        return time.monotonic() - began, process.returncode, 1 + lines.count("\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=int, default=200, help="size of the text in MB")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it, as its commands
    print(machine())
    print(f"{options.text} MB of text\n")
    print(f"{'phase':24}{'signal':10}{'seconds':>8}{'status':>8}  kept")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = folder / "text.txt"
        write_text(text, options.text * 1_000_000)
        for number, (phase, sent) in enumerate((p, s) for p in _PHASES for s in (signal.SIGINT, signal.SIGTERM)):
            cache, run = folder / "cache", folder / f"run{number}"
            cache.mkdir(exist_ok=True)
            arguments = ["train", "generate", str(run), "--data.train", str(text), *_MODEL, *_TRAIN]
            seconds, status = interrupt(phase, sent, arguments, cache)
            print(f"{phase.name:24}{sent.name:10}{seconds:8.1f}{status:8}  {kept(run, cache)}", flush=True)
        for sent in (signal.SIGINT, signal.SIGTERM):
            seconds, status, lines = prediction(run, sent)
            print(f"{'prediction':24}{sent.name:10}{seconds:8.1f}{status:8}  {lines:,} complete lines", flush=True)


if __name__ == "__main__":
    main()
