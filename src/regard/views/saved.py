"""Files of views: safetensors, with a description in JSON in its metadata. Nothing in them is executed or unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialized
from torch import Tensor

from regard.attend import View
from regard.errors import UserError
from regard.files import write_whole
from regard.kernels.backends import choose
from regard.views.inputs import TENSORS, FlatPlan, check, flat, plan_of, why_not
from regard.views.layer import LayerView
from regard.views.model_view import ModelView
from regard.views.tokens import Tokens

_FORMAT, _VERSION = "regard.views", 1

_SHAPES = {
    **dict.fromkeys(("entropy", "reach", "lse", "sinks", "sink_logit", "log_prob", "kl"), ("H", "Q")),
    **dict.fromkeys(("received", "norms", "value_norms"), ("H", "K")),
    **dict.fromkeys(("map_mean", "map_max"), ("H", "R", "C")),
    **dict.fromkeys(("top_weights", "top_keys"), ("H", "Q", "n")),
    "rows": ("H", "R", "K"),
}
"""The dimensions of each result: heads, queries, keys, and others."""


def save(view: ModelView, path: Path, *, inputs: bool) -> None:
    """See `ModelView.save`."""
    tensors: dict[str, Tensor] = {}
    sides: list[Tokens] = []
    layers = [_described(at, layer, inputs, tensors, sides) for at, layer in enumerate(view.layers)]
    content = {"format": _FORMAT, "version": _VERSION, "layers": layers, "tokens": [vars(side) for side in sides]}
    metadata = {"regard": json.dumps(content, ensure_ascii=False)}
    # Not safetensors' save_file, whose errors are not those of the system, and which writes no path that is not UTF-8.
    write_whole(path, lambda fresh: fresh.write_bytes(serialized(tensors, metadata)))


def _described(
    at: int, layer: LayerView, inputs: bool, tensors: dict[str, Tensor], sides: list[Tokens]
) -> dict[str, Any]:
    """The description of a layer, whose tensors are added under its number, and its sides to ``sides``."""
    numbers = []
    for side in (layer.queries, layer.keys):
        if side not in sides:
            sides.append(side)
        numbers.append(sides.index(side))
    kept = {name: part for name, part in layer.view.results.items() if name in _SHAPES}
    described = {
        "module": layer.module, "call": layer.call, "shape": list(layer.view.shape), "queries": numbers[0],
        "keys": numbers[1], "results": sorted(kept), "inputs": None, "why": layer.why,
    }  # fmt: skip
    plan = layer.view.plan
    if inputs and plan is not None:
        described["why"] = why_not(plan)
        if not described["why"]:
            numbers_of, parts = flat(plan)
            kept |= parts
            described["inputs"] = numbers_of
            described["rounded"] = layer.rounded or parts["query"].dtype is not plan.query.dtype
    elif inputs and not layer.why:
        described["why"] = "the views were collected without inputs=True"
    tensors |= {f"{at}.{name}": part.detach().cpu().contiguous() for name, part in kept.items()}
    return described


def load(path: str | Path) -> ModelView:
    """The view of a model that `ModelView.save` wrote.

    Args:
        path: of the file.

    Raises:
        UserError: the file is missing, damaged, or of another kind.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from regard import looking
        >>> from regard.views import STATISTICS, ModelView, load
        >>> model = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        >>> with looking(model, STATISTICS, inputs=True) as seen:
        ...     output = model(*[torch.randn(1, 5, 8)] * 3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ModelView(seen).save(f"{folder}/views.safetensors", inputs=True)
        ...     again = load(f"{folder}/views.safetensors")
        >>> again["", 0].holds
        ('entropy', 'map_max', 'map_mean', 'received', 'sink_logit', 'sinks', 'inputs')
        >>> again["", 0].view.tile([0], slice(0, 3)).shape
        torch.Size([2, 1, 3])
    """
    path = Path(path)
    try:
        with path.open("rb") as file, safe_open(f"/dev/fd/{file.fileno()}", "pt") as content:
            text = (content.metadata() or {}).get("regard")
            if text is None:
                raise _WrongError("it is of another program")
            described = json.loads(text)
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            return _read(described, tensors)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        text = " ".join(str(error).split()) if isinstance(error, _WrongError | SafetensorError) else "it is damaged"
        raise UserError(f"{path}: not a file of views that regard wrote ({text})") from error


class _WrongError(ValueError):
    """What is wrong with the content of a file."""


def _read(content: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ModelView:
    """Raises _WrongError and other errors: the content is not what `save` writes."""
    if content["format"] != _FORMAT or content["version"] != _VERSION:
        raise _WrongError(f"version {content.get('version')!r} of {content.get('format')!r}")
    sides = [Tokens(tuple(map(str, side["texts"])), tuple(map(int, side["words"]))) for side in content["tokens"]]
    return ModelView.of([_layer(f"{at}.", layer, sides, tensors) for at, layer in enumerate(content["layers"])])


def _layer(prefix: str, layer: Mapping[str, Any], sides: list[Tokens], tensors: Mapping[str, Tensor]) -> LayerView:
    heads, queries, keys = (int(size) for size in layer["shape"])
    sizes = {"H": heads, "Q": queries, "K": keys}
    results = {}
    for name in layer["results"]:
        tensor, dims = tensors[prefix + name], _SHAPES[name]
        if tensor.dim() != len(dims) or any(
            sizes.get(dim, size) != size for dim, size in zip(dims, tensor.shape, strict=True)
        ):
            raise _WrongError(f"{name} of {layer['module']} has shape {tuple(tensor.shape)}")
        results[name] = tensor[None]
    own = [sides[layer["queries"]], sides[layer["keys"]]]
    if [len(side) for side in own] != [queries, keys]:
        raise _WrongError(f"{layer['module']} has other numbers of tokens than weights")
    flat_plan: FlatPlan | None = layer["inputs"]
    plan = lse = backend = None
    if flat_plan is not None:
        parts = {name: tensors[prefix + name] for name in TENSORS if prefix + name in tensors}
        if not check(parts, heads, queries, keys):
            raise _WrongError(f"queries and keys of {layer['module']} do not fit")
        plan, lse = plan_of(flat_plan, parts), parts["total"][None]
        backend = choose(plan)
    view = View(results, plan, backend, lse, 3, (heads, queries, keys))
    rounded = plan is not None and bool(layer.get("rounded", True))
    return LayerView(str(layer["module"]), int(layer["call"]), view, own[0], own[1], str(layer["why"]), rounded)
