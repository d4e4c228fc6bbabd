"""`attention`: checks the arguments, lowers them to a plan, chooses a backend, runs the plan, and computes looks."""

from __future__ import annotations

from typing import Any, overload

import torch
from torch import Tensor
from torch.fx import Proxy

from regard.attend import kinds
from regard.attend.biases import Bias
from regard.attend.biases import lower as lower_bias
from regard.attend.look import Look, check, fitted, see
from regard.attend.masks import Causal, Lengths
from regard.attend.normalizers import Normalizer, Softmax
from regard.attend.scores import Dot, Score, Softcap
from regard.attend.view import View
from regard.attend.visible import Mask, Visible, as_mask
from regard.attend.watching import Watcher, Watching
from regard.kernels import backends
from regard.kernels.plan import OwnPlan, Plan

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_NAMES = ("query", "key", "value")
_EVERYTHING = Visible()


@overload
def attention(
    query: Tensor, key: Tensor, value: Tensor, *,
    score: Score = ..., bias: Bias | Tensor | None = ..., mask: Mask | Tensor | None = ...,
    normalizer: Normalizer = ...,
    look: None = ..., backend: str | None = ...,
) -> Tensor: ...  # fmt: skip


@overload
def attention(
    query: Tensor, key: Tensor, value: Tensor, *,
    score: Score = ..., bias: Bias | Tensor | None = ..., mask: Mask | Tensor | None = ...,
    normalizer: Normalizer = ...,
    look: Look, backend: str | None = ...,
) -> tuple[Tensor, View]: ...  # fmt: skip


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    score: Score = Dot(),  # noqa: B008 - frozen
    bias: Bias | Tensor | None = None,
    mask: Mask | Tensor | None = None,
    normalizer: Normalizer = Softmax(),  # noqa: B008 - frozen
    look: Look | None = None,
    backend: str | None = None,
) -> Tensor | tuple[Tensor, View]:
    """Average the values, weighted by how well their keys match each query.

    ``s_ij = score(q_i, k_j) + bias_ij``, ``w_i = normalizer(s_i)`` over the keys that ``mask`` lets query i see,
    ``o_i = Σ_j w_ij v_j``. A query that sees no key has output 0 and no gradient. Masked keys and values
    have no influence, even if they are NaN or infinite; with a mask, the output of a query that sees a non-finite key
    or value is NaN.

    Args:
        query: ``(B, H, Lq, E)``; leading dimensions may be missing: ``(H, Lq, E)``, ``(Lq, E)``.
        key: ``(B, Hk, Lk, E)``, of the same rank. H must be a multiple of Hk: query head h reads key head
            h // (H / Hk) (grouped queries, Ainslie et al. 2023, arXiv:2305.13245).
        value: ``(B, Hk, Lk, Ev)``.
        score: a `Score`: `Dot`, `Cosine`, `Bilinear`, `Additive`, `Distance` or your own, each optionally in `Softcap`.
        bias: added to the scores: a tensor that broadcasts to ``(B, H, Lq, Lk)`` and gets its gradient, or a
            `Bias`: `ALiBi`, `RelativeBias` or your own.
        mask: `Causal`, `Window`, `Prefix`, `Lengths`, `Documents`, `BlockSparse`, a boolean tensor (True: may attend)
            that broadcasts to ``(B, H, Lq, Lk)``, or a combination of these by ``&``, ``|`` and ``~``; None: every
            query sees every key.
        normalizer: a `Normalizer`: `Softmax`, `Sparsemax`, `Entmax`, `Sigmoid`, `TopK`, `Hard`, `Variational` or your
            own, each optionally in `Dropout`.
        look: what to report about the weights; the result is then a pair.
        backend: the name of the only backend that may run the call; None: the most preferred one that can.

    Returns:
        The output ``(B, H, Lq, Ev)``, in query's dtype and rank, or ``(output, view)`` with ``look``.

    Raises:
        TypeError: an argument has the wrong type, or query, key and value differ in dtype outside autocast.
        ValueError: an argument has the wrong shape, device or value; no backend can run the call.
        RuntimeError: the call is traced by torch.jit.trace.

    Example:
        >>> query, key, value = (torch.randn(2, 8, 100, 64) for _ in range(3))
        >>> attention(query, key, value, mask=Causal()).shape
        torch.Size([2, 8, 100, 64])
        >>> output, view = attention(query, key, value, look=Look(entropy=True))
        >>> view.entropy.shape
        torch.Size([2, 8, 100])
    """
    if torch._C._get_tracing_state() is not None:
        raise RuntimeError("attention: torch.jit.trace cannot follow it; use torch.export or torch.compile")
    watcher = Watching.current
    if look is None and bias is None and backend is None and watcher is None:
        quick = _quick(query, key, value, score, mask, normalizer)
        if quick is not None:
            return quick
    if isinstance(query, Proxy) or isinstance(key, Proxy) or isinstance(value, Proxy):
        return _traced(
            query, key, value, score=score, bias=bias, mask=mask, normalizer=normalizer, look=look, backend=backend
        )
    plan, rank = lower(query, key, value, score=score, bias=bias, mask=mask, normalizer=normalizer)
    if look is not None and not isinstance(look, Look):
        raise TypeError(f"look: expected a Look, such as Look(entropy=True), got {look!r}")
    if look is not None:
        check(look, plan)
    if watcher is not None:
        return _watched(watcher, plan, rank, look, backend)
    return _run(plan, rank, look, backend)


