"""The predictor of a language model: the model with its tokenizer, which continues a text token by token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from regard.attend import Look
from regard.data.lines import check_unicode, compose
from regard.data.tokenizer import EOS, Tokenizer
from regard.errors import UserError
from regard.explain.alignment import Alignment
from regard.models.language import LanguageModel, RecurrentLM, TransformerLM
from regard.tasks.exporting import Exportable
from regard.tasks.families.language.export import exportable
from regard.tasks.families.language.results import Attended, Continuation
from regard.tasks.families.language.sampling import Sampling, draw
from regard.tasks.task import Predictor

_WEIGHTS = 1 << 22
"""The largest number of weights of all layers that a look has; beyond it, it has those of one layer."""


@dataclass(frozen=True)
class LanguagePredictor(Predictor):
    """A trained language model with its tokenizer, which continues a text token by token.

    A task's subclass sets ``task``, the name of the task.

    Attributes:
        model: the model.
        tokenizer: its tokenizer.
        context: the number of tokens that the model attends to.
    """

    task: ClassVar[str]

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
        return self.attended(item, layer, head)

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: the model is recurrent."""
        return exportable(self.model, len(self.tokenizer), self.context, self.task)

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

    def attended(self, text: str, layer: int, head: int | None) -> Attended:
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
            chosen = self._heads(batch, layer % layers)
            if head is not None and not 0 <= head < len(chosen):
                raise UserError(f"--head: this model has heads 0 to {len(chosen) - 1}, got {head}")
            few = layers * chosen.size <= _WEIGHTS
            heads = {at: self._heads(batch, at) for at in range(layers)} if few else {layer % layers: chosen}
        pieces = tuple(piece.replace("\n", "⏎") for piece in self.tokenizer.pieces(tokens))
        return Attended(Alignment(pieces, pieces, chosen.mean(0) if head is None else chosen[head]), heads)

    def _heads(self, batch: torch.Tensor, layer: int) -> np.ndarray:
        """The weights of all heads of a layer, ``(heads, tokens, tokens)``."""
        weights: np.ndarray = self.model.look(batch, layer, Look(rows=slice(None))).rows[0].float().cpu().numpy()
        return weights

    @torch.inference_mode()
    def _tokens(self, prompt: str, sampling: Sampling, count: int) -> Iterator[int]:
        if sampling.penalty <= 0:
            raise ValueError(f"penalty: must be above 0, got {sampling.penalty}")
        device, model = self.model.output_bias.device, self.model
        past = self.tokenizer.encode(prompt) or [EOS]
        learned = isinstance(model, TransformerLM) and model.position is not None
        generator = None if sampling.seed is None else torch.Generator().manual_seed(sampling.seed)
        state: Any = None
        seen, inputs = 0, past[-self.context :]
        for _ in range(count):
            if state is None:
                state = model.start(1, length=self.context + 128, window=None if learned else self.context)
            step = model.step(torch.tensor([inputs], device=device), state)
            state, seen = step.state, seen + len(inputs)
            token = draw(step.logits.float(), past, sampling, generator)
            if token == EOS:
                return
            past.append(token)
            yield token
            inputs = [token]
            if learned and seen >= self.context:
                # Learned positions end here: start again with the second half of the context.
                state, seen, inputs = None, 0, past[-max(1, self.context // 2) :]
