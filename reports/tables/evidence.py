"""Tables of the statistics: differences, variance, correlation with people, power."""

from __future__ import annotations

import numpy as np

from reports.analysis import Analysis
from reports.columns import Column
from reports.human import agreement
from reports.statistics import detectable, prompts_needed, rank_correlation
from reports.statistics.clusters import EMPTY, Floats
from reports.tables.table import Block, Entry, Heading, Number, Row, Table

SIGNIFICANT = 0.05

PARTED = (
    "Ratings are those of the largest group of variants that votes connect: those of another group "
    "do not compare with them."
)


def differences(analysis: Analysis) -> Table | None:
    """Each variant minus the baseline, prompt by prompt and seed by seed."""
    base = analysis.baseline
    if base is None or not analysis.differences:
        return None
    rows = []
    for entrant in analysis.variants:
        if entrant is base:
            continue
        entries: list[Entry] = []
        for column in analysis.scored:
            tested = analysis.differences[entrant.name, column]
            one = tested.difference
            digits = 2 if column.scale == 100.0 else 3
            stars = "*" if tested.p_holm < SIGNIFICANT else ""
            stars += "*" if tested.p_all < SIGNIFICANT else ""
            entries.append(Number(one.value, one.low, one.high, digits, sign=True, stars=stars))
        pairs = max(analysis.differences[entrant.name, c].difference.pairs for c in analysis.scored)
        rows.append(Row(entrant.name, (*entries, Number(float(pairs), digits=0))))
    headings = tuple(Heading(c.key, c.title) for c in analysis.scored)
    return Table(
        "differences",
        f"Differences to {base.name} on the same prompts and seeds",
        "Variant",
        (*headings, Heading("pairs", "Pairs")),
        (Block("", tuple(rows)),),
        (
            "Signs of whole prompts are flipped to test a difference. * below 0.05 after Holm's "
            "correction over the variants of one column; ** also over all columns.",
            "Intervals are 95 %, clustered by prompt, not corrected.",
        ),
    )


def p_values(analysis: Analysis) -> Table | None:
    """Every test behind `differences`, one row a variant and column."""
    if not analysis.differences:
        return None
    rows = []
    for (name, column), tested in analysis.differences.items():
        one = tested.difference
        rows.append(
            Row(
                name,
                (
                    column.title,
                    Number(one.value, one.low, one.high, 3, sign=True),
                    Number(one.p, digits=4),
                    Number(tested.p_holm, digits=4),
                    Number(tested.p_all, digits=4),
                    Number(float(one.prompts), digits=0),
                    Number(float(one.pairs), digits=0),
                ),
            )
        )
    headings = (
        Heading("metric", "Metric", numeric=False),
        Heading("difference", "Difference"),
        Heading("p", "p"),
        Heading("p_holm", "p, Holm in column"),
        Heading("p_all", "p, Holm over all"),
        Heading("prompts", "Prompts"),
        Heading("pairs", "Pairs"),
    )
    return Table(
        "tests", "Tests against the baseline", "Variant", headings, (Block("", tuple(rows)),)
    )


FACTORS = (
    "sampler",
    "packing",
    "section",
    "other of variant",
    "prompt",
    "seed",
    "shared",
    "rest",
)
FACTOR_TITLES = {
    "sampler": "Sampler",
    "packing": "Packing",
    "section": "Section",
    "other of variant": "Other of variant",
    "prompt": "Prompt",
    "seed": "Seed",
    "shared": "Shared",
    "rest": "Rest",
}


def variance(analysis: Analysis) -> Table | None:
    """The share of each metric's variance that goes with each factor, in percent."""
    if not analysis.scored:
        return None
    rows = []
    notes = [
        "Percent of the variance between videos. Sampler counts +D as a sampler of its own. "
        "Shared goes with several factors that the sweep did not vary apart. Rest is variant × "
        "prompt and chance. What chance alone would give is taken off; what is then below 0 is "
        "0. Intervals resample prompts.",
    ]
    for column in analysis.scored:
        found = analysis.variance[column]
        shares = {share.factor: share for share in found.shares}
        entries: list[Entry] = []
        for factor in FACTORS:
            share = shares.get(factor)
            entries.append(
                Number(np.nan, digits=1)
                if share is None
                else Number(100 * share.share, 100 * share.low, 100 * share.high, 1)
            )
        rows.append(Row(column.title, (*entries, Number(float(found.videos), digits=0))))
        for one, other in found.confounded:
            note = (
                f"{one} and {other} were not varied apart: what goes with either is under Shared."
            )
            if note not in notes:
                notes.append(note)
    notes += _missing_shares(analysis)
    headings = tuple(Heading(factor, FACTOR_TITLES[factor]) for factor in FACTORS)
    return Table(
        "variance",
        "Variance explained",
        "Metric",
        (*headings, Heading("videos", "Videos")),
        (Block("", tuple(rows)),),
        tuple(notes),
    )


