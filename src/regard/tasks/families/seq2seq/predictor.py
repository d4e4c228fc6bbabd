"""Predictors of sequence-to-sequence models: a stream of inputs, decoded in batches of similar length."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from regard.data.batching import fill
from regard.data.lines import one_line
from regard.data.padding import pad
from regard.data.tokenizer import BOS, EOS, PAD
from regard.decode import Hypothesis, Step, StepFunction, beam_search, excluding, greedy, without_repeats
from regard.errors import UserError
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.modules import evaluating
from regard.tasks.families.seq2seq.data import PairList
from regard.tasks.families.seq2seq.results import NO_ATTENTION, TextOutput
from regard.tasks.families.seq2seq.rows import Rows
from regard.tasks.groups import groups
from regard.tasks.results import Failure, Result
from regard.tasks.task import Predictor

Source = TypeVar("Source", bound=Sized)
Output = TypeVar("Output", bound=Result)

Tick = Callable[[int], None]
"""Called before each step of decoding, with 0, and after each batch, with the number of its inputs."""


@dataclass(frozen=True)
class Search:
    """How an output is searched for.

    Attributes:
        beam: beam size; 1: greedy decoding.
        length_penalty: of the beam search, see `regard.decode.beam_search`.
        unrepeated: no n-gram of this many tokens is written twice; 0: any may be.
        first: the token with which the decoder starts.
        samples: the number of samples with which outputs are compared; 0: none. Only models that copy use it.
        lead_below: the agreement with them below which the output is the first sentence of the source.
    """

    beam: int = 5
    length_penalty: float = 1.0
    unrepeated: int = 0
    first: int = BOS
    samples: int = 0
    lead_below: float = 0.0


def no_tick(count: int) -> None:
    """Without progress."""


@dataclass(frozen=True)
class Seq2SeqPredictor(Predictor, Generic[Source, Output]):
    """A trained model that decodes outputs; how an input is read and what an output is are the task's.

    An input is one source for the model, or several, such as the parts of a long recording. A subclass implements
    `sources`, `start`, `limit` and `result`; its ``predict`` calls `decoded`.

    Attributes:
        model: the model.
        first_parts: the numbers of inputs of the first parts of a stream, so that the first outputs do not wait for
            many others.
        part_size: the number of inputs of the parts after them; those of a part are sorted by length and decoded.
        batch_size: of a batch of decoding: the lengths of its sources times the beam size.
        excluded: tokens that are never written.
    """

    model: EncoderDecoder
    first_parts: ClassVar[Sequence[int]] = (1, 8, 64, 500)
    part_size: ClassVar[int] = 2000
    batch_size: ClassVar[int] = 8192
    excluded: ClassVar[Sequence[int]] = ()

    @abstractmethod
    def sources(self, item: str) -> list[Source] | Failure:
        """The sources of an input, such as the tokens of a text; a Failure if the input cannot be used."""

    @abstractmethod
    def start(self, sources: list[Source]) -> Any:
        """The decoder's state before the first token, for a batch of sources."""

    @abstractmethod
    def limit(self, sources: list[Source]) -> int:
        """The largest number of tokens of an output for one of ``sources``."""

    @abstractmethod
    def result(self, item: str, sources: list[Source], hypotheses: list[Hypothesis]) -> Output:
        """The output for an input, of what was decoded for each of its sources."""

    def decode(self, sources: list[Source], search: Search, tick: Tick) -> list[Hypothesis]:
        """The best output of each source of a batch; a task with another search overrides it."""
        longest = self.limit(sources)
        with torch.inference_mode():
            step, state = self.constrained(sources, search, tick)
            first = torch.full((len(sources),), search.first, device=self.model.device)
            if search.beam == 1:
                return greedy(step, state, first, eos=EOS, max_length=longest)
            hypotheses = beam_search(
                step, state, first, eos=EOS, max_length=longest, beam=search.beam, length_penalty=search.length_penalty
            )
        return [best[0] for best in hypotheses]

    def constrained(self, sources: list[Source], search: Search, tick: Tick) -> tuple[StepFunction, Any]:
        """A step of decoding in which only what may be written is probable, and the state before the first one."""

        def step(tokens: Tensor, state: Any) -> Step:
            tick(0)
            return self.model.step(tokens, state)

        evaluating(self.model)
        state = self.start(sources)
        allowed: StepFunction = excluding(step, self.excluded) if self.excluded else step
        if search.unrepeated:
            return without_repeats(allowed, state, search.unrepeated, EOS)
        return allowed, state

    def decoded(self, inputs: Iterable[str], search: Search) -> Iterator[Output | Failure]:
        """The output of each input, in order, as soon as it is known; ``inputs`` may be endless."""
        for part in groups(inputs, chain(self.first_parts, repeat(self.part_size))):
            yield from self._decode_part(part, search, no_tick)

    def outputs(self, items: Sequence[str], search: Search | None = None, tick: Tick = no_tick) -> Iterator[Output]:
        """The output of each of ``items``, in order; those of the first part come before the last are decoded.

        Raises:
            UserError: an input cannot be used.
        """
        for start in range(0, len(items), self.part_size):
            for result in self._decode_part(items[start : start + self.part_size], search or Search(), tick):
                if isinstance(result, Failure):
                    raise UserError(result.error)
                yield result

    def weights(self, sources: list[Source], targets: Sequence[list[int]], first: int = BOS) -> list[np.ndarray]:
        """The attention of the tokens of each target, EOS last, if they are the output of its source.

        Args:
            sources: a batch of sources.
            targets: their outputs, as tokens.
            first: the token with which the decoder starts.

        Returns:
            For each source, ``(tokens, source length)``.

        Raises:
            UserError: the model has no attention.
        """
        inputs, _ = pad([[first, *tokens[:-1]] for tokens in targets], PAD, self.model.device)
        rows = []
        with torch.inference_mode():
            evaluating(self.model)
            state = self.start(sources)
            for tokens in inputs.unbind(1):
                step = self.model.step(tokens, state)
                state = step.state
                if step.weights is None:
                    raise UserError(NO_ATTENTION)
                rows.append(step.weights.cpu())
        weights = torch.stack(rows, 1).numpy()
        ends = [(len(tokens), len(source)) for tokens, source in zip(targets, sources, strict=True)]
        return [each[:length, :width] for each, (length, width) in zip(weights, ends, strict=True)]

    def hypotheses(self, sources: Sequence[Source], search: Search, tick: Tick = no_tick) -> list[Hypothesis]:
        """What is decoded for each source, sorted by length and in batches."""
        results: dict[int, Hypothesis] = {}
        sizes = [(len(source) * search.beam, 0) for source in sources]
        for batch in fill(sorted(range(len(sources)), key=lambda at: sizes[at]), sizes, self.batch_size):
            decoded = self.decode([sources[at] for at in batch], search, tick)
            tick(len(batch))
            results.update(zip(batch, decoded, strict=True))
        return [results[at] for at in range(len(sources))]

    def _decode_part(self, items: Sequence[str], search: Search, tick: Tick) -> Iterator[Output | Failure]:
        """The outputs of a part of the inputs."""
        every = [self.sources(item) for item in items]
        flat = [source for sources in every if not isinstance(sources, Failure) for source in sources]
        hypotheses = iter(self.hypotheses(flat, search, tick))
        for item, sources in zip(items, every, strict=True):
            if isinstance(sources, Failure):
                yield sources
            else:
                yield self.result(item, sources, list(islice(hypotheses, len(sources))))


