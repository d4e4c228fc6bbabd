"""The kernels' vector functions, alone: their errors are within the bounds that stand beside them in ``vmath.h``."""

from __future__ import annotations

import re
from collections.abc import Callable
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
    """The largest error that the comment beside the function allows, in ULP."""
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
    """Positive numbers from ``lowest`` to ``highest``: some of every exponent, and both sides of every power of two."""
    rng = np.random.default_rng(1)
    first, last = (int(np.frexp(end)[1]) - 1 for end in (lowest, highest))
    powers = np.ldexp(dtype(1), np.arange(first, last + 1)).astype(dtype)
    x = (powers[:, None] * (1 + rng.random((len(powers), each)))).astype(dtype).ravel()
    x = np.concatenate([x, powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype(np.inf))])
    return x[(x >= lowest) & (x <= highest)]


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """How far ``found`` is from ``exact``, a long double, in units of the last place of its dtype."""
    unit = np.spacing(np.abs(exact).astype(found.dtype)).astype(np.longdouble)
    return np.abs(found.astype(np.longdouble) - exact) / unit


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
    """Of numbers whose power is a normal number."""
    kind = DTYPES[dtype][0]
    info = np.finfo(kind)
    x = _normal(kind)
    with np.errstate(over="ignore", under="ignore"):
        exact = x.astype(np.longdouble) ** np.longdouble(power)
    inside = (exact >= info.tiny) & (exact <= info.max)
    off = ulps(call(level, "POW", x, power)[inside], exact[inside])
    assert off.max() <= bound("POW", dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_error_of_the_inverse_error_function(level: str, dtype: str) -> None:
    kind = DTYPES[dtype][0]
    x = of_all_exponents(kind, 2.0**-23, 1 - 2.0**-22, 8)
    x = _both_signs(np.concatenate([x, 1 - x[x < 0.25]]).astype(kind))
    with mpmath.workprec(80):
        exact = np.array([np.longdouble(str(mpmath.erfinv(mpmath.mpf(float(one))))) for one in x])
    assert ulps(call(level, "ERFINV", x), exact).max() <= bound("ERFINV", dtype)


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
    found = call(level, function, np.array(x, dtype=DTYPES[dtype][0]), 1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
