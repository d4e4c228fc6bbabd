"""The table of mechanisms once more, on each instruction set that this machine has beside the best."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from regard.kernels.cpu import library
from test_mechanisms import (  # noqa: F401 - collected here, and run at every level
    test_error_is_at_most_twice_that_of_the_plain_expression,
    test_every_backend_that_does_not_refuse_agrees,
    test_no_visible_key_gives_zeros_and_no_gradient,
    test_odd_lengths,
    test_output_and_every_look_match_the_oracle,
    test_what_is_masked_cannot_leak,
    test_what_is_seen_is_not_hidden_by_the_guard,
)

if len(library.levels) < 2:
    pytest.skip("there is one level at most, which test_mechanisms.py runs", allow_module_level=True)


@pytest.fixture(autouse=True, params=library.levels[1:])
def level(request: pytest.FixtureRequest) -> Iterator[None]:
    with library.use_level(request.param):
        yield
