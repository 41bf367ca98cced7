"""A radar of the paper's metrics: pleasant to look at, and an extra only.

Areas of a radar depend on the order of its axes, so nothing should be read off them; the tables
and the dots say the same without that fault.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.plots.figure import Plot
from reports.plots.looks import chosen, looks
from reports.statistics import Estimate


def radar(analysis: Analysis) -> Plot | None:
    """Every metric's mean, each axis from the worst variant (0.2 of the radius) to the best (1)."""
    shown = chosen(analysis, 6)
    columns = [
        column
        for column in analysis.scored
        if column.segment == "all" and _differs([analysis.estimate(e, column) for e in shown])
    ]
    if len(columns) < 3 or len(shown) < 2:
        return None
    values = np.array([[analysis.estimate(e, c).value for c in columns] for e in shown])
    low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
    radius = 0.2 + 0.8 * (values - low) / (high - low)
    angles = np.linspace(0, 2 * np.pi, len(columns), endpoint=False)
    look_of = dict(zip((e.name for e in analysis.variants), looks(analysis), strict=True))
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    panel = figure.add_subplot(projection="polar")
    for row, entrant in enumerate(shown):
        drawn = look_of[entrant.name]
        panel.plot(
            np.append(angles, angles[0]),
            np.append(radius[row], radius[row][0]),
            color=drawn.colour,
            linestyle=drawn.line,
            marker=drawn.marker,
            label=entrant.name,
        )
    panel.set_xticks(angles, [column.title for column in columns])
    panel.tick_params(axis="x", pad=12)  # off the markers of the best
    panel.set_yticks([])
    panel.set_ylim(0, 1.05)
    figure.legend(loc="outside lower left", prop={"family": "DejaVu Sans Mono", "size": 7.5})
    return Plot(
        "radar",
        "Radar (an extra)",
        "Each axis runs from the worst variant drawn to the best; areas mean nothing. A metric in "
        "which all of them score the same has no axis.",
        figure,
    )


def _differs(means: list[Estimate]) -> bool:
    """Whether there is a worst and a best to draw an axis between."""
    values = np.array([one.value for one in means])
    values = values[np.isfinite(values)]
    return len(values) > 0 and float(np.ptp(values)) > 1e-9 * float(np.abs(values).max())
