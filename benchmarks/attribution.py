"""Attributions of models whose deciding tokens are known: hit rates and scores; and time and memory at long lengths.

    python benchmarks/attribution.py planted [--tasks word marker pair lookup] [--examples 100] [--seeds 3]
    python benchmarks/attribution.py lengths [--lengths 512 4096 32768]

``planted``: four generated tasks of 32 tokens, on each of which small Transformers learn to classify:

- word: one token of four decides the class; it is anywhere among others.
- marker: the token after a marker is the class; tokens of all classes are elsewhere, too.
- pair: whether two tokens are of the same kind decides; both are needed.
- lookup: a decoder gets one of four keys and writes the token after this key in the source, which the encoder reads;
  the other keys are there, too, with tokens of their own. So all goes through cross-attention.

Every method and a random attribution explain the predicted class of new examples. Removed tokens are replaced by a
mask, which in training stands in the place of some tokens that do not decide. ``lengths``: the time of the processor
for one forward and backward pass of such a model and for each method after it, and the largest memory of the process
meanwhile, beside that of the program without an input and the size of all weights.
The tables are printed, for ``benchmarks/results/attribution_planted.txt`` and ``attribution_lengths.txt``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from machine import machine
from torch import Tensor, nn
from torch.nn import functional as F

from regard.attribution import METHODS, Scores, attribute, hit_rate, replaced, score
from regard.attribution.trace import trace
from regard.models.layers import TransformerLayer
from regard.models.transformer import TransformerTranslator
from regard.nn import FeedForward, MultiHeadAttention, Rotary

VOCABULARY, LENGTH, WIDTH, BATCH = 64, 32, 32, 64
START, MASK, MARKER, FIRST, CLASSES, KEYS = 0, 1, 2, 3, 4, 4
FILLERS = FIRST + CLASSES
RANDOM = "random"


class Examples(NamedTuple):
    """Tokens ``(N, LENGTH)``, classes ``(N,)``, and which tokens decide, boolean ``(N, LENGTH)``.

    ``asked`` are the decoder's tokens ``(N, 2)``; None: there is no decoder.
    """

    tokens: Tensor
    classes: Tensor
    deciding: Tensor
    asked: Tensor | None = None

    @property
    def inputs(self) -> dict[str, Tensor]:
        """The arguments of a model."""
        return {"tokens": self.tokens} if self.asked is None else {"tokens": self.tokens, "asked": self.asked}


def word(count: int) -> Examples:
    """One token of the classes among others."""
    tokens, at, classes = _fillers(count), _places(count, 1), torch.randint(CLASSES, (count,))
    return _planted(tokens, at, FIRST + classes[:, None], classes)


def marker(count: int) -> Examples:
    """The token after a marker, with tokens of the classes elsewhere, too."""
    tokens, classes = _fillers(count), torch.randint(CLASSES, (count,))
    others = torch.rand(count, LENGTH) < 0.3
    others[:, 0] = False
    tokens = torch.where(others, torch.randint(FIRST, FILLERS, (count, LENGTH)), tokens)
    before = _places(count, 1, last=LENGTH - 1)
    tokens.scatter_(1, before, MARKER)
    return _planted(tokens, before + 1, FIRST + classes[:, None], classes)


def pair(count: int) -> Examples:
    """Two tokens of two kinds each, which are alike or not."""
    tokens, at, kinds = _fillers(count), _places(count, 2), torch.randint(2, (count, 2))
    return _planted(tokens, at, FIRST + torch.tensor([0, 2]) + kinds, (kinds[:, 0] == kinds[:, 1]).long())


def lookup(count: int) -> Examples:
    """Four keys, each with a token of the classes after it; the decoder asks for one of them."""
    tokens, keys = _fillers(count, FILLERS + KEYS), FILLERS + torch.arange(KEYS)
    places = 1 + 2 * _places(count, KEYS, last=LENGTH // 2 - 1)
    values = torch.randint(CLASSES, (count, KEYS))
    tokens = tokens.scatter(1, places, keys.expand(count, -1)).scatter(1, places + 1, FIRST + values)
    number = torch.randint(KEYS, (count, 1))
    classes, at = values.gather(1, number)[:, 0], places.gather(1, number) + 1
    examples = _planted(tokens, at, FIRST + classes[:, None], classes)
    return examples._replace(asked=torch.cat([torch.full_like(number, START), FILLERS + number], 1))


TASKS: dict[str, Callable[[int], Examples]] = {"word": word, "marker": marker, "pair": pair, "lookup": lookup}
STEPS = {"word": 700, "marker": 700, "pair": 700, "lookup": 1000}


def _fillers(count: int, first: int = FILLERS) -> Tensor:
    tokens = torch.randint(first, VOCABULARY, (count, LENGTH))
    hidden = torch.rand(count, 1) * 0.9
    tokens[torch.rand(count, LENGTH) < hidden] = MASK
    tokens[:, 0] = START
    return tokens


def _places(count: int, number: int, last: int = LENGTH) -> Tensor:
    """Different positions, ``(count, number)``, after the first one."""
    return 1 + torch.rand(count, last - 1).argsort(1)[:, :number]


def _planted(tokens: Tensor, at: Tensor, planted: Tensor, classes: Tensor) -> Examples:
    deciding = torch.zeros(tokens.shape, dtype=torch.bool).scatter_(1, at, True)
    return Examples(tokens.scatter(1, at, planted), classes, deciding)


class Classifier(nn.Module):
    """A Transformer of two layers that normalize before; the class is read at the first token."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm, self.output = (
            nn.Embedding(VOCABULARY, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)
        )  # fmt: skip
        self.layers = nn.ModuleList(
            TransformerLayer(
                MultiHeadAttention(WIDTH, 4, position=Rotary(WIDTH // 4)), FeedForward(WIDTH, 4 * WIDTH),
                lambda: nn.LayerNorm(WIDTH),
            )
            for _ in range(2)
        )  # fmt: skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits ``(B, CLASSES)`` of tokens ``(B, L)``."""
        x = self.embedding(tokens)
        for layer in self.layers:
            x, _ = layer(x)
        logits: Tensor = self.output(self.norm(x[:, 0]))
        return logits


class Reader(nn.Module):
    """An encoder of two layers and a decoder of two; the class is read at the last token of the decoder."""

    def __init__(self) -> None:
        super().__init__()
        self.model = TransformerTranslator(
            VOCABULARY, VOCABULARY, dim=WIDTH, heads=4, encoder_layers=2, decoder_layers=2, hidden=4 * WIDTH,
            positions="rotary", dropout=0.0,
        )  # fmt: skip

    def forward(self, tokens: Tensor, asked: Tensor) -> Tensor:
        """Logits ``(B, CLASSES)`` of tokens ``(B, L)`` and of those of the decoder ``(B, 2)``."""
        lengths = torch.full((len(tokens),), tokens.shape[1])
        return self.model.following(tokens, lengths, asked)[:, -1, FIRST:FILLERS]


def trained(task: Callable[[int], Examples], steps: int) -> tuple[nn.Module, float]:
    """A model and its accuracy on new examples."""
    model: nn.Module = Classifier() if task(1).asked is None else Reader()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for step in range(steps):
        examples = task(BATCH)
        loss = F.cross_entropy(model(**examples.inputs), examples.classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"\rstep {step:,} of {steps:,}, loss {loss.item():.3f}", end="", file=sys.stderr, flush=True)
    print("\r\033[K", end="", file=sys.stderr)
    model.eval()
    with torch.no_grad():
        examples = task(2000)
        return model, float((model(**examples.inputs).argmax(1) == examples.classes).float().mean())


def planted(names: list[str], count: int, seeds: int) -> None:
    """Print the table of each task: means over examples of models from several seeds."""
    for name in names:
        task, accuracies, seconds = TASKS[name], [], []
        results: dict[str, list[tuple[float, Scores]]] = {}
        for seed in range(seeds):
            torch.manual_seed(seed)
            began = time.process_time()
            model, accuracy = trained(task, STEPS[name])
            seconds.append(time.process_time() - began)
            accuracies.append(accuracy)
            for method, scored in explained(model, task(count)).items():
                results.setdefault(method, []).extend(scored)
        print(f"\n{name}: accuracy {_range(accuracies, '.3f')}, trained in {_range(seconds, '.0f')} s")
        print(f"{'':18} hit rate  compreh.  suffic.  deletion  insertion")
        for method, scored in results.items():
            hits, scores = zip(*scored, strict=True)
            means = [sum(column) / len(column) for column in zip(*scores, strict=True)]
            row = f"{means[0]:8.3f} {means[1]:8.3f}  {means[2]:8.3f}   {means[3]:8.3f}"
            print(f"{method:18} {sum(hits) / len(hits):8.3f}  {row}", flush=True)


def explained(model: nn.Module, examples: Examples) -> dict[str, list[tuple[float, Scores]]]:
    """The hit rate and the scores of each example, by method; the first token stays."""
    methods = [method for method in METHODS if examples.asked is None or method != "block_norms"]
    attributions = attribute(model, examples.inputs, methods=methods)
    attributions[RANDOM] = torch.rand(examples.tokens.shape)
    candidates = torch.ones_like(examples.deciding)
    candidates[:, 0] = False
    results: dict[str, list[tuple[float, Scores]]] = {}
    for method, rows in attributions.items():
        hits = hit_rate(rows, examples.deciding, candidates)
        results[method] = []
        for at, (hit, row) in enumerate(zip(hits, rows, strict=True)):
            one = {name: value[at : at + 1] for name, value in examples.inputs.items()}
            results[method].append((float(hit), score(replaced(model, one, MASK), row, candidates[0], steps=LENGTH)))
    return results


def _range(numbers: list[float], form: str) -> str:
    least, most = f"{min(numbers):{form}}", f"{max(numbers):{form}}"
    return least if least == most else f"{least}–{most}"


def lengths(every: list[int]) -> None:
    """Print the time and the memory of each method at each length."""
    torch.manual_seed(0)
    model, columns = Classifier().eval(), {}
    model.requires_grad_(False)
    attribute(model, [torch.zeros(1, 64, dtype=torch.int64)], 0, methods=list(METHODS))  # the first calls are slow
    _reset()
    print(f"the program alone: {_peak():.0f} MB")
    names = ["forward, backward", *METHODS]
    for length in every:
        began = _reset()
        seen = trace(model, [torch.randint(VOCABULARY, (1, length))], 0)
        columns[length] = [(time.process_time() - began, _peak())]
        for method in METHODS.values():
            began = _reset()
            with torch.no_grad():
                method(seen)
            columns[length].append((time.process_time() - began, _peak()))
        print(f"{length:,} tokens: {sum(s for s, _ in columns[length]):.1f} s", file=sys.stderr)
    print("".join([f"\n{'':18}", *(f"{length:>12,} tokens" for length in every)]))
    for number, name in enumerate(names):
        cells = [f"{columns[length][number][0]:8.2f} s {columns[length][number][1]:5.0f} MB" for length in every]
        print(f"{name:18} {'  '.join(cells)}")
    whole = [f"{'':10} {2 * 4 * length**2 * 4 / 1e6:5.0f} MB" for length in every]
    print(f"{'all weights':18} {'  '.join(whole)}")


def _reset() -> float:
    """Let the largest memory begin again from the memory of now; the time of the processor, which others may share."""
    Path("/proc/self/clear_refs").write_text("5")
    return time.process_time()


def _peak() -> float:
    """The largest memory of this process since `_reset`, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["planted", "lengths"])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 4096, 32768])
    arguments = parser.parse_args()
    print(machine())
    if arguments.table == "planted":
        planted(arguments.tasks, arguments.examples, arguments.seeds)
    else:
        lengths(arguments.lengths)


if __name__ == "__main__":
    main()
