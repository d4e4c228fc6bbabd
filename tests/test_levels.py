"""Tests of `test_mechanisms.py` on every instruction set of this machine except the best, which they run on anyway.

Most processors have AVX2, so that level is always tested; the others are long tests.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from regard.kernels.cpu import library
from test_mechanisms import (  # noqa: F401 - pytest collects them here too
    test_a_visible_nan_reaches_the_output,
    test_error_is_at_most_twice_that_of_the_plain_expression,
    test_every_backend_that_accepts_a_call_agrees,
    test_masked_keys_have_no_influence,
    test_odd_lengths,
    test_output_and_every_look_match_the_oracle,
    test_without_visible_keys_output_and_gradients_are_zero,
)

if len(library.levels) < 2:
    pytest.skip("this machine has no second level", allow_module_level=True)


LEVELS = library.levels[1:]
ALWAYS = "avx2" if "avx2" in LEVELS else LEVELS[0]


@pytest.fixture(
    autouse=True, params=[pytest.param(name, marks=() if name == ALWAYS else pytest.mark.long) for name in LEVELS]
)
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    with library.use_level(request.param):
        yield
