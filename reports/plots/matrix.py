"""Who wins against whom."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.plots.figure import Plot
from reports.plots.style import FAINT, MONO

NUMBERS_UP_TO = 14
"""Variants up to which a number fits into a field."""


def letters(place: int) -> str:
    """A row's and its column's name: A to Z, then AA, AB, …"""
    before, own = divmod(place, 26)
    return (letters(before - 1) if before else "") + chr(ord("A") + own)


def win_rates(analysis: Analysis) -> Plot | None:
    """Share of the votes that the row's variant won against the column's, ties as half."""
    if analysis.human is None:
        return None
    found = analysis.human.board.win_rates
    order = [row.variant for row in analysis.human.board.rows]
    places = [found.variants.index(name) for name in order]
    rates = found.rate[np.ix_(places, places)]
    counts = (found.wins + found.wins.T + found.ties)[np.ix_(places, places)]
    number = len(order)
    size = max(4.0, 0.55 * number)
    figure = Figure(figsize=(size + 3.2, size + 0.4), layout="constrained")
    panel = figure.subplots()
    panel.imshow(np.ma.masked_invalid(rates), cmap="cividis", vmin=0, vmax=1)
    for i in range(number):
        for j in range(number):
            if i == j or not np.isfinite(rates[i, j]):
                panel.text(j, i, "·", ha="center", va="center", color=FAINT)
            elif number <= NUMBERS_UP_TO:
                panel.text(
                    j,
                    i,
                    f"{100 * rates[i, j]:.0f}\n({counts[i, j]:.0f})",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="#ffffff" if rates[i, j] < 0.5 else "#000000",
                )
    panel.set_yticks(range(number), [f"{name}  {letters(k)}" for k, name in enumerate(order)])
    panel.set_xticks(range(number), [letters(k) for k in range(number)])
    for label in panel.get_yticklabels():
        label.set(fontfamily=MONO, fontsize=7.5)
    panel.xaxis.tick_top()
    panel.tick_params(length=0)
    panel.grid(visible=False)
    for spine in panel.spines.values():
        spine.set_visible(False)
    return Plot(
        "win_rates",
        "Win rates",
        "Percent of votes that the row's variant won against the column's, ties counted as half; "
        "in brackets the number of votes. A dot: never compared.",
        figure,
    )
