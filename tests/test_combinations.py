"""Random combinations of score, bias, normalizer, masks and sizes, compared with the oracle; the same in every run.

There are 500 of them; ``REGARD_EXAMPLES=20000 pytest tests/test_combinations.py -s`` tests 20,000 and prints how many
agreed.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import numpy as np
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import masks
import mechanisms
import oracle
from mechanisms import BIASES, NORMALIZERS, SCORES, Case, Sizes
from regard import Look, Mask, attention
from regard.attend.visible import as_mask

EXAMPLES = int(os.environ.get("REGARD_EXAMPLES", "500"))

sizes = st.builds(
    lambda b, hk, group, q, k, e, ev: Sizes(b, hk * group, hk, q, k, e, ev),
    st.integers(1, 2), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 5), st.integers(1, 4),
).filter(lambda size: size.heads in mechanisms.ALIBI)  # fmt: skip

MaskAndArray = tuple[Mask, np.ndarray]
"""A mask, and the boolean array that says which query sees which key."""


@st.composite
def combined_masks(draw: st.DrawFn, size: Sizes) -> MaskAndArray | None:
    """Up to three masks of the table, some of them inverted, joined by ``&`` and ``|``."""
    names = draw(st.lists(st.sampled_from([name for name in masks.MASKS if name != "none"]), max_size=3))
    combined: MaskAndArray | None = None
    for name in names:
        argument = masks.MASKS[name].make(size)
        assert argument is not None
        mask, visible = as_mask(argument), masks.visible(name, size)
        if draw(st.integers(0, 3)) == 0:
            mask, visible = ~mask, ~visible
        if combined is None:
            combined = mask, visible
        elif draw(st.booleans()):
            combined = combined[0] & mask, combined[1] & visible
        else:
            combined = combined[0] | mask, combined[1] | visible
    return combined


FACTORS = (0.1, 1.0, 8.0, 1e-320, 1e-30, 1e6, 1e12, 1e30)
"""What queries are multiplied by: scores range from denormal numbers to ones whose softmax is one-hot."""

MASKING = (0.0, 0.0, -np.inf, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min), 1e300)
"""The entries of a bias that is used as a mask."""


@st.composite
def masking_biases(draw: st.DrawFn, size: Sizes) -> np.ndarray:
    """A bias of entries of `MASKING`; in some of its rows all entries are the same."""
    values = np.random.default_rng(draw(st.integers(0, 2**32))).choice(MASKING, size.scores)
    for row in draw(st.lists(st.integers(0, size.queries - 1), max_size=3)):
        values[:, :, row] = draw(st.sampled_from(MASKING))
    return values


agreed: Counter[str] = Counter()


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def _combination(data: st.DataObject) -> None:
    size = data.draw(sizes)
    score = data.draw(st.sampled_from(SCORES))
    bias = data.draw(st.none() | st.sampled_from(BIASES))
    normalizer = data.draw(st.none() | st.sampled_from(NORMALIZERS))
    drawn = data.draw(combined_masks(size))
    factor = data.draw(st.sampled_from(FACTORS))
    if score.name == "distance":
        factor = min(factor, 8.0)  # distances are differences of squares, which are inexact for large vectors
    q, k, v = mechanisms.inputs(score, size)
    q = q * factor
    if data.draw(st.booleans(), label="strides"):
        q, k, v = (torch.stack([t, t], -1).transpose(1, 2)[..., 0].transpose(1, 2) for t in (q, k, v))
    options, answers = _merged([case for case in (bias, normalizer, score) if case is not None], size)
    if bias is None and data.draw(st.booleans(), label="bias as a mask"):
        masking = data.draw(masking_biases(size))
        options["bias"], answers["bias"] = torch.from_numpy(masking), oracle.dense(masking)
    visible = np.ones(size.scores, bool) if drawn is None else drawn[1]
    gaps = [1.0]
    if normalizer is not None and normalizer.name.startswith(("topk", "hard")):
        answers["normalizer"] = _with_gaps(answers["normalizer"], gaps)
    expected = oracle.attend(q.numpy(), k.numpy(), v.numpy(), visible, **answers)
    assume(min(gaps) > 1e-9)
    rows = list(range(size.queries))
    mask = None if drawn is None else drawn[0]
    backend = data.draw(st.sampled_from([None, None, "reference"]))
    has_lse = normalizer is None or "lse" not in normalizer.undefined
    look = Look(rows=rows, lse=has_lse)
    output, view = attention(q, k, v, mask=mask, look=look, backend=backend, **options)
    np.testing.assert_allclose(view.rows, expected.weights, atol=1e-9)
    np.testing.assert_allclose(view.tile(rows[::-1], [0]), expected.weights[:, :, ::-1, :1], atol=1e-9)
    np.testing.assert_allclose(output, expected.output, atol=1e-8)
    if has_lse:
        np.testing.assert_allclose(view.lse, expected.lse, rtol=1e-9, atol=1e-9)
    agreed["all"] += 1


def _with_gaps(normalizer: oracle.Normalizer, gaps: list[float]) -> oracle.Normalizer:
    """The normalizer, which also appends the gaps between scores to ``gaps``: rounding decides between equal scores."""

    def normalize(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> oracle.Row:
        gaps.extend(np.diff(np.sort(s)) / max(1.0, np.abs(s).max()))
        return normalizer(s, b, h, i, keys)

    return normalize


def _merged(cases: list[Case], size: Sizes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `attention` and of the oracle; a later case, such as the score's, overrides those of earlier ones."""
    options: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for case in cases:
        parameters = case.parameters(size)
        options |= case.call(size, *parameters)
        answers |= case.answer(size, *(p.numpy() for p in parameters))
    return options, answers


def test_random_combinations_agree_with_the_oracle() -> None:
    _combination()
    print(f"\n{agreed['all']} random combinations agree with the oracle")
    assert agreed["all"] >= min(EXAMPLES, 500)
