"""A gated recurrent unit whose input products are made for all steps at once."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regard.nn.step_linear import StepLinear


class GRU(nn.Module):
    """The gated recurrent unit of Cho et al. 2014 (arXiv:1406.1078), as PyTorch's ``nn.GRUCell`` computes it.

    ``r = σ(W_r x + U_r h)``, ``z = σ(W_z x + U_z h)``, ``n = tanh(W_n x + r ⊙ U_n h)``, ``h' = (1 − z) ⊙ n + z ⊙ h``.
    PyTorch's ``nn.GRU`` takes no mask and no input that depends on the step before (input feeding), and inside it
    autocast has no effect on CPU; hence this one.

    Args:
        input_width: width of the inputs.
        width: width of the state.
    """

    def __init__(self, input_width: int, width: int):
        super().__init__()
        self.width = width
        self.input = nn.Linear(input_width, 3 * width)
        self.state = StepLinear(width, 3 * width)
        for start in range(0, 3 * width, width):
            nn.init.xavier_uniform_(self.input.weight[start : start + width])
            nn.init.orthogonal_(self.state.weight[start : start + width])
        nn.init.zeros_(self.input.bias)
        nn.init.zeros_(self.state.bias)

    def step(self, projected: Tensor, state: Tensor, through: Callable[[Tensor], Tensor]) -> Tensor:
        """One step: ``projected`` = ``input(x)`` ``(B, 3·width)``, the state before and after ``(B, width)``.

        ``through`` is ``self.state.bound()``, made once for a sequence.
        """
        # split, not slices: the backward of a slice fills a whole tensor with zeros
        parts = (2 * self.width, self.width)
        gates, candidate = projected.split(parts, -1)
        gates_of_state, candidate_of_state = through(state).to(state.dtype).split(parts, -1)
        reset, update = torch.sigmoid(gates + gates_of_state).chunk(2, -1)
        new = torch.tanh(torch.addcmul(candidate, reset, candidate_of_state))
        return torch.lerp(new, state, update)

    def forward(self, inputs: Tensor, real: Tensor, *, reverse: bool = False) -> tuple[Tensor, Tensor]:
        """Run over whole sequences.

        Args:
            inputs: ``(B, L, input_width)``.
            real: boolean ``(B, L)``; where False the state is carried over unchanged, so padding has no influence.
            reverse: from the last step to the first.

        Returns:
            The states ``(B, L, width)``, and the state after the last step, ``(B, width)``.
        """
        precise = torch.promote_types(inputs.dtype, torch.float32)  # autocast's half precision is for products alone
        projected = self.input(inputs).to(precise).unbind(1)
        keep = (~real)[..., None].unbind(1)
        state = inputs.new_zeros(inputs.shape[0], self.width, dtype=precise)
        states, through = [], self.state.bound()
        for at in reversed(range(len(projected))) if reverse else range(len(projected)):
            state = torch.where(keep[at], state, self.step(projected[at], state, through))
            states.append(state)
        return torch.stack(states[::-1] if reverse else states, 1), state