Text = TypeVar("Text", bound=TextOutput)


@dataclass(frozen=True)
class PairPredictor(Seq2SeqPredictor[Source, Text], Generic[Source, Text]):
    """A model from text to text. A subclass implements `read`, `start`, `limit`, `output` and `rows`, and sets
    ``output_type``, the class of an output."""

    output_type: ClassVar[Any] = TextOutput

    @abstractmethod
    def read(self, item: str) -> Source | Failure:
        """The source of a text, such as its tokens; a Failure if the text cannot be used."""

    @abstractmethod
    def output(self, item: str, source: Source, hypothesis: Hypothesis) -> Text:
        """The output for a text, of what was decoded."""

    def sources(self, item: str) -> list[Source] | Failure:
        """See `Seq2SeqPredictor`."""
        source = self.read(item)
        return source if isinstance(source, Failure) else [source]

    def result(self, item: str, sources: list[Source], hypotheses: list[Hypothesis]) -> Text:
        """See `Seq2SeqPredictor`."""
        return self.output(item, sources[0], hypotheses[0])

    @abstractmethod
    def rows(self, pairs: PairList) -> Rows:
        """Pairs as tokens, as the model reads them in training."""

    def samples(self, pairs: Sequence[tuple[str, str]], count: int = 5) -> list[str]:
        """``count`` of the pairs with their outputs by beam search, as a Markdown table."""
        pairs = pairs[:: max(1, len(pairs) // count)][:count]
        outputs = self.outputs([source for source, _ in pairs])
        rows = [(one.source, one.text, target) for one, (_, target) in zip(outputs, pairs, strict=True)]
        return markdown_table([("source", self.output_type.name, "reference"), *rows])


def markdown_table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The lines of a table in Markdown; the first row is its head.

    >>> markdown_table([("a", "b"), ("1 | 2", "3")])
    ['| a | b |', '| --- | --- |', '| 1 ¦ 2 | 3 |']
    """
    head, *others = rows
    every = (head, ("---",) * len(head), *others)
    return [f"| {' | '.join(one_line(cell).replace('|', '¦') for cell in row)} |" for row in every]
