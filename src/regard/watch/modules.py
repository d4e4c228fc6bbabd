"""What observers of a module's attentions share: hooks on all its modules, and which attentions were not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from regard.attend.watching import Watcher, Watching
from regard.watch.redirect import redirected

Enter = Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], None]
"""Gets a module that begins, and its arguments."""

Leave = Callable[[nn.Module, tuple[Any, ...], Any], Any]
"""Gets a module that ends, its arguments and its output; returns another output, or None to keep it."""


@contextmanager
def watched(model: nn.Module, watcher: Watcher, enter: Callable[[str], Enter], leave: Leave) -> Iterator[None]:
    """In this block, ``watcher`` sees all attentions of a module, and the hooks are called around each of its modules.

    Args:
        model: the module. If it is compiled, it runs without its graphs.
        watcher: of the calls of attention, PyTorch's own among them.
        enter: makes the hook of a module from its name.
        leave: also called for a module that raises an error.
    """
    with ExitStack() as stack:
        for name, module in model.named_modules():
            stack.callback(module.register_forward_pre_hook(enter(name), with_kwargs=True, prepend=True).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        stack.callback(setattr, Watching, "current", Watching.current)
        Watching.current = watcher
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(redirected())
        yield


def in_backward() -> bool:
    """Whether a backward pass runs, as when activation checkpointing repeats a forward pass."""
    return bool(torch._C._current_graph_task_id() != -1)


def unseen(model: nn.Module, ran: Mapping[str, bool]) -> dict[str, str]:
    """The modules that are an attention by the name of their class and made no call that was seen, with this name.

    Args:
        model: the module that they are in.
        ran: the names of the modules that ran, and whether a call in them was seen.
    """
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    return {name: kinds[name] for name, done in ran.items() if not done and "attention" in kinds[name].lower()}
