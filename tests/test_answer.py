"""Question answering: the model, windows, the merging of their answers, and what the command says."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from conftest import Result
from regard.data.matching import LONGEST, match_features, matches, shared_words
from regard.data.questions import Question
from regard.data.tokenizer import Tokenizer
from regard.errors import UserError
from regard.models.span import HIDDEN, SpanReader
from regard.tasks.answer.settings import AnswerConfig, DataConfig, tiny_settings
from regard.tasks.families.span.predictor import Answerer
from regard.tasks.families.span.reading import losses_of, read
from regard.tasks.families.span.settings import ModelConfig, SpanDataConfig, SpanTrainConfig, TokenizerConfig
from regard.tasks.families.span.windows import Windows, divide
from regard.tasks.running import evaluate, load, train

CONTEXT = "Bern is the capital of Switzerland, and the Aare flows through it."


def _model(size: int, **options: object) -> SpanReader:
    torch.manual_seed(0)
    settings: dict[str, object] = {"dim": 16, "heads": 2, "layers": 2, "longest": 5, "kind": "conv", **options}
    return SpanReader(size, **settings).eval()  # type: ignore[arg-type]


def _inputs(context: int, question: int) -> tuple[torch.Tensor, ...]:
    tokens = torch.arange(4, 4 + context)[None], torch.arange(9, 9 + question)[None]
    features = torch.ones(1, context, dtype=torch.int64), torch.ones(1, question, dtype=torch.int64)
    return (tokens[0], torch.tensor([context]), tokens[1], torch.tensor([question]), *features)


@pytest.mark.parametrize("kind", ["gru", "conv"])
@pytest.mark.parametrize("attention", [True, False])
def test_padding_has_no_influence(kind: str, attention: bool) -> None:
    model, short, long = _model(60, kind=kind, attention=attention), _inputs(7, 3), _inputs(12, 6)
    padded = [torch.zeros_like(tensor) if tensor.dim() > 1 else tensor for tensor in long]
    for to, tensor in zip(padded, short, strict=True):
        if to.dim() > 1:
            to[:, : tensor.shape[1]] = tensor
    both = [torch.cat([a, b]) for a, b in zip(padded, long, strict=True)]
    both[1], both[3] = torch.tensor([7, 12]), torch.tensor([3, 6])
    with torch.no_grad():
        logits, weights = model.look(*both)
        alone, own = model.look(*short)
    torch.testing.assert_close(logits[:1, : 1 + 7 * 5], alone, atol=1e-5, rtol=1e-5)
    assert (logits[0, 1 + 7 * 5 :] == HIDDEN).all()
    assert (weights is not None) is attention
    if weights is not None and own is not None:
        torch.testing.assert_close(weights[:1, :3, :7], own, atol=1e-5, rtol=1e-5)
        assert (weights[0, :, 7:] == 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 6))


@pytest.mark.parametrize("kind", ["gru", "conv"])
@pytest.mark.parametrize("attention", [True, False])
def test_every_parameter_is_trained(kind: str, attention: bool) -> None:
    # One without a gradient has no state of the optimizer, so that training could not be resumed.
    model = _model(60, kind=kind, attention=attention)
    model(*_inputs(7, 3)).logsumexp(-1).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_a_span_that_ends_after_the_text_does_not_exist() -> None:
    logits = _model(60)(*_inputs(3, 2))[0, 1:].reshape(3, 5)
    assert (logits > HIDDEN / 2).tolist() == [[True] * (3 - at) + [False] * (2 + at) for at in range(3)]


def test_hidden_tokens_are_hidden_in_question_and_context() -> None:
    model = _model(60, word_dropout=0.5).train()
    shown = model._shown(torch.zeros(3, 2, dtype=torch.int64))
    assert shown is not None
    assert shown.shape == (3, 60)
    assert 0.3 < shown.float().mean() < 0.7
    hidden = _model(60, word_dropout=0.999999, dropout=0.0, matches=0).train()
    one, other = _inputs(7, 3), list(_inputs(7, 3))
    other[0] = other[0] + 20
    torch.testing.assert_close(hidden(*one), hidden(*other))  # no token is shown
    assert model.eval()._shown(one[0]) is None
    assert not torch.equal(model(*one), model(*other))


def test_the_scores_of_starts_are_those_of_the_pointer() -> None:
    pointer, m, q = _model(60).pointer, torch.randn(1, 7, 16), torch.randn(1, 3, 16)
    real = torch.ones(1, 3, dtype=torch.bool)
    scores, _, rows = pointer(m, torch.tensor([7]), q, real, weights=True)
    means = rows.log().mean(1)  # of each row the scores, less a constant
    torch.testing.assert_close(means - means.mean(), scores - scores.mean(), atol=1e-5, rtol=1e-4)


def test_the_loss_is_that_of_all_correct_spans_together() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0, HIDDEN], [3.0, 0.0, 0.0, HIDDEN]])
    index, real = torch.tensor([[1, 2], [0, 0]]), torch.tensor([[True, True], [True, False]])
    losses = losses_of(logits, index, real)
    of_all = math.log(1 + math.exp(1) + math.exp(2))
    assert losses[0].item() == pytest.approx(of_all - math.log(math.exp(1) + math.exp(2)))
    assert losses[1].item() == pytest.approx(math.log(math.exp(3) + 2) - 3)
    smoothed = losses_of(logits, index, real, 0.1)[0].item()
    assert smoothed == pytest.approx(0.9 * losses[0].item() + 0.1 * (of_all - 1))


@given(st.text("abAB ", min_size=1, max_size=12), st.text("ab ", min_size=1, max_size=12))
def test_matches_are_the_longest_common_parts(text: str, other: str) -> None:
    def expected(ours: str, theirs: str) -> list[int]:
        def longest(at: int) -> int:
            parts = ((start, end) for start in range(at + 1) for end in range(at + 1, len(ours) + 1))
            return max((end - start for start, end in parts if ours[start:end] in theirs), default=0)

        return [min(LONGEST, longest(at)) for at in range(len(ours))]

    ours, theirs = matches(text, other)
    assert ours.tolist() == expected(text.lower(), other.lower())
    assert theirs.tolist() == expected(other.lower(), text.lower())


def test_characters_whose_lower_case_is_longer_keep_their_places() -> None:
    ours, theirs = matches("İzmir", "izmir")
    assert (len(ours), len(theirs)) == (5, 5)
    assert ours.tolist()[1:] == [4, 4, 4, 4]


def test_words_and_numbers_are_shared_as_a_whole() -> None:
    text = "Bern has 0.85% of it, bernard 85%"
    shared = shared_words(text, "Does BERN have 0.85?")
    assert (
        "".join(letter if one else "." for letter, one in zip(text, shared, strict=True)) == "Bern.....0.85" + 20 * "."
    )
    ours, _ = match_features(text, "Bern")
    assert ours[:5].tolist() == [4 + LONGEST + 1] * 4 + [0]


@given(st.integers(1, 60), st.integers(1, 20), st.data())
def test_windows_have_every_token_and_overlap(count: int, window: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, window - 1))
    parts = divide(count, SpanDataConfig(window=window, overlap=overlap))
    assert parts[0][0] == 0
    assert parts[-1][1] == count
    assert all(end - start <= window for start, end in parts)
    for (_, end), (start, _) in itertools.pairwise(parts):
        assert start == end - overlap


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([CONTEXT * 3, "Where is Bern?" * 3], size=320)


def test_each_answer_is_in_a_window_and_read_back(tokenizer: Tokenizer) -> None:
    texts = ("Bern", "Switzerland", "Aare", "through it")
    answers = tuple((CONTEXT.index(text), CONTEXT.index(text) + len(text)) for text in texts)
    config = SpanDataConfig(window=6, overlap=4, max_answer=4)
    for answer in answers:
        windows = Windows([Question(CONTEXT, "Where?", (answer,))], tokenizer, config)
        assert len(windows) > 2
        index, real = windows.targets(range(len(windows)), torch.device("cpu"))
        read_back = {windows.span(row, int(index[row, 0])) for row in range(len(windows)) if index[row, 0] > 0}
        assert read_back == {answer}
        assert real[:, 0].all()


def test_windows_with_a_part_of_an_answer_are_not_learned(tokenizer: Tokenizer) -> None:
    answer = (0, CONTEXT.index(","))
    short = SpanDataConfig(window=100, overlap=0, max_answer=2)
    assert not Windows([Question(CONTEXT, "Where?", (answer,))], tokenizer, short).usable.any()
    cut = Windows([Question(CONTEXT, "Where?", (answer,))], tokenizer, SpanDataConfig(window=4, overlap=0))
    assert not cut.usable[0]
    assert cut.usable[-1]


def test_an_answer_is_at_most_as_long_as_a_window() -> None:
    assert SpanDataConfig(window=16, overlap=8, max_answer=100_000).longest == 16
    assert SpanDataConfig(window=16, overlap=8, max_answer=5).longest == 5


def test_answers_of_windows_are_merged(tokenizer: Tokenizer) -> None:
    config = SpanDataConfig(window=16, overlap=8, max_answer=5)
    model, one = _model(len(tokenizer)), Question(CONTEXT, "Where is Bern?", ())
    with torch.no_grad():
        windows = Windows([one], tokenizer, config)
        (best,) = (odds.best(4) for odds in read(model, windows, [0], most=200).odds)
        logits = model(*windows.batch(range(len(windows)), model.device))
    odds = (logits[:, 1:] - logits[:, :1]).double()
    assert best.total == pytest.approx(float(odds.exp().sum().log()), rel=1e-5)
    assert best.spans[0][1] == pytest.approx(float(odds.max()), rel=1e-4)
    assert 0 < best.share < 1
    assert best.probability(best.spans[0][1]) == pytest.approx(
        math.exp(float(odds.max())) / (1 + float(odds.exp().sum())), rel=1e-4
    )
    places = sorted(span for span, _ in best.spans)
    assert len(places) == 4
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(places))


def test_a_question_is_answered_alone_as_among_others(tokenizer: Tokenizer) -> None:
    answerer = Answerer(_model(len(tokenizer)), tokenizer, SpanDataConfig(window=16, overlap=8, max_answer=5))
    contexts = [CONTEXT, CONTEXT[:30], CONTEXT * 2]
    items = [f"Where is Bern?\t{context}" for context in contexts]
    together = list(answerer.predict(items, threshold=0.0))
    for item, result in zip(items, together, strict=True):
        (alone,) = answerer.predict([item], threshold=0.0)
        assert alone.to_dict()["start"] == result.to_dict()["start"]


def test_an_answer_is_given_from_the_threshold_on(tokenizer: Tokenizer) -> None:
    answerer = Answerer(_model(len(tokenizer)), tokenizer, SpanDataConfig(max_answer=5))
    item = f"Where is Bern?\t{CONTEXT}"
    (given,) = answerer.predict([item], threshold=0.0, top=2)
    (none,) = answerer.predict([item], threshold=1.0)
    result = given.to_dict()
    assert CONTEXT[result["start"] : result["end"]] == result["answer"]
    assert len(result["answers"]) == 2
    assert given.line().count("\t") == 5
    assert (none.to_dict()["answer"], none.to_dict()["start"]) == (None, None)
    assert none.line() == f"\t{none.to_dict()['no_answer']:.4f}"
    share = result["probability"] / (result["probability"] + result["no_answer"])
    below, above = (next(answerer.predict([item], threshold=share + more)) for more in (-1e-6, 1e-6))
    assert (below.given, above.given) == (True, False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answer")
    train("answer", tiny_settings(), folder / "run")
    return folder / "run"


def test_a_context_is_in_a_file_a_line_or_json(run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "context.txt").write_text(CONTEXT)
    (tmp_path / "in.txt").write_text(
        f"Where is Bern?\t{CONTEXT}\n" + json.dumps({"question": "Where is Bern?", "context": CONTEXT}) + "\n"
    )
    always = ("--threshold", 0)
    named = regard("answer", run, "Where is Bern?", "--context", tmp_path / "context.txt", *always)
    lines = regard("answer", run, "--file", tmp_path / "in.txt", *always)
    assert named.status == lines.status == 0
    assert lines.out == 2 * named.out
    (tmp_path / "questions.txt").write_text("Where is Bern?\nWhich river flows through it?\n")
    several = regard(
        "answer", run, "--file", tmp_path / "questions.txt", "--context", tmp_path / "context.txt", *always
    )
    assert several.out.splitlines()[0] == named.out.strip("\n")
    assert several.out.count("\n") == 2


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("Where is Bern?", "question: has no context, got 'Where is Bern?'; name its file with --context"),
        ('{"question": "Where?"}', "in JSON, got"),
        ('{"question": "Where?", "context": 3}', "context: expected text, got 3"),
        ("\tBern", "question: expected text, got ''"),
        ("Where?\t ", "context: expected text, got ' '"),
        ('{"question": "Where?", "context": "\\ud800"}', "context: expected text"),
    ],
)
def test_questions_that_cannot_be_used(item: str, message: str, run: Path, regard: Callable[..., Result]) -> None:
    result = regard("answer", run, item)
    assert result.status == 1
    assert message in result.err
    assert regard("look", run, item).status == 2


def test_files_and_options_that_cannot_be_used(run: Path, regard: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "blank.txt").write_text(" \n")
    for options, message in (
        (("--context", tmp_path / "none.txt"), "no such file"),
        (("--context", tmp_path / "blank.txt"), "has no text"),
        (("--threshold", 2), "--threshold: must be from 0 to 1, got 2"),
        (("--top", 0), "--top: must be at least 1"),
    ):
        result = regard("answer", run, "Where?", *options)
        assert (result.status, message in result.err) == (2, True)


def test_look_marks_the_answer_and_saves_a_page(run: Path, tmp_path: Path) -> None:
    answerer = load(run)
    answerer.model.threshold.fill_(0.0)  # type: ignore[attr-defined]
    shown = answerer.look(f"Where is Bern?\t{CONTEXT}")
    labels = shown.document().axes[1].labels
    assert [sum(label.count(bracket) for label in labels) for bracket in "[]"] == [1, 1]
    shown.save(tmp_path / "look.html")
    page = (tmp_path / "look.html").read_text()
    assert "Where is Bern? → " in page
    full = shown.to_dict(attention=True)["alignment"]
    assert np.allclose(np.array(full["weights"]).sum(1), 1, atol=1e-5)


def test_the_model_without_attention_has_nothing_to_look_at(tmp_path: Path) -> None:
    tiny = tiny_settings()
    plain = AnswerConfig(tiny.data, tiny.tokenizer, ModelConfig(attention="none", dim=16, kind="conv"), tiny.train)
    train("answer", plain, tmp_path / "run")
    answerer = load(tmp_path / "run")
    assert len(list(answerer.predict([f"Where is Bern?\t{CONTEXT}"]))) == 1
    with pytest.raises(UserError, match="no attention to look at"):
        answerer.look(f"Where is Bern?\t{CONTEXT}")
    assert "on_sentence" not in evaluate(tmp_path / "run")


def test_a_recurrent_model_of_characters_is_trained_and_not_exported(tmp_path: Path) -> None:
    records = [
        {"context": f"{name}は{place}にある。", "question": f"{name}はどこ?", "answer": place}
        for name, place in (("東京塔", "東京"), ("大阪城", "大阪"), ("金閣寺", "京都"), ("清水寺", "京都"))
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    config = AnswerConfig(
        DataConfig(train=str(tmp_path / "train.jsonl"), window=8, overlap=4, max_answer=4),
        TokenizerConfig(kind="char"), ModelConfig(dim=16, heads=2),
        SpanTrainConfig(steps=2, tokens=64, metric="character_f1"),
    )  # fmt: skip
    train("answer", config, tmp_path / "run")
    answerer = load(tmp_path / "run")
    (answer,) = answerer.predict(["東京塔はどこ?\t東京塔は東京にある。"])
    assert answer.to_dict()["question"] == "東京塔はどこ?"
    with pytest.raises(UserError, match=r"train with --model\.kind conv"):
        answerer.export(tmp_path / "model.onnx")
    assert "character_f1" in evaluate(tmp_path / "run")
    (tmp_path / "none.csv").write_text("context,question,answer\nBern,Where?,\n")
    with pytest.raises(UserError, match="none of its 1 questions has an answer"):
        train("answer", {"data": {"train": str(tmp_path / "none.csv")}}, tmp_path / "other")


def test_settings_out_of_range(tmp_path: Path) -> None:
    for settings, message in (
        ({"data": {"overlap": 256}}, r"data.overlap: must be at least 0 and below data.window, 256, got 256"),
        ({"data": {"window": 0}}, r"data.window: must be above 0"),
        ({"model": {"dim": 30}}, r"model.dim: must be even and a multiple of model.heads, 4, got 30"),
        ({"model": {"layers": 2}}, r"model.layers: only for --model.kind conv"),
        ({"tokenizer": {"size": 20}}, r"tokenizer.size: must be at least 300"),
    ):
        with pytest.raises(UserError, match=message):
            train("answer", settings, tmp_path / "run")
