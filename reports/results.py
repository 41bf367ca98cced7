"""What a study holds, as tidy tables.

`load` reads one study, or several that ran the same sweep on other machines, into three tables
whose columns are documented in docs/reports.md: cells (one row a cell that was asked for or is
there), scores (one row a metric, segment and video) and votes. Nothing is averaged or dropped in
silence: a cell without a video is a row with its state and reason, and what had to be left out
(scores of a video that has since been made anew, a cell that two studies both hold) is told in
`Results.notes`.

Ten thousand cells are ten thousand small parquet files: reports/scan.py joins them as Arrow tables
while the cells' records are read here. Curves are read only when a plot asks, for the cells it asks
for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablations.variant import parse
from bench.cell import Cell, CellRecord
from bench.errors import UserError
from bench.study import Study
from metrics.store import CURVES_FILE, SCORES_FILE, curve_schema
from reports import scan

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped, unused-ignore]

CELL_COLUMNS = (
    "study",
    "variant",
    "prompt_id",
    "seed",
    "state",
    "error_kind",
    "error_message",
    "error_traceback",
    "prompt_text",
    "prompt_tags",
    "sampler",
    "packing",
    "section",
    "tail",
    "discrete",
    "options",
    "generator",
    "plan_digest",
    "reference_image",
    "reference_origin",
    "latents",
    "frames",
    "fps",
    "width",
    "height",
    "section_starts",
    "tokens_per_section",
    "section_seconds",
    "seconds",
    "seconds_decode",
    "peak_memory_bytes",
    "untrained",
    "history",
    "batch_size",
    "video_sha256",
    "bytes",
    "versions",
    "device",
    "dtype",
    "host",
    "started",
    "finished",
    "folder",
)
"""Columns of `Results.cells`: cell.json's fields, where the cell is, and its state."""


@dataclass(frozen=True)
class Results:
    """A study's cells, scores and votes.

    cells: `CELL_COLUMNS`, one row a cell; `state` is done, failed, running or pending.
    scores: the columns of scores.parquet with `cell` (the row of `cells`), `variant`, `prompt_id`
        and `seed`; text columns are categorical. Only rows that are about the cell's present video.
    votes: the columns of the arena's votes; empty without votes.
    settings: what study.yaml says, by study.
    notes: what a reader must know about what was read.
    """

    cells: pd.DataFrame
    scores: pd.DataFrame
    votes: pd.DataFrame
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def curves(self, cells: Sequence[int] | None = None) -> pd.DataFrame:
        """Values per frame of some cells (rows of `cells`), or of all.

        Returns: the columns of curves.parquet with `cell`.
        """
        chosen = range(len(self.cells)) if cells is None else cells
        rows = np.array(chosen, dtype=np.int64)
        folders = self.cells["folder"].to_numpy()[rows]
        table = scan.read([Path(str(of)) / CURVES_FILE for of in folders], curve_schema())
        return _frame(table, rows[table["file"].to_numpy()])

    def tidy(self) -> pd.DataFrame:
        """Scores joined with what their cells were: everything in one table.

        A cell without scores is one row whose `metric` is missing, so nothing asked for is absent.
        """
        scores = self.scores.drop(columns=["variant", "prompt_id", "seed"])
        scored = scores.pop("cell").to_numpy()
        silent = np.setdiff1d(np.arange(len(self.cells)), scored)
        rows = np.concatenate([scored, silent])
        scores = scores.reindex(range(len(rows))).rename(columns={"device": "scored_on"})
        told = [name for name in CELL_COLUMNS if name not in _ONLY_IN_CELLS]
        columns = {_RENAMED.get(name, name): _spread(self.cells[name], rows) for name in told}
        return pd.concat([pd.DataFrame(columns), scores], axis=1)


_ONLY_IN_CELLS = ("fps", "frames", "video_sha256", "error_traceback")
_RENAMED = {"device": "made_on"}


