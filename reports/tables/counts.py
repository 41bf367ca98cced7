"""What was asked, made, failed and scored, and on how much of each video a metric is defined."""

from __future__ import annotations

import numpy as np
import pandas as pd

from reports.analysis import Analysis
from reports.tables.table import Block, Entry, Heading, Number, Row, Table

COUNTS = (
    Heading("asked", "Asked"),
    Heading("made", "Made"),
    Heading("failed", "Failed"),
    Heading("unfinished", "Unfinished"),
    Heading("scored", "Scored"),
)

MOST_PRINTED = 40
"""Failed cells that paper names one by one."""


def coverage(analysis: Analysis) -> Table:
    """Counts of cells, then for every column the videos with a value and their mean coverage."""
    having = np.zeros(len(analysis.cells), dtype=bool)
    having[analysis.results.scores["cell"].unique()] = True
    headings = list(COUNTS)
    for column in analysis.paper:
        headings.append(Heading(f"{column.key}_videos", column.title, numeric=False))
    rows = []
    for entrant in analysis.variants:
        counts = (
            entrant.asked,
            entrant.made,
            entrant.failed,
            entrant.unfinished,
            int(having[entrant.rows].sum()),
        )
        entries: list[Entry] = [Number(float(count), digits=0) for count in counts]
        for column in analysis.paper:
            place = analysis.measured.columns.index(column)
            scored = np.isfinite(analysis.measured.values[entrant.rows, place])
            covered = analysis.measured.coverage[entrant.rows, place][scored]
            share = covered.mean() if scored.any() else 1.0
            partly = f" ({100 * share:.0f} %)" if share < 0.995 else ""
            entries.append(f"{scored.sum()}{partly}")
        rows.append(Row(entrant.name, tuple(entries)))
    return Table(
        "coverage",
        "Counts and coverage",
        "Variant",
        tuple(headings),
        (Block("", tuple(rows)),),
        (
            "Under each metric: videos with a value, and in brackets the share of their frames "
            "where the metric is defined, unless it is all. Videos without one are in no mean.",
        ),
    )


def failures(analysis: Analysis) -> Table | None:
    """Every failed cell with its reason; None where none failed."""
    failed = analysis.cells[analysis.cells["state"] == "failed"]
    if failed.empty:
        return None
    rows = tuple(
        Row(str(variant), (str(prompt), str(seed), str(kind), str(message)))
        for variant, prompt, seed, kind, message in zip(
            failed["variant"],
            failed["prompt_id"],
            failed["seed"],
            failed["error_kind"],
            failed["error_message"],
            strict=True,
        )
    )
    headings = (
        Heading("prompt", "Prompt", numeric=False),
        Heading("seed", "Seed", numeric=False),
        Heading("kind", "Kind", numeric=False),
        Heading("message", "Reason", numeric=False),
    )
    printed = _by_reason(failed) if len(rows) > MOST_PRINTED else None
    return Table("failures", "Failed cells", "Variant", headings, (Block("", rows),), (), printed)


def _by_reason(failed: pd.DataFrame) -> Table:
    """A row a reason, those of most cells first."""
    rows = []
    alike = failed.groupby(["error_kind", "error_message"], sort=False)
    for (kind, message), cells in sorted(alike, key=lambda group: -len(group[1])):
        first = cells.iloc[0]
        name = f"{first['variant']}, {first['prompt_id']}, {first['seed']}"
        rows.append(Row(str(kind), (Number(float(len(cells)), digits=0), name, str(message))))
    headings = (
        Heading("cells", "Cells"),
        Heading("first", "First of them", numeric=False),
        Heading("message", "Reason", numeric=False),
    )
    note = "The CSV file of this table names every failed cell."
    return Table(
        "failures", "Failed cells by reason", "Kind", headings, (Block("", tuple(rows)),), (note,)
    )
