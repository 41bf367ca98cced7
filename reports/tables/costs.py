"""What a variant costs: tokens, seconds, memory, and what was never trained for it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.analysis import Analysis, Entrant
from reports.statistics.clusters import Floats, estimate
from reports.tables.scores import MADE, made, missing
from reports.tables.table import Block, Entry, Heading, Number, Row, Table, ranked

HEADINGS = (
    Heading("tokens_first", "Tokens, first section", "lower"),
    Heading("tokens_last", "Tokens, largest section", "lower"),
    Heading("seconds_per_frame", "Seconds per frame", "lower"),
    Heading("seconds_per_section", "Seconds per section", "lower"),
    Heading("peak_memory", "Peak memory, GiB", "lower"),
    Heading("untrained", "Untrained parameters", numeric=False),
    MADE,
)


POSITIVE = (0.0, None)
"""Where seconds can lie: no interval says that a frame took less than none."""


def costs(analysis: Analysis) -> Table | None:
    """The cost table, one row a variant; None where nothing is known (videos made elsewhere)."""
    rows = tuple(Row(entrant.name, _entries(analysis, entrant)) for entrant in analysis.variants)
    entries = [entry for row in rows for entry in row.entries]
    if not any(isinstance(entry, Number) and np.isfinite(entry.value) for entry in entries):
        return None
    done = analysis.cells[analysis.cells["state"] == "done"]
    devices = sorted({f"{d} ({t})" if t else str(d) for d, t in _pairs(done) if d})
    notes = [
        "Seconds include everything from the claim of a cell to its video, a batch's time "
        "divided by its cells."
    ]
    if devices:
        notes.append("Made on " + ", ".join(devices) + ".")
    return ranked(Table("costs", "Cost", "Variant", HEADINGS, (Block("", rows),), tuple(notes)))


def _pairs(done: pd.DataFrame) -> set[tuple[str, str]]:
    return {(str(d), str(t)) for d, t in zip(done["device"], done["dtype"], strict=True)}


def seconds_per_frame(cells: pd.DataFrame) -> Floats:
    """`[cells]` wall seconds per frame of video; NaN for cells that were not made."""
    frames = cells["frames"].to_numpy(dtype=np.float64)
    seconds = cells["seconds"].to_numpy(dtype=np.float64)
    batch = cells["batch_size"].to_numpy(dtype=np.float64)
    known = (cells["state"] == "done").to_numpy() & (frames > 0) & (seconds > 0)
    per_frame = seconds / np.maximum(batch, 1) / np.maximum(frames, 1)
    return np.where(known, per_frame, np.nan)


def _entries(analysis: Analysis, entrant: Entrant) -> tuple[Entry, ...]:
    cells = analysis.cells.iloc[entrant.rows]
    done = (cells["state"] == "done").to_numpy()
    prompts = analysis.prompt[entrant.rows]
    lacking = 0 if entrant.made else entrant.asked
    tokens = [list(value) for value in cells.loc[done, "tokens_per_section"] if len(value)]
    first = np.mean([value[0] for value in tokens]) if tokens else np.nan
    largest = np.max([max(value) for value in tokens]) if tokens else np.nan
    frame = estimate(seconds_per_frame(cells), prompts, bounds=POSITIVE)
    section = estimate(_section_seconds(cells), prompts, bounds=POSITIVE)
    peak = pd.to_numeric(cells.loc[done, "peak_memory_bytes"], errors="coerce").max() / 2**30
    untrained = sorted({str(part) for parts in cells.loc[done, "untrained"] for part in parts})
    return (
        Number(float(first), digits=0, missing=lacking),
        Number(float(largest), digits=0, missing=lacking),
        Number(frame.value, frame.low, frame.high, 3, missing=missing(entrant, frame.videos)),
        Number(
            section.value, section.low, section.high, 2, missing=missing(entrant, section.videos)
        ),
        Number(float(peak), digits=2, missing=lacking),
        ", ".join(untrained) if untrained else ("none" if done.any() else "–"),
        made(entrant),
    )


def _section_seconds(cells: pd.DataFrame) -> Floats:
    """`[cells]` mean wall seconds of a section."""
    batch = cells["batch_size"].to_numpy(dtype=np.float64)
    means = [np.mean(value) if len(value) else np.nan for value in cells["section_seconds"]]
    per_cell: Floats = np.array(means, dtype=np.float64) / np.maximum(batch, 1.0)
    return per_cell
