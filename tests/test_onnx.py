"""`regard.onnx.attention` on the operator's public test cases, which are in the `onnx` package."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from regard import onnx as regard_onnx

onnx = pytest.importorskip("onnx")

NAMES = ("Q", "K", "V", "attn_mask", "past_key", "past_value", "nonpad_kv_seqlen")


@cache
def cases() -> dict[str, Any]:
    """The public cases of the operator, without the variants that write a case as a graph of other operators."""
    from onnx.backend.test.case import node

    with warnings.catch_warnings():
        # Collecting the cases runs those of all operators, and some of them warn.
        warnings.simplefilter("ignore")
        collected = node.collect_testcases("Attention")
    return {case.name: case for case in collected if not case.name.endswith("_expanded")}


def tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(array.copy())


@pytest.mark.parametrize("name", cases())
def test_public_case(name: str) -> None:
    case = cases()[name]
    node = case.model.graph.node[0]
    arrays, expected = case.data_sets[0]
    # An omitted optional input has an empty name and no array.
    remaining = iter(arrays)
    inputs: dict[str, Any] = {
        argument: tensor(next(remaining)) for argument, name in zip(NAMES, node.input, strict=False) if name
    }
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if len(node.output) > 3 and node.output[3]:
        attributes.setdefault("qk_matmul_output_mode", 0)
    else:
        attributes.pop("qk_matmul_output_mode", None)
    results = regard_onnx.attention(**inputs, **attributes)
    outputs = [result for result, name in zip(results, node.output, strict=False) if name]
    assert len(outputs) == len(expected)
    for ours, array in zip(outputs, expected, strict=True):
        theirs = tensor(array)
        assert ours.dtype is theirs.dtype
        # The answers in half precision were computed in half precision, step by step; regard rounds once.
        rtol = case.rtol if theirs.dtype in (torch.float32, torch.float64) else 4 * torch.finfo(theirs.dtype).eps
        np.testing.assert_allclose(ours.double(), theirs.double(), rtol=rtol, atol=max(case.atol, 1e-6))


def test_the_public_cases_cover_every_feature() -> None:
    names = " ".join(cases())
    print(f"\n{len(cases())} public cases")
    assert len(cases()) > 50
    for kind in ("3d", "4d", "gqa", "causal", "softcap", "past", "nonpad", "window", "qk_matmul", "fp16"):
        assert kind in names


Q3, Q4 = torch.zeros(1, 3, 8), torch.zeros(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"Q": Q3, "K": Q4, "V": Q4}, "Q, K, V: expected all three with 3 dimensions, or all with 4, got 3, 4 and 4"),
        ({"Q": Q3, "K": Q3, "V": Q3}, "q_num_heads: inputs of 3 dimensions need it"),
        ({"Q": Q3, "K": Q3, "V": Q3, "q_num_heads": 2}, "kv_num_heads: inputs of 3 dimensions need it"),
        ({"Q": Q3, "K": Q3, "V": Q3, "q_num_heads": 3, "kv_num_heads": 2}, "q_num_heads: must divide the last dim"),
        ({"Q": Q4, "K": Q4, "V": Q4, "q_num_heads": 2}, "q_num_heads: is for inputs of 3 dimensions"),
        ({"Q": Q4, "K": Q4, "V": Q4, "past_key": Q4}, "past_key: past_key and past_value must be given together"),
        (
            {"Q": Q4, "K": Q4, "V": Q4, "past_key": Q4, "past_value": Q4, "nonpad_kv_seqlen": torch.tensor([3])},
            "nonpad_kv_seqlen: is for a cache outside of the operator",
        ),
        ({"Q": Q4, "K": Q4, "V": Q4, "left_window_size": -2}, "left_window_size: must be −1 or at least 0"),
        ({"Q": Q4, "K": Q4, "V": Q4, "right_window_size": -3}, "right_window_size: must be −1 or at least 0"),
        ({"Q": Q4, "K": Q4, "V": Q4, "softcap": -1.0}, "softcap: must be 0"),
        ({"Q": Q4, "K": Q4, "V": Q4, "softmax_precision": 2}, "softmax_precision: expected one of 1, 10, 11, 16"),
        ({"Q": Q4, "K": Q4, "V": Q4, "qk_matmul_output_mode": 4}, "qk_matmul_output_mode: expected 0 to 3"),
        ({"Q": Q4, "K": Q4, "V": Q4, "attn_mask": torch.ones(3, 2) > 0, "nonpad_kv_seqlen": torch.tensor([9])},
         "mask: Lengths.keys must be from 0 to 3"),
    ],
)  # fmt: skip
def test_an_error_names_the_wrong_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        regard_onnx.attention(**arguments)
