"""Training speed of the recurrent translator beside a plain loop of the same sizes.

    python benchmarks/training.py [--profile] [--write benchmarks/results/training.txt]

The plain loop is what one writes first: PyTorch's packed GRU encoder, and a decoder that at every step embeds, projects
the whole memory again, runs ``nn.GRUCell`` and the output layer, and collects logits with padding in. Both train on the
same random batches; they take turns, and medians are compared.
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
from regard.train.memory import keep_freed_memory

VOCABULARY, EMBEDDING, DIM, BATCH, SOURCE, TARGET = 8000, 256, 512, 128, 15, 16
"""About a Multi30k batch: 29,000 captions of 12 words, 8,000 tokens a language."""


class Plain(nn.Module):
    """Bahdanau's translator, written step by step."""

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
        """The summed loss."""
        given, wanted = target[:, :-1], target[:, 1:]
        embedded = self.dropout(self.source_embedding(source))
        packed = nn.utils.rnn.pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        states, final = self.encoder(packed)
        memory = self.dropout(
            nn.utils.rnn.pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])[0]
        )
        hidden = torch.tanh(self.bridge(final.transpose(0, 1).flatten(1)))
        hidden_away = (torch.arange(source.shape[1]) >= lengths[:, None])[..., None]
        fed, steps = torch.zeros_like(hidden), []
        for at in range(given.shape[1]):
            embedded = self.dropout(self.target_embedding(given[:, at]))
            hidden = self.cell(torch.cat([embedded, fed], -1), hidden)
            scores = self.v(torch.tanh(self.query(hidden)[:, None] + self.key(memory)))
            weights = torch.softmax(scores.masked_fill(hidden_away, -torch.inf), 1)
            context = (weights * memory).sum(1)
            fed = self.dropout(torch.tanh(self.combine(torch.cat([hidden, context], -1))))
            steps.append(F.linear(self.output(fed), self.target_embedding.weight))
        wanted = wanted.masked_fill(torch.arange(given.shape[1]) >= target_lengths[:, None] - 1, -100)
        logits = torch.stack(steps, 1).flatten(0, 1).float()
        return F.cross_entropy(logits, wanted.flatten(), reduction="sum", label_smoothing=smoothing)


def batches(count: int) -> list[tuple[Tensor, ...]]:
    """Random batches with lengths between two thirds and all of the longest."""
    random = torch.Generator().manual_seed(0)
    made: list[tuple[Tensor, ...]] = []
    for _ in range(count):
        source = torch.randint(4, VOCABULARY, (BATCH, SOURCE), generator=random)
        target = torch.randint(4, VOCABULARY, (BATCH, TARGET + 1), generator=random)
        lengths = torch.randint(SOURCE * 2 // 3, SOURCE + 1, (BATCH,), generator=random)
        made.append((source, lengths, target, lengths + 2))
    return made


def trainer(model: nn.Module, precision: torch.dtype) -> Callable[[tuple[Tensor, ...]], int]:
    """A function that trains on a batch, and returns its number of target tokens."""
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
    """Target tokens a second of each round, the trainers taking turns."""
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
    parser.add_argument("--profile", action="store_true", help="also print what regard's time goes to")
    parser.add_argument("--write", type=Path, help="also write the table to this file")
    options = parser.parse_args()
    rows = [machine(), f"batch {BATCH}, source {SOURCE}, target {TARGET}, dim {DIM}, vocabulary {VOCABULARY}", ""]
    rows.append(f"{'':34}{'target tokens/s':>16}{'min':>8}{'max':>8}{'ratio':>8}")
    # The plain loops come first, before anything is changed about the process's memory.
    plain = {f"plain loop, {_name(p)}": trainer(_fresh(Plain), p) for p in (torch.float32, torch.bfloat16)}
    speeds = measure(plain, options.rounds)
    keep_freed_memory()
    ours = {f"regard, {_name(p)}": trainer(_fresh(_regard), p) for p in (torch.float32, torch.bfloat16)}
    kept = {f"{name}, memory kept": step for name, step in plain.items()}
    speeds |= measure(kept | ours, options.rounds)
    base = statistics.median(speeds["plain loop, float32"])
    for name, found in speeds.items():
        middle = statistics.median(found)
        rows.append(f"{name:34}{middle:16,.0f}{min(found):8,.0f}{max(found):8,.0f}{middle / base:8.2f}")
    if options.profile:
        for precision in (torch.float32, torch.bfloat16):
            rows += [
                "",
                f"what regard's time goes to, {_name(precision)}:",
                *profile(trainer(_fresh(_regard), precision)),
            ]
    print("\n".join(rows))
    if options.write is not None:
        options.write.parent.mkdir(parents=True, exist_ok=True)
        options.write.write_text("\n".join(rows) + "\n")


def profile(step: Callable[[tuple[Tensor, ...]], int]) -> list[str]:
    """The ten operations that take most, with their share of the time."""
    work = batches(5)
    for batch in work[:2]:
        step(batch)
    with torch.profiler.profile() as found:
        for batch in work[2:]:
            step(batch)
    events = sorted(found.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    return [f"{e.self_cpu_time_total / total:6.1%}  {e.count // 3:5} calls a step  {e.key}" for e in events[:14]]


def _regard() -> RNNTranslator:
    return RNNTranslator(VOCABULARY, VOCABULARY, embedding=EMBEDDING, dim=DIM, dropout=0.3)


def _fresh(make: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


if __name__ == "__main__":
    main()
