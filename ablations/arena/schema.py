"""The arena's tables, as SQLAlchemy sees them; `migrations/` is what makes them.

Times are ISO 8601 in UTC with microseconds, as text: it sorts, it reads, and both databases keep
it exactly. `votes` is append-only; the database itself refuses to change or delete a row.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

ANSWERS = ("left", "right", "tie", "both_bad")
KINDS = ("normal", "repeat", "control")
SIDES = ("", "left", "right")


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    allowed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f'"{column}" IN ({allowed})', name=f"known_{column}")


metadata = MetaData()

raters = Table(
    "raters",
    metadata,
    Column("rater", String(64), primary_key=True),
    Column("joined_at", String(32), nullable=False),
    Column("invitation", String(64), nullable=True, unique=True),
)
"""Who takes part: a random identifier, nothing about the person."""

invitations = Table(
    "invitations",
    metadata,
    Column("invitation", String(64), primary_key=True),
    Column("label", String(200), nullable=False),
    Column("made_at", String(32), nullable=False),
)
"""Links made on the admin page."""

assignments = Table(
    "assignments",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("assignment", String(64), nullable=False, unique=True),
    Column("rater", String(64), nullable=False),
    Column("pair_id", String(64), nullable=False),
    Column("question", String(40), nullable=False),
    Column("prompt_id", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("left", Text, nullable=False),
    Column("right", Text, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("control_side", String(8), nullable=False, default=""),
    Column("assigned_at", String(32), nullable=False),
    Column("given_back", Integer, nullable=False, default=0),
    _one_of("kind", KINDS),
    _one_of("control_side", SIDES),
    Index("assignments_by_rater", "rater"),
)
"""Pairs handed out; `given_back` is 1 once one expired without an answer."""

votes = Table(
    "votes",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("vote_id", String(64), nullable=False, unique=True),
    Column("assignment", String(64), nullable=True, unique=True),
    Column("pair_id", String(64), nullable=False),
    Column("question", String(40), nullable=False),
    Column("prompt_id", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("left", Text, nullable=False),
    Column("right", Text, nullable=False),
    Column("answer", String(8), nullable=False),
    Column("rater", String(200), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("control_side", String(8), nullable=False, default=""),
    Column("shown_at", String(32), nullable=True),
    Column("voted_at", String(32), nullable=True),
    Column("seconds", Float, nullable=True),
    Column("watched_left", Float, nullable=True),
    Column("watched_right", Float, nullable=True),
    Column("source", Text, nullable=False, default="arena"),
    _one_of("answer", ANSWERS),
    _one_of("kind", KINDS),
    _one_of("control_side", SIDES),
)
"""One answer each. `source` is `arena`, or the name of the file a vote was imported from."""

VOTE_COLUMNS = (
    "vote_id",
    "pair_id",
    "question",
    "prompt_id",
    "seed",
    "left",
    "right",
    "answer",
    "rater",
    "kind",
    "control_side",
    "shown_at",
    "voted_at",
    "seconds",
    "watched_left",
    "watched_right",
)
"""What a vote is to its readers, in this order."""


def iso(seconds: float) -> str:
    """Unix time as stored: UTC with microseconds."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="microseconds")


def unix(text: str) -> float:
    """Unix time of a stored moment.

    Raises:
        ValueError: when the text is no ISO 8601 moment.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
