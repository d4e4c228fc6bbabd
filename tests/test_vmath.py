"""The errors of the kernels' vector functions are within the bounds that ``vmath.h`` gives."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from regard.kernels.cpu import library
from regard.kernels.cpu.call import LEVELS

pytestmark = pytest.mark.skipif(library.level is None, reason=library.why_none)

NATIVE = Path(library.__file__).parent / "native"
DTYPES: dict[str, tuple[Any, int]] = {"float32": (np.float32, 0), "float64": (np.float64, 1)}


def _number(function: str) -> int:
    line = re.search(rf"\b{function} = (\d+)", (NATIVE / "args.h").read_text())
    assert line is not None
    return int(line[1])


def bound(function: str, dtype: str) -> float:
    """The error in ULP that the comment of the function allows."""
    line = re.search(rf"// ULP {function}: float32 ([\d.]+), float64 ([\d.]+)\b", (NATIVE / "vmath.h").read_text())
    assert line is not None
    return float(line[1 if dtype == "float32" else 2])


def call(level: str, function: str, x: np.ndarray, power: float = 0.0) -> np.ndarray:
    assert library.library is not None
    out = np.empty_like(x)
    dtype = DTYPES[x.dtype.name][1]
    library.library.regard_vmath(LEVELS[level], _number(function), dtype, x.ctypes.data, out.ctypes.data, len(x), power)
    return out


def of_all_exponents(dtype: type, lowest: float, highest: float, each: int = 64) -> np.ndarray:
    """Positive numbers from ``lowest`` to ``highest``: ``each`` of every exponent, and those next to powers of 2."""
    rng = np.random.default_rng(1)
    first, last = (int(np.frexp(end)[1]) - 1 for end in (lowest, highest))
    powers = np.ldexp(dtype(1), np.arange(first, last + 1)).astype(dtype)
    x = (powers[:, None] * (1 + rng.random((len(powers), each)))).astype(dtype).ravel()
    x = np.concatenate([x, powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype(np.inf))])
    return x[(x >= lowest) & (x <= highest)]


def ulps(result: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """The distance of ``result`` from ``exact``, a long double, in units in the last place of the result's dtype."""
    unit = np.spacing(np.abs(exact).astype(result.dtype)).astype(np.longdouble)
    return np.abs(result.astype(np.longdouble) - exact) / unit


def _both_signs(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, -x])


def _exp2_inputs(dtype: type) -> np.ndarray:
    info = np.finfo(dtype)
    x = _both_signs(of_all_exponents(dtype, float(info.tiny), float(info.maxexp)))
    return x[(x >= info.minexp) & (x < info.maxexp - 1)]


def _normal(dtype: type) -> np.ndarray:
    info = np.finfo(dtype)
    return of_all_exponents(dtype, float(info.tiny), float(info.max))


