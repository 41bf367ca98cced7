"""Votes as text: CSV, JSON lines and FastChat battles, out and in.

Coming in, a file is taken whole or not at all. A label that is not known is refused by its row's
number and never guessed: other tools counted such rows as ties, or turned every rating into NaN.
A vote that is there already is recognised by its identifier; rows of formats without one get an
identifier made of their content and of how often the same content came before in the file, so
that a file imported twice adds nothing and two equal votes in one file stay two.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select

from ablations.arena import schema
from ablations.arena.store import Store
from bench.errors import UserError

Vote = dict[str, Any]
Writer = Callable[[Sequence[Vote]], str]

FASTCHAT = {"model_a": "left", "model_b": "right", "tie": "tie", "tie (bothbad)": "both_bad"}
"""FastChat's winners and our answers."""
FLOATS = ("seconds", "watched_left", "watched_right")
REQUIRED = ("prompt_id", "left", "right", "answer", "rater")
_SHOWN_LABELS = 8


def stored(store: Store) -> list[Vote]:
    """All votes of a store in the order they came."""
    columns = [schema.votes.c[name] for name in schema.VOTE_COLUMNS]
    rows = store.read(select(*columns).order_by(schema.votes.c.number))
    return [dict(row._mapping) for row in rows]


# Out


