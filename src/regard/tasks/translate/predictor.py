"""The translator of a run: a model with its tokenizers, which translates and aligns texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from regard.data.batching import fill
from regard.data.lines import check_unicode, one_line
from regard.data.padding import pad
from regard.data.tokenizer import BOS, EOS, PAD, Tokenizer
from regard.decode import Hypothesis, Step, beam_search, greedy
from regard.errors import UserError
from regard.explain import terminal
from regard.explain.alignment import Alignment
from regard.explain.draw import save_picture
from regard.explain.page import save_page
from regard.models.rnn import RNNTranslator
from regard.models.transformer import TransformerTranslator
from regard.tasks.exporting import Exportable
from regard.tasks.results import Failure
from regard.tasks.task import Predictor
from regard.tasks.translate.export import exportable
from regard.tasks.translate.settings import TranslateConfig
from regard.training import checkpoint
from regard.training.defaults import known

_BATCH_TOKENS = 8192
"""Size of a batch of decoding: its source tokens times the beam size."""

_PART = 2000
"""Number of texts that are sorted by length and decoded together."""

_PARTS = (1, 8, 64, 500)
"""The numbers of inputs of the first parts of a stream, so that the first translations do not wait for many others."""

_NO_ATTENTION = "look: this run has no attention to look at (it was trained with --model.attention none)"

_EXTRA = 10
"""A translation has at most twice as many tokens as its source, and this many more."""

Model = RNNTranslator | TransformerTranslator


@dataclass(frozen=True)
class Translation:
    """A translation.

    Attributes:
        source: the text that was translated.
        text: the translation.
        score: its log-probability, EOS included.
        alignment: the attention of each target token over the source tokens; None for a model without attention.
    """

    source: str
    text: str
    score: float
    alignment: Alignment | None

    def line(self) -> str:
        """The translation; line breaks within it become spaces."""
        return one_line(self.text)

    def show(self, console: Console) -> None:
        """Print the text, its translation, and the alignment by words."""
        for text in (self.source, self.text):
            console.print(terminal.isolated(text), style="bold", highlight=False, markup=False)
        if self.alignment is not None:
            console.print(terminal.render(self.alignment.words(), console.width))

    def save(self, path: str | Path) -> None:
        """Draw the alignment: a page if the path ends in .html, otherwise an image."""
        if self.alignment is None:
            raise UserError(_NO_ATTENTION)
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            save_page([self.alignment], path, title=self.source)
        else:
            save_picture(self.alignment.words(), path)

    def to_dict(self, *, attention: bool = False) -> dict[str, Any]:
        """Source, translation and its log-probability; with ``attention``, also its pieces and their weights."""
        result = {"source": self.source, "translation": self.text, "score": self.score}
        if attention and self.alignment is not None:
            one = self.alignment.characters()
            pieces = {"source": list(one.source), "target": list(one.target), "weights": one.weights.tolist()}
            return {**result, "alignment": pieces}
        return result


@dataclass(frozen=True)
class Translator(Predictor):
    """A trained model with its tokenizers."""

    model: Model
    source: Tokenizer
    target: Tokenizer

    def predict(self, inputs: Iterable[str], *, beam: int = 5) -> Iterator[Translation | Failure]:
        """The translation of each text, in order; a text that is too long for the model gives a `Failure`."""
        texts, parts = iter(inputs), iter(_PARTS)
        while part := list(islice(texts, next(parts, _PART))):
            yield from self._translate(part, beam, 1.0, lambda count: None)

    def look(self, item: str, *, target: str | None = None, beam: int = 5) -> Translation:
        """Translate a text, or score the translation ``target`` that is given, with its alignment."""
        check_unicode("text", item)
        check_unicode("--target", target)
        if target is not None:
            return Translation(item, target, 0.0, self.align(item, target))
        translation = next(self.translate([item], beam=beam))
        if translation.alignment is None:
            # Either the model has no attention, which align reports, or the text is empty: then EOS alone is aligned.
            return replace(translation, alignment=self.align(item, translation.text))
        return translation

    def exportable(self) -> Exportable:
        """See `regard.tasks.task.Predictor`. Raises UserError: the model is recurrent."""
        return exportable(self.model, self.source, self.target)

    def translate(
        self,
        texts: Sequence[str],
        *,
        beam: int = 5,
        length_penalty: float = 1.0,
        tick: Callable[[int], None] = lambda count: None,
    ) -> Iterator[Translation]:
        """Translate ``texts`` in their order; ``beam=1`` is greedy decoding. An empty text has an empty translation.

        The texts are decoded in parts, so that the first translations are available before the last are made.
        ``tick`` is called before each decoding step, with 0, and after each batch, with the number of its texts.

        Raises:
            UserError: a text is too long for the model.
        """
        for start in range(0, len(texts), _PART):
            for result in self._translate(texts[start : start + _PART], beam, length_penalty, tick):
                if isinstance(result, Failure):
                    raise UserError(result.error)
                yield result

    def _translate(
        self, texts: Sequence[str], beam: int, length_penalty: float, tick: Callable[[int], None]
    ) -> Iterator[Translation | Failure]:
        rows = [self.source.encode(text.strip()) + [EOS] for text in texts]
        limit = self.model.longest if isinstance(self.model, TransformerTranslator) else None
        translations: dict[int, Translation | Failure] = {
            i: Failure(text, self._too_long(len(rows[i])))
            for i, text in enumerate(texts)
            if limit is not None and len(rows[i]) > limit
        }
        order = sorted((i for i in range(len(rows)) if i not in translations), key=lambda i: len(rows[i]))
        for batch in fill(order, [(len(row) * beam, 0) for row in rows], _BATCH_TOKENS):
            hypotheses = self._decode([rows[i] for i in batch], beam, length_penalty, tick)
            tick(len(batch))
            for index, hypothesis in zip(batch, hypotheses, strict=True):
                translations[index] = self._translation(texts[index], rows[index], hypothesis)
        return (translations[i] for i in range(len(rows)))

    def align(self, text: str, target: str) -> Alignment:
        """The alignment of ``text`` with the translation ``target``. Raises UserError: the model has no attention."""
        if isinstance(self.model, RNNTranslator) and self.model.attend is None:
            raise UserError(_NO_ATTENTION)
        source, written = self.source.encode(text.strip()) + [EOS], self.target.encode(target.strip()) + [EOS]
        device = self.model.output_bias.device
        with torch.inference_mode():
            self.model.eval()
            state: Any = self.model.start(*pad([source], PAD, device))
            weights = []
            for token in [BOS, *written[:-1]]:
                step = self.model.step(torch.tensor([token], device=device), state)
                state = step.state
                assert step.weights is not None
                weights.append(step.weights[0].cpu())
        return self._alignment(source, written, torch.stack(weights).numpy())

    def samples(self, pairs: Sequence[tuple[str, str]], count: int = 5) -> list[str]:
        """``count`` of the pairs with their translations by beam search, as a Markdown table."""
        pairs = pairs[:: max(1, len(pairs) // count)][:count]
        translations = self.translate([source for source, _ in pairs])
        rows = [("source", "translation", "reference"), ("---",) * 3]
        rows += [(one.source, one.text, target) for one, (_, target) in zip(translations, pairs, strict=True)]
        return [f"| {' | '.join(one_line(cell).replace('|', '¦') for cell in row)} |" for row in rows]

    def _decode(
        self, rows: list[list[int]], beam: int, length_penalty: float, tick: Callable[[int], None]
    ) -> list[Hypothesis]:
        def step(tokens: Tensor, state: Any) -> Step:
            tick(0)
            return self.model.step(tokens, state)

        device = self.model.output_bias.device
        longest = 2 * max(len(row) for row in rows) + _EXTRA
        if isinstance(self.model, TransformerTranslator) and self.model.longest is not None:
            longest = min(longest, self.model.longest)
        with torch.inference_mode():
            self.model.eval()
            state = self.model.start(*pad(rows, PAD, device))
            first = torch.full((len(rows),), BOS, device=device)
            if beam == 1:
                return greedy(step, state, first, eos=EOS, max_length=longest)
            hypotheses = beam_search(
                step, state, first, eos=EOS, max_length=longest, beam=beam, length_penalty=length_penalty
            )
        return [best[0] for best in hypotheses]

    def _too_long(self, tokens: int) -> str:
        assert isinstance(self.model, TransformerTranslator)
        return (
            f"text: has {tokens:,} tokens, and this run has learned positions for at most {self.model.longest:,}; "
            "split the text, or train with a larger --data.max-length"
        )

    def _translation(self, text: str, source: list[int], hypothesis: Hypothesis) -> Translation:
        if not text.strip():
            return Translation(text, "", 0.0, None)
        alignment = None
        if hypothesis.weights is not None:
            written = hypothesis.tokens + [EOS] * hypothesis.finished
            alignment = self._alignment(source, written, hypothesis.weights[:, : len(source)].cpu().numpy())
        return Translation(text, self.target.decode(hypothesis.tokens), hypothesis.score, alignment)

    def _alignment(self, source: list[int], target: list[int], weights: np.ndarray) -> Alignment:
        return Alignment(tuple(self.source.pieces(source)), tuple(self.target.pieces(target)), weights)


def build(config: TranslateConfig, source: Tokenizer, target: Tokenizer) -> Model:
    """A new model with random weights, for these tokenizers."""
    model, layers = config.model, config.transformer
    if model.kind == "gru":
        return RNNTranslator(
            len(source), len(target), embedding=known(model.embedding), dim=known(model.dim), attention=model.attention,
            dropout=model.dropout,
        )  # fmt: skip
    return TransformerTranslator(
        len(source), len(target), dim=known(model.dim), heads=layers.heads, encoder_layers=layers.encoder_layers,
        decoder_layers=layers.decoder_layers, hidden=layers.hidden, order=layers.order, positions=layers.positions,
        longest=2 * (config.data.max_length + 1) + _EXTRA, dropout=model.dropout,
        attention_dropout=layers.attention_dropout,
    )  # fmt: skip


def load(run: Path, config: TranslateConfig, which: str = "best") -> Translator:
    """The translator of a run's folder.

    Raises:
        UserError: the run has no such checkpoint, a file is missing or unreadable, or the weights do not fit the
            configuration.
    """
    source, target = (Tokenizer.load(run / f"{side}.tokenizer.json") for side in ("source", "target"))
    model = build(config, source, target)
    checkpoint.fill(model, run, which)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    return Translator(model.eval(), source, target)
