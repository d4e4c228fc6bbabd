"""The state that an exact resumption needs: weights, optimizer, random states; the same for any number of processes."""

from __future__ import annotations

import base64
import random
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.training.shards import Shards


def _states() -> ModuleType:
    """PyTorch's state dicts of models on one or many processes, imported when needed: it takes half a second."""
    from torch.distributed.checkpoint import state_dict

    return state_dict


def _full() -> Any:
    return _states().StateDictOptions(full_state_dict=True, cpu_offload=True)


def gather_tensors(
    model: nn.Module, optimizers: list[torch.optim.Optimizer], *, sharded: bool = False
) -> dict[str, dict[str, Tensor]]:
    """The full weights, and the state of the optimizers as ``"name of the weight:moment"``.

    Every process must call it; of several, only the first gets the tensors. ``sharded``: each process gets sharded
    tensors, with its own rows.
    """
    return {"model": gather_weights(model, sharded=sharded), "optimizer": _moments(model, optimizers, sharded)}


def gather_weights(model: nn.Module, *, sharded: bool = False) -> dict[str, Tensor]:
    """The full weights alone; called like `gather_tensors`."""
    weights = _states().get_model_state_dict(model, options=None if sharded else _full())
    # Copied: on a CPU these are the parameters themselves, which the next step changes.
    return {name: tensor.clone() for name, tensor in weights.items()}


def _moments(model: nn.Module, optimizers: list[torch.optim.Optimizer], sharded: bool) -> dict[str, Tensor]:
    options = None if sharded else _full()
    state = _states().get_optimizer_state_dict(model, optimizers, options=options).get("state", {})
    return {
        f"{name}:{moment}": value if isinstance(value, Tensor) else torch.as_tensor(value)
        for name, moments in state.items()
        for moment, value in moments.items()
    }


def fill_weights(model: nn.Module, weights: Shards) -> None:
    """Copy this process's rows of the weights into a sharded model."""
    for name, tensor in _states().get_model_state_dict(model).items():
        weights.fill(name, tensor)


def fill_moments(model: nn.Module, optimizers: list[torch.optim.Optimizer], moments: Shards) -> None:
    """Copy this process's rows of the state of the optimizers of a sharded model."""
    for name, tensor in _moments(model, optimizers, sharded=True).items():
        moments.fill(name, tensor)


def restore_moments(model: nn.Module, optimizers: list[torch.optim.Optimizer], moments: dict[str, Tensor]) -> None:
    """Restore the state of the optimizers that `gather_tensors` returned; the weights first, see `restore_weights`."""
    state: dict[str, Any] = {}
    for key, value in moments.items():
        name, moment = key.rsplit(":", 1)
        state.setdefault(name, {})[moment] = value
    full = _states().StateDictOptions(full_state_dict=True)
    groups = _states().get_optimizer_state_dict(model, optimizers, options=full)["param_groups"]
    _states().set_optimizer_state_dict(model, optimizers, {"state": state, "param_groups": groups}, options=_full())


def restore_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load these full weights into the model."""
    _states().set_model_state_dict(model, weights, options=_full())


def random_states() -> dict[str, Any]:
    """The random states of this process, of Python, NumPy and torch, as JSON can represent them."""
    numpy_state: Any = np.random.get_state(legacy=False)
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    cuda = [_text(state) for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_available() else []
    return {"python": random.getstate(), "numpy": numpy_state, "torch": _text(torch.get_rng_state()), "cuda": cuda}


def restore_random_states(states: dict[str, Any]) -> None:
    """Restore what `random_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    np.random.set_state(states["numpy"])
    torch.set_rng_state(_tensor(states["torch"]))
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_tensor(state) for state in states["cuda"]])


def seed_random_states(*numbers: int) -> None:
    """Set the random states of this process by these numbers, such as the seed, the step and the rank."""
    seeds = np.random.SeedSequence(numbers).generate_state(3)
    random.seed(int(seeds[0]))
    np.random.seed(int(seeds[1]))
    torch.manual_seed(int(seeds[2]))


def _text(state: Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode()


def _tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