def _run(plan: Plan, rank: int, look: Look | None, backend: str | None) -> Tensor | tuple[Tensor, View]:
    chosen = backends.choose(plan, backend)
    wants_lse = look is not None and (look.lse or look.sinks or chosen.looks_by_lse)
    wants_extra = look is not None and (look.log_prob or look.kl)
    output, lse, extra = backends.run(plan, chosen, lse=wants_lse, extra=wants_extra)

    if output.dtype is not plan.value.dtype:
        output = output.to(plan.value.dtype)
    if rank < 4:
        output = output[(0,) * (4 - rank)]
    return output if look is None else (output, see(look, plan, chosen, lse, extra, rank))


def _watched(
    watcher: Watcher, plan: Plan, rank: int, look: Look | None, backend: str | None
) -> Tensor | tuple[Tensor, View]:
    """Run the plan, and give the watcher a view of it; what a backend calls is not seen."""
    wanted = watcher.look()
    if wanted is not None:
        wanted = fitted(wanted, plan)
        check(wanted, plan)
    Watching.current = None
    try:
        if wanted is None:
            return _run(plan, rank, look, backend)
        output, view = _run(plan, rank, wanted, backend)
        result = output if look is None else _run(plan, rank, look, backend)
    finally:
        Watching.current = watcher
    watcher.record(view, result if isinstance(result, Tensor) else result[0])
    return result


def _traced(*tensors: Any, **options: Any) -> Any:
    """The call as one node in a graph of ``torch.fx.symbolic_trace``."""
    tracer = next(tensor.tracer for tensor in tensors if isinstance(tensor, Proxy))
    return tracer.create_proxy("call_function", attention, tensors, options)


def lower(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    score: Score = Dot(),  # noqa: B008 - frozen
    bias: Bias | Tensor | None = None,
    mask: Mask | Tensor | None = None,
    normalizer: Normalizer = Softmax(),  # noqa: B008 - frozen
) -> tuple[Plan, int]:
    """Check the arguments of `attention` and lower them to a plan. Returns the plan and the rank of query.

    Raises:
        TypeError: see `attention`.
        ValueError: see `attention`.
    """
    kinds.check(query=query, key=key, value=value, score=score, bias=bias, mask=mask, normalizer=normalizer)
    _check(query, key, value)
    if not isinstance(score, Score):
        raise TypeError(f"score: expected a Score, such as Dot(), got {score!r}")
    if not isinstance(normalizer, Normalizer):
        raise TypeError(f"normalizer: expected a Normalizer, such as Softmax(), got {normalizer!r}")
    if _autocasts(query.device.type):
        query, key, value, score = _autocast(query, key, value, score)
    rank = query.dim()
    if rank < 4:
        query, key, value = (t[(None,) * (4 - rank)] for t in (query, key, value))
    shape = (*query.shape[:3], key.shape[2])
    visible = _EVERYTHING if mask is None else as_mask(mask).lower(shape, query.device)
    prepared = score.prepare(query, key, mask is not None)
    biases = lower_bias(bias, shape, query)
    row = normalizer.lower(shape, query)
    if biases.bias is not None:
        row["bias"] = biases.bias + row["bias"] if "bias" in row else biases.bias
    kind: type[Plan] = Plan
    if prepared.own is not None or "own_normalizer" in row:
        kind, names = OwnPlan, row.get("names", ())
        row |= {"own_score": prepared.own, "names": (prepared.name, *names) if prepared.name else names}
    plan = kind(
        prepared.query, prepared.key, value, prepared.kind, prepared.scale, prepared.vector, prepared.softcap,
        relative=biases.relative, start=visible.start, end=visible.end, visible=visible.dense,
        layout=visible.layout, block=visible.block, causal=visible.causal, **row,
    )  # fmt: skip
    kinds.check_lowered(plan)
    return plan, rank


