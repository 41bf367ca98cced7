"""Votes for whoever computes with them: a table from a study folder or a database.

```python
from ablations.arena import votes
table = votes.load("studies/sampling")  # or "postgresql://USER@HOST/NAME"
```
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from ablations.arena import exchange, schema
from ablations.arena.store import Store, engine_of, insert, url_of
from bench.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

_CHUNK = 500


def load(study_or_url: Path | str, *, key: str = "arena.database") -> pd.DataFrame:
    """All votes, in the order they were given.

    Args:
        study_or_url: a study's folder, or the database's URL.
        key: the setting that names the URL, for the message when it is wrong.

    Returns:
        A table with the columns `schema.VOTE_COLUMNS`; `shown_at` and `voted_at` are UTC moments.
        A study that nobody has voted in gives an empty one.

    Raises:
        UserError: the database cannot be read.
    """
    import pandas as pd

    text = str(study_or_url)
    if "://" not in text:
        folder = Path(text)
        if not folder.is_dir():
            raise UserError(f"study={folder} is no folder")
        if not (folder / "votes.sqlite").exists():
            return _typed(pd.DataFrame(columns=list(schema.VOTE_COLUMNS)))
    engine = engine_of(url_of(study_or_url), key)
    columns = [schema.votes.c[name] for name in schema.VOTE_COLUMNS]
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(*columns).order_by(schema.votes.c.number)).all()
    except DBAPIError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise UserError(f"votes of {without_password(text)} cannot be read: {reason}") from error
    finally:
        engine.dispose()
    return _typed(pd.DataFrame([tuple(row) for row in rows], columns=list(schema.VOTE_COLUMNS)))


def export_file(
    study: Path,
    database: str | None,
    target: Path,
    *,
    fastchat: bool,
    kinds: Literal["normal", "all"] = "all",
) -> int:
    """Write a study's votes, or its normal ones, to `target` (.csv, .jsonl); returns how many."""
    from bench.files import atomic_write

    if fastchat and target.suffix == ".csv":
        raise UserError("arena.export: FastChat battles are .jsonl, not .csv")
    write = exchange.to_fastchat if fastchat else exchange.to_jsonl
    if target.suffix == ".csv":
        write = exchange.to_csv
    elif target.suffix != ".jsonl":
        raise UserError(f"arena.export={target}: a name ending in .csv or .jsonl is needed")
    if not target.parent.is_dir():
        raise UserError(f"arena.export={target}: there is no folder {target.parent}")
    store = Store(url_of(study, database))
    try:
        votes = exchange.stored(store)
    finally:
        store.close()
    if fastchat or kinds == "normal":
        votes = [vote for vote in votes if vote["kind"] == "normal"]
    atomic_write(target, write(votes))
    return len(votes)


def import_file(
    study: Path,
    database: str | None,
    source: Path,
    *,
    fastchat: bool,
    variants: frozenset[str] | None,
) -> tuple[int, int]:
    """Add the votes of `source` to a study.

    Args:
        study: the study's folder.
        database: a URL in place of the study's own SQLite file.
        source: a .csv, .jsonl or .json file.
        fastchat: it holds FastChat battles.
        variants: the names that are known; None takes any.

    Returns:
        How many votes were added, and how many were there already.

    Raises:
        UserError: naming the row that cannot be taken; nothing is imported then.
    """
    if source.suffix not in (".csv", ".jsonl", ".json"):
        raise UserError(f"arena.import={source}: a .csv, .jsonl or .json file is needed")
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"arena.import={source} cannot be read: {error}") from None
    votes = exchange.parse(text, source.name, fastchat=fastchat, variants=variants)
    store = Store(url_of(study, database))
    try:
        there = {row.vote_id for row in store.read(select(schema.votes.c.vote_id))}
        fresh = {vote["vote_id"]: vote for vote in votes if vote["vote_id"] not in there}
        rows = [{**vote, "source": source.name, "assignment": None} for vote in fresh.values()]
        store.write(insert("votes", rows)).result()
    finally:
        store.close()
    return len(rows), len(votes) - len(rows)


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    table["seed"] = table["seed"].astype("int64")
    for column in ("shown_at", "voted_at"):
        table[column] = pd.to_datetime(table[column], utc=True, format="ISO8601")
    for column in exchange.FLOATS:
        table[column] = table[column].astype("float64")
    return table


def without_password(text: str) -> str:
    """A database's URL as it may be shown; other texts as they are."""
    from sqlalchemy.engine import make_url

    return make_url(text).render_as_string(hide_password=True) if "://" in text else text
