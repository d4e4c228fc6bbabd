"""Questions are read from SQuAD's JSON and from tables; the places of answers are checked and corrected."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from regard.data import facts
from regard.data.questions import Question, QuestionColumns, read_questions
from regard.errors import UserError

CONTEXT = "Bern is the capital of Switzerland. The Aare flows through Bern."
START = CONTEXT.index("Switzerland")


def _squad(*answers: tuple[str, int], context: str = CONTEXT, **more: Any) -> dict[str, Any]:
    golds = [{"text": text, "answer_start": start} for text, start in answers]
    one = {"id": "1", "question": "Where is Bern?", "answers": golds, **more}
    return {"version": "v2.0", "data": [{"title": "Bern", "paragraphs": [{"context": context, "qas": [one]}]}]}


def _read(path: Path, content: Any, **columns: Any) -> list[Question]:
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return read_questions(str(path), QuestionColumns(**columns))[0]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_squad(name: str, tmp_path: Path) -> None:
    (one,) = _read(tmp_path / name, _squad(("Switzerland", START), ("Switzerland", START)))
    assert one == Question(CONTEXT, "Where is Bern?", ((START, START + 11),))
    (one,) = _read(tmp_path / name, _squad(is_impossible=True))
    assert one.answers == ()
    plausible = [{"text": "Bern", "answer_start": 0}]
    assert _read(tmp_path / name, _squad(is_impossible=True, plausible_answers=plausible))[0].texts == ()


def test_a_folder_of_squad_files_is_one_set(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "notes.txt"):
        (tmp_path / name).write_text(json.dumps(_squad(("Bern", 0), context=f"Bern {name}")))
    questions, lines = read_questions(str(tmp_path))
    assert [one.context for one in questions] == ["Bern a.json", "Bern b.json"]
    assert "2 questions about 2 contexts, 0 of them without an answer" in lines[-1]


def test_tables(tmp_path: Path) -> None:
    header = "id,question,context,answer,answer_start\n"
    rows = f'1,Where is Bern?,"{CONTEXT}",Switzerland,{START}\n2,What is Rome?,"{CONTEXT}",,\n'
    answered, other = _read(tmp_path / "a.csv", header + rows)
    assert (answered.texts, answered.answers) == (("Switzerland",), ((START, START + 11),))
    assert (other.question, other.answers) == ("What is Rome?", ())
    named = _read(
        tmp_path / "b.csv", header.replace("answer", "gold") + rows, answer="gold", start="gold_start"
    )  # fmt: skip
    assert named == [answered, other]
    (first, second) = _read(tmp_path / "c.tsv", f"{CONTEXT}\tWhere is Bern?\tSwitzerland\t{START}\n{CONTEXT}\tWhy?\n")
    assert first == answered
    assert second.answers == ()


def test_flattened_records(tmp_path: Path) -> None:
    golds = {"text": ["Switzerland", "Bern"], "answer_start": [START, 0]}
    records: list[Any] = [
        {"context": CONTEXT, "question": "q", "answers": golds},
        {"context": CONTEXT, "question": "q", "answers": {"text": [], "answer_start": []}},
        {"context": CONTEXT, "question": "q", "answers": None},
        {"context": CONTEXT, "question": "q", "answers": [{"text": "Bern", "answer_start": 0}]},
    ]
    read = _read(tmp_path / "a.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    expected = [("Bern", "Switzerland"), (), (), ("Bern",)]
    assert [one.texts for one in read] == expected
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(records[:3]), tmp_path / "a.parquet")
    assert [one.texts for one in read_questions(str(tmp_path / "a.parquet"))[0]] == expected[:3]


def test_without_a_start_each_occurrence_is_correct(tmp_path: Path) -> None:
    (one,) = _read(tmp_path / "a.csv", f'context,question,answer\n"{CONTEXT}",Which city?,Bern\n')
    assert one.answers == ((0, 4), (59, 63))


def test_a_start_nearby_is_corrected_and_another_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps(_squad(("Switzerland", START + 7))))
    (one,), lines = read_questions(str(tmp_path / "a.json"))
    assert one.texts == ("Switzerland",)
    assert "corrected the start of 1 answers" in lines[0]
    padded = _read(tmp_path / "b.json", _squad((" Switzerland ", START - 1)))
    assert padded == [one]
    for answer, message in (
        (("Bern", 30), "question 1: the answer 'Bern' is not at character 30 of the context, and more than one"),
        (("Austria", 3), "the answer 'Austria' is not in the context"),
        (("Bern", 300), "and none is within 50 characters"),
        (("Bern", "x"), "expected a start that is a whole number, got 'x'"),
    ):
        with pytest.raises(UserError) as error:
            _read(tmp_path / "a.json", _squad(answer))  # type: ignore[arg-type]
        assert message in str(error.value)


def test_a_pair_of_start_and_end_decides(tmp_path: Path) -> None:
    header, columns = "review,question,text,place\n", {"answer": "text", "start": "place", "no_answer": "NOTHING"}
    (one, none) = _read(
        tmp_path / "a.csv",
        f'{header}"{CONTEXT}",Where?,"capital  of  Switzerland","(12, 34)"\n"{CONTEXT}",Who?,NOTHING,"(0, 4)"\n',
        **columns,
    )
    assert one.texts == ("capital of Switzerland",)
    assert none.answers == ()
    with pytest.raises(UserError, match="is not at characters 0 to 4"):
        _read(tmp_path / "a.csv", f'{header}"{CONTEXT}",Where?,Switzerland,"(0, 4)"\n', **columns)


def test_places_are_those_of_the_composed_text(tmp_path: Path) -> None:
    context = "Zu\u0308rich ist gro\u00df. Gene\u0300ve aussi."
    start = context.index("Gen")
    (one,) = _read(tmp_path / "a.json", _squad(("Gene\u0300ve", start), context=context))
    assert one.texts == ("Genève",)
    assert one.answers[0][0] == start - 1


def test_white_space_at_the_start_of_a_context_does_not_move_answers(tmp_path: Path) -> None:
    (one,) = _read(tmp_path / "a.json", _squad(("Bern", 2), context="  Bern"))
    assert one == Question("  Bern", "Where is Bern?", ((2, 6),))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1, 2", "not JSON"),
        ("a.json", "[]", "expected SQuAD's format"),
        ("a.json", '{"data": [{"paragraphs": [{"qas": [{}]}]}]}', "after 0 questions: KeyError 'context'"),
        ("a.json", '{"data": []}', "no usable question in it"),
        ("a.json", _squad(context="  "), "question 1: empty context"),
        ("a.csv", "context,question,answer\nBern,,Bern\n", "line 2: empty question"),
        ("a.csv", "context,query,q\nBern,Who?,Bern\n", None),
        ("a.xml", "<a/>", "unknown ending .xml; expected .tsv, .txt, .csv, .json, "),
    ],
)
def test_bad_files(name: str, content: Any, message: str | None, tmp_path: Path) -> None:
    if message is None:
        assert _read(tmp_path / name, content)[0].answers == ()
        return
    with pytest.raises(UserError) as error:
        _read(tmp_path / name, content)
    assert message in str(error.value)


def test_built_in_questions_have_their_answer_in_one_known_sentence() -> None:
    questions = facts.questions(500, split="train")
    assert questions == facts.questions(500, split="train")
    answered = [one for one in questions if one.answers]
    assert 0.15 < 1 - len(answered) / len(questions) < 0.25
    for one in answered:
        assert one.evidence is not None
        start, end = one.evidence
        assert start <= one.answers[0][0] < one.answers[0][1] <= end
        assert one.context[end - 1] == "."
        assert one.texts[0] not in one.question.rstrip("?.").split()


def test_no_territory_is_in_two_splits() -> None:
    splits = [set(facts._territories(split)) for split in ("train", "valid", "test")]
    assert all(splits)
    assert len(set.union(*splits)) == sum(map(len, splits))
    assert [bool(one.answers) for one in facts.examples()] == [True, True, False]
