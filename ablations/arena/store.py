"""Where votes are kept: SQLite by default, PostgreSQL by URL; a write returns once it is on disk.

All writes go through one thread. It takes whatever has queued up, runs it in one transaction and
answers the callers only after the commit, so that a hundred raters who vote in the same instant
share one flush of the disk instead of waiting for a hundred. If one of them breaks a rule (a vote
given twice), all run again with a savepoint each, and that one fails alone.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, Row, Select, create_engine, event, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError

from ablations.arena import schema
from bench.errors import UserError

MIGRATIONS = Path(__file__).parent / "migrations"
BATCH = 128
"""Writes that may share a commit: enough for a crowd, little enough to stay under 50 ms."""
_LOCK_KEY = 0x66706232
"""PostgreSQL advisory lock: one serving arena for each database."""

Write = Callable[[Connection], Any]
Rows = Sequence[Mapping[str, Any]]
_INSERTS = {name: table.insert() for name, table in schema.metadata.tables.items()}
"""Built once: what SQLAlchemy works out about a statement, it keeps with the statement."""


@dataclass(frozen=True)
class Insert:
    """A write that only adds rows. Those of several callers are sent to the database together."""

    parts: tuple[tuple[str, Rows], ...]
    """Names of tables and what they get."""

    def __call__(self, connection: Connection) -> None:
        """Add the rows."""
        for table, rows in self.parts:
            if rows:
                connection.execute(_INSERTS[table], list(rows))

    def __add__(self, other: Insert) -> Insert:
        return Insert(self.parts + other.parts)


def insert(table: str, rows: Rows) -> Insert:
    """A write that adds rows to a table."""
    return Insert(((table, rows),))


class StorageError(RuntimeError):
    """The database did not take a write: a full disk, a lost server. Nothing of it is stored."""


class Duplicate(StorageError):
    """The write breaks a uniqueness rule: it is there already."""


def url_of(where: Path | str, database: str | None = None) -> str:
    """The database's URL of a study folder, or a URL as it is."""
    if database:
        return database
    text = str(where)
    if "://" in text:
        return text
    return f"sqlite:///{Path(text).resolve() / 'votes.sqlite'}"


def engine_of(url: str, key: str = "arena.database") -> Engine:
    """An engine whose commits are durable; `key` is the setting that named the URL.

    Raises:
        UserError: when the URL is none, or its driver is not installed.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername in ("postgres", "postgresql"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(
            f"{key} is no database URL; sqlite:///FILE or postgresql://USER@HOST/NAME would be"
        ) from error
    except ModuleNotFoundError as error:
        raise UserError(
            f"{key} needs the package {error.name!r}: pip install 'psycopg[binary]' for PostgreSQL"
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # SQLAlchemy emits BEGIN itself (below), which Python's driver would otherwise delay: without
    # it, savepoints do not hold.
    connection.isolation_level = None
    for pragma in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def migrate(engine: Engine) -> None:
    """Bring the tables to the newest form.

    Raises:
        UserError: when they are of a newer framepack-bench than this one.
        StorageError: when the database does not answer.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    with _as_storage_error(), engine.begin() as connection:
        now = MigrationContext.configure(connection).get_current_revision()
        if now is not None and now not in known:
            raise UserError(
                f"the votes' database has the form {now} of a newer framepack-bench; "
                "update this one to read it"
            )
        config.attributes.update(connection=connection, metadata=schema.metadata)
        command.upgrade(config, "head")


@contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise StorageError(_in_short(error)) from error


def _in_short(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no answer"


class Store:
    """One open database: durable writes, consistent reads.

    Args:
        url: SQLAlchemy URL.
        exclusive: hold the database for this process (PostgreSQL; a study's SQLite file is held
            by the study's lock).
    """

    def __init__(self, url: str, *, exclusive: bool = False) -> None:
        self.engine = engine_of(url)
        migrate(self.engine)
        self._guard = self._hold() if exclusive else None
        self._queue: queue.SimpleQueue[tuple[Write, Future[Any]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="votes", daemon=True)
        self._thread.start()

    def write(self, write: Write) -> Future[Any]:
        """Queue a write; the future is done when it is on disk.

        The future raises `Duplicate` or `StorageError`.
        """
        done: Future[Any] = Future()
        if self._closed:
            done.set_exception(StorageError("the arena is closing"))
        else:
            self._queue.put((write, done))
        return done

    def read(self, query: Select[Any]) -> list[Row[Any]]:
        """All rows of a query."""
        with _as_storage_error(), self.engine.connect() as connection:
            return list(connection.execute(query))

    def latest(self) -> float:
        """The last moment on record (Unix time), 0 when there is none."""
        moments = [
            self.read(select(func.max(column)))[0][0]
            for column in (schema.votes.c.voted_at, schema.assignments.c.assigned_at)
        ]
        return max((schema.unix(moment) for moment in moments if moment), default=0.0)

    def close(self) -> None:
        """Finish what is queued, then let go of the database."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()
        if self._guard is not None:
            self._guard.close()
        self.engine.dispose()

    def _hold(self) -> Connection | None:
        if self.engine.dialect.name != "postgresql":
            return None
        with _as_storage_error():
            connection = self.engine.connect()
            if not connection.scalar(select(func.pg_try_advisory_lock(_LOCK_KEY))):
                connection.close()
                raise UserError("arena.database is served by another arena already")
            connection.commit()
        return connection

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            stop = False
            while len(batch) < BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    stop = True
                    break
                batch.append(item)
            self._commit(batch)
            if stop:
                return

    def _commit(self, batch: list[tuple[Write, Future[Any]]]) -> None:
        try:
            try:
                outcomes = self._together(batch)
            except IntegrityError:
                outcomes = self._one_by_one(batch)
        except Exception as error:  # the commit itself: none of the batch is stored
            reason = _in_short(error) if isinstance(error, DBAPIError) else repr(error)
            outcomes = [StorageError(reason)] * len(batch)
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            with suppress(InvalidStateError):  # a caller that gave up waiting
                if isinstance(outcome, StorageError):
                    done.set_exception(outcome)
                else:
                    done.set_result(outcome)

    def _together(self, batch: list[tuple[Write, Future[Any]]]) -> list[Any]:
        """Run the batch with one statement for each table that rows are added to."""
        outcomes: list[Any] = []
        rows: dict[str, list[Mapping[str, Any]]] = {}

        def add(connection: Connection) -> None:
            Insert(tuple(rows.items()))(connection)
            rows.clear()

        with self.engine.begin() as connection:
            for write, _ in batch:
                if isinstance(write, Insert):
                    for table, some in write.parts:
                        rows.setdefault(table, []).extend(some)
                    outcomes.append(None)
                else:
                    add(connection)
                    outcomes.append(write(connection))
            add(connection)
        return outcomes

    def _one_by_one(self, batch: list[tuple[Write, Future[Any]]]) -> list[Any]:
        """Run the batch again with a savepoint for each write: who breaks a rule fails alone."""
        outcomes: list[Any] = []
        with self.engine.begin() as connection:
            for write, _ in batch:
                try:
                    with connection.begin_nested():
                        outcomes.append(write(connection))
                except IntegrityError as error:
                    outcomes.append(Duplicate(_in_short(error)))
        return outcomes
