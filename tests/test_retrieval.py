"""Similar training pairs: which are the nearest, their file, and a summarizer that reads their summaries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Result
from regard.data.similar import Neighbour, SimilarPairs
from regard.data.words import SIMILAR
from regard.errors import UserError
from regard.tasks.families.seq2seq.copying_settings import CopyModelConfig
from regard.tasks.families.seq2seq.retrieval import Retriever
from regard.tasks.families.seq2seq.settings import TransformerConfig
from regard.tasks.running import load, train
from regard.tasks.summarize.settings import DataConfig, SummarizeConfig, SummarizeTrainConfig

TEXTS = ["the cat sat on the mat", "the cat sat on a mat", "a dog ran", "a dog ran", "nothing else alike"]


def _similar() -> SimilarPairs:
    return SimilarPairs.of((text.split(), f"target {at}") for at, text in enumerate(TEXTS))


def test_the_similarity_is_the_cosine_of_weighted_words_and_pairs() -> None:
    pairs = _similar()
    distinct = list(dict.fromkeys(TEXTS))
    bags = pairs.ngrams.bags(text.split() for text in distinct)
    matrix = np.zeros((len(distinct), len(pairs.ngrams.hashes)))
    matrix[np.repeat(np.arange(len(distinct)), bags.sizes()), bags.rows] = bags.weights
    query = matrix[1] @ matrix.T
    query[1] = 0.0  # the text itself
    nearest = pairs.nearest(TEXTS[1].split(), 10)
    assert [one.target for one in nearest] == ["target 0", "target 2"]
    assert [one.similarity for one in nearest] == pytest.approx([query[0], query[2]], abs=1e-6)


def test_a_text_is_no_neighbour_of_itself_and_unknown_words_have_none() -> None:
    pairs = _similar()
    assert [one.target for one in pairs.nearest(["a", "dog", "ran"], 10)] == ["target 1"]
    assert pairs.nearest(["zebra"], 3) == []
    assert pairs.nearest([], 3) == []


def test_frequent_words_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regard.data.similar._EXPECTED", 1)
    pairs = SimilarPairs.of((["the", f"word{at}"], str(at)) for at in range(20))
    assert pairs.nearest(["the"], 5) == []
    assert [one.target for one in pairs.nearest(["the", "word7", "new"], 5)] == ["7"]


def test_files_of_pairs(tmp_path: Path) -> None:
    pairs, path = _similar(), tmp_path / "similar.safetensors"
    pairs.save(path)
    words = ["my", "cat", "sat", "on", "a", "mat"]
    assert SimilarPairs.load(path).nearest(words, 3) == pairs.nearest(words, 3)
    path.write_bytes(b"no tensors")
    with pytest.raises(UserError, match="is not a file of similar pairs"):
        SimilarPairs.load(path)


@pytest.mark.parametrize(("similarity", "level"), [(0.05, 0), (0.1, 1), (0.3, 2), (0.4, 3), (1.0, 3)])
def test_a_token_says_how_similar_a_source_is(similarity: float, level: int) -> None:
    retriever = Retriever.of([("a", "b c d")], 1, longest=2)
    neighbour = Neighbour("b c d", similarity)
    assert retriever.words([neighbour]) == ["b", "c", SIMILAR[level]]


def _pairs(places: range, copies: range) -> list[tuple[str, str]]:
    """Texts about places, of which those about the same place have the same summary, a name that is in no text."""
    return [(f"Item {at}x{copy} is sent to place{at}.", f"For Name{at}.") for at in places for copy in copies]


TEXT = _pairs(range(3, 4), range(9, 10))[0][0]


def _config(folder: Path, similar: int, **model: Any) -> SummarizeConfig:
    path = folder / "train.tsv"
    path.write_text("".join(f"{one}\t{other}\n" for one, other in _pairs(range(200), range(2))))
    return SummarizeConfig(
        data=DataConfig(train=str(path)),
        model=CopyModelConfig(**{"kind": "transformer", "dim": 32, "dropout": 0.0, "similar": similar, **model}),
        transformer=TransformerConfig(encoder_layers=1, decoder_layers=1, heads=2, hidden=64),
        train=SummarizeTrainConfig(steps=150, tokens=600, epochs=40, label_smoothing=0.0, warmup=10),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("similar")
    train("summarize", _config(folder, 1), folder / "run")
    return folder / "run"


def test_what_only_a_similar_text_tells_is_written(trained: Path) -> None:
    predictor: Any = load(trained)
    texts, names = zip(*_pairs(range(300, 340), range(1, 2)), strict=True)
    alone = [summary.text for summary in predictor.predict(texts, beam=1)]
    assert not set(alone) & set(names)
    retriever = Retriever.of(_pairs(range(300, 340), range(1)), 1, longest=20)
    summaries = [summary.text for summary in replace(predictor, retriever=retriever).predict(texts, beam=1)]
    assert np.mean([one == name for one, name in zip(summaries, names, strict=True)]) > 0.9


def test_results_have_the_similar_summaries(trained: Path, tmp_path: Path, regard: Callable[..., Result]) -> None:
    row = json.loads(regard("summarize", trained, TEXT, "--json", "--beam", 1).out)
    assert row["summary"] == "For Name3."
    assert [one["text"] for one in row["similar"]] == ["For Name3."]
    assert [(one["word"], one["from"]) for one in row["words"]][:2] == [("For", 0), ("Name3", 1)]
    shown = regard("look", trained, TEXT, "--out", tmp_path / "look.png").out
    assert f"similar {row['similar'][0]['similarity']:.2f}: For Name3." in shown
    assert "Name3  copied" in shown


def test_the_retriever_is_in_an_exported_description(trained: Path) -> None:
    predictor: Any = load(trained)
    assert "<far>" in predictor.exportable().notes["use"]
    assert "<far>" not in replace(predictor, retriever=None).exportable().notes["use"]


def test_without_copying_similar_summaries_are_read_too(tmp_path: Path) -> None:
    config = _config(tmp_path, 2, copy=False)
    train("summarize", replace(config, train=replace(config.train, steps=3)), tmp_path / "run")
    predictor: Any = load(tmp_path / "run")
    article = predictor.read(TEXT)
    assert [one.target for one in article.similar] == ["For Name3.", "For Name3."]
    assert len(predictor.look(TEXT).alignment.source) == len(article)


def test_a_negative_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.similar: must not be below 0, got -1"):
        train("summarize", _config(tmp_path, -1), tmp_path / "run")
