"""Time of a training step beside the same step written with PyTorch alone, from batches to updated weights.

    python benchmarks/training_steps.py [--precision float32] [--threads 2] [--compile] [--only language] [--write]

Language: nanoGPT's setting for a CPU (4 layers of 128, 4 heads, 64 characters, batches of 12), with its model and loop
(fused AdamW, SDPA, gradient clipping), with `regard.attention` in its model, and with the task ``generate``.
Translation: the sizes and batches of ``multi30k_transformer.yaml`` on random tokens with the lengths of Multi30k, with
`torch.nn.Transformer` in a plain loop, and with the task ``translate``.

First, both sides start from the same weights, with the same normalization and without dropout, and the losses of five
steps with equal optimizers are compared; regard's language model also has a bias of the output,
which is 0 in the first step. Then the steps take turns; the table has medians and quartiles.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import machine
from plain_transformers import PlainGPT, PlainTranslator, by_pytorch, by_regard
from torch import Tensor, nn

from regard.data.encoding import Tokens
from regard.data.tokenizer import BOS, PAD
from regard.models.language import TransformerLM
from regard.models.transformer import TransformerTranslator
from regard.tasks.families.language.settings import LanguageTrainConfig
from regard.tasks.families.language.stream import Stream
from regard.tasks.families.language.trainable import LanguageTrainable
from regard.tasks.families.seq2seq.rows import Rows
from regard.tasks.families.seq2seq.settings import Seq2SeqTrainConfig
from regard.tasks.families.seq2seq.trainable import LOSS, Seq2SeqTrainable
from regard.training.distributed import World
from regard.training.log import Log
from regard.training.loop import TrainingRun
from regard.training.trainable import Trainable

SIZE, DIM, LAYERS, HEADS, CONTEXT, BATCH = 65, 128, 4, 4, 64, 12
TOKENS, HIDDEN, PAIRS = 6000, 256, 29_000
WARM, CHECKED = 3, 5

Step = Callable[[], float]
"""Trains one step and returns its loss per token."""


def text() -> np.ndarray:
    """A million characters."""
    return np.random.default_rng(0).integers(0, SIZE, 1_000_000).astype(np.uint16)


def pairs() -> Rows:
    """Pairs of random tokens with about the lengths of Multi30k."""
    random = np.random.default_rng(0)
    length, sides = np.clip(random.normal(13, 4, PAIRS), 5, 40), []
    for _ in range(2):
        own = np.clip(np.round(length + random.normal(0, 1.5, PAIRS)), 4, 45).astype(np.int64)
        sides.append(Tokens.of(random.integers(4, TOKENS, own.sum()).astype(np.uint16), np.cumsum(own)))
    return Rows(sides[0], sides[1])


def language_model() -> TransformerLM:
    torch.manual_seed(0)
    sizes = {"dim": DIM, "layers": LAYERS, "heads": HEADS, "hidden": 4 * DIM, "context": CONTEXT}
    return TransformerLM(SIZE, positions="learned", **sizes)  # type: ignore[arg-type]


def translator(dropout: float, inside: float) -> TransformerTranslator:
    torch.manual_seed(0)
    return TransformerTranslator(
        TOKENS, TOKENS, dim=DIM, heads=HEADS, encoder_layers=LAYERS, decoder_layers=LAYERS, hidden=HIDDEN,
        dropout=dropout, attention_dropout=inside,
    )  # fmt: skip


def language_task(precision: str) -> LanguageTrainable:
    data = text()
    stream = Stream(data, np.array([len(data)]), len(data))
    config = LanguageTrainConfig(tokens=BATCH * CONTEXT, **_settings(precision))  # type: ignore[arg-type]
    return LanguageTrainable(language_model(), stream, stream, CONTEXT, config)


def translation_task(precision: str, dropout: float = 0.2, inside: float = 0.1) -> Seq2SeqTrainable:
    rows = pairs()
    config = Seq2SeqTrainConfig(tokens=4096, optimizer="adamw", label_smoothing=0.0, **_settings(precision))  # type: ignore[arg-type]
    validation: object = None
    return Seq2SeqTrainable(translator(dropout, inside), rows, rows, config, (LOSS,), validation)  # type: ignore[arg-type]


def _settings(precision: str) -> dict[str, object]:
    return {"epochs": 1000, "learning_rate": 1e-3, "warmup": 0, "schedule": "constant", "precision": precision}


def of_task(task: Trainable, compiled: bool = False) -> Step:
    """A step of ``task`` in regard's loop."""
    world, folder = World(0, 1, torch.device("cpu")), Path(tempfile.mkdtemp())
    run = TrainingRun(task, task.config, folder, world, Log(None, shown=False))  # type: ignore[attr-defined]
    if compiled:
        run.compile()
    batches, losses = task.batches(0), _Kept()
    run.log = losses  # type: ignore[assignment]

    def step() -> float:
        run.train_step(batches)
        return losses.loss

    return step


class _Kept:
    """In place of the log: keeps the loss."""

    loss = 0.0

    def step(self, *_: object, loss: float, **__: object) -> None:
        self.loss = loss


