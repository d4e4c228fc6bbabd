"""Predictors from sounds of any length to text, with the times of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from regard.data.ragged import Ragged
from regard.data.silences import after, windows
from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.sounds import SoundFormat, read_blocks
from regard.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from regard.decode import Hypothesis, StepFunction, align, beam_search, excluding, joint
from regard.errors import UserError
from regard.explain.captions import Word
from regard.explain.transcript import Transcript
from regard.models.modules import evaluating
from regard.models.transcriber import STEP, Transcriber
from regard.tasks.families.seq2seq.predictor import Search, Seq2SeqPredictor, Tick
from regard.tasks.families.speech.results import Transcription
from regard.tasks.families.speech.rows import Listener, Sound
from regard.tasks.results import Failure


@dataclass(frozen=True)
class JointSearch(Search):
    """A search with the scores of CTC, whose weight is ``ctc``; see `regard.decode.joint`."""

    length_penalty: float = 0.0
    ctc: float = 0.4


@dataclass(frozen=True)
class Timed(Hypothesis):
    """A decoded sequence with the first step of each token, and the step after its last one, ``(tokens, 2)``."""

    spans: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)), compare=False, repr=False)


@dataclass(frozen=True)
class SpeechPredictor(Seq2SeqPredictor[Sound, Transcription]):
    """A trained model with its characters and the format of its sounds. A task adds `exportable`.

    ``form.seconds`` is the length of the longest training recording: longer files are cut into windows of at most this
    length, since a model is of little use on sounds that are much longer than those of its training.
    """

    model: Transcriber
    tokenizer: Tokenizer
    form: SoundFormat
    width: int
    first_parts: ClassVar[Sequence[int]] = (1, 4)
    part_size: ClassVar[int] = 16
    batch_size: ClassVar[int] = 8000
    excluded: ClassVar[Sequence[int]] = (PAD, BOS, UNK)

    @property
    def listener(self) -> Listener:
        """Makes batches of sounds."""
        return Listener(self.model)

    def predict(
        self, inputs: Iterable[str], *, beam: int = 5, ctc: float = 0.4, form: Literal["text", "srt", "vtt"] = "text"
    ) -> Iterator[Transcription | Failure]:
        """The text of each sound file, in order; a file that cannot be used gives a `Failure`."""
        for one in self.decoded(inputs, JointSearch(beam, ctc=ctc)):
            yield one if isinstance(one, Failure) else Transcription(one.file, one.words, one.score, form)

    def look(
        self, item: str, *, beam: int = 5, ctc: float = 0.4, text: str | None = None, start: float = 0.0
    ) -> Transcription:
        """The text of a sound file, or ``text`` if it is given, and where its characters are heard.

        Raises:
            UserError: the file or the text cannot be used.
        """
        (length, blocks), first = self._blocks(item), round(start * self._per_second)
        if first >= length:
            raise UserError(f"--start: {start:g}, and {item} has {length / self._per_second:.2f} seconds")
        _, values = next(windows(after(blocks, first), self.form.rate, self.form.seconds))
        sound = self.listener.sound(values, start)
        search = JointSearch(beam, ctc=ctc)
        hypothesis: Any = self.hypotheses([sound], search)[0] if text is None else self._given(sound, text)
        if not hypothesis.tokens:
            raise UserError(f"{item}: nothing is heard in it; give its text with --text")
        one = self.result(item, [sound], [hypothesis])
        return Transcription(one.file, one.words, one.score, heard=self.heard(sound, hypothesis))

    def heard(self, sound: Sound, hypothesis: Timed) -> Transcript:
        """Where the tokens of a hypothesis are heard."""
        with torch.inference_mode():
            features = self.model.encode(*self._batch([sound])).features[0].float().cpu().numpy()
        count, step = len(hypothesis.tokens), STEP / FRAMES_PER_SECOND
        weights = None if self.model.attend is None else self.weights([sound], [[*hypothesis.tokens, EOS]])[0][:count]
        pieces = self.tokenizer.spelled(hypothesis.tokens)
        return Transcript(features, len(features) / FRAMES_PER_SECOND, step, pieces, step * hypothesis.spans, weights)

    def sources(self, item: str) -> list[Sound] | Failure:
        """See `Seq2SeqPredictor`: the windows of a file."""
        try:
            return list(self._windows(item))
        except UserError as error:
            return Failure(item, str(error))

    def start(self, sources: list[Sound]) -> Any:
        """See `Seq2SeqPredictor`."""
        return self.model.start(*self._batch(sources))

    def limit(self, sources: list[Sound]) -> int:
        """See `Seq2SeqPredictor`: each character takes a step."""
        return max(map(len, sources)) + 1

    def decode(self, sources: list[Sound], search: Search, tick: Tick) -> list[Hypothesis]:
        """See `Seq2SeqPredictor`: a joint search with CTC, by which the tokens are then aligned."""
        assert isinstance(search, JointSearch)
        model, model_step, state = self.model, None, None
        with torch.inference_mode():
            evaluating(model)
            encoded = model.encode(*self._batch(sources))
            steps = model.log_probabilities(encoded)
            if model.attend is not None:
                model_step, state = excluding(model.step, self.excluded), model.remember(encoded)
            weight = 1.0 if model.attend is None else search.ctc
            scored, state = joint(model_step, state, steps, encoded.lengths, weight=weight, blank=PAD, eos=EOS)

            def step(tokens: torch.Tensor, state: Any) -> Any:
                tick(0)
                return scored(tokens, state)

            allowed: StepFunction = excluding(step, self.excluded)
            results = beam_search(
                allowed, state, torch.full((len(sources),), BOS, device=model.device), eos=EOS,
                max_length=self.limit(sources), beam=search.beam, length_penalty=search.length_penalty,
                normalized=True,
            )  # fmt: skip
        logs = steps.cpu().numpy()
        return [
            self._timed(best[0], each[: len(source)]) for best, each, source in zip(results, logs, sources, strict=True)
        ]

    def result(self, item: str, sources: list[Sound], hypotheses: list[Hypothesis]) -> Transcription:
        """See `Seq2SeqPredictor`."""
        words = list[Word]()
        for sound, hypothesis in zip(sources, hypotheses, strict=True):
            assert isinstance(hypothesis, Timed)
            seconds, text, begun = sound.start + STEP / FRAMES_PER_SECOND * hypothesis.spans, "", 0.0
            for at, piece in enumerate([*self.tokenizer.spelled(hypothesis.tokens), " "]):
                if piece[:1].isspace() and text:
                    words.append(Word(text, begun, float(seconds[at - 1, 1])))
                    text = ""
                if not piece.isspace():
                    begun = begun if text else float(seconds[at, 0])
                    text += piece.lstrip()
        return Transcription(item, tuple(words), sum(one.score for one in hypotheses))

    def _decode_part(self, items: Sequence[str], search: Search, tick: Tick) -> Iterator[Transcription | Failure]:
        """See `Seq2SeqPredictor`. No more than ``part_size`` windows are held at a time, however long the files are."""
        failures = dict[int, Failure]()
        sounds, hypotheses = defaultdict[int, list[Sound]](list), defaultdict[int, list[Hypothesis]](list)

        def windowed() -> Iterator[tuple[int, Sound]]:
            for at, item in enumerate(items):
                try:
                    yield from ((at, sound) for sound in self._windows(item))
                except UserError as error:
                    failures[at] = Failure(item, str(error))

        stream = windowed()
        while group := list(islice(stream, self.part_size)):
            decoded = self.hypotheses([sound for _, sound in group], search, tick)
            for (at, sound), hypothesis in zip(group, decoded, strict=True):
                sounds[at].append(replace(sound, values=sound.values[:0].copy()))
                hypotheses[at].append(hypothesis)
        for at, item in enumerate(items):
            yield failures[at] if at in failures else self.result(item, sounds[at], hypotheses[at])

    def _windows(self, item: str) -> Iterator[Sound]:
        """The windows of a file. Raises UserError: it cannot be used."""
        _, blocks = self._blocks(item)
        for first, values in windows(blocks, self.form.rate, self.form.seconds):
            yield self.listener.sound(values, first / self._per_second)

    def _blocks(self, item: str) -> tuple[int, Iterator[np.ndarray]]:
        return read_blocks(Path(item), self.form, self.width)

    @property
    def _per_second(self) -> int:
        """Samples or frames."""
        return FRAMES_PER_SECOND if self.width else self.form.rate

    def _batch(self, sources: Sequence[Sound]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.listener.batch(Ragged.of([source.values for source in sources]), range(len(sources)))

    def _given(self, sound: Sound, text: str) -> Timed:
        """The hypothesis that a text is said. Raises UserError: it is too long for the sound, or unknown characters."""
        tokens = self.tokenizer.encode(text.strip())
        if UNK in tokens or not tokens:
            raise UserError(f"--text: {text!r} has a character that is in no training text, or none at all")
        with torch.inference_mode():
            steps = self.model.log_probabilities(self.model.encode(*self._batch([sound])))[0].cpu().numpy()
        try:
            spans = align(steps, tokens, PAD)
        except ValueError:
            raise UserError(f"--text: has {len(tokens):,} characters, too many for {len(sound)} steps") from None
        return Timed(tokens, 0.0, 0.0, True, spans=spans)

    def _timed(self, best: Hypothesis, steps: np.ndarray) -> Timed:
        """A hypothesis with times; those of more tokens than fit into the sound are spread evenly."""
        try:
            spans = align(steps, best.tokens, PAD)
        except ValueError:
            edges = np.linspace(0, len(steps), len(best.tokens) + 1)
            spans = np.stack([edges[:-1], edges[1:]], 1)
        return Timed(best.tokens, best.score, best.rank, best.finished, best.weights, spans=spans)
