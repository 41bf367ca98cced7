"""The tables of a report, as data and as files."""

from __future__ import annotations

from reports.analysis import Analysis
from reports.tables import claims, costs, counts, evidence, questions, ratings, scores
from reports.tables.files import write
from reports.tables.formats import to_csv, to_markdown
from reports.tables.latex import to_latex
from reports.tables.table import Block, Entry, Heading, Number, Row, Table, ranked

__all__ = [
    "Block",
    "Entry",
    "Heading",
    "Number",
    "Row",
    "Table",
    "all_tables",
    "ranked",
    "to_csv",
    "to_latex",
    "to_markdown",
    "write",
]


def all_tables(analysis: Analysis) -> dict[str, Table]:
    """Every table that a study has something to say for, by name, in the page's order."""
    # The reference is a table as well, and imports this package.
    from reports.reference import reference

    found = (
        scores.by_sampler(analysis),
        scores.by_packing(analysis),
        scores.alternatives(analysis),
        ratings.ratings(analysis),
        evidence.differences(analysis),
        questions.endings(analysis),
        questions.onset(analysis),
        scores.others(analysis),
        costs.costs(analysis),
        evidence.variance(analysis),
        evidence.correlation(analysis),
        evidence.power(analysis),
        evidence.p_values(analysis),
        counts.coverage(analysis),
        counts.failures(analysis),
        *claims.tables(analysis),
        reference(),
    )
    return {table.name: table for table in found if table is not None}
