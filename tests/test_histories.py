"""Histories: each form of data gives the same ones, and an error names the file and the line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.held_out import divide
from regard.data.histories import Histories, histories_of, without_rare, without_repeats
from regard.data.history_files import HistoryColumns, read_histories, read_titles
from regard.errors import UserError

# Two users; the pairs are not in the order of time.
PAIRS = [("7", "tea", 5, 30), ("8", "rice", 4, 12), ("7", "milk", 1, 10), ("8", "tea", 3, 14), ("7", "rice", 2, 20)]


def _chosen(histories: Histories) -> dict[str, list[str]]:
    return {
        user: [histories.names[at] for at in histories.items[histories.bounds[u] : histories.bounds[u + 1]]]
        for u, user in enumerate(histories.users)
    }


def _write(folder: Path, name: str) -> str:
    path = folder / name
    header = ["user_id", "item_id", "rating", "timestamp"]
    rows = [tuple(map(str, row)) for row in PAIRS]
    if name == "u.data":
        path.write_text("".join("\t".join(row) + "\n" for row in rows))
    elif name == "ratings.dat":
        path.write_text("".join("::".join(row) + "\n" for row in rows))
    elif name == "a.csv":
        path.write_text("".join(",".join(row) + "\n" for row in [("userId", "movieId", "rating", "timestamp"), *rows]))
    elif name == "a.inter":
        typed = ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
        path.write_text("".join("\t".join(row) + "\n" for row in [typed, *rows]))
    elif name == "a.jsonl.gz":
        lines = "".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in PAIRS)
        path.write_bytes(gzip.compress(lines.encode()))
    elif name == "a.parquet":
        parquet: Any = pytest.importorskip("pyarrow.parquet")
        arrow: Any = pytest.importorskip("pyarrow")
        columns = zip(*PAIRS, strict=True)
        parquet.write_table(arrow.table(dict(zip(header, map(list, columns), strict=True))), path)
    elif name == "ordered.txt":  # pairs in the order of time, without it
        path.write_text("".join(f"{user} {item}\n" for user, item, _, _ in sorted(PAIRS, key=lambda row: row[3])))
    else:
        path.write_text(
            "7 milk rice tea\n8 rice tea\n" if name == "users.txt" else "7\tmilk\trice\ttea\n8\trice\ttea\n"
        )
    return str(path)


@pytest.mark.parametrize(
    "name",
    ["u.data", "ratings.dat", "a.csv", "a.inter", "a.jsonl.gz", "a.parquet", "ordered.txt", "users.txt", "u.tsv"],
)
def test_each_form_gives_the_same_histories(name: str, tmp_path: Path) -> None:
    histories, notes = read_histories(_write(tmp_path, name))
    assert _chosen(histories) == {"7": ["milk", "rice", "tea"], "8": ["rice", "tea"]}
    assert histories.names == ("milk", "rice", "tea")
    assert histories.items.dtype == np.int64
    assert (histories.times is None) == (name in ("ordered.txt", "users.txt", "u.tsv"))
    assert "2 users, 3 items, 5 choices" in notes[0]


def test_low_ratings_are_left_out_and_columns_are_chosen(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("when,who,what,stars\n2024-05-01T10:00:00,a,x,5\n2024-04-01,a,y,4\n2024-03-01,a,z,2\n")
    columns = HistoryColumns(user="who", item="what", rating="stars", time="when")
    assert _chosen(read_histories(str(path), columns, min_rating=4)[0]) == {"a": ["y", "x"]}
    with pytest.raises(UserError, match=r"no rating in .* is at least 9"):
        read_histories(str(path), columns, min_rating=9)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "user,item,time\na,x,1\na,y,soon\n", r"a\.csv: 1 of 2 .*line 3: the time 'soon' is neither a number"),
        ("a.csv", "user,item,rating\na,x,1\na,y,good\n", "line 3: the rating 'good' is not a number"),
        ("a.tsv", "a\tx\na\n", "line 2: expected a user and an item"),
        ("a.csv", "user,item\na,x\na,\n", "line 3: has an empty item|line 3: empty item"),
        ("a.txt", "a x y z w v\nb\n", "line 2: no items after the user"),
        ("a.txt", "a x y z w v\na x\n", "line 2: a second line of the same user"),
        ("a.txt", "", "the file is empty"),
        ("a.json", "[]", "expected JSON lines, an object in each line"),
        ("a.jsonl", '{"user": 1, "item": 2}\n{"user": 1}\n', "line 2: no item"),
        (
            "a.csv",
            "user,item,time\na,x,1\na,y,\n",
            r"a\.csv: line 3: no time, which other lines have \(1 have none\); correct such lines, or leave",
        ),
    ],
)
def test_an_error_names_the_file_and_the_line(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message) as error:
        read_histories(str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)


def test_bad_lines_are_left_out_if_the_user_wants_that(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tx\t1\t1\na\na\ty\t1\t2\n")
    histories, notes = read_histories(str(tmp_path / "a.tsv"), on_bad_line="skip", form="pairs")
    assert _chosen(histories) == {"a": ["x", "y"]}
    assert "the first 'a' → 'x'" in notes[1]  # shows wrong columns, or a header among the rows
    assert "1 of 3 lines left out: line 2" in notes[2]


HOLES = {  # content → the histories, and what is said of it
    "user,item,time\na,x,2\na,y,\na,z,1\n": (["z", "x"], "a time left out: 1, the first in line 3"),
    "user,item,time\na,y,\na,x,2\nb,y,\na,z,1\n": (["z", "x"], "a time left out: 2, the first in line 2"),
    "user,item,rating\na,x,5\na,y,\na,z,4\na,w,1\n": (["x", "z"], "a rating left out: 1, the first in line 3"),
}  # fmt: skip


@pytest.mark.parametrize("content", HOLES)
def test_rows_without_a_value_that_others_have_are_named_or_left_out(content: str, tmp_path: Path) -> None:
    chosen, note = HOLES[content]
    (tmp_path / "a.csv").write_text(content)
    name = note.split()[1]
    with pytest.raises(UserError, match=rf"a\.csv: {note.split('in ')[1]}: no {name}, which other lines have"):
        read_histories(str(tmp_path / "a.csv"), min_rating=3 if name == "rating" else None)
    histories, notes = read_histories(
        str(tmp_path / "a.csv"), min_rating=3 if name == "rating" else None, on_bad_line="skip"
    )
    assert _chosen(histories) == {"a": chosen}
    assert sorted(histories.names) == sorted(chosen)
    assert any(line.endswith(note) for line in notes)


def test_ratings_are_needed_only_for_the_lowest_one(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user,item,rating\na,x,\na,y,\n")
    assert _chosen(read_histories(str(tmp_path / "a.csv"))[0]) == {"a": ["x", "y"]}
    for on_bad_line in ("error", "skip"):
        with pytest.raises(UserError, match=r"a\.csv has no ratings; name their column with --data\.rating"):
            read_histories(str(tmp_path / "a.csv"), min_rating=3, on_bad_line=on_bad_line)  # type: ignore[arg-type]


WIDE = [("ann", "tea", "5", "30", "yes"), ("bob", "milk", "4", "10", "no"), ("ann", "milk", "3", "20", "no")]


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.txt", " "), ("a.dat", "::")])
def test_pairs_of_many_columns_are_recognized_by_their_header(name: str, mark: str, tmp_path: Path) -> None:
    header = ("user_id", "item_id", "rating", "timestamp", "verified")
    (tmp_path / name).write_text("".join(mark.join(row) + "\n" for row in (header, *WIDE)))
    assert _chosen(read_histories(str(tmp_path / name))[0]) == {"ann": ["milk", "tea"], "bob": ["milk"]}


def test_pairs_that_look_like_lines_of_users_are_not_read_as_such_in_silence(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tsv")
    rows = [*WIDE, *((user, f"{item} {at}", "1", str(at), "no") for at in range(2) for user, item, *_ in WIDE)]
    Path(path).write_text("".join("\t".join(row) + "\n" for row in rows))
    for on_bad_line in ("error", "skip"):
        with pytest.raises(UserError, match=r"if a line is a pair .* read it with --data\.form pairs"):
            read_histories(path, on_bad_line=on_bad_line)  # type: ignore[arg-type]
    assert len(read_histories(path, form="pairs")[0].items) == 9
    assert len(read_histories(path, form="lines", on_bad_line="skip")[0].items) == 8


def test_the_column_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("user_id,thing,rating\na,x,5\n")
    with pytest.raises(UserError, match=r"thing, rating, without a usual name of the item; name it with --data\.item"):
        read_histories(str(tmp_path / "a.csv"))
    assert _chosen(read_histories(str(tmp_path / "a.csv"), HistoryColumns(item="thing"))[0]) == {"a": ["x"]}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("movies.dat", "1::Toy Story (1995)::Animation\n2::Heat (1995)::Action\n"),
        ("a.item", "item_id:token\tmovie_title:token_seq\n1\tToy Story (1995)\n2\tHeat (1995)\n"),
        ("a.csv", 'title,item_id\n"Toy Story (1995)",1\nHeat (1995),2\n'),
    ],
)
def test_titles_are_read(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert read_titles(str(tmp_path / name)) == ({"1": "Toy Story (1995)", "2": "Heat (1995)"}, [])


WESTERN = {  # name and content → the names of the items
    "movies.dat": ("1::Léon (1994)::Crime\n2::Heat – Director’s::Action\n", ["Léon (1994)", "Heat – Director’s"]),
    "a.csv": ("item,title\n1,Léon\n2,Heat\n", ["Léon", "Heat"]),
    "a.item": ("item_id:token\tmovie_title:token_seq\n1\tLéon\n", ["Léon"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WESTERN)
def test_titles_in_latin_1_are_read_and_this_is_said(name: str, tmp_path: Path) -> None:
    content, expected = WESTERN[name]
    (tmp_path / name).write_bytes(content.encode("cp1252"))
    titles, notes = read_titles(str(tmp_path / name))
    assert list(titles.values()) == expected
    assert notes == [f"{tmp_path / name}: is not UTF-8, and was read as Windows-1252 (Latin-1)"]
    (tmp_path / name).write_text(content)
    assert read_titles(str(tmp_path / name)) == (titles, [])


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "users.txt"])
def test_histories_in_latin_1_are_read_and_this_is_said(name: str, tmp_path: Path) -> None:
    content = {"a.csv": "user,item\na,thé\na,lait\n", "a.tsv": "a\tthé\na\tlait\n", "users.txt": "a thé lait\nb lait\n"}
    (tmp_path / name).write_bytes(content[name].encode("latin-1"))
    histories, notes = read_histories(str(tmp_path / name))
    assert _chosen(histories)["a"] == ["thé", "lait"]
    assert notes[-1].endswith("was read as Windows-1252 (Latin-1)")


def test_a_damaged_line_of_a_file_in_utf_8_is_not_read_as_latin_1(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes("a\tthé\na\tcafé\n".encode() + "a\tlé\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"a\.tsv: 1 of 3 .*line 3: not UTF-8"):
        read_histories(str(tmp_path / "a.tsv"))


def test_rare_users_and_items_are_left_out_until_none_is_left() -> None:
    # z is chosen once; without it c has one item, and without c so has y.
    histories = histories_of([("a", "xw"), ("b", "xw"), ("c", "yz"), ("d", "yxw")])
    assert _chosen(without_rare(histories, 2)) == {"a": ["x", "w"], "b": ["x", "w"], "d": ["x", "w"]}
    assert without_rare(histories, 2).names == ("w", "x")
    with pytest.raises(UserError, match=r"data\.core: no user and item are left"):
        without_rare(histories, 5)


def test_repeats_are_merged_into_the_first() -> None:
    histories = histories_of([("a", "xyxzy"), ("b", "yy")])
    assert _chosen(without_repeats(histories)) == {"a": list("xyz"), "b": ["y"]}


def _timed(rows: list[tuple[str, str]], times: list[list[float]]) -> Histories:
    histories = histories_of(rows)
    flat = np.array([time for one in times for time in one])
    return Histories(histories.users, histories.names, histories.items, histories.bounds, flat)


def test_the_last_choices_are_set_aside() -> None:
    divided = divide(histories_of([("a", "xyzw"), ("b", "xy"), ("c", "xyz")]), "last")
    assert (divided.ends.tolist(), divided.valid.tolist(), divided.test.tolist()) == ([2, 6, 7], [2, 7], [3, 8])
    everything = divide(histories_of([("a", "xyzw"), ("b", "x")]), "none")
    assert (everything.ends.tolist(), everything.valid.tolist(), everything.test.tolist()) == ([4, 5], [3], [])


def test_a_division_by_time_trains_on_nothing_later_than_it_tests_on() -> None:
    histories = _timed([("a", "xyzwv"), ("b", "xyzwv")], [[1, 2, 3, 8, 10], [1, 4, 5, 6, 9]])
    divided = divide(histories, "time", share=0.2)
    assert histories.times is not None
    trained = [t for u, end in enumerate(divided.ends) for t in histories.times[histories.bounds[u] : end]]
    assert max(trained) < min(histories.times[divided.valid]) <= max(histories.times[divided.valid])
    assert max(histories.times[divided.valid]) < min(histories.times[divided.test])
    assert len(trained) + len(divided.valid) + len(divided.test) == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: divide(histories_of([("a", "xyz")]), "time"), r"data\.split: time needs the times"),
        (lambda: divide(histories_of([("a", "xy")]), "last"), "needs users with at least 3 items; the longest"),
    ],
)
def test_a_division_that_leaves_nothing_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        call()
