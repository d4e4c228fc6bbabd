"""Decodes recordings, scores the texts, and measures the attention on the time at which a character is known to be."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regard.data.recordings import Recordings
from regard.data.sound_files import FRAMES_PER_SECOND
from regard.data.tokenizer import EOS
from regard.explain.transcript import Transcript
from regard.models.transcriber import STEP
from regard.tasks.families.seq2seq.error_rates import error_rate
from regard.tasks.families.seq2seq.evaluation import write_lines
from regard.tasks.families.seq2seq.predictor import Tick, markdown_table, no_tick
from regard.tasks.families.seq2seq.trainable import mean_loss
from regard.tasks.families.speech.predictor import JointSearch, SpeechPredictor
from regard.tasks.families.speech.rows import SpokenRows, duration
from regard.tasks.results import Score, Scores

_PLACED = 32
"""Recordings whose attention is computed in one batch."""


@dataclass(frozen=True)
class SpokenValidation:
    """Decodes and scores recordings: see `regard.tasks.families.seq2seq.trainable.Validation`."""

    predictor: SpeechPredictor
    recordings: Recordings
    search: JointSearch

    def texts(self, rows: Sequence[int], tick: Tick = no_tick) -> list[str]:
        """See `Validation`."""
        sounds = [self.predictor.listener.sound(self.recordings.values[row]) for row in rows]
        hypotheses = self.predictor.hypotheses(sounds, self.search, tick)
        return [self.predictor.tokenizer.decode(one.tokens) for one in hypotheses]

    def scores(self, texts: Sequence[str], rows: Sequence[int]) -> Mapping[str, float]:
        """See `Validation`."""
        references = [self.recordings.texts[row] for row in rows]
        return {
            "cer": error_rate(texts, references, "character").rate, "wer": error_rate(texts, references, "word").rate,
        }  # fmt: skip


def scored(predictor: SpeechPredictor, recordings: Recordings, search: JointSearch, output: Path | None) -> Scores:
    """Error rates, loss and speed, and the attention on the times of characters, if they are known.

    Args:
        predictor: the model.
        recordings: with their texts.
        search: how the texts are searched for.
        output: a file to which the texts are written, one per line.

    Raises:
        UserError: the file cannot be written.
    """
    began = time.perf_counter()
    texts = SpokenValidation(predictor, recordings, search).texts(range(len(recordings)))
    seconds = time.perf_counter() - began
    if output is not None:
        write_lines(texts, output)
    loss = mean_loss(predictor.model, SpokenRows(recordings, predictor.tokenizer, predictor.listener))
    spoken = 3600 * duration(recordings.values, predictor.form.rate)
    speed = f"beam {search.beam}, {spoken / seconds:,.1f} seconds of sound per second"
    return {
        "wer": error_rate(texts, recordings.texts, "word").score(),
        "cer": error_rate(texts, recordings.texts, "character").score(),
        "loss": Score(loss, "CTC and cross-entropy in nats per character", 4),
        "recordings": Score(float(len(recordings)), speed, 0),
        **_placed(predictor, recordings),
    }


def rate_of_ctc(predictor: SpeechPredictor, recordings: Recordings) -> float:
    """The character error rate of greedy search with the scores of CTC alone."""
    alone, rows = SpokenValidation(predictor, recordings, JointSearch(1, ctc=1.0)), range(len(recordings))
    return alone.scores(alone.texts(rows), rows)["cer"]


def table(predictor: SpeechPredictor, recordings: Recordings, count: int = 5) -> list[str]:
    """``count`` of the recordings with their texts by beam search, as a Markdown table."""
    rows = range(0, len(recordings), max(1, len(recordings) // count))[:count]
    texts = SpokenValidation(predictor, recordings, JointSearch()).texts(rows)
    pairs = [(text, recordings.texts[row]) for text, row in zip(texts, rows, strict=True)]
    return markdown_table([("transcription", "reference"), *pairs])


def _placed(predictor: SpeechPredictor, recordings: Recordings) -> Scores:
    """The mean attention of the characters of the references on their times and one step beside, and the chance."""
    if recordings.spans is None or predictor.model.attend is None:
        return {}
    shares = list[tuple[float, float]]()
    for first in range(0, len(recordings), _PLACED):
        rows = range(first, min(len(recordings), first + _PLACED))
        sounds = [predictor.listener.sound(recordings.values[row]) for row in rows]
        texts = [recordings.texts[row] for row in rows]
        encoded = predictor.tokenizer.encode_places(texts)
        targets = [[*tokens, EOS] for tokens, _ in encoded]
        step = STEP / FRAMES_PER_SECOND
        for row, (tokens, places), weights in zip(rows, encoded, predictor.weights(sounds, targets), strict=True):
            own, count = weights[: len(tokens)], len(tokens)
            one = Transcript(np.zeros((1, 1)), step * own.shape[1], step, [""] * count, np.zeros((count, 2)), own)
            starts, ends = zip(*places, strict=True)
            spans = np.stack([recordings.spans[row][list(starts), 0], recordings.spans[row][np.array(ends) - 1, 1]], 1)
            # The convolutions see more than a step, so the step before a token begins may already stand for it.
            shares.append(one.share(spans + (-step, step)))
    share, chance = 100 * np.array(shares).mean(0)
    how = f"per cent of a character's attention is where it is, or a step of 40 ms beside it; by chance {chance:.1f}"
    return {"placed": Score(float(share), how)}
