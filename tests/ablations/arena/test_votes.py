"""Votes go out and come in as files; nothing is guessed and nothing counted twice."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from ablations.arena import exchange, schema, serve
from ablations.arena.server import Arena
from ablations.arena.store import Store, insert, url_of
from ablations.arena.votes import import_file, load
from bench.errors import UserError
from tests.ablations.arena import studies
from tests.ablations.arena.conftest import Open, Visitor
from tests.ablations.arena.test_store import vote

Visit = Callable[[Arena], Visitor]


@pytest.fixture
def voted(study: Path, open_arena: Open, visit: Visit) -> Path:
    """A study with the votes of one rater, controls and repeats among them."""
    arena = open_arena(pairs_per_rater=10, controls_per_rater=1, repeats_per_rater=1)
    rater = visit(arena).begin()
    for answer in ("left", "right", "tie", "both_bad") * 2:
        assert rater.vote(answer).status_code == 303
    for answer in ("left", "right"):
        assert rater.vote(answer).status_code == 303
    arena.store.close()
    return study


def test_load_gives_the_columns_of_the_contract(voted: Path) -> None:
    table = load(voted)
    assert list(table.columns) == list(schema.VOTE_COLUMNS)
    assert len(table) == 10
    assert set(table["answer"]) == set(schema.ANSWERS)
    assert set(table["kind"]) == {"normal", "control", "repeat"}
    assert table["voted_at"].dt.tz is not None
    assert (table["voted_at"] > table["shown_at"]).all()
    assert (table["seconds"] == 2).all()
    assert load(url_of(voted)).equals(table)
    assert load(str(voted)).equals(table)


def test_a_study_without_votes_gives_an_empty_table(tmp_path: Path) -> None:
    table = load(tmp_path)
    assert list(table.columns) == list(schema.VOTE_COLUMNS)
    assert len(table) == 0
    with pytest.raises(UserError, match="is no folder"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be read"):
        load(f"sqlite:///{tmp_path / 'none.sqlite'}")


def test_an_export_makes_no_folder_of_a_misspelt_one(voted: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"arena\.export=.*v\.csv: there is no folder .*nowhere"):
        serve({"study": voted, "arena": {"export": str(tmp_path / "nowhere" / "v.csv")}})
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_was_exported_comes_back_the_same(voted: Path, tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"votes.{ending}"
    serve({"study": voted, "arena": {"export": str(target)}})
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    added, there = import_file(fresh, None, target, fastchat=False, variants=None)
    assert (added, there) == (10, 0)
    pd.testing.assert_frame_equal(load(fresh), load(voted))
    assert import_file(fresh, None, target, fastchat=False, variants=None) == (0, 10)
    assert len(load(fresh)) == 10


def test_battles_are_in_fastchats_format_and_come_back(
    voted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "battles.jsonl"
    serve({"study": voted, "arena": {"export": str(target), "format": "fastchat"}})
    assert "exported 8 votes" in capsys.readouterr().out
    battles = [json.loads(line) for line in target.read_text().splitlines()]
    table = load(voted)
    normal = table[table["kind"] == "normal"]
    assert len(battles) == len(normal) == 8
    names = {"left": "model_a", "right": "model_b", "tie": "tie", "both_bad": "tie (bothbad)"}
    for battle, row in zip(battles, normal.itertuples(), strict=True):
        assert battle["model_a"] == row.left
        assert battle["model_b"] == row.right
        assert battle["winner"] == names[str(row.answer)]
        assert battle["judge"] == row.rater
        assert battle["tstamp"] == pytest.approx(row.voted_at.timestamp())
        assert battle["anony"] is True
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert import_file(fresh, None, target, fastchat=True, variants=None) == (8, 0)
    pd.testing.assert_frame_equal(load(fresh), normal.reset_index(drop=True))


FOREIGN = [
    {"question_id": "q1", "model_a": "m1", "model_b": "m2", "winner": "model_a",
     "judge": "arena_user_1", "turn": 1, "anony": True, "language": "English",
     "tstamp": 1682351591.1322},
    {"question_id": "q1", "model_a": "m1", "model_b": "m2", "winner": "tie (bothbad)",
     "judge": "arena_user_2", "turn": 1, "anony": True, "language": "English",
     "tstamp": 1682351600.5},
]  # fmt: skip


@pytest.mark.parametrize("array", [False, True])
def test_foreign_battles_are_read_and_a_second_import_adds_nothing(
    tmp_path: Path, array: bool
) -> None:
    # Two equal rows in one file are two votes; the same file again is no vote.
    rows = [*FOREIGN, FOREIGN[0]]
    source = tmp_path / "clean_battle.json"
    lines = "\n".join(json.dumps(row) for row in rows)
    source.write_text(json.dumps(rows) if array else lines)
    assert import_file(tmp_path, None, source, fastchat=True, variants=None) == (3, 0)
    assert import_file(tmp_path, None, source, fastchat=True, variants=None) == (0, 3)
    table = load(tmp_path)
    assert list(table["answer"]) == ["left", "both_bad", "left"]
    assert table["voted_at"][0].timestamp() == pytest.approx(1682351591.1322)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"winner": "bothbad"}, "row 2: winner 'bothbad' is none of model_a, model_b, tie"),
        ({"winner": "Model_A"}, "row 2: winner 'Model_A'"),
        ({"winner": None}, "row 2: winner 'None'"),
        ({"model_b": "m9"}, "row 2: right 'm9' is no variant of the study (m1, m2)"),
        ({"model_b": "m1"}, "row 2: a control compares"),
        ({"model_a": ""}, "row 2: left names no variant"),
        ({"tstamp": "soon"}, "row 2: tstamp 'soon' is no number"),
        ({"seed": "x"}, "row 2: seed 'x' is no whole number"),
        ({"seed": float("inf")}, "row 2: seed 'inf' is no whole number"),
        ({"seed": 1.7}, "row 2: seed '1.7' is no whole number"),
        ({"seed": True}, "row 2: seed 'True' is no whole number"),
        ({"tstamp": 1682351591132}, "row 2: tstamp '1682351591132' is no Unix time in seconds"),
        ({"tstamp": 1e300}, "row 2: tstamp '1e+300' is no Unix time in seconds"),
    ],
)
def test_an_unknown_label_is_refused_by_its_row_and_nothing_is_imported(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    source = tmp_path / "battles.jsonl"
    rows = [FOREIGN[0], {**FOREIGN[1], **change}]
    source.write_text("\n".join(json.dumps(row) for row in rows))
    with pytest.raises(UserError) as caught:
        import_file(tmp_path, None, source, fastchat=True, variants=frozenset({"m1", "m2"}))
    assert message in str(caught.value)
    assert "nothing was imported" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(load(tmp_path)) == 0


def test_one_identifier_of_two_different_votes_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "votes.jsonl"
    row = {"vote_id": "v1", "prompt_id": "p", "left": "a", "right": "b", "rater": "r"}
    source.write_text("\n".join(json.dumps({**row, "answer": said}) for said in ("left", "tie")))
    with pytest.raises(UserError, match=r"row 2: vote_id 'v1' is row 1's, which differs; nothing"):
        import_file(tmp_path, None, source, fastchat=False, variants=None)
    source.write_text("\n".join([json.dumps({**row, "answer": "left"})] * 2))
    assert import_file(tmp_path, None, source, fastchat=False, variants=None) == (1, 1)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x0b", "\x1c"])
def test_marks_that_some_take_for_a_new_line_come_back_in_names(
    tmp_path: Path, mark: str, ending: str
) -> None:
    row = vote(1, rater=f"one{mark}two")
    write = exchange.to_csv if ending == "csv" else exchange.to_jsonl
    source = tmp_path / f"votes.{ending}"
    source.write_text(write([{name: row.get(name) for name in schema.VOTE_COLUMNS}]))
    assert import_file(tmp_path, None, source, fastchat=False, variants=None) == (1, 0)
    assert load(tmp_path)["rater"][0] == f"one{mark}two"


def test_an_export_of_normal_votes_has_no_controls_and_repeats(
    voted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "votes.csv"
    serve({"study": voted, "arena": {"export": str(target), "kinds": "normal"}})
    assert "exported 8 votes" in capsys.readouterr().out
    assert set(pd.read_csv(target)["kind"]) == {"normal"}
    serve({"study": voted, "arena": {"export": str(target), "kinds": "all"}})
    assert len(pd.read_csv(target)) == 10


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p,1,a,b,maybe,r", "row 1: answer 'maybe' is none of left, right, tie, both_bad"),
        ("p,1,a,b,left", "row 1: it has not 6 fields"),
        ("p,1,a,b,left,", "row 1: rater is empty"),
        ("p,1,a,,left,r", "row 1: right names no variant"),
    ],
)
def test_csv_rows_are_checked_too(tmp_path: Path, row: str, message: str) -> None:
    source = tmp_path / "votes.csv"
    source.write_text(f"prompt_id,seed,left,right,answer,rater\n{row}\n")
    with pytest.raises(UserError) as caught:
        import_file(tmp_path, None, source, fastchat=False, variants=None)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1', "\x00\xff", "3"])
def test_what_is_no_table_is_one_line(tmp_path: Path, text: str) -> None:
    source = tmp_path / "votes.jsonl"
    source.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError):
        import_file(tmp_path, None, source, fastchat=False, variants=None)


def test_sql_and_html_in_every_field_are_only_text(tmp_path: Path) -> None:
    nasty = """'"; DROP TABLE votes; --<script>alert(1)</script>\n,=1+1"""
    row = vote(1, prompt_id=nasty, left=nasty, right=nasty + "b", rater=nasty, question="overall")
    del row["assignment"], row["source"]
    for name, write in (("a.csv", exchange.to_csv), ("b.jsonl", exchange.to_jsonl)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(write([row]))
        assert import_file(folder, None, folder / name, fastchat=False, variants=None) == (1, 0)
        table = load(folder)
        assert table["rater"][0] == nasty
        assert table["left"][0] == nasty


def test_csv_has_a_header_and_empty_fields_for_what_is_absent(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path))
    store.write(insert("votes", [vote(1, seconds=None, watched_left=None)])).result()
    rows = list(csv.DictReader(io.StringIO(exchange.to_csv(exchange.stored(store)))))
    store.close()
    assert rows[0]["seconds"] == ""
    assert list(rows[0]) == list(schema.VOTE_COLUMNS)


def test_imported_votes_count_towards_the_balance(
    study: Path, open_arena: Open, tmp_path: Path
) -> None:
    names = [path.name for path in sorted((study / "cells").iterdir())]
    rows = [
        {"prompt_id": studies.PROMPTS[0], "seed": 7, "left": names[0], "right": names[1],
         "answer": "tie", "rater": f"elsewhere-{number}"}
        for number in range(5)
    ]  # fmt: skip
    source = tmp_path / "old.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in rows))
    serve({"study": study, "arena": {"import": str(source)}})
    arena = open_arena()
    assert arena.desk.schedule.answered == {names[0]: 5, names[1]: 5}
    pair = arena.desk.schedule.next("somebody")
    assert pair is not None
    assert not {names[0], names[1]} & set(pair.variants)


def test_a_served_study_takes_no_import_but_can_be_exported(
    study: Path, open_arena: Open, tmp_path: Path
) -> None:
    open_arena()
    with pytest.raises(UserError, match="served by another arena"):
        serve({"study": study, "arena": {"import": str(tmp_path / "votes.csv")}})
    serve({"study": study, "arena": {"export": str(tmp_path / "votes.csv")}})
    assert len((tmp_path / "votes.csv").read_text().splitlines()) == 1
