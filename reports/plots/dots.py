"""Dots with intervals, one row a variant: drift per metric, and ratings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.words import count
from reports.analysis import Analysis
from reports.plots.figure import Plot
from reports.plots.looks import in_colour, looks
from reports.plots.style import FAINT, INK, MONO, Look
from reports.statistics import Estimate
from reports.statistics.clusters import EMPTY

ROW = 0.27
"""Inches a variant."""


def drift(analysis: Analysis) -> Plot | None:
    """Drift of every variant in every metric whose drift the paper prints."""
    columns = [column for column in analysis.scored if column.segment == "drift"]
    if not columns:
        return None
    number = len(analysis.variants)
    drawn = looks(analysis)
    figure = Figure(figsize=(10.5, 1.1 + ROW * number), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for place, entrant in enumerate(analysis.variants):
            one = analysis.estimate(entrant, column)
            dot(panel, place, one, drawn[place])
        rows(panel, number)
        panel.set_title(column.title)
        panel.set_xlabel("percent points" if column.scale == 100.0 else column.unit)
        panel.set_xlim(0, reach([analysis.estimate(e, column) for e in analysis.variants]))
    names(panels[0], [entrant.name for entrant in analysis.variants])
    return Plot(
        "drift",
        "Drift per metric",
        "|start − end| of each metric, mean over videos with 95 % intervals clustered by prompt. "
        "Further left is better. A bar that reaches the right edge goes on beyond it."
        + in_colour(analysis),
        figure,
    )


def ratings(analysis: Analysis) -> Plot | None:
    """ELO of every variant with its interval."""
    if analysis.human is None:
        return None
    shown = [
        (analysis.human.of(entrant.name), place) for place, entrant in enumerate(analysis.variants)
    ]
    found = [(one, place) for one, place in shown if one is not None]
    if not found:
        return None
    found.sort(key=lambda item: (item[0].group, -item[0].rating))
    figure = Figure(figsize=(8.5, 1.1 + ROW * len(found)), layout="constrained")
    panel = figure.subplots()
    ends = np.array([[one.rating, one.elo, one.low, one.high] for one, _ in found])
    ends = ends[np.isfinite(ends)]
    margin = 0.05 * max(float(np.ptp(ends)), 1.0)
    edges = float(ends.min()) - margin, float(ends.max()) + margin
    panel.set_xlim(*edges)
    drawn = looks(analysis)
    for row, (one, place) in enumerate(found):
        low, high = np.clip([one.low, one.high], *edges)
        dot(panel, row, replace(EMPTY, value=one.rating, low=low, high=high), drawn[place])
        if row and one.group != found[row - 1][0].group:
            panel.axhline(row - 0.5, color=FAINT, linewidth=0.8)
        panel.plot([one.elo], [row], marker="|", markersize=9, color=INK, linestyle="none")
        between = str(one.best) if one.best == one.worst else f"{one.best}–{one.worst}"
        panel.annotate(
            between, (1.02, row), xycoords=("axes fraction", "data"), va="center", fontsize=8
        )
    panel.set_title("rank from–to", loc="right", fontsize=8, fontweight="normal")
    rows(panel, len(found))
    names(panel, [one.variant for one, _ in found])
    panel.set_xlabel("rating (Elo scale)")
    return Plot(
        "ratings",
        "Human ratings",
        f"From {count(analysis.human.counted, 'vote')}. Dots: Bradley-Terry ratings with 95 % "
        f"intervals, clustered by {analysis.human.board.by}; strokes: ELO with K = 32 as in the "
        "paper. Further right is better. A bar that reaches the edge has no end there."
        + (" A line parts groups that were never compared." if analysis.human.parted else "")
        + in_colour(analysis),
        figure,
    )


def reach(found: list[Estimate]) -> float:
    """The right end of an axis from 0: all values, and intervals up to three times the largest."""
    values = np.array([one.value for one in found])
    ends = np.array([one.high for one in found])
    if not np.isfinite(values).any():
        return 1.0
    largest = max(float(np.nanmax(values)), 1e-9)
    high = float(np.nanmax(ends)) if np.isfinite(ends).any() else largest
    return 1.06 * max(largest, min(high, 3 * largest))


def dot(panel: Axes, row: float, one: Estimate, drawn: Look) -> None:
    """One dot with its interval; nothing where there is no value."""
    if not np.isfinite(one.value):
        panel.annotate(
            "no value",
            (0.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color=FAINT,
        )
        return
    if np.isfinite(one.low) and np.isfinite(one.high):
        panel.plot([one.low, one.high], [row, row], color=drawn.colour, linewidth=1.8, alpha=0.7)
    panel.plot([one.value], [row], marker=drawn.marker, color=drawn.colour, linestyle="none")


def rows(panel: Axes, number: int) -> None:
    """Rows from the top down, with light lines along them."""
    panel.set_ylim(number - 0.5, -0.5)
    panel.set_yticks(range(number))
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)


def names(panel: Axes, labels: list[str]) -> None:
    """Variant names at the left, in the type that keeps digits apart."""
    panel.set_yticklabels(labels, fontfamily=MONO, fontsize=7.5)