def _quick(
    query: Tensor, key: Tensor, value: Tensor, score: Score, mask: Mask | Tensor | None, normalizer: Normalizer
) -> Tensor | None:
    """The output of softmax attention without options by the quick path; None: the call needs the general path."""
    if type(score) is not Dot or type(normalizer) is not Softmax or normalizer.sink is not None:
        return None
    causal, lengths = backends.NO_MASK, None
    if type(mask) is Lengths and mask.queries is None:
        lengths = mask.keys
    elif type(mask) is Causal and (mask.offset is None or (type(mask.offset) is int and abs(mask.offset) < 2**62)):
        causal = backends.LAST_SEES_ALL if mask.offset is None else mask.offset
    elif mask is not None:
        return None
    return backends.quick(query, key, value, score.scale, causal, lengths)


def _check(query: Tensor, key: Tensor, value: Tensor) -> None:
    tensors = query, key, value
    if not all(isinstance(tensor, Tensor) for tensor in tensors):
        name, other = next((n, t) for n, t in zip(_NAMES, tensors, strict=True) if not isinstance(t, Tensor))
        raise TypeError(f"{name}: expected a tensor, got {type(other).__name__}")
    dtype, device, q, k, v = query.dtype, query.device, query.shape, key.shape, value.shape
    rank = len(q)
    alike = (
        dtype in _DTYPES and key.dtype is dtype and value.dtype is dtype
        and key.device == device and value.device == device
        and 2 <= rank <= 4 and len(k) == rank and len(v) == rank
    )  # fmt: skip
    if not alike:
        _check_each(query, key, value)
    if v[:-1] != k[:-1]:
        raise ValueError(f"value: must have key's shape {tuple(k)} except for the last dimension, got {tuple(v)}")
    if rank == 4 and k[0] != q[0]:
        raise ValueError(f"key: must have query's batch size {q[0]}, got shape {tuple(k)}")
    if rank >= 3 and k[-3] != q[-3] and (k[-3] == 0 or q[-3] % k[-3]):
        raise ValueError(f"key: its number of heads must divide query's {q[-3]}, got {k[-3]} (shape {tuple(k)})")


def _check_each(*tensors: Tensor) -> None:
    """Raise the error for the first of query, key and value that is wrong; nothing, if autocast will convert it."""
    query = tensors[0]
    for name, tensor in zip(_NAMES, tensors, strict=True):
        if tensor.dtype not in _DTYPES:
            raise TypeError(f"{name}: expected float64, float32, bfloat16 or float16, got {tensor.dtype}")
        if not 2 <= tensor.dim() <= 4:
            raise ValueError(f"{name}: expected 2 to 4 dimensions, (B, H, L, E), got shape {tuple(tensor.shape)}")
        if tensor.dim() != query.dim():
            raise ValueError(f"{name}: must have query's {query.dim()} dimensions, got shape {tuple(tensor.shape)}")
        if tensor.device != query.device:
            raise ValueError(f"{name}: is on {tensor.device}, query on {query.device}")
        if tensor.dtype != query.dtype and not _autocasts(query.device.type):
            raise TypeError(f"{name}: must have query's dtype {query.dtype}, got {tensor.dtype}")


def _autocast(query: Tensor, key: Tensor, value: Tensor, score: Score) -> tuple[Tensor, Tensor, Tensor, Score]:
    """Under autocast, one dtype for all: autocast's if matrix products gain from it, else that of the widest input.

    A score without matrix products, such as the additive one, is not faster in half precision and keeps its dtype.
    """
    inner = score.score if isinstance(score, Softcap) else score
    widest = torch.promote_types(torch.promote_types(query.dtype, key.dtype), value.dtype)
    keep = widest is torch.float64 or not inner.products
    dtype = widest if keep else torch.get_autocast_dtype(query.device.type)
    return query.to(dtype), key.to(dtype), value.to(dtype), score.to(dtype)


def _autocasts(device: str) -> bool:
    # The general query takes a microsecond.
    known = device in ("cpu", "cuda") or torch.amp.is_autocast_available(device)
    return known and torch.is_autocast_enabled(device)