CASES: dict[str, tuple[Callable[[type], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "EXP2": (_exp2_inputs, np.exp2),
    "EXP2_COARSE": (_exp2_inputs, np.exp2),
    "LOG": (_normal, np.log),
    "TANH": (lambda dtype: _both_signs(_normal(dtype)), np.tanh),
    "TANH_SMALL": (lambda dtype: _both_signs(_normal(dtype)), np.tanh),
    "SQRT": (_normal, np.sqrt),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", CASES)
def test_error_over_all_exponents(level: str, function: str, dtype: str) -> None:
    inputs, exact = CASES[function]
    x = inputs(DTYPES[dtype][0])
    off = ulps(call(level, function, x), exact(x.astype(np.longdouble)))
    worst = int(off.argmax())
    assert off[worst] <= bound(function, dtype), f"{off[worst]:.2f} ULP at {x[worst]!r}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [0.5, 1.5, 2.0, 3.0, 19.0])
def test_error_of_powers(level: str, power: float, dtype: str) -> None:
    """For numbers whose power is a normal number."""
    kind = DTYPES[dtype][0]
    info = np.finfo(kind)
    x = _normal(kind)
    with np.errstate(over="ignore", under="ignore"):
        exact = x.astype(np.longdouble) ** np.longdouble(power)
    inside = (exact >= info.tiny) & (exact <= info.max)
    off = ulps(call(level, "POW", x, power)[inside], exact[inside])
    assert off.max() <= bound("POW", dtype)


@cache
def _erfinv_inputs(dtype: type) -> tuple[np.ndarray, list[mpmath.mpf]]:
    """Inputs from the smallest normal number to the largest number below 1, and their exact results."""
    info = np.finfo(dtype)
    rng = np.random.default_rng(2)
    gap = 2.0 ** -(info.nmant + 1)  # between 1 and the largest number below it
    steps = np.concatenate([np.arange(1, 65), np.floor(2.0 ** rng.uniform(6, info.nmant - 1, 400))])
    x: np.ndarray = np.concatenate(
        [
            of_all_exponents(dtype, float(info.tiny), 1 - gap, 4 if dtype is np.float32 else 1),
            1 - steps * gap,
            rng.uniform(0.24, 0.28, 200),  # the polynomial's terms cancel most
            rng.uniform(0.8, 0.9, 200),  # its two halves meet at √(1 − exp(−5)) = 0.9966, its error is largest here
            [0.5, np.nextafter(0.5, 0), 1e-9, np.nextafter(1e-9, 0), 0.99663, 0.99999994, 0.99999995],
        ]
    ).astype(dtype)
    x = x[x < 1]
    with mpmath.workprec(200):
        return x, [_erfinv(mpmath.mpf(float(one))) for one in x]


def _erfinv(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfinv(x) if x > 2.0**-60 else x * mpmath.sqrt(mpmath.pi) / 2  # the next term is x³ π^1.5 / 24


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_of_the_inverse_error_function(level: str, dtype: str) -> None:
    x, exact = _erfinv_inputs(DTYPES[dtype][0])
    result = call(level, "ERFINV", x)
    assert np.array_equal(call(level, "ERFINV", -x), -result)
    tiny = np.finfo(x.dtype).tiny
    for one, got, wanted in zip(x, result, exact, strict=True):
        if wanted < tiny:
            continue  # test_denormal_numbers_count_as_zero
        unit = float(np.spacing(x.dtype.type(float(wanted))))
        off = float(abs(mpmath.mpf(float(got)) - wanted)) / unit
        assert off <= bound("ERFINV", dtype), f"{off:.2f} ULP at {one!r}"


DENORMAL: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "LOG": np.log,
    "TANH": np.tanh,
    "TANH_SMALL": np.tanh,
    "SQRT": np.sqrt,
    "ERFINV": lambda x: x * (math.sqrt(math.pi) / 2),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", DENORMAL)
def test_denormal_numbers_count_as_zero(level: str, function: str, dtype: str) -> None:
    """On processors without such a mode, they keep their values."""
    kind = DTYPES[dtype][0]
    info = np.finfo(kind)
    x = np.array([info.smallest_subnormal, info.tiny / 1024, info.tiny / 2, np.nextafter(info.tiny, 0)], dtype=kind)
    if function == "ERFINV":
        x = np.append(x, info.tiny)  # its result is denormal
    result, exact = call(level, function, x), DENORMAL[function](x)
    at_zero = call(level, function, np.zeros_like(x))
    assert np.all((result == at_zero) | (np.abs(result - exact) <= bound(function, dtype) * np.spacing(np.abs(exact))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponentials_that_would_be_denormal_are_zero(level: str, dtype: str) -> None:
    kind = DTYPES[dtype][0]
    least = np.finfo(kind).minexp
    x = np.array([least - 0.25, least - 1, least - 10, least - 1000], dtype=kind)
    assert not call(level, "EXP2", x).any()
    assert call(level, "EXP2", np.array([least], dtype=kind)) == np.finfo(kind).tiny


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("function", "x", "expected"),
    [
        ("EXP2", [0.0, -0.0, -np.inf, np.inf, np.nan, 5000.0, -5000.0], [1, 1, 0, np.inf, np.nan, np.inf, 0]),
        ("EXP2_COARSE", [0.0, -0.0, -np.inf, np.inf, np.nan, 5000.0, -5000.0], [1, 1, 0, np.inf, np.nan, np.inf, 0]),
        ("LOG", [0.0, 1.0, np.inf, -1.0, -np.inf, np.nan], [-np.inf, 0, np.inf, np.nan, np.nan, np.nan]),
        ("TANH", [0.0, np.inf, -np.inf, 1e30, -1e30, np.nan], [0, 1, -1, 1, -1, np.nan]),
        ("TANH_SMALL", [0.0, 0.25, np.nan], [0, np.tanh(0.25), np.nan]),
        ("SQRT", [0.0, np.inf, np.nan, 4.0], [0, np.inf, np.nan, 2]),
        ("POW", [0.0, 1.0, np.inf], [0, 1, np.inf]),
        ("ERFINV", [0.0], [0]),
    ],
)
def test_ends_of_the_range(level: str, function: str, x: list[float], expected: list[float], dtype: str) -> None:
    result = call(level, function, np.array(x, dtype=DTYPES[dtype][0]), 1.5)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