def to_csv(votes: Sequence[Vote]) -> str:
    """Votes as CSV with a header; an absent value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, schema.VOTE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(votes)
    return text.getvalue()


def to_jsonl(votes: Sequence[Vote]) -> str:
    """Votes as JSON lines."""
    return "".join(json.dumps(vote, ensure_ascii=False) + "\n" for vote in votes)


def to_fastchat(votes: Sequence[Vote]) -> str:
    """Ordinary votes as FastChat battles, one a line.

    Repeats and controls stay out: tools that read battles would count them as votes. Fields
    beyond FastChat's own are kept so that a round trip loses nothing.
    """
    winners = {answer: winner for winner, answer in FASTCHAT.items()}
    lines = []
    for vote in votes:
        if vote["kind"] != "normal":
            continue
        battle = {
            "question_id": vote["pair_id"],
            "model_a": vote["left"],
            "model_b": vote["right"],
            "winner": winners[vote["answer"]],
            "judge": vote["rater"],
            "turn": 1,
            "anony": True,
            "language": "unknown",
            "tstamp": schema.unix(vote["voted_at"]) if vote["voted_at"] else None,
        }
        rest = {key: value for key, value in vote.items() if key not in _SAID_ABOVE}
        lines.append(json.dumps({**battle, **rest}, ensure_ascii=False) + "\n")
    return "".join(lines)


_SAID_ABOVE = {"pair_id", "left", "right", "answer", "rater", "kind", "control_side", "voted_at"}


# In


def parse(
    text: str, name: str, *, fastchat: bool, variants: Collection[str] | None = None
) -> list[Vote]:
    """Read votes from the text of a .csv, .jsonl or .json file.

    Args:
        text: the file's content.
        name: its name, for messages; its ending says CSV or JSON.
        fastchat: FastChat battles instead of our own columns.
        variants: the names that are known; None takes any.

    Raises:
        UserError: naming the first row that cannot be taken, and why.
    """
    rows = _csv_rows(text, name) if name.endswith(".csv") else _json_rows(text, name)
    votes: list[Vote] = []
    seen: Counter[str] = Counter()
    first: dict[str, tuple[int, Vote]] = {}
    for number, row in rows:
        try:
            vote = _from_fastchat(row) if fastchat else _from_bench(row)
            _check(vote, variants)
            if vote["vote_id"]:
                earlier, same = first.setdefault(vote["vote_id"], (number, vote))
                if vote != same:
                    raise _Row(f"vote_id {vote['vote_id']!r} is row {earlier}'s, which differs")
        except _Row as problem:
            raise UserError(f"{name}, row {number}: {problem}; nothing was imported") from None
        if not vote["vote_id"]:
            content = json.dumps(row, sort_keys=True, default=str)
            digest = hashlib.sha256(f"{seen[content]}:{content}".encode()).hexdigest()
            seen[content] += 1
            vote["vote_id"] = f"imported-{digest[:32]}"
        votes.append(vote)
    return votes


class _Row(ValueError):
    """What is wrong with a row."""


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    number = 1
    try:
        for number, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                raise UserError(
                    f"{name}, row {number}: it has not {len(reader.fieldnames or ())} fields as "
                    "the header; nothing was imported"
                )
            yield number, row
    except csv.Error as error:
        raise UserError(f"{name}, after row {number}: {error}; nothing was imported") from None


def _json_rows(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except ValueError as error:
            raise UserError(f"{name}: not JSON ({error}); nothing was imported") from None
    else:
        # Only a line feed ends a line: a name may hold U+2028, which splitlines would cut at.
        lines = [line for line in text.split("\n") if line.strip()]
        items = []
        for number, line in enumerate(lines, start=1):
            try:
                items.append(json.loads(line))
            except ValueError:
                raise UserError(f"{name}, row {number}: not JSON; nothing was imported") from None
    for number, item in enumerate(items, start=1):
        if not isinstance(item, dict):
            raise UserError(f"{name}, row {number}: not an object; nothing was imported")
        yield number, item


def _from_bench(row: Mapping[str, Any]) -> Vote:
    for key in REQUIRED:
        if key not in row:
            raise _Row(f"it has no {key}; needed are {', '.join(REQUIRED)}")
    vote: Vote = {
        "vote_id": _string(row, "vote_id"),
        "pair_id": _string(row, "pair_id"),
        "question": _string(row, "question") or "overall",
        "prompt_id": _string(row, "prompt_id"),
        "seed": _seed(row.get("seed")),
        "left": _string(row, "left"),
        "right": _string(row, "right"),
        "answer": _string(row, "answer"),
        "rater": _string(row, "rater"),
        "kind": _string(row, "kind") or "normal",
        "control_side": _string(row, "control_side"),
        "shown_at": _moment(row.get("shown_at"), "shown_at"),
        "voted_at": _moment(row.get("voted_at"), "voted_at"),
        **{key: _float(row.get(key), key) for key in FLOATS},
    }
    vote["pair_id"] = vote["pair_id"] or _pair_id(vote)
    return vote


def _from_fastchat(row: Mapping[str, Any]) -> Vote:
    for key in ("model_a", "model_b", "winner"):
        if key not in row:
            raise _Row(f"it has no {key}")
    winner = str(row["winner"])
    if winner not in FASTCHAT:
        raise _Row(f"winner {winner[:60]!r} is none of {', '.join(FASTCHAT)}")
    vote: Vote = {
        "vote_id": _string(row, "vote_id"),
        "pair_id": _string(row, "question_id"),
        "question": _string(row, "question") or "overall",
        "prompt_id": _string(row, "prompt_id") or _string(row, "question_id"),
        "seed": _seed(row.get("seed")),
        "left": _string(row, "model_a"),
        "right": _string(row, "model_b"),
        "answer": FASTCHAT[winner],
        "rater": _string(row, "judge") or "unknown",
        "kind": "normal",
        "control_side": "",
        "shown_at": _moment(row.get("shown_at"), "shown_at"),
        "voted_at": _stamp(row.get("tstamp")),
        **{key: _float(row.get(key), key) for key in FLOATS},
    }
    vote["pair_id"] = vote["pair_id"] or _pair_id(vote)
    return vote


def _check(vote: Vote, variants: Collection[str] | None) -> None:
    for key, allowed in (
        ("answer", schema.ANSWERS),
        ("kind", schema.KINDS),
        ("control_side", schema.SIDES),
    ):
        if vote[key] not in allowed:
            names = ", ".join(value or "(empty)" for value in allowed)
            raise _Row(f"{key} {vote[key][:60]!r} is none of {names}")
    for side in ("left", "right"):
        if not vote[side]:
            raise _Row(f"{side} names no variant")
        if variants is not None and vote[side] not in variants:
            known = sorted(variants)
            some = ", ".join(known[:_SHOWN_LABELS]) + (", …" if len(known) > _SHOWN_LABELS else "")
            raise _Row(f"{side} {vote[side][:60]!r} is no variant of the study ({some})")
    control = vote["kind"] == "control"
    if control != (vote["left"] == vote["right"]):
        raise _Row("a control compares a variant with itself, and nothing else does")
    if control != bool(vote["control_side"]):
        raise _Row("control_side goes with kind control, and with nothing else")
    for key, longest in (("vote_id", 64), ("pair_id", 64), ("question", 40), ("rater", 200)):
        if len(vote[key]) > longest:
            raise _Row(f"{key} is longer than {longest} characters")
    if not vote["rater"]:
        raise _Row("rater is empty")
    if any("\0" in value for value in vote.values() if isinstance(value, str)):
        raise _Row("it has a zero character")


def _pair_id(vote: Vote) -> str:
    first, second = sorted((vote["left"], vote["right"]))
    text = "\n".join((vote["prompt_id"], str(vote["seed"]), first, second))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _string(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _seed(value: Any) -> int:
    if value is None or value == "":
        return 0
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or isinstance(value, bool) or (isinstance(value, float) and number != value):
        raise _Row(f"seed {str(value)[:60]!r} is no whole number")
    if abs(number) >= 2**63:
        raise _Row(f"seed {number} does not fit 64 bits")
    return number


def _float(value: Any, key: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _Row(f"{key} {str(value)[:60]!r} is no number")
    return number


def _stamp(value: Any) -> str | None:
    stamp = _float(value, "tstamp")
    try:
        return None if stamp is None else schema.iso(stamp)
    except (ValueError, OverflowError, OSError):
        raise _Row(f"tstamp {str(value)[:60]!r} is no Unix time in seconds") from None


def _moment(value: Any, key: str) -> str | None:
    if value is None or value == "":
        return None
    try:
        return schema.iso(schema.unix(str(value)))
    except (ValueError, OverflowError):
        raise _Row(f"{key} {str(value)[:60]!r} is no ISO 8601 time") from None