def _spread(column: pd.Series, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Any:
    """A column of cells, repeated for each of their scores: numbers as they are, words as
    categories (a million copies of a path would fill the memory), lists and mappings as JSON."""
    if column.dtype.kind in "iufb":
        return column.to_numpy()[rows]
    if column.name in ("discrete", "peak_memory_bytes"):
        return pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)[rows]
    words = [
        value if isinstance(value, str) else "" if value is None else json.dumps(value)
        for value in column
    ]
    codes, names = pd.factorize(np.array(words, dtype=object))
    return pd.Categorical.from_codes(codes[rows], categories=pd.Index(names))


def load(*studies: str | Path, votes: str | None = None) -> Results:
    """Read studies into tidy tables.

    Args:
        studies: study folders; several are read as one sweep made on several machines.
        votes: a database's URL, where the arena kept them there; by default the studies' own.

    Raises:
        UserError: a folder holds no study, or none was named; the database cannot be read.
    """
    if not studies:
        raise UserError("study: name at least one study folder")
    notes: list[str] = []
    opened = _named([Study.open(path) for path in studies])
    listed = {name: list(study.cells()) for name, study in opened.items()}
    folders = [str(cell.folder) for cells in listed.values() for cell in cells]
    reading = scan.begin([os.path.join(folder, SCORES_FILE) for folder in folders])  # noqa: PTH118
    held = pd.concat([_cells(name, study, listed[name], notes) for name, study in opened.items()])
    held = held.reset_index(drop=True)
    settings = {name: study.settings for name, study in opened.items()}
    if apart := _apart(list(settings.values())):
        notes.append(f"the studies were made with different settings: {', '.join(apart)}")
    cells = _one_row_a_cell(held, notes)
    given = _about(_votes(opened, votes, notes), held, cells, notes)
    cells = _one_generator_a_variant(cells, notes)
    scores = _scores(cells, folders, reading.table(), notes)
    return Results(cells, scores, given, settings, tuple(notes))


def _named(studies: Sequence[Study]) -> dict[str, Study]:
    """Studies by folder name, numbered where two folders are called the same."""
    named: dict[str, Study] = {}
    for study in studies:
        name = base = study.path.resolve().name
        number = 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = study
    return named


def _cells(name: str, study: Study, listed: Sequence[Cell], notes: list[str]) -> pd.DataFrame:
    """One row for every cell that a study was asked for or holds."""
    rows: list[dict[str, Any]] = []
    pending = []
    prompts = study.prompts()
    for cell in listed:
        row = _row(name, cell, prompts.get(cell.prompt_id, {}))
        if row["state"] == "pending":
            pending.append((cell.key, len(rows)))
        rows.append(row)
    if pending:
        states = study.states_of(key for key, _ in pending)
        for key, place in pending:
            rows[place]["state"] = states[key]
    _describe(rows)
    if not rows:
        notes.append(f"study {name}: nothing was asked for and nothing is there")
    return pd.DataFrame(rows, columns=list(CELL_COLUMNS))


def _row(study: str, cell: Cell, prompt: Mapping[str, Any]) -> dict[str, Any]:
    """A cell as a row; one that has no record yet has the record's defaults."""
    folder = str(cell.folder)
    try:
        record = cell.record()
    except UserError as unreadable:
        record = CellRecord(
            variant=cell.variant,
            prompt_id=cell.prompt_id,
            seed=cell.seed,
            status="failed",
            error={"kind": "UnreadableRecord", "message": str(unreadable)},  # type: ignore[arg-type]
        )
    state = "pending" if record is None else record.status
    if record is None:
        record = CellRecord(
            variant=cell.variant, prompt_id=cell.prompt_id, seed=cell.seed, status="failed"
        )
    row = {name: getattr(record, name, None) for name in CELL_COLUMNS}
    error = record.error
    row |= {
        "study": study,
        # The folder names the cell: a record copied from elsewhere must not move it.
        "variant": cell.variant,
        "prompt_id": cell.prompt_id,
        "seed": cell.seed,
        "state": state,
        "error_kind": error.kind if error else "",
        "error_message": error.message if error else "",
        "error_traceback": error.traceback if error else "",
        "prompt_text": record.prompt_text or prompt.get("text", ""),
        "prompt_tags": record.prompt_tags or prompt.get("tags", []),
        "reference_origin": prompt.get("origin") or "",
        "folder": folder,
    }
    return row


