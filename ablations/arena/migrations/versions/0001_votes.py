"""Raters, invitations, assignments, and votes that nobody can change."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

KINDS = "\"kind\" IN ('normal', 'repeat', 'control')"
SIDES = "\"control_side\" IN ('', 'left', 'right')"
ANSWERS = "\"answer\" IN ('left', 'right', 'tie', 'both_bad')"


def upgrade() -> None:
    """Make the tables, and the triggers that keep votes as they are."""
    op.create_table(
        "raters",
        sa.Column("rater", sa.String(64), primary_key=True),
        sa.Column("joined_at", sa.String(32), nullable=False),
        sa.Column("invitation", sa.String(64), nullable=True, unique=True),
    )
    op.create_table(
        "invitations",
        sa.Column("invitation", sa.String(64), primary_key=True),
        sa.Column("label", sa.String(200), nullable=False),
        sa.Column("made_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "assignments",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("assignment", sa.String(64), nullable=False, unique=True),
        sa.Column("rater", sa.String(64), nullable=False),
        sa.Column("pair_id", sa.String(64), nullable=False),
        sa.Column("question", sa.String(40), nullable=False),
        sa.Column("prompt_id", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("left", sa.Text, nullable=False),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("control_side", sa.String(8), nullable=False, server_default=""),
        sa.Column("assigned_at", sa.String(32), nullable=False),
        sa.Column("given_back", sa.Integer, nullable=False, server_default="0"),
        sa.CheckConstraint(KINDS, name="known_kind"),
        sa.CheckConstraint(SIDES, name="known_control_side"),
    )
    op.create_index("assignments_by_rater", "assignments", ["rater"])
    op.create_table(
        "votes",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("vote_id", sa.String(64), nullable=False, unique=True),
        sa.Column("assignment", sa.String(64), nullable=True, unique=True),
        sa.Column("pair_id", sa.String(64), nullable=False),
        sa.Column("question", sa.String(40), nullable=False),
        sa.Column("prompt_id", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("left", sa.Text, nullable=False),
        sa.Column("right", sa.Text, nullable=False),
        sa.Column("answer", sa.String(8), nullable=False),
        sa.Column("rater", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("control_side", sa.String(8), nullable=False, server_default=""),
        sa.Column("shown_at", sa.String(32), nullable=True),
        sa.Column("voted_at", sa.String(32), nullable=True),
        sa.Column("seconds", sa.Float, nullable=True),
        sa.Column("watched_left", sa.Float, nullable=True),
        sa.Column("watched_right", sa.Float, nullable=True),
        sa.Column("source", sa.Text, nullable=False, server_default="arena"),
        sa.CheckConstraint(ANSWERS, name="known_answer"),
        sa.CheckConstraint(KINDS, name="known_kind"),
        sa.CheckConstraint(SIDES, name="known_control_side"),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION votes_are_final() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'votes are append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER votes_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON votes "
            "FOR EACH STATEMENT EXECUTE FUNCTION votes_are_final()"
        )
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER votes_no_{event.lower()} BEFORE {event} ON votes "
                "BEGIN SELECT RAISE(ABORT, 'votes are append-only'); END"
            )
        # REPLACE deletes without asking the trigger above.
        op.execute(
            "CREATE TRIGGER votes_no_replace BEFORE INSERT ON votes "
            "WHEN EXISTS (SELECT 1 FROM votes WHERE vote_id = NEW.vote_id "
            "OR assignment = NEW.assignment OR number = NEW.number) "
            "BEGIN SELECT RAISE(ABORT, 'this vote is stored already'); END"
        )


def downgrade() -> None:
    """Drop everything."""
    for table in ("votes", "assignments", "invitations", "raters"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION votes_are_final()")