def plain(
    model: nn.Module, batch: Callable[[], tuple[Tensor, ...]], precision: str, call: Callable[..., Tensor] | None = None
) -> Step:
    """A step of a loop around ``model``, which returns the mean loss of a batch; ``call``: the compiled model."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.98), weight_decay=0.01, fused=True)
    call = model if call is None else call

    def step() -> float:
        inputs = batch()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = call(*inputs)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def windows(task: LanguageTrainable) -> Callable[[], tuple[Tensor, ...]]:
    """The batches of ``task``, made as nanoGPT makes them."""
    data, batches = text(), iter(task.batches(0))

    def batch() -> tuple[Tensor, ...]:
        starts = next(batches)
        return tuple(
            torch.stack([torch.from_numpy(data[at + by : at + by + CONTEXT].astype(np.int64)) for at in starts])
            for by in (0, 1)
        )

    return batch


def padded(task: Seq2SeqTrainable) -> Callable[[], tuple[Tensor, ...]]:
    """The batches of ``task``, padded by PyTorch."""
    rows, batches = pairs(), iter(task.batches(0))

    def batch() -> tuple[Tensor, ...]:
        chosen = next(batches)
        sides = [rows.source[row] for row in chosen], [[BOS, *rows.target[row]] for row in chosen]
        return tuple(
            nn.utils.rnn.pad_sequence([torch.tensor(one) for one in side], batch_first=True, padding_value=PAD)
            for side in sides
        )

    return batch


def gpt(norm: Callable[[], nn.Module], attend: Callable[..., Tensor]) -> PlainGPT:
    return PlainGPT(SIZE, DIM, LAYERS, HEADS, CONTEXT, norm=norm, attend=attend).load(language_model())


def plain_translator(dropout: float) -> PlainTranslator:
    model = translator(0.0, 0.0)
    return PlainTranslator((TOKENS, TOKENS), DIM, HEADS, LAYERS, HIDDEN, dropout, PAD).load(model)


def steps(kind: str, precision: str, compiled: bool) -> dict[str, Step]:
    """What is timed, the straightforward loop first; ``compiled``: also with compiled models."""
    if kind == "language":
        task, norm = language_task(precision), partial(nn.LayerNorm, DIM, bias=False)
        both: dict[str, Step] = {
            "nanoGPT's loop": plain(gpt(norm, by_pytorch), windows(task), precision),
            "nanoGPT's loop, regard.attention": plain(gpt(norm, by_regard), windows(task), precision),
            "regard": of_task(task),
        }
        if compiled:
            model = gpt(norm, by_pytorch)
            both["nanoGPT's loop, compiled"] = plain(model, windows(task), precision, torch.compile(model))
            both["regard, compiled"] = of_task(language_task(precision), compiled)
        return both
    task_, both = translation_task(precision), {}
    for name, dropout in (("", (0.2, 0.1)), (", no dropout", (0.0, 0.0))):
        both[f"torch.nn.Transformer{name}"] = plain(plain_translator(dropout[0]), padded(task_), precision)
        both[f"regard{name}"] = of_task(translation_task(precision, *dropout))
        if compiled:
            other = plain_translator(dropout[0])
            call = torch.compile(other, dynamic=True)
            both[f"torch.nn.Transformer{name}, compiled"] = plain(other, padded(task_), precision, call)
            both[f"regard{name}, compiled"] = of_task(translation_task(precision, *dropout), compiled)
    return both


def check(kind: str, precision: str) -> float:
    """The largest relative difference of the losses of the first steps, from the same weights, in float32."""
    if kind == "language":
        task = language_task(precision)
        both = of_task(task), plain(gpt(partial(nn.RMSNorm, DIM), by_regard), windows(task), precision)
    else:
        other = translation_task(precision, 0.0, 0.0)
        both = of_task(other), plain(plain_translator(0.0), padded(other), precision)
    return max(abs(both[0]() / both[1]() - 1) for _ in range(CHECKED))


def warm_up(one: dict[str, Step]) -> None:
    for step in one.values():
        for _ in range(WARM):
            step()


def measure(one: dict[str, Step], rounds: int) -> list[str]:
    """The rows of the table."""
    times: dict[str, list[float]] = {name: [] for name in one}
    for _ in range(rounds):
        for name, step in one.items():
            began = time.perf_counter()
            step()
            times[name].append(1e3 * (time.perf_counter() - began))
    base, rows = statistics.median(next(iter(times.values()))), []
    for name, every in times.items():
        low, median, high = statistics.quantiles(every, n=4)
        rows.append(f"  {name:42}{median:9.1f}{low:9.1f}{high:9.1f}{base / median:8.2f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    parser.add_argument("--only", nargs="+", default=["language", "translation"])
    parser.add_argument("--compile", action="store_true", help="also time both sides with torch.compile")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="append the rows to results/training_steps.txt")
    options = parser.parse_args()
    for threads in options.threads:
        torch.set_num_threads(threads)
        for kind in options.only:
            for precision in options.precision:
                off = check(kind, precision)
                lines = [
                    f"{machine()}",
                    f"{kind}, {precision}; losses of {CHECKED} equal steps differ by {off:.1e}",
                ]
                lines.append(f"  {'ms per step':42}{'median':>9}{'25 %':>9}{'75 %':>9}{'ratio':>8}")
                both = steps(kind, precision, options.compile)
                warm_up(both)
                lines += measure(both, options.rounds)
                print("\n".join(lines), flush=True)
                if options.write:
                    with (Path(__file__).parent / "results" / "training_steps.txt").open("a") as file:
                        file.write("\n".join(lines) + "\n\n")


if __name__ == "__main__":
    main()
