"""Two readings of the variants against one another: Dynamic and drift, cost and quality."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.columns import Column
from reports.plots.dots import reach
from reports.plots.figure import Plot
from reports.plots.looks import GREY, MOST_VARIANTS, in_colour, looks
from reports.plots.style import FAINT
from reports.statistics import Estimate, estimate, pareto_front
from reports.statistics.clusters import EMPTY
from reports.tables.costs import POSITIVE, seconds_per_frame

OTHERS = ("other variant", "other variants")
"""What the variants in grey are called: one, several."""


def trade_off(analysis: Analysis) -> Plot | None:
    """Dynamic against drift, with the variants that no other beats on both joined by a line."""
    dynamic = _first(analysis, "dynamic", "all")
    drifts = [column for column in analysis.scored if column.segment == "drift"]
    if dynamic is None or not drifts or len(analysis.variants) < 2:
        return None
    drifts = drifts[:4]
    figure = Figure(
        figsize=(10.5, 3.0 + 0.13 * min(len(analysis.variants), MOST_VARIANTS + 1)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(drifts), squeeze=False)[0]
    for panel, column in zip(panels, drifts, strict=True):
        across = [analysis.estimate(entrant, dynamic) for entrant in analysis.variants]
        up = [analysis.estimate(entrant, column) for entrant in analysis.variants]
        points(panel, across, up, analysis)
        x, y = (np.array([one.value for one in each]) for each in (across, up))
        front = pareto_front(x, y)
        if len(front) > 1:
            panel.plot(x[front], y[front], color=FAINT, linewidth=0.8, zorder=1)
        panel.set_title(column.title)
        panel.set_xlabel("Dynamic")
        panel.set_ylim(0, reach(up))
    legend(figure, panels[0])
    return Plot(
        "dynamic_against_drift",
        "Dynamic against drift",
        "Each variant's Dynamic (further right moves more) and drift (lower is better) with 95 % "
        "intervals. The grey line joins variants that no other beats on both."
        + in_colour(analysis),
        figure,
    )


def cost(analysis: Analysis) -> Plot | None:
    """Seconds per frame and tokens against quality and drift."""
    quality = [
        column
        for column in (
            _first(analysis, "clarity", "all"),
            _first(analysis, "clarity", "drift"),
        )
        if column is not None
    ] or analysis.scored[:2]
    if not quality:
        return None
    seconds = seconds_per_frame(analysis.cells)
    spent = [
        estimate(seconds[e.rows], analysis.prompt[e.rows], bounds=POSITIVE)
        for e in analysis.variants
    ]
    tokens = [_tokens(analysis, place) for place in range(len(analysis.variants))]
    axes = [("Seconds per frame", spent), ("Tokens in the largest section", tokens)]
    axes = [(title, of) for title, of in axes if any(np.isfinite(one.value) for one in of)]
    if not axes:
        return None
    pairs = [(title, of, column) for column in quality for title, of in axes]
    figure = Figure(
        figsize=(10.5, 3.0 + 0.13 * min(len(analysis.variants), MOST_VARIANTS + 1)),
        layout="constrained",
    )
    panels = figure.subplots(1, len(pairs), squeeze=False)[0]
    for panel, (title, of, column) in zip(panels, pairs, strict=True):
        up = [analysis.estimate(entrant, column) for entrant in analysis.variants]
        points(panel, of, up, analysis)
        panel.set_xlim(left=max(0.0, panel.get_xlim()[0]))
        panel.set_title(column.title)
        panel.set_xlabel(title)
    legend(figure, panels[0])
    return Plot(
        "cost_against_quality",
        "Cost against quality",
        "What a variant costs and what it gives, with 95 % intervals clustered by prompt."
        + in_colour(analysis),
        figure,
    )


def _tokens(analysis: Analysis, place: int) -> Estimate:
    entrant = analysis.variants[place]
    tokens = [max(of) for of in analysis.cells["tokens_per_section"].iloc[entrant.rows] if len(of)]
    if not tokens:
        return EMPTY
    most = float(max(tokens))
    return Estimate(most, np.nan, np.nan, np.nan, len(tokens), 0)


def _first(analysis: Analysis, metric: str, segment: str) -> Column | None:
    return next((c for c in analysis.scored if (c.metric, c.segment) == (metric, segment)), None)


def points(panel: Axes, across: list[Estimate], up: list[Estimate], analysis: Analysis) -> None:
    """One marker a variant with its intervals in both directions; grey ones have none."""
    drawn_as = looks(analysis)
    grey = sum(one is GREY for one in drawn_as)
    for place, (x, y) in enumerate(zip(across, up, strict=True)):
        if not (np.isfinite(x.value) and np.isfinite(y.value)):
            continue
        drawn = drawn_as[place]
        if drawn is GREY:
            label = f"{grey} {OTHERS[grey > 1]}"
            faint: dict[str, Any] = {"color": FAINT, "markersize": 3, "alpha": 0.7, "zorder": 1.5}
            panel.plot([x.value], [y.value], "o", label=label, **faint)
            continue
        if np.isfinite(y.low):
            panel.plot([x.value] * 2, [y.low, y.high], color=drawn.colour, linewidth=1, alpha=0.6)
        if np.isfinite(x.low):
            panel.plot([x.low, x.high], [y.value] * 2, color=drawn.colour, linewidth=1, alpha=0.6)
        panel.plot(
            [x.value],
            [y.value],
            marker=drawn.marker,
            color=drawn.colour,
            linestyle="none",
            label=analysis.variants[place].name,
        )
    panel.grid(axis="both")


def legend(figure: Figure, panel: Axes) -> None:
    """Names below all panels."""
    handles, labels = panel.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    order = sorted(named, key=lambda label: label.endswith(OTHERS))
    figure.legend(
        [named[label] for label in order],
        order,
        loc="outside lower left",
        ncols=2,
        prop={"family": "DejaVu Sans Mono", "size": 7.5},
    )