def _missing_shares(analysis: Analysis) -> list[str]:
    """Which factors have no share, and why: one sentence for all metrics alike in that."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for column in analysis.scored:
        missing = analysis.variance[column].missing
        for reason in dict.fromkeys(missing.values()):
            factors = tuple(factor for factor, why in missing.items() if why == reason)
            found.setdefault((reason, factors), []).append(column.title)
    return [
        f"No share of {', '.join(factors)} in "
        f"{'any metric' if len(titles) == len(analysis.scored) else ', '.join(titles)}: {reason}."
        for (reason, factors), titles in found.items()
    ]


def means(analysis: Analysis, column: Column) -> Floats:
    """`[variants]` mean of each variant in a column."""
    values = [analysis.estimate(entrant, column).value for entrant in analysis.variants]
    return np.array(values, dtype=np.float64)


def correlation(analysis: Analysis) -> Table | None:
    """How each metric orders variants and videos, compared with people and with Dynamic."""
    if not analysis.scored or (len(analysis.variants) < 3 and analysis.human is None):
        return None
    human = analysis.human
    people = np.full(len(analysis.variants), np.nan)
    if human is not None:
        rated = [human.comparable(entrant.name) for entrant in analysis.variants]
        people = np.array([np.nan if one is None else one.rating for one in rated])
    dynamic = np.full(len(analysis.variants), np.nan)
    for column in analysis.scored:
        if (column.metric, column.segment) == ("dynamic", "all"):
            dynamic = means(analysis, column)
    rows = []
    for column in analysis.scored:
        own = means(analysis, column)
        itself = (column.metric, column.segment) == ("dynamic", "all")
        entries: list[Entry] = []
        for other in (people, np.full_like(own, np.nan) if itself else dynamic):
            found = rank_correlation(own, other)
            entries.append(Number(found.rho, found.low, found.high, 2, sign=True))
            entries.append(Number(found.p, digits=3))
        agrees = EMPTY
        if human is not None and "seed" in human.votes.columns:
            higher = column.higher_is_better is not False
            values = analysis.measured.of(column)
            agrees = agreement(human.votes, analysis.cells, analysis.prompt, values, higher)
        entries.append(Number(100 * agrees.value, 100 * agrees.low, 100 * agrees.high, 1))
        entries.append(Number(float(agrees.videos), digits=0))
        rows.append(Row(column.title, tuple(entries)))
    return Table(
        "correlation",
        "Agreement of metrics with people and with Dynamic",
        "Metric",
        (
            Heading("rho_rating", "ρ with rating"),
            Heading("p_rating", "p"),
            Heading("rho_dynamic", "ρ with Dynamic"),
            Heading("p_dynamic", "p"),
            Heading("agrees", "Agrees with votes, %"),
            Heading("votes", "Votes"),
        ),
        (Block("", tuple(rows)),),
        (
            f"Spearman's ρ over {len(analysis.variants)} variants. A drift that people dislike has "
            "a negative ρ with the rating; one that grows with motion a positive ρ with Dynamic.",
            "Agrees with votes: how often the preferred video has the better score (50 is chance), "
            "among votes for one side; intervals clustered by prompt.",
            *(() if human is not None else ("No votes, so no people to agree with.",)),
            *((PARTED,) if human is not None and human.parted else ()),
        ),
    )


def power(analysis: Analysis) -> Table | None:
    """The difference to the baseline that this study could have seen, column by column."""
    if not analysis.differences:
        return None
    rows, alike = [], []
    for column in analysis.scored:
        found = [
            tested.difference
            for (_, of), tested in analysis.differences.items()
            if of == column and tested.difference.prompts >= 2
        ]
        if not found:
            continue
        errors = np.array([one.error for one in found])
        prompts = int(np.median([one.prompts for one in found]))
        error = float(np.median(errors))
        # Where most variants score as the baseline does, no spread was measured: a test of none
        # would seem to find everything.
        spread = error > 1e-9
        if not spread:
            alike.append(column.title)
        least = detectable(error, prompts) if spread else np.nan
        largest = max(abs(one.value) for one in found)
        target = 1.0 if column.scale == 100.0 else least / 2
        needed = prompts_needed(error, prompts, target) if spread else None
        digits = 2 if column.scale == 100.0 else 3
        rows.append(
            Row(
                column.title,
                (
                    Number(least, digits=digits),
                    Number(largest, digits=digits),
                    Number(error, digits=digits),
                    Number(float(prompts), digits=0),
                    Number(np.nan if needed is None else float(needed), digits=0),
                ),
            )
        )
    if not rows:
        return None
    return Table(
        "power",
        "What this study could have seen",
        "Metric",
        (
            Heading("detectable", "Detectable difference"),
            Heading("largest", "Largest seen"),
            Heading("error", "Standard error"),
            Heading("prompts", "Prompts"),
            Heading("prompts_for_one_point", "Prompts to see 1 point"),
        ),
        (Block("", tuple(rows)),),
        (
            "The true difference to the baseline that a test at 5 % would find 8 times in 10, "
            "before correction for many tests; the median over variants.",
            *(
                [
                    f"{', '.join(alike)}: most variants differ from the baseline by the same on "
                    "every prompt, so what could be seen is not known."
                ]
                if alike
                else []
            ),
        ),
    )
