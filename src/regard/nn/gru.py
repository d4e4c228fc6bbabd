"""A gated recurrent unit that projects the inputs of all steps in one product."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regard.nn.layer import Device, GateProjection, Layer, assign, check_shape
from regard.nn.step_linear import StepLinear


class _StateProjection(StepLinear):
    """Three square matrices in one, each orthogonal at first (Saxe et al. 2014, arXiv:1312.6120)."""

    def reset_parameters(self) -> None:
        """See `regard.nn.layer.Layer.reset_parameters`."""
        width, device = self.in_features, self.weight.device
        parts = [nn.init.orthogonal_(torch.empty(width, width, device=device)) for _ in range(3)]
        assign(self.weight, torch.cat(parts))
        nn.init.zeros_(self.bias)


class GRU(Layer):
    """The gated recurrent unit of Cho et al. 2014 (arXiv:1406.1078), as PyTorch's ``nn.GRUCell`` computes it.

    ``r = σ(W_r x + U_r h)``, ``z = σ(W_z x + U_z h)``, ``n = tanh(W_n x + r ⊙ U_n h)``, ``h' = (1 − z) ⊙ n + z ⊙ h``.
    PyTorch's ``nn.GRU`` takes no mask and no input that depends on the step before (input feeding), and autocast has no
    effect inside it on a CPU.

    Args:
        input_width: width of the inputs.
        width: width of the state.
        device: of the parameters; None: PyTorch's default device.
        dtype: of the parameters; None: PyTorch's default dtype.

    Raises:
        ValueError: a width is not positive.

    Example:
        >>> inputs, real = torch.randn(2, 5, 8), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        >>> states, last = GRU(8, 6)(inputs, real)
        >>> states.shape, torch.equal(last[1], states[1, 2])
        (torch.Size([2, 5, 6]), True)
    """

    def __init__(self, input_width: int, width: int, *, device: Device = None, dtype: torch.dtype | None = None):
        super().__init__()
        if min(input_width, width) < 1:
            raise ValueError(f"widths must be positive, got {input_width}, {width}")
        self.width = width
        self.input = GateProjection(input_width, width, 3, device=device, dtype=dtype)
        self.state = _StateProjection(width, 3 * width, device=device, dtype=dtype)

    def step(self, projected: Tensor, state: Tensor, through: Callable[[Tensor], Tensor]) -> Tensor:
        """One step: ``projected`` = ``input(x)`` ``(B, 3·width)``, the state before and after ``(B, width)``.

        ``through`` is ``self.state.bound()``, called once for a sequence.
        """
        # split, because the backward pass of each slice would fill a full tensor with zeros
        parts = (2 * self.width, self.width)
        gates, candidate = projected.split(parts, -1)
        gates_of_state, candidate_of_state = through(state).to(state.dtype).split(parts, -1)
        reset, update = torch.sigmoid(gates + gates_of_state).chunk(2, -1)
        new = torch.tanh(torch.addcmul(candidate, reset, candidate_of_state))
        return torch.lerp(new, state, update)

    def forward(self, inputs: Tensor, real: Tensor, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """Run over sequences.

        Args:
            inputs: ``(B, L, input_width)``, or ``(L, input_width)`` of a single sequence.
            real: boolean ``(B, L)`` or ``(L,)``; the state is kept where it is False, so that padding has no
                influence.
            reverse: from the last step to the first.

        Returns:
            The states ``(B, L, width)``, and the state after the last step, ``(B, width)``; without B for a single
            sequence.

        Raises:
            ValueError: ``inputs`` has neither 2 nor 3 dimensions, or ``real`` does not fit it.
        """
        check_shape("inputs", inputs, "B L input_width", "L input_width")
        if real.shape != inputs.shape[:-1]:
            raise ValueError(f"real: expected shape {tuple(inputs.shape[:-1])}, got {tuple(real.shape)}")
        if inputs.dim() == 2:
            states, last = self(inputs[None], real[None], reverse=reverse)
            return states[0], last[0]
        precise = torch.promote_types(inputs.dtype, torch.float32)  # half precision is for the products only
        projected = self.input(inputs).to(precise).unbind(1)
        keep = (~real)[..., None].unbind(1)
        state = inputs.new_zeros(inputs.shape[0], self.width, dtype=precise)
        states, through = [], self.state.bound()
        for at in reversed(range(len(projected))) if reverse else range(len(projected)):
            state = torch.where(keep[at], state, self.step(projected[at], state, through))
            states.append(state)
        return torch.stack(states[::-1] if reverse else states, 1), state