def _apart(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys, `generator.steps`, in which studies differ."""
    flat = [_flat(one) for one in settings]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [key for key in keys if any(one.get(key) != flat[0].get(key) for one in flat)]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        inner = isinstance(value, Mapping) and value
        found |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return found


_BEST_STATE = {"done": 0, "failed": 1, "running": 2, "pending": 3}


def _one_row_a_cell(cells: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep one row of a cell that several studies hold: a finished one first, then by order."""
    if cells["study"].nunique() < 2:
        return cells
    order = cells["state"].map(_BEST_STATE)
    kept = cells.loc[order.sort_values(kind="stable").index]
    kept = kept.drop_duplicates(_KEY).sort_index()
    if differing := len(_twice(cells)):
        notes.append(
            f"{_count(differing, 'cell')} finished in more than one study, with different videos; "
            "the first study's is reported"
        )
    return kept.reset_index(drop=True)


_KEY = ["variant", "prompt_id", "seed"]


def _twice(cells: pd.DataFrame) -> set[tuple[Any, ...]]:
    """Keys of cells of which several studies hold videos that are not the same."""
    videos = cells[cells["state"] == "done"].groupby(_KEY)["video_sha256"].nunique()
    return set(videos.index[videos > 1])


def _about(
    votes: pd.DataFrame, held: pd.DataFrame, cells: pd.DataFrame, notes: list[str]
) -> pd.DataFrame:
    """The votes without those about videos of which other ones are reported.

    A study's votes are about its own videos. Of votes in a database it is not known whose videos
    they are about: where studies differ, they are left out.
    """
    if votes.empty or held["study"].nunique() < 2 or not (twice := _twice(held)):
        return votes
    done = held[held["state"] == "done"].set_index(["study", *_KEY])["video_sha256"].to_dict()
    reported = cells.set_index(_KEY)["video_sha256"].to_dict()
    strange = np.zeros(len(votes), dtype=bool)
    for side in ("left", "right"):
        shown = zip(votes["study"], votes[side], votes["prompt_id"], votes["seed"], strict=True)
        strange |= [key[1:] in twice and done.get(key) != reported[key[1:]] for key in shown]
    if not strange.any():
        return votes
    notes.append(
        f"{_count(int(strange.sum()), 'vote')} left out: about other videos than those reported"
    )
    return votes[~strange].reset_index(drop=True)


def _one_generator_a_variant(cells: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Split a variant that different models made: one row of a table is one model."""
    done = cells["state"] == "done"
    if not done.any():
        return cells
    models = pd.Series([_model(value) for value in cells["generator"]], index=cells.index)
    kinds = models[done].groupby(cells.loc[done, "variant"]).nunique()
    for variant in kinds[kinds > 1].index:
        rows = done & (cells["variant"] == variant)
        cells.loc[rows, "variant"] = variant + " @ " + models[rows]
        notes.append(
            f"variant {variant} was made by {kinds[variant]} different models; each is a row"
        )
    return cells


def _model(identity: Mapping[str, Any]) -> str:
    """A short name of a generator: its checkpoint and the head of its weights' digest."""
    name = str(identity.get("checkpoint") or identity.get("name") or "unnamed")
    digests = [str(value) for key, value in identity.items() if "digest" in key or "sha" in key]
    return Path(name).name + (f" {digests[0][:6]}" if digests else "")


_OF_VARIANT = ("sampler", "packing", "section", "tail", "discrete", "options")


def _describe(rows: list[dict[str, Any]]) -> None:
    """Say of cells without a record what their variant is: as its other cells do, or its name."""
    known: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["sampler"]:
            known.setdefault(row["variant"], {name: row[name] for name in _OF_VARIANT})
    for row in rows:
        if not row["sampler"]:
            name = row["variant"]
            if name not in known:
                known[name] = _named_variant(name)
            row |= known[name]


def _named_variant(name: str) -> dict[str, Any]:
    """What a name of the paper's grammar says; nothing for a name beyond it."""
    try:
        variant = parse(name)
    except UserError:
        return {}
    return {
        "sampler": variant.sampler,
        "packing": "".join(map(str, reversed(variant.packing.levels))),
        "section": variant.section,
        "tail": variant.packing.tail,
        "discrete": variant.discrete,
        "options": dict(variant.options),
    }


def _scores(
    cells: pd.DataFrame, folders: Sequence[str], table: pa.Table, notes: list[str]
) -> pd.DataFrame:
    """All score rows of the cells' present videos; `table` counts its files as `folders` does."""
    row_of = pd.Index(cells["folder"]).get_indexer(pd.Index(folders))
    row_of[(row_of >= 0) & (cells["state"] != "done").to_numpy()[row_of]] = -1
    rows = row_of[table["file"].to_numpy()]
    if (rows < 0).any():
        table, rows = table.filter(rows >= 0), rows[rows >= 0]
    scores = _frame(table, rows)
    seen = scores["video_sha256"].cat
    # Digests are compared as numbers: there are a hundred rows for each.
    known = pd.Index(seen.categories).get_indexer(cells["video_sha256"].astype(str))
    known[(cells["video_sha256"] == "").to_numpy()] = -2
    wanted = known[scores["cell"].to_numpy()]
    present = (seen.codes.to_numpy() == wanted) | (wanted == -2)
    if stale := int(scores.loc[~present, "cell"].nunique()):
        scores = scores[present].reset_index(drop=True)
        notes.append(
            f"{_count(stale, 'video')} made anew after scoring; the old scores are left out, "
            "run stage=score again"
        )
    for name in ("prompt_id", "variant"):
        codes, names = pd.factorize(cells[name])
        values = pd.Categorical.from_codes(codes[scores["cell"]], categories=names)
        scores.insert(1, name, pd.Series(values, index=scores.index))
    scores.insert(3, "seed", cells["seed"].to_numpy(dtype=np.int64)[scores["cell"]])
    return scores


def _frame(table: pa.Table, rows: NDArray[np.int64]) -> pd.DataFrame:
    """What `scan.read` gave, with the cell of each row in place of its file."""
    frame: pd.DataFrame = table.drop_columns("file").to_pandas(self_destruct=True)
    frame.insert(0, "cell", rows)
    return frame


def _votes(studies: Mapping[str, Study], url: str | None, notes: list[str]) -> pd.DataFrame:
    """The votes of all studies, one table: those of a database, or of the studies' own files."""
    places: dict[str, str | Path] = {
        name: study.path
        for name, study in studies.items()
        if (study.path / "votes.sqlite").exists()
    }
    if url is not None:
        if "://" not in url:
            raise UserError(f"report.votes={url}: postgresql://USER@HOST/NAME is expected")
        places = {" + ".join(studies): url}
    found: list[pd.DataFrame] = []
    for name, place in places.items():
        # The arena's database is a second's import that a study without votes does not need.
        from ablations.arena.votes import load as load_votes

        found.append(load_votes(place, key="report.votes").assign(study=name))
    if not sum(map(len, found)):
        notes.append("no votes: ELO and rank are empty")
        return pd.DataFrame(columns=["left", "right", "answer", "rater", "prompt_id"])
    votes = pd.concat(found, ignore_index=True)
    # Simulated raters say so by name; a report must never pass them off as people.
    return votes.assign(simulated=votes["rater"].astype(str).str.startswith("simulated"))


def _count(number: int, noun: str) -> str:
    """ "1 cell was" or "3 cells were"."""
    return f"{number} {noun} was" if number == 1 else f"{number} {noun}s were"
