"""Predictors that read packed weights; see `regard.nn.packed_linears`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from regard.errors import UserError
from regard.kernels.packed import Kind
from regard.nn import packed_linears

Predicts = TypeVar("Predicts", bound=Any)


def packed(predictor: Predicts, kind: Kind) -> Predicts:
    """``predictor`` with a copy of its model for inference only, whose linear layers read packed weights.

    With ``"float32"``, it is ``predictor`` itself where weights cannot be packed, such as on a GPU.

    Args:
        predictor: a dataclass with a field ``model``.
        kind: how the weights are stored.

    Raises:
        UserError: weights cannot be packed, and ``kind`` is not ``"float32"``.
    """
    try:
        model = packed_linears(predictor.model, kind)
    except ValueError as error:
        if kind == "float32":
            return predictor
        raise UserError(f"--weights {kind}: {error}") from error
    if hasattr(model, "weights"):  # of the models whose step is one call of the C++ library
        model.weights = kind
    result: Predicts = replace(predictor, model=model)
    return result
