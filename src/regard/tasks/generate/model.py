"""The writer of a run: a language model with its tokenizer, which continues a text token by token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regard.attend import Look
from regard.data.lines import compose
from regard.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from regard.decode.sample import filter_logits
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.models.language import LanguageModel, RecurrentLM, TransformerLM
from regard.tasks.generate.config import GenerateConfig
from regard.train import checkpoint
from regard.train.defaults import known


@dataclass(frozen=True)
class Sampling:
    """How the next token is sampled.

    Attributes:
        temperature: the logits are divided by it; 0: always the most probable token.
        top_k: sample from this many of the most probable tokens; None: from all.
        top_p: of these, from the fewest tokens whose probabilities sum to at least this; None: from all.
        penalty: repetition penalty, by which the logits of tokens that have already occurred are divided if positive
            and multiplied if negative (Keskar et al. 2019, arXiv:1909.05858); 1: no penalty.
        seed: random seed; None: PyTorch's global generator.
    """

    temperature: float = 0.8
    top_k: int | None = None
    top_p: float | None = None
    penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Writer:
    """A trained language model with its tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer
    context: int

    def write(self, prompt: str, sampling: Sampling, *, tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        """The text that continues ``prompt``, in pieces, of at most ``tokens`` tokens.

        It ends before the first of the ``stop`` texts, or where the model ends the document.

        Raises:
            ValueError: a setting of ``sampling`` is out of range.
        """
        stop = [compose(text) for text in stop]  # as the tokenizer composes all text
        yielded, generated = "", list[int]()
        longest_stop = max((len(text) for text in stop), default=0)
        for token in self._tokens(prompt, sampling, tokens):
            generated.append(token)
            text = self.tokenizer.decode(generated)
            ends = [at for at in (text.find(one) for one in stop) if at >= 0]
            if ends:
                yield text[len(yielded) : min(ends)]
                return
            # A token may end within a character, and the text may end with the beginning of a stop text.
            complete = text.rstrip("\ufffd")
            if longest_stop:
                complete = complete[: max(len(yielded), len(complete) - longest_stop + 1)]
            if len(complete) > len(yielded):
                yield complete[len(yielded) :]
                yielded = complete
        rest = self.tokenizer.decode(generated)[len(yielded) :]
        if rest:
            yield rest

    def attended(self, text: str, layer: int, head: int | None) -> Alignment:
        """The attention of each token of ``text`` over the tokens up to it, in one head or the mean of all.

        Args:
            text: at most ``context`` tokens.
            layer: number of the layer, from 0; negative numbers count from the end.
            head: number of the head, from 0; None: the mean of all heads.

        Raises:
            UserError: the text is empty or too long, there is no such layer or head, or the model has no attention.
        """
        tokens = self.tokenizer.encode(text)
        layers = len(self.model.layers) if isinstance(self.model, TransformerLM) else 1
        if not tokens or len(tokens) > self.context:
            raise UserError(f"text: expected 1 to {self.context} tokens (model.context), got {len(tokens)}")
        if isinstance(self.model, RecurrentLM) and self.model.query is None:
            raise UserError("look: this run has no attention to look at (it was trained with --model.no-attention)")
        if not -layers <= layer < layers:
            raise UserError(f"--layer: this model has layers 0 to {layers - 1}, got {layer}")
        with torch.inference_mode():
            batch = torch.tensor([tokens], device=self.model.output_bias.device)
            weights = self.model.look(batch, layer, Look(rows=slice(None))).rows[0]
        if head is not None and not 0 <= head < len(weights):
            raise UserError(f"--head: this model has heads 0 to {len(weights) - 1}, got {head}")
        shown = weights.mean(0) if head is None else weights[head]
        pieces = tuple(piece.replace("\n", "⏎") for piece in self.tokenizer.pieces(tokens))
        return Alignment(pieces, pieces, shown.float().cpu().numpy()).characters()

    @torch.inference_mode()
    def _tokens(self, prompt: str, sampling: Sampling, count: int) -> Iterator[int]:
        if sampling.penalty <= 0:
            raise ValueError(f"penalty: must be above 0, got {sampling.penalty}")
        device, model = self.model.output_bias.device, self.model
        past = self.tokenizer.encode(prompt) or [EOS]
        learned = isinstance(model, TransformerLM) and model.position is not None
        generator = None if sampling.seed is None else torch.Generator().manual_seed(sampling.seed)
        state: Any = None
        inputs = past[-self.context :]
        for _ in range(count):
            if state is None:
                state = model.start(1, length=self.context + 128, window=None if learned else self.context)
            step = model.step(torch.tensor([inputs], device=device), state)
            state = step.state
            token = _draw(step.logits.float(), past, sampling, generator)
            if token == EOS:
                return
            past.append(token)
            yield token
            inputs = [token]
            if learned and state[0].position >= self.context:
                # Learned positions end here: start again with the second half of the context.
                state, inputs = None, past[-max(1, self.context // 2) :]


def _draw(logits: Tensor, past: list[int], sampling: Sampling, generator: torch.Generator | None) -> int:
    logits = logits.clone()
    logits[:, [PAD, BOS, UNK]] = -math.inf
    if sampling.penalty != 1:
        repeated = torch.tensor(sorted(set(past)), device=logits.device)
        values = logits[:, repeated]
        logits[:, repeated] = torch.where(values > 0, values / sampling.penalty, values * sampling.penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    logits = filter_logits(logits, sampling.temperature, sampling.top_k, sampling.top_p)
    return int(torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator))


def build(config: GenerateConfig, tokenizer: Tokenizer) -> LanguageModel:
    """A new model with random weights, for this tokenizer."""
    model = config.model
    dim, layers = known(model.dim), known(model.layers)
    if model.kind == "lstm":
        return RecurrentLM(len(tokenizer), dim=dim, layers=layers, attention=model.attention, dropout=model.dropout)
    hidden = model.hidden or (8 * dim // 3 // 8 * 8 if model.gated else 4 * dim)
    return TransformerLM(
        len(tokenizer), dim=dim, layers=layers, heads=model.heads, key_heads=model.key_heads, hidden=hidden,
        gated=model.gated, positions=model.positions, context=known(model.context), dropout=model.dropout,
    )  # fmt: skip


def load(run: Path, config: GenerateConfig, which: str = "best") -> Writer:
    """The writer of a run's folder.

    Raises:
        UserError: the run has no such checkpoint, a file is missing or unreadable, or the weights do not fit.
    """
    tokenizer = Tokenizer.load(run / "tokenizer.json")
    model = build(config, tokenizer)
    checkpoint.fill(model, run, which)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Writer(model.eval(), tokenizer, known(config.model.context))
