"""Summarization: how `regard.tasks.running` trains, scores and shows it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from regard.data import docstrings
from regard.data.summaries import open_summaries
from regard.data.tokenizer import UNK
from regard.data.words import NAMES, SHAPES, SPELLINGS, Vocabulary, split
from regard.models.pointer import PointerRNN, PointerTransformer
from regard.tasks.families.seq2seq import evaluation
from regard.tasks.families.seq2seq.copied_output import CopiedShare
from regard.tasks.families.seq2seq.copying import search
from regard.tasks.families.seq2seq.copying_settings import LENGTH_PENALTY
from regard.tasks.families.seq2seq.data import PairData, PairList, references
from regard.tasks.families.seq2seq.lengths import drop_long_targets, with_lengths
from regard.tasks.families.seq2seq.models import build
from regard.tasks.families.seq2seq.places import placed
from regard.tasks.families.seq2seq.results import save_alignments
from regard.tasks.families.seq2seq.retrieval import Retriever
from regard.tasks.families.seq2seq.rouge import TYPES, rouge, scored
from regard.tasks.families.seq2seq.rows import Rows
from regard.tasks.families.seq2seq.task import PairTask
from regard.tasks.families.seq2seq.trainable import LOSS
from regard.tasks.pretraining import light, masked_tokens, unlabelled
from regard.tasks.results import Scores
from regard.tasks.summarize.predictor import Summarizer
from regard.tasks.summarize.settings import SummarizeConfig
from regard.tasks.task import Notify
from regard.training.defaults import bounded, epochs, known
from regard.training.masked import MaskedTexts
from regard.training.metric import Metric

_VOCABULARY = "vocabulary.json"
_SIMILAR = "similar.safetensors"

_LARGEST = 10_000
"""The largest vocabulary by default."""

_SAMPLE = 2000
"""The number of pairs whose words are counted for the size of a batch."""


class Summarize(PairTask[SummarizeConfig, Summarizer]):
    """See `regard.tasks.families.seq2seq.task.PairTask`."""

    metrics = (
        LOSS,
        *(Metric(name, higher_is_better=True, how="F1 of rouge-score, 0 to 100, greedy decoding") for name in TYPES),
    )
    reader = staticmethod(open_summaries)
    builtin_pairs = "docstrings of the installed Python, NumPy and PyTorch, and their first lines"
    data_name = "texts with summaries"

    def builtin(self, config: SummarizeConfig, split: Literal["train", "valid", "test"]) -> PairList:
        """The built-in docstrings; for validation and test a tenth as many as for training."""
        count = config.data.builtin_pairs
        return docstrings.corpus(count if split == "train" else max(10, count // 10), split=split)

    def text_scores(self, texts: Sequence[str], pairs: PairList) -> Mapping[str, float]:
        """ROUGE; the summaries of equal texts are references of each other's."""
        by_source = references(pairs)
        return rouge(texts, [by_source[source] for source, _ in pairs])[0]

    def defaults(self, config: SummarizeConfig, pairs: PairData) -> Mapping[str, object]:
        """Settings by the number of pairs and the length of the texts.

        The number of steps grows with the square root of the number of pairs, as for translation.
        """
        train, count = pairs.train, len(pairs.train)
        sample = [train[row] for row in range(0, count, max(1, count // _SAMPLE))]
        longest = config.data.max_length
        counts = [min(longest, len(split(text))) + len(split(short)) + 2 for text, short in sample]
        tokens = sum(counts) * count / len(sample)
        dim = config.model.dim or (128 if count < 3000 else 256)
        batch = config.train.tokens or bounded(tokens / 24, 512, 8192)
        return {
            "tokenizer.size": _LARGEST,
            "model.dim": dim,
            "model.embedding": dim // 2,
            "train.tokens": batch,
            "train.epochs": epochs(1000.0 + 9 * math.sqrt(count), tokens / batch),
        }

    def prepare(self, config: SummarizeConfig, pairs: PairData, folder: Path, notify: Notify) -> None:
        """Choose the vocabulary, and index the pairs if similar ones are to be read."""
        vocabulary = Vocabulary.train((f"{text}\n{short}" for text, short in pairs.train), known(config.tokenizer.size))
        notify(f"vocabulary: {len(vocabulary):,} words; others can only be copied")
        vocabulary.save(folder / _VOCABULARY)
        if config.model.similar:
            Retriever.of(pairs.train, config.model.similar, config.data.max_summary).save(folder / _SIMILAR)

    def untrained(self, config: SummarizeConfig, run: Path) -> Summarizer:
        """See `PairTask`."""
        vocabulary, count, longest = Vocabulary.load(run / _VOCABULARY), config.model.similar, config.data.max_summary
        options: Any = {"before": count * (longest + 1)}
        if config.model.copy:
            options |= {"unknown": UNK, "outside": (SHAPES, SPELLINGS), "coverage": config.model.coverage}
            model = build(config, len(vocabulary), recurrent=PointerRNN, transformer=PointerTransformer, **options)
        else:
            model = build(config, len(vocabulary), len(vocabulary), shared=True, **options)
        retriever = Retriever.load(run / _SIMILAR, count, longest) if count else None
        return Summarizer(model, vocabulary, config.data.max_length, longest, retriever)

    def pretraining(self, config: SummarizeConfig, run: Path, pairs: PairData, notify: Notify) -> MaskedTexts:
        """See `Task`; on texts and summaries."""
        train, valid = (itertools.chain.from_iterable(part) for part in (pairs.train, pairs.valid))
        texts = unlabelled(config.pretrain, train, valid, notify)
        predictor = self.untrained(light(config), run)
        model: Any = predictor.model
        tokens, size = [predictor.vocabulary.target(text) for text in texts], len(predictor.vocabulary)
        return masked_tokens(
            model.token_encoder(), tokens, config.pretrain, size=size, special=len(NAMES), begins=None,
            window=config.data.max_length + 1, seed=config.train.seed, unit="words",
        )  # fmt: skip

    def training_rows(self, predictor: Summarizer, config: SummarizeConfig, pairs: PairData, notify: Notify) -> Rows:
        """The training pairs as words, without those with a long summary; every second one begins with its length."""
        rows, longest = predictor.rows(pairs.train), predictor.max_target
        return with_lengths(drop_long_targets(rows, longest, "summaries", "data.max_summary", notify))

    def evaluate(
        self,
        predictor: Summarizer,
        config: SummarizeConfig,
        run: Path,
        path: str | None,
        notify: Notify,
        *,
        beam: int = 5,
        on_bad_line: str | None = None,
        output: Path | None = None,
        length: str | None = None,
        length_penalty: float = LENGTH_PENALTY,
        no_repeat: bool = True,
        samples: int = 0,
        lead_below: float = 0.0,
    ) -> Scores:
        """Scores on texts with summaries; ``output`` is a file for the model's summaries, one for each different text.

        Raises:
            UserError: the texts cannot be used, or none are named for a run that was trained on the user's own.
        """
        by_source = references(self.evaluation_pairs(config, path, on_bad_line, notify))
        pairs = [(source, several[0]) for source, several in by_source.items()]
        copied, wanted = CopiedShare(), search(beam, length, length_penalty, no_repeat, samples, lead_below)
        texts, others = evaluation.outputs(predictor, pairs, wanted, path=output, unit="texts", each=copied.add)
        scores = scored(texts, list(by_source), list(by_source.values()))
        return {**scores, **copied.scores(), **placed(predictor, pairs), **others}

    def inputs(self, config: SummarizeConfig, folder: Path) -> list[str]:
        """Three texts of the test split."""
        return docstrings.examples()

    def finish_demo(self, predictor: Summarizer, config: SummarizeConfig, run: Path, console: Console) -> str:
        """Summarize three texts of the test split, and draw from where the words are."""
        summaries = list(predictor.outputs(self.inputs(config, run), search(5)))
        for summary in summaries:
            summary.show(console)
            console.print()
        return save_alignments(summaries, run)
