"""Beam search with a Transformer: the translator of the task ``translate``, and CTranslate2 with its weights."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from everyday_sides import Call
from everyday_table import Case

PEERS = {"CTranslate2": "everyday_beam:ctranslate"}
BEAM, STEPS, SOURCE = 5, 24, 16
"""The size of the beam, the tokens of an output, and those of the longest source."""

SIZES = {
    "4 + 4 of 128": {"size": 6000, "dim": 128, "heads": 4, "layers": 4, "hidden": 256},
    "6 + 6 of 512": {"size": 32000, "dim": 512, "heads": 8, "layers": 6, "hidden": 2048},
}


def cases() -> Iterator[Case]:
    for name, batch in (("4 + 4 of 128", 1), ("4 + 4 of 128", 32), ("6 + 6 of 512", 1), ("6 + 6 of 512", 32)):
        size, dim, layers, hidden = (SIZES[name][key] for key in ("size", "dim", "layers", "hidden"))
        of_decoder = layers * (6 * dim * dim + 2 * dim * hidden) + size * dim  # keys and values of the source: once
        of_encoder = layers * (6 * dim * dim + 2 * dim * hidden)
        cached = 2 * layers * dim * batch * (BEAM * STEPS // 2 + SOURCE)  # on average
        operations = 2 * batch * (BEAM * of_decoder + of_encoder * SOURCE / STEPS)
        yield Case(
            f"beam {BEAM}, {name}, batch {batch}, {STEPS} tokens", "float32", (name, batch),
            bytes=4 * (of_decoder + cached), operations=operations, seconds=0.5, parts=STEPS,
            rounds=3 if batch * dim > 10_000 else 5,
        )  # fmt: skip


@functools.cache
def model(name: str) -> Any:
    """A translator that never ends a sentence, the same in every process."""
    import torch

    from regard.data.tokenizer import EOS
    from regard.models.transformer import TransformerTranslator

    torch.manual_seed(0)
    size, layers = SIZES[name]["size"], SIZES[name]["layers"]
    sizes: dict[str, Any] = {key: SIZES[name][key] for key in ("dim", "heads", "hidden")}
    made = TransformerTranslator(size, size, encoder_layers=layers, decoder_layers=layers, shared=True, **sizes)
    torch.nn.init.normal_(made.output_bias)
    made.output_bias.data[EOS] = -1e4
    return made.eval()


def sources(name: str, batch: int) -> list[list[int]]:
    """Tokens of sentences of different lengths; the longest one is `SOURCE` long."""
    from regard.data.tokenizer import EOS, UNK

    random = np.random.default_rng(0)
    lengths = [SOURCE, *random.integers(SOURCE // 2, SOURCE, batch - 1)]
    return [[*random.integers(UNK + 1, SIZES[name]["size"], length - 1).tolist(), EOS] for length in lengths]


def ours(threads: int, name: str, batch: int) -> Call:
    from regard.tasks.families.seq2seq.predictor import Search
    from regard.tasks.translate.predictor import Translator

    class Limited(Translator):
        def limit(self, sources: list[list[int]]) -> int:
            return STEPS

    tokenizer: Any = None  # sources and outputs are tokens
    predictor, texts = Limited(model(name), tokenizer, tokenizer), sources(name, batch)
    search = Search(BEAM)
    return lambda: [hypothesis.tokens for hypothesis in predictor.hypotheses(texts, search)]


def ctranslate(threads: int, name: str, batch: int) -> Call:
    import ctranslate2
    from everyday_ctranslate import translator_spec

    with tempfile.TemporaryDirectory() as folder:
        spec = translator_spec(model(name))
        spec.validate()
        spec.optimize()
        spec.save(folder)
        translator = ctranslate2.Translator(folder, intra_threads=threads, compute_type="float32")
    texts = [[str(token) for token in source] for source in sources(name, batch)]

    def call() -> list[list[int]]:
        results = translator.translate_batch(texts, beam_size=BEAM, max_decoding_length=STEPS)
        return [[int(token) for token in result.hypotheses[0]] for result in results]

    return call
