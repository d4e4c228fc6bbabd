"""The writer of a run: a language model with its tokenizer, which goes on with a text token by token."""

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
    """How the next token is drawn.

    Attributes:
        temperature: of the distribution; 0: the most probable token.
        top_k: draw from this many of the most probable tokens; None: all.
        top_p: of these, from the fewest that have this probability; None: all.
        penalty: logits of tokens that were there already are made so much smaller (Keskar et al. 2019,
            arXiv:1909.05858); 1: not.
        seed: of the draw; None: chance.
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

    def write(self, prompt: str, how: Sampling, *, tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        """Go on with ``prompt``, piece by piece, for at most ``tokens`` tokens.

        Ends before the first of the ``stop`` texts, and where the model ends its document.

        Raises:
            ValueError: a setting of ``how`` is out of range.
        """
        stop = [compose(text) for text in stop]  # as the tokenizer composes all text
        shown, written = "", list[int]()
        held = max((len(text) for text in stop), default=0)
        for token in self._tokens(prompt, how, tokens):
            written.append(token)
            text = self.tokenizer.decode(written)
            ends = [at for at in (text.find(one) for one in stop) if at >= 0]
            if ends:
                yield text[len(shown) : min(ends)]
                return
            # A piece may end within a character, and a stop text may have begun.
            safe = text.rstrip("\ufffd")
            safe = safe[: max(len(shown), len(safe) - held + 1)] if held else safe
            if len(safe) > len(shown):
                yield safe[len(shown) :]
                shown = safe
        rest = self.tokenizer.decode(written)[len(shown) :]
        if rest:
            yield rest

    def attended(self, text: str, layer: int, head: int | None) -> Alignment:
        """What each token of ``text`` attends to among those up to it, in one head or the mean of all.

        Raises:
            UserError: the text has no token or too many, or the model has no such layer or head, or no attention.
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
            given = torch.tensor([tokens], device=self.model.output_bias.device)
            weights = self.model.look(given, layer, Look(rows=slice(None))).rows[0]
        if head is not None and not 0 <= head < len(weights):
            raise UserError(f"--head: this model has heads 0 to {len(weights) - 1}, got {head}")
        chosen = weights.mean(0) if head is None else weights[head]
        pieces = tuple(piece.replace("\n", "⏎") for piece in self.tokenizer.pieces(tokens))
        return Alignment(pieces, pieces, chosen.float().cpu().numpy()).characters()

    @torch.inference_mode()
    def _tokens(self, prompt: str, how: Sampling, count: int) -> Iterator[int]:
        if how.penalty <= 0:
            raise ValueError(f"penalty: must be above 0, got {how.penalty}")
        device, model = self.model.output_bias.device, self.model
        past = self.tokenizer.encode(prompt) or [EOS]
        learned = isinstance(model, TransformerLM) and model.position is not None
        generator = None if how.seed is None else torch.Generator().manual_seed(how.seed)
        state: Any = None
        given = past[-self.context :]
        for _ in range(count):
            if state is None:
                # Learned positions end with the context: then the last half of it is read anew.
                state = model.start(1, length=self.context + 128, window=None if learned else self.context)
            step = model.step(torch.tensor([given], device=device), state)
            state = step.state
            token = _draw(step.logits.float(), past, how, generator)
            if token == EOS:
                return
            past.append(token)
            yield token
            given = [token]
            if learned and state[0].position >= self.context:
                state, given = None, past[-max(1, self.context // 2) :]


def _draw(logits: Tensor, past: list[int], how: Sampling, generator: torch.Generator | None) -> int:
    logits = logits.clone()
    logits[:, [PAD, BOS, UNK]] = -math.inf
    if how.penalty != 1:
        seen = torch.tensor(sorted(set(past)), device=logits.device)
        found = logits[:, seen]
        logits[:, seen] = torch.where(found > 0, found / how.penalty, found * how.penalty)
    if how.temperature == 0:
        return int(logits.argmax())
    logits = filter_logits(logits, how.temperature, how.top_k, how.top_p)
    return int(torch.multinomial(logits.softmax(-1).cpu(), 1, generator=generator))


def build(config: GenerateConfig, tokenizer: Tokenizer) -> LanguageModel:
    """A fresh model for this tokenizer."""
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
