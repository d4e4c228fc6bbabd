"""Training speed of the recurrent translator compared with a straightforward implementation of the same model.

    python benchmarks/training.py [--profile] [--write benchmarks/results/training.txt]

The straightforward implementation, "plain loop", has PyTorch's packed GRU as its encoder. At every step its decoder
embeds a token, projects the encoder's states again, and runs ``nn.GRUCell`` and the output layer; the loss is computed
over all positions, padding included. Both models train on the same random batches, in turn. Medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import machine
from torch import Tensor, nn
from torch.nn import functional as F

from regard.models.rnn import RNNTranslator
from regard.training.memory import keep_freed_memory

VOCABULARY, EMBEDDING, DIM, BATCH, SOURCE, TARGET = 8000, 256, 512, 128, 15, 16
"""About a batch of Multi30k, which has 29,000 captions of 12 words; 8,000 tokens per language."""


class Plain(nn.Module):
    """Bahdanau's translator; the decoder is a loop over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        self.target_embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        self.encoder = nn.GRU(EMBEDDING, DIM // 2, bidirectional=True, batch_first=True)
        self.bridge = nn.Linear(DIM, DIM)
        self.query, self.key, self.v = (
            nn.Linear(DIM, DIM),
            nn.Linear(DIM, DIM, bias=False),
            nn.Linear(DIM, 1, bias=False),
        )
        self.cell = nn.GRUCell(EMBEDDING + DIM, DIM)
        self.combine = nn.Linear(2 * DIM, DIM)
        self.output = nn.Linear(DIM, EMBEDDING)
        self.dropout = nn.Dropout(0.3)

    def forward(
        self, source: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor, smoothing: float
    ) -> Tensor:
        """The sum of the loss over target tokens."""
        inputs, labels = target[:, :-1], target[:, 1:]
        embedded = self.dropout(self.source_embedding(source))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, final = self.encoder(packed)
        memory = self.dropout(
            nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])[0]
        )
        hidden = torch.tanh(self.bridge(final.transpose(0, 1).flatten(1)))
        padding = (torch.arange(source.shape[1]) >= lengths[:, None])[..., None]
        combined, steps = torch.zeros_like(hidden), []
        for at in range(inputs.shape[1]):
            embedded = self.dropout(self.target_embedding(inputs[:, at]))
            hidden = self.cell(torch.cat([embedded, combined], -1), hidden)
            scores = self.v(torch.tanh(self.query(hidden)[:, None] + self.key(memory)))
            weights = torch.softmax(scores.masked_fill(padding, -torch.inf), 1)
            context = (weights * memory).sum(1)
            combined = self.dropout(torch.tanh(self.combine(torch.cat([hidden, context], -1))))
            steps.append(F.linear(self.output(combined), self.target_embedding.weight))
        labels = labels.masked_fill(torch.arange(inputs.shape[1]) >= target_lengths[:, None] - 1, -100)
        logits = torch.stack(steps, 1).flatten(0, 1).float()
        return F.cross_entropy(logits, labels.flatten(), reduction="sum", label_smoothing=smoothing)


def batches(count: int) -> list[tuple[Tensor, ...]]:
    """Random batches, with lengths from two thirds of the longest to the longest."""
    random = torch.Generator().manual_seed(0)
    result: list[tuple[Tensor, ...]] = []
    for _ in range(count):
        source = torch.randint(4, VOCABULARY, (BATCH, SOURCE), generator=random)
        target = torch.randint(4, VOCABULARY, (BATCH, TARGET + 1), generator=random)
        lengths = torch.randint(SOURCE * 2 // 3, SOURCE + 1, (BATCH,), generator=random)
        result.append((source, lengths, target, lengths + 2))
    return result


def trainer(model: nn.Module, precision: torch.dtype) -> Callable[[tuple[Tensor, ...]], int]:
    """A function that trains on one batch and returns the number of its target tokens."""
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)

    def step(batch: tuple[Tensor, ...]) -> int:
        optimizer.zero_grad()
        tokens = int((batch[3] - 1).sum())
        with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
            loss = model(*batch, 0.1) / tokens
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return tokens

    return step


def measure(trainers: dict[str, Callable[[tuple[Tensor, ...]], int]], rounds: int) -> dict[str, list[float]]:
    """Target tokens per second in each round; the trainers take turns, and two rounds of warm-up are left out."""
    speeds: dict[str, list[float]] = {name: [] for name in trainers}
    for number, batch in enumerate(batches(rounds + 2)):
        for name, step in trainers.items():
            began = time.perf_counter()
            tokens = step(batch)
            if number >= 2:
                speeds[name].append(tokens / (time.perf_counter() - began))
    return speeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--profile", action="store_true", help="also print the operations that take the most time")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    rows = [machine(), f"batch {BATCH}, source {SOURCE}, target {TARGET}, dim {DIM}, vocabulary {VOCABULARY}", ""]
    rows.append(f"{'':34}{'target tokens/s':>16}{'min':>8}{'max':>8}{'ratio':>8}")
    # The plain loops run first, with the process's memory settings unchanged.
    plain = {f"plain loop, {_name(p)}": trainer(_fresh(Plain), p) for p in (torch.float32, torch.bfloat16)}
    speeds = measure(plain, options.rounds)
    keep_freed_memory()
    ours = {f"regard, {_name(p)}": trainer(_fresh(_regard), p) for p in (torch.float32, torch.bfloat16)}
    memory_kept = {f"{name}, memory kept": step for name, step in plain.items()}
    speeds |= measure(memory_kept | ours, options.rounds)
    base = statistics.median(speeds["plain loop, float32"])
    for name, rounds in speeds.items():
        median = statistics.median(rounds)
        rows.append(f"{name:34}{median:16,.0f}{min(rounds):8,.0f}{max(rounds):8,.0f}{median / base:8.2f}")
    if options.profile:
        for precision in (torch.float32, torch.bfloat16):
            rows += [
                "",
                f"share of regard's time by operation, {_name(precision)}:",
                *profile(trainer(_fresh(_regard), precision)),
            ]
    print("\n".join(rows))
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(rows) + "\n")


def profile(step: Callable[[tuple[Tensor, ...]], int]) -> list[str]:
    """The 14 operations that take the most time, with their share of it."""
    work = batches(5)
    for batch in work[:2]:
        step(batch)
    with torch.profiler.profile() as profiler:
        for batch in work[2:]:
            step(batch)
    events = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [f"{e.self_cpu_time_total / total:6.1%}  {e.count // 3:5} calls per step  {e.key}" for e in events[:14]]


def _regard() -> RNNTranslator:
    return RNNTranslator(VOCABULARY, VOCABULARY, embedding=EMBEDDING, dim=DIM, dropout=0.3)


def _fresh(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


if __name__ == "__main__":
    main()
