"""Dots with intervals, one row a variant: drift per metric, and ratings."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.plots.figure import Plot
from reports.plots.style import FAINT, MONO, look

ROW = 0.27
"""Inches a variant."""


def drift(analysis: Analysis) -> Plot | None:
    """Drift of every variant in every metric whose drift the paper prints."""
    columns = [column for column in analysis.scored if column.segment == "drift"]
    if not columns:
        return None
    number = len(analysis.variants)
    figure = Figure(figsize=(10.5, 1.1 + ROW * number), layout="constrained")
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for place, entrant in enumerate(analysis.variants):
            one = analysis.estimate(entrant, column)
            dot(panel, place, one.value, one.low, one.high)
        rows(panel, number)
        panel.set_title(column.title)
        panel.set_xlabel("percent points" if column.scale == 100.0 else column.unit)
        panel.set_xlim(left=0)
    names(panels[0], [entrant.name for entrant in analysis.variants])
    return Plot(
        "drift",
        "Drift per metric",
        "|start − end| of each metric, mean over videos with 95 % intervals clustered by prompt. "
        "Further left is better.",
        figure,
    )


def ratings(analysis: Analysis) -> Plot | None:
    """ELO of every variant with its interval."""
    if analysis.human is None:
        return None
    rated = [
        (e.name, analysis.human.of(e.name), place) for place, e in enumerate(analysis.variants)
    ]
    shown = [(name, one, place) for name, one, place in rated if one is not None]
    if not shown:
        return None
    shown.sort(key=lambda item: -item[1].elo)
    figure = Figure(figsize=(7.5, 1.1 + ROW * len(shown)), layout="constrained")
    panel = figure.subplots()
    for row, (_, one, place) in enumerate(shown):
        dot(panel, row, one.elo, one.low, one.high, style=place)
        panel.annotate(
            f"{one.rank}",
            (1.01, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8,
        )
    panel.annotate(
        "Rank", (1.01, -0.85), xycoords=("axes fraction", "data"), va="center", fontsize=8
    )
    rows(panel, len(shown))
    names(panel, [name for name, _, _ in shown])
    panel.set_xlabel("ELO (K = 32)")
    return Plot(
        "ratings",
        "Human ratings",
        f"ELO of {len(shown)} variants from {analysis.human.votes} votes with 95 % intervals, "
        "clustered by rater. Further right is better; variants of one rank are not told apart.",
        figure,
    )


def dot(
    panel: Axes, row: float, value: float, low: float, high: float, *, style: int | None = None
) -> None:
    """One dot with its interval; nothing where there is no value."""
    drawn = look(int(row) if style is None else style)
    if not np.isfinite(value):
        panel.annotate(
            "no value",
            (0.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color=FAINT,
        )
        return
    if np.isfinite(low) and np.isfinite(high):
        panel.plot([low, high], [row, row], color=drawn.colour, linewidth=1.8, alpha=0.7)
    panel.plot([value], [row], marker=drawn.marker, color=drawn.colour, linestyle="none")


def rows(panel: Axes, number: int) -> None:
    """Rows from the top down, with light lines along them."""
    panel.set_ylim(number - 0.5, -0.5)
    panel.set_yticks(range(number))
    panel.grid(axis="x")
    panel.spines["left"].set_visible(False)


def names(panel: Axes, labels: list[str]) -> None:
    """Variant names at the left, in the type that keeps digits apart."""
    panel.set_yticklabels(labels, fontfamily=MONO, fontsize=7.5)
