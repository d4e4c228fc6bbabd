"""The writer of a run: a language model with its tokenizer, which continues a text token by token."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from regard.attend import Look
from regard.data.lines import check_unicode, compose, one_line
from regard.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from regard.decode.sample import filter_logits
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.draw import save_picture
from regard.explain.page import save_page
from regard.models.language import LanguageModel, RecurrentLM, TransformerLM
from regard.tasks.exporting import Exportable
from regard.tasks.generate.export import exportable
from regard.tasks.generate.settings import GenerateConfig
from regard.tasks.task import Predictor
from regard.training import checkpoint
from regard.training.defaults import known


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
class Continuation:
    """A prompt with the generated text that continues it.

    Attributes:
        prompt: the prompt.
        continuation: the generated text.
    """

    prompt: str
    continuation: str

    @property
    def text(self) -> str:
        """The prompt and its continuation."""
        return self.prompt + self.continuation

    def line(self) -> str:
        """The text; line breaks within it become spaces."""
        return one_line(self.text)

    def to_dict(self) -> dict[str, Any]:
        """The prompt and its continuation."""
        return {"prompt": self.prompt, "continuation": self.continuation}


@dataclass(frozen=True)
class Attended:
    """The attention of each token of a text over the tokens up to it.

    Attributes:
        alignment: the tokens and the weights, ``(tokens, tokens)``.
    """

    alignment: Alignment

    def show(self, console: Console) -> None:
        """Print the attention."""
        console.print(terminal.render(self.alignment, console.width))

    def save(self, path: str | Path) -> None:
        """Draw the attention: a page if the path ends in .html, otherwise an image."""
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            save_page([self.alignment], path, title="regard")
        else:
            save_picture(self.alignment, path)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """The tokens; with ``attention``, also the weights."""
        weights = {"weights": self.alignment.weights.tolist()} if attention else {}
        return {"tokens": list(self.alignment.source), **weights}


@dataclass(frozen=True)
class Writer(Predictor):
    """A trained language model with its tokenizer."""

    model: LanguageModel
    tokenizer: Tokenizer
    context: int

    def predict(
        self,
        inputs: Iterable[str],
        *,
        tokens: int = 200,
        temperature: float = 0.8,
        top_k: int | None = None,
        top_p: float | None = None,
        penalty: float = 1.0,
        stop: Sequence[str] = (),
        seed: int | None = None,
    ) -> Iterator[Continuation]:
        """The continuation of each prompt; see `write` and `Sampling`. Each prompt is sampled with the same seed."""
        sampling = Sampling(temperature, top_k, top_p, penalty, seed)
        for prompt in inputs:
            yield Continuation(prompt, "".join(self.write(prompt, sampling, tokens=tokens, stop=stop)))

    def stream(self, prompt: str, **options: Any) -> Iterator[str]:
        """The prompt and the text that continues it, in pieces, as they are generated; options as for `predict`."""
        yield prompt
        tokens, stop = options.pop("tokens", 200), options.pop("stop", ())
        yield from self.write(prompt, Sampling(**options), tokens=tokens, stop=stop)

    def look(self, item: str, *, layer: int = -1, head: int | None = None) -> Attended:
        """The attention over a text in one head of a layer, or the mean of all; see `attended`."""
        check_unicode("text", item)
        return Attended(self.attended(item, layer, head))

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: the model is recurrent."""
        return exportable(self.model, len(self.tokenizer), self.context)

    def write(self, prompt: str, sampling: Sampling, *, tokens: int, stop: Sequence[str] = ()) -> Iterator[str]:
        """The text that continues ``prompt``, in pieces, of at most ``tokens`` tokens.

        It ends before the first of the ``stop`` texts, or where the model ends the document.

        Raises:
            ValueError: a setting of ``sampling`` is out of range.
        """
        check_unicode("--stop", *stop)
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
