"""Decoding, generation and encoders of everyday sizes, beside the libraries that people use for them on a processor.

    pip install -r benchmarks/everyday-requirements.txt
    python benchmarks/everyday.py [--only TEXT …] [--write | --append]

``--only`` takes parts of rows' names, such as ``"decode, batch 1,"`` or ``beam``. ``--write`` also writes the table to
``benchmarks/results/everyday.txt``, ``--append`` adds to it. All takes ten minutes; a peer that is not installed
gives a cell that says so.

Every side has the same weights and inputs, and their outputs are compared. A side runs in a process of its own, which
stands still while another one is timed; the sides take turns in rounds, with one thread and with two. The ratio is the
peer's time over ours, marked with · where we are slower; with two threads, the peer has the number of threads that is
better for it. The limit is the least time to read the bytes of weights and caches, at the speed of a sum over as many
bytes, or to do the products at the processor's peak.

Training steps are compared by ``benchmarks/training_steps.py``.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import everyday_beam
import everyday_decode
import everyday_encoder
import everyday_generation
from everyday_table import HEADER, Subject, lines

RESULTS = Path(__file__).parent / "results" / "everyday.txt"
SUBJECTS = (
    Subject(everyday_decode.cases, "everyday_decode:ours", everyday_decode.PEERS),
    Subject(everyday_beam.cases, "everyday_beam:ours", everyday_beam.PEERS),
    Subject(everyday_generation.cases, "everyday_generation:ours", everyday_generation.PEERS),
    Subject(everyday_encoder.cases, "everyday_encoder:ours", everyday_encoder.PEERS),
)
PEERS = ("onnxruntime", "llama-cpp-python", "ctranslate2", "transformers", "openvino", "jax")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names of rows")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.name}")
    parser.add_argument("--append", action="store_true", help=f"add the rows to {RESULTS.name}")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if arguments.write:
        RESULTS.unlink(missing_ok=True)

    def say(line: str) -> None:
        print(line, flush=True)
        if arguments.write or arguments.append:
            with RESULTS.open("a") as file:
                file.write(f"{line}\n")

    if not (arguments.append and RESULTS.exists()):
        for line in (*about(), HEADER):
            say(line)
    for subject in SUBJECTS:
        for line in lines(subject, lambda title: any(text in title for text in arguments.only)):
            say(line)


def about() -> tuple[str, str]:
    """The machine, and the versions of the peers."""
    from machine import machine

    from regard.kernels.cpu import library

    versions = []
    for peer in PEERS:
        try:
            versions.append(f"{peer} {version(peer)}")
        except PackageNotFoundError:
            versions.append(f"{peer} not installed")
    return f"{machine()}; kernels' level: {library.level}", ", ".join(versions)


if __name__ == "__main__":
    main()
