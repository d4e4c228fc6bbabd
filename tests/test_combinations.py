"""Random combinations of score, bias, normalizer, masks and sizes against the oracle; the same ones each time.

``REGARD_EXAMPLES=20000 pytest tests/test_combinations.py -s`` tries as many as that; without it, a sample. The number
tried is printed.
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

# A mask, and the boolean array of who sees whom.
Drawn = tuple[Mask, np.ndarray]


@st.composite
def drawn_masks(draw: st.DrawFn, size: Sizes) -> Drawn | None:
    """Up to three masks of the table, joined and turned at random."""
    names = draw(st.lists(st.sampled_from([name for name in masks.MASKS if name != "none"]), max_size=3))
    found: Drawn | None = None
    for name in names:
        made = masks.MASKS[name].make(size)
        assert made is not None
        mask, shown = as_mask(made), masks.visible(name, size)
        if draw(st.integers(0, 3)) == 0:
            mask, shown = ~mask, ~shown
        if found is None:
            found = mask, shown
        elif draw(st.booleans()):
            found = found[0] & mask, found[1] & shown
        else:
            found = found[0] | mask, found[1] | shown
    return found


STRENGTHS = (0.1, 1.0, 8.0, 1e-320, 1e-30, 1e6, 1e12, 1e30)
"""What queries are multiplied by: from denormal scores to ones that leave nothing but the largest."""

MASKING = (0.0, 0.0, -np.inf, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min), 1e300)
"""What a dense bias is made of that stands for a mask."""


@st.composite
def drawn_biases(draw: st.DrawFn, size: Sizes) -> np.ndarray:
    """A bias of entries of `MASKING`, some of whose rows are all alike."""
    values = np.random.default_rng(draw(st.integers(0, 2**32))).choice(MASKING, size.scores)
    for row in draw(st.lists(st.integers(0, size.queries - 1), max_size=3)):
        values[:, :, row] = draw(st.sampled_from(MASKING))
    return values


tried: Counter[str] = Counter()


@settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def _combination(data: st.DataObject) -> None:
    size = data.draw(sizes)
    score = data.draw(st.sampled_from(SCORES))
    bias = data.draw(st.none() | st.sampled_from(BIASES))
    normalizer = data.draw(st.none() | st.sampled_from(NORMALIZERS))
    drawn = data.draw(drawn_masks(size))
    strength = data.draw(st.sampled_from(STRENGTHS))
    if score.name == "distance":
        strength = min(strength, 8.0)  # computed from squares, which lose the digits of small distances far away
    q, k, v = mechanisms.inputs(score, size)
    q = q * strength
    if data.draw(st.booleans(), label="strides"):
        q, k, v = (torch.stack([t, t], -1).transpose(1, 2)[..., 0].transpose(1, 2) for t in (q, k, v))
    options, answers = _together([case for case in (bias, normalizer, score) if case is not None], size)
    if bias is None and data.draw(st.booleans(), label="bias as a mask"):
        masking = data.draw(drawn_biases(size))
        options["bias"], answers["bias"] = torch.from_numpy(masking), oracle.dense(masking)
    visible = np.ones(size.scores, bool) if drawn is None else drawn[1]
    gaps = [1.0]
    if normalizer is not None and normalizer.name.startswith(("topk", "hard")):
        answers["normalizer"] = _watched(answers["normalizer"], gaps)
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
    tried["all"] += 1


def _watched(normalizer: oracle.Normalizer, gaps: list[float]) -> oracle.Normalizer:
    """Notes the least gap between two scores: where they are equal but for rounding, either may be taken."""

    def watched(s: np.ndarray, b: int, h: int, i: int, keys: list[int]) -> oracle.Row:
        gaps.extend(np.diff(np.sort(s)) / max(1.0, np.abs(s).max()))
        return normalizer(s, b, h, i, keys)

    return watched


def _together(cases: list[Case], size: Sizes) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of `attention` and of the oracle; the last case's count most, which is the score's."""
    options: dict[str, Any] = {}
    answers: dict[str, Any] = {}
    for case in cases:
        parameters = case.parameters(size)
        options |= case.call(size, *parameters)
        answers |= case.answer(size, *(p.numpy() for p in parameters))
    return options, answers


def test_random_combinations() -> None:
    _combination()
    print(f"\n{tried['all']} random combinations agree with the oracle")
    assert tried["all"] >= min(EXAMPLES, 500)
