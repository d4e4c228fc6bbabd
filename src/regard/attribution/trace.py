"""One forward and backward pass of a model, with what attributions need of each of its attentions."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, overload

import torch
from torch import Tensor, nn

from regard.attend import Look, View
from regard.attribution.target import Chosen, Inputs, Target, chosen_target, run, target_values, tokens_of
from regard.errors import UserError
from regard.kernels.plan import Plan
from regard.watch.modules import Enter, in_backward, unseen, watched

_OTHER_SIDE = ("key_value_states", "encoder_hidden_states", "memory", "key")
"""Arguments of an attention that are what it attends to, if that is not what its queries come from."""


@dataclass(eq=False)
class Normed:
    """A call of a normalization layer, with its input and output, ``(B, L, D)``."""

    module: nn.Module
    input: Tensor
    output: Tensor


@dataclass(eq=False)
class Call:
    """A call of attention.

    Attributes:
        name: of the innermost module that made it; with `number`, the key of `regard.looking`.
        number: of the call by this module, from 0.
        view: from which tiles of the weights are computed.
        output: ``(B, H, Lq, Ev)``, with its graph.
        entered: the first tensor that the module got; None: none.
        cross: whether the keys come from somewhere else than the queries.
        before: the normalization whose output `entered` is, if there is one.
        projection: the layer that got the joined outputs of the heads; None: it cannot be told.
        projected: the output of that layer, ``(B, Lq, D)``.
        after: the first normalization after that.
        gradient: of the target, in `output`.
    """

    name: str
    number: int
    view: View
    output: Tensor
    entered: Tensor | None
    cross: bool
    before: Normed | None
    projection: nn.Module | None = None
    projected: Tensor | None = None
    after: Normed | None = None
    gradient: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def plan(self) -> Plan:
        """The detached inputs of the call, and what is computed from them."""
        plan = self.view.plan
        assert plan is not None
        return plan

    def tile(self, queries: Tensor) -> Tensor:
        """The weights of some queries, ``(B, H, n, Lk)``."""
        return self.view.tile(queries).to(self.output.dtype)

    @property
    def values(self) -> Tensor:
        """The values, ``(B, H, Lk, Ev)``, those of a group for each of its heads."""
        values = self.plan.value.to(self.output.dtype)
        return values.repeat_interleave(self.output.shape[1] // values.shape[1], 1)


@dataclass(eq=False)
class Trace:
    """What was seen.

    Attributes:
        model: the name of its class.
        calls: in the order in which they were made.
        target: what is explained.
        values: the same as numbers, ``(B,)``.
        embedded: the vectors of the input's tokens, ``(B, L, D)``; None: the model embeds no tokens.
        embedded_gradient: of the target in them.
    """

    model: str
    calls: list[Call]
    target: Chosen
    values: Tensor
    embedded: Tensor | None
    embedded_gradient: Tensor | None


def trace(model: nn.Module, inputs: Inputs, target: Target = None) -> Trace:
    """Run a model forward and backward.

    Raises:
        UserError: the model is in training mode, made no call that can be followed, or has no such target.
    """
    if model.training:
        raise UserError(f"{type(model).__name__} is in training mode, which drops weights at random; call model.eval()")
    watcher = _Watcher(model, inputs)
    with torch.inference_mode(False), torch.enable_grad(), watched(model, watcher, watcher.enter, watcher.leave):
        output = run(model, inputs)
        chosen = chosen_target(model, output, target)
        values = target_values(model, output, chosen)
        watcher.finish()
        calls, embedded = watcher.calls, watcher.embedded
        leaves = [call.output for call in calls] + ([] if embedded is None else [embedded])
        if not values.requires_grad or not all(leaf.requires_grad for leaf in leaves):
            raise UserError(
                f"target: it has no gradient in the attentions of {type(model).__name__}; its parameters are frozen"
            )
        grads = torch.autograd.grad(values.sum(), leaves, allow_unused=True)
    full = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)]
    for call, grad in zip(calls, full, strict=False):
        call.gradient, call.output, call.entered = _wide(grad), _wide(call.output), _wide(call.entered)
    for norm in {norm for call in calls for norm in (call.before, call.after) if norm is not None}:
        norm.output = norm.output.detach()
    if embedded is None:
        return Trace(type(model).__name__, calls, chosen, values.detach(), None, None)
    return Trace(type(model).__name__, calls, chosen, values.detach(), _wide(embedded), _wide(full[-1]))


@overload
def _wide(tensor: Tensor) -> Tensor: ...
@overload
def _wide(tensor: Tensor | None) -> Tensor | None: ...
def _wide(tensor: Tensor | None) -> Tensor | None:
    """Without a graph, and at least in single precision."""
    return None if tensor is None else tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32))


@dataclass(eq=False)
class _Running:
    """A module that runs, and the arguments that it got."""

    name: str
    module: nn.Module
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]


class _Watcher:
    """See `regard.attend.watching.Watcher`; also follows what comes before and after each attention."""

    def __init__(self, model: nn.Module, inputs: Inputs):
        self.calls: list[Call] = []
        self.embedded: Tensor | None = None
        self._model, self._tokens = model, tokens_of(inputs)
        self._stack: list[_Running] = []
        self._norms: list[Normed] = []
        self._ran: dict[str, bool] = {}

    def finish(self) -> None:
        """Check that every attention was seen.

        Raises:
            UserError: one was not.
        """
        missed = unseen(self._model, self._ran)
        if missed or not self.calls:
            what = "{} ({})".format(*next(iter(missed.items()))) if missed else type(self._model).__name__
            raise UserError(
                f"the attention of {what} cannot be followed; only that of regard and of PyTorch can: load a model of "
                "transformers with attn_implementation='sdpa' or 'regard'"
            )

    def look(self) -> Look | None:
        return Look() if self._stack else None

    def record(self, view: View, output: Tensor) -> None:
        if in_backward():
            return
        running = self._stack[-1]
        if output.dim() != 4:
            raise UserError(f"{running.name}: its attention has no dimension of inputs; give the model a batch of one")
        for module in self._stack:
            self._ran[module.name] = True
        bound = inspect.signature(running.module.forward).bind(*running.arguments, **running.named).arguments
        entered = next((value for value in bound.values() if isinstance(value, Tensor)), None)
        other = next((bound[name] for name in _OTHER_SIDE if bound.get(name) is not None), None)
        before = next((norm for norm in reversed(self._norms) if entered is not None and norm.output is entered), None)
        number = sum(call.name == running.name for call in self.calls)
        call = Call(running.name, number, view, output, entered, other is not None and other is not entered, before)
        call.cross = call.cross or call.plan.key.shape[2] != output.shape[2]
        self.calls.append(call)

    def enter(self, name: str) -> Enter:
        """The hook before a module, see `regard.watch.modules.watched`."""

        def enter(module: nn.Module, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            self._stack.append(_Running(name, module, arguments, named))
            self._ran.setdefault(name, False)
            if self.calls and self.calls[-1].projection is None and _is_linear(module) and arguments:
                call, given = self.calls[-1], arguments[0]
                if given.numel() == call.output.numel():
                    joined = call.output.transpose(1, 2).flatten(2)
                    if torch.equal(given.reshape(joined.shape), joined):
                        call.projection = module

        return enter

    def leave(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
        """The hook after a module."""
        self._stack.pop()
        if not isinstance(output, Tensor):
            return None
        call = self.calls[-1] if self.calls else None
        if call is not None and module is call.projection and call.projected is None:
            call.projected = output.detach().view(call.output.shape[0], call.output.shape[2], -1)
        if "norm" in type(module).__name__.lower() and arguments and isinstance(arguments[0], Tensor):
            norm = Normed(module, arguments[0].detach(), output)
            self._norms.append(norm)
            if call is not None and call.projected is not None and call.after is None:
                call.after = norm
        if isinstance(module, nn.Embedding) and self.embedded is None and self._tokens is not None:
            given = arguments[0] if arguments else None
            if isinstance(given, Tensor) and given.shape == self._tokens.shape and torch.equal(given, self._tokens):
                self.embedded = output.detach().requires_grad_()
                return self.embedded
        return None


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"
