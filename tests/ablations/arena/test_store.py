"""Votes are kept: durable, append-only, each once, on SQLite and on PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.exc import DBAPIError

from ablations.arena import schema
from ablations.arena.store import Duplicate, StorageError, Store, insert, migrate, url_of
from bench.errors import UserError


def vote(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "vote_id": f"vote-{number}",
        "assignment": f"assignment-{number}",
        "pair_id": "pair",
        "question": "overall",
        "prompt_id": "p-1",
        "seed": 7,
        "left": "a",
        "right": "b",
        "answer": "left",
        "rater": "r",
        "kind": "normal",
        "control_side": "",
        "shown_at": schema.iso(1e9),
        "voted_at": schema.iso(1e9 + 5),
        "seconds": 5.0,
        "watched_left": 5.0,
        "watched_right": 5.0,
        "source": "arena",
        **changes,
    }


@pytest.fixture
def url(tmp_path: Path, database: str | None) -> str:
    return url_of(tmp_path, database)


def test_a_vote_is_there_for_the_next_who_opens_the_database(url: str) -> None:
    store = Store(url)
    store.write(insert("votes", [vote()])).result()
    store.close()
    again = Store(url)
    rows = again.read(select(schema.votes))
    assert [(row.vote_id, row.left, row.answer) for row in rows] == [("vote-1", "a", "left")]
    assert again.latest() == pytest.approx(1e9 + 5)
    again.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE votes SET answer = 'right'", "DELETE FROM votes", "TRUNCATE votes"]
)
def test_the_database_itself_refuses_to_change_or_delete_a_vote(url: str, statement: str) -> None:
    store = Store(url)
    store.write(insert("votes", [vote()])).result()
    if store.engine.dialect.name == "sqlite" and statement.startswith("TRUNCATE"):
        statement = "REPLACE INTO votes SELECT * FROM votes"
    with pytest.raises(DBAPIError), store.engine.begin() as connection:
        connection.execute(text(statement))
    assert [row.answer for row in store.read(select(schema.votes))] == ["left"]
    store.close()


@pytest.mark.parametrize(
    "wrong", [{"answer": "maybe"}, {"kind": "odd"}, {"control_side": "up"}, {"rater": None}]
)
def test_the_database_itself_refuses_unknown_words(url: str, wrong: dict[str, Any]) -> None:
    store = Store(url)
    with pytest.raises(StorageError):
        store.write(insert("votes", [vote(**wrong)])).result()
    assert store.read(select(schema.votes)) == []
    store.close()


def test_a_vote_given_twice_fails_alone(url: str) -> None:
    store = Store(url)
    writes = [
        store.write(insert("votes", [vote(number, vote_id=f"id-{n}")]))
        for n, number in enumerate((1, 2, 1, 3, 2, 4))
    ]
    outcomes = [type(write.exception(60)) for write in writes]
    fine = type(None)
    assert outcomes == [fine, fine, Duplicate, fine, Duplicate, fine]
    assert len(store.read(select(schema.votes))) == 4
    store.close()


def test_a_write_of_two_rows_is_stored_whole_or_not_at_all(url: str) -> None:
    store = Store(url)
    with pytest.raises(StorageError):
        store.write(insert("votes", [vote(1), vote(2, answer="maybe")])).result()
    assert store.read(select(schema.votes)) == []
    store.close()


def test_migrations_make_what_the_tables_say_and_running_them_again_changes_nothing(
    url: str,
) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    store = Store(url)
    migrate(store.engine)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []
    store.close()


def test_a_database_of_a_newer_version_is_left_alone(url: str) -> None:
    store = Store(url)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(UserError, match="9999 of a newer framepack-bench"):
        Store(url)


def test_sqlite_flushes_every_commit(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path))
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
    store.close()


def test_a_full_disk_refuses_the_vote_and_keeps_the_others(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path))
    store.write(insert("votes", [vote(1)])).result()
    with store.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()

    def fill(connection: Any) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    store.write(fill).result()
    with pytest.raises(StorageError, match="full"):
        for number in range(2, 200):
            store.write(insert("votes", [vote(number, prompt_id="x" * 400)])).result()
    stored = len(store.read(select(schema.votes)))
    store.write(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000")).result()
    store.write(insert("votes", [vote(500)])).result()
    assert len(store.read(select(schema.votes))) == stored + 1
    store.close()


def test_two_arenas_cannot_serve_one_postgresql(fresh_postgres: str) -> None:
    first = Store(fresh_postgres, exclusive=True)
    with pytest.raises(UserError, match="served by another arena"):
        Store(fresh_postgres, exclusive=True)
    first.close()
    Store(fresh_postgres, exclusive=True).close()


@pytest.mark.parametrize("wrong", ["nonsense", "mysterydb://host/name"])
def test_a_wrong_url_is_one_line(wrong: str) -> None:
    with pytest.raises(UserError, match=r"arena\.database"):
        Store(wrong)


def test_a_database_that_does_not_answer_is_a_storage_error() -> None:
    from tests.ports import free_port

    with pytest.raises(StorageError):
        Store(f"postgresql://nobody@127.0.0.1:{free_port()}/none")


def test_writing_to_a_closed_store_fails_and_says_so(tmp_path: Path) -> None:
    store = Store(url_of(tmp_path))
    store.close()
    with pytest.raises(StorageError, match="closing"):
        store.write(insert("votes", [vote()])).result()


def test_the_secret_is_not_readable_by_others(tmp_path: Path) -> None:
    from ablations.arena.seals import kept

    first = kept(tmp_path / ".arena" / "secret")
    assert kept(tmp_path / ".arena" / "secret") == first
    assert (tmp_path / ".arena" / "secret").stat().st_mode & 0o777 == 0o600
    assert len(first) >= 43
    assert kept(tmp_path / "other") != first
    (tmp_path / "other").write_text("")
    assert kept(tmp_path / "other")


def test_sqlite_urls_create_their_file(tmp_path: Path) -> None:
    engine = create_engine(url_of(tmp_path))
    migrate(engine)
    engine.dispose()
    assert (tmp_path / "votes.sqlite").exists()
