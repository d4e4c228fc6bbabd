"""Does an attention layer learn which key to attend to? The task is to copy the one marked token of a sequence.

    python benchmarks/copying.py [--steps 1500]

Each sequence has 50 random tokens of a vocabulary of 64, and one of them is marked. One query attends to the sequence,
and a linear layer predicts the token from the context. The right key is known, so the weight on it measures what the
layer learned. The accuracy and this weight are means over 10,000 new sequences, in evaluation mode.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from machine import machine
from torch import Tensor, nn

from regard import Look, Sparsemax
from regard.nn import HardAttention, SoftAttention, VariationalAttention, reinforce

TOKENS, LENGTH, WIDTH, BATCH = 64, 50, 64, 128

LAYERS: dict[str, Callable[[], SoftAttention]] = {
    "Softmax": lambda: SoftAttention(WIDTH),
    "Sparsemax": lambda: SoftAttention(WIDTH, normalizer=Sparsemax()),
    "Hard, gumbel": lambda: HardAttention(WIDTH, estimator="gumbel"),
    "Hard, reinforce": lambda: HardAttention(WIDTH, estimator="reinforce"),
    "Hard, straight-through": lambda: HardAttention(WIDTH, estimator="straight-through"),
    "Variational": lambda: VariationalAttention(WIDTH, prior_scale=3.0),
}


class Copier(nn.Module):
    """Embeds the tokens and the mark, attends once, and predicts the marked token."""

    def __init__(self, attention: SoftAttention):
        super().__init__()
        self.token, self.mark = nn.Embedding(TOKENS, WIDTH), nn.Embedding(2, WIDTH)
        self.query = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.attention, self.output = attention, nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: Tensor, marked: Tensor, look: Look) -> tuple[Tensor, object]:
        """Logits ``(B, tokens)`` and the view; ``tokens`` ``(B, L)``, ``marked`` ``(B,)``."""
        at = torch.arange(tokens.shape[1]) == marked[:, None]
        memory = self.token(tokens) + self.mark(at.long())
        context, view = self.attention(self.query.expand(len(tokens), -1, -1), memory, look=look)
        return self.output(context[:, 0]), view


def batch(size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens ``(size, LENGTH)``, the marked positions ``(size,)`` and the tokens there ``(size,)``."""
    tokens, marked = torch.randint(TOKENS, (size, LENGTH)), torch.randint(LENGTH, (size,))
    return tokens, marked, tokens.gather(1, marked[:, None])[:, 0]


def train(layer: SoftAttention, steps: int) -> Copier:
    """Train with Adam at a constant rate; the layers differ only in the term that they add to the cross-entropy."""
    model = Copier(layer)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scored = isinstance(layer, HardAttention) and layer.normalizer.estimator == "reinforce"
    latent = isinstance(layer, VariationalAttention)
    look, baseline = Look(log_prob=scored, kl=latent), 0.0
    for step in range(steps):
        tokens, marked, answer = batch(BATCH)
        logits, view = model(tokens, marked, look)
        costs = nn.functional.cross_entropy(logits, answer, reduction="none")
        loss = costs.mean()
        if scored:
            baseline = 0.9 * baseline + 0.1 * float(loss.detach()) if step else float(loss.detach())
            loss = loss + reinforce(costs[:, None, None], view.log_prob, baseline)
        if latent:
            # The divergence is phased in, so that the scores can learn the key before the prior limits them.
            loss = loss + 1e-3 * min(1.0, step / steps) * view.kl.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def scores(model: Copier, size: int = 10_000) -> tuple[float, float]:
    """The share of tokens that are predicted correctly, and the mean weight on the marked key."""
    tokens, marked, answer = batch(size)
    with torch.no_grad():
        logits, view = model(tokens, marked, Look(rows=[0]))
    on_mark = view.rows[:, 0, 0].gather(1, marked[:, None])
    return (logits.argmax(-1) == answer).float().mean().item(), on_mark.mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, help=f"training steps, each on a batch of {BATCH} sequences")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    print(f"{'layer':<24} {'copied':>8} {'weight on the mark':>20} {'seconds':>8}")
    for name, make in LAYERS.items():
        torch.manual_seed(options.seed)
        began = time.monotonic()
        copied, weight = scores(train(make(), options.steps))
        print(f"{name:<24} {copied:>8.2%} {weight:>20.2%} {time.monotonic() - began:>8.1f}", flush=True)


if __name__ == "__main__":
    main()
