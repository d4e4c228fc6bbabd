"""``python tests/sanitize.py FOLDER TESTS``: runs TESTS with the library in FOLDER, built with a sanitizer."""

from __future__ import annotations

import sys

import pytest
import torch

import regard.kernels.cpu

folder, *names = sys.argv[1:]
regard.kernels.cpu.__path__.insert(0, folder)
if folder.endswith("thread"):
    # PyTorch's own threads are not instrumented, so it gets one. The kernels start four, or as many as a test sets.
    torch.set_num_threads(1)
    threads = 4

    def set_num_threads(nthreads: int) -> None:
        global threads
        threads = nthreads

    torch.get_num_threads = lambda: threads
    torch.set_num_threads = set_num_threads
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *names]))
