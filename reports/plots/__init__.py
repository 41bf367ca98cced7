"""The plots of a report."""

from __future__ import annotations

from collections.abc import Iterator

from reports.analysis import Analysis
from reports.plots import codes, dots, matrix, over_time, radar, scatter, shares
from reports.plots.figure import Plot
from reports.plots.style import save, styled

__all__ = ["Plot", "all_plots", "save", "styled"]


def all_plots(analysis: Analysis) -> Iterator[Plot]:
    """Every plot that a study has data for, in the page's order, drawn one at a time."""
    for draw in (
        over_time.over_time,
        dots.drift,
        dots.ratings,
        matrix.win_rates,
        scatter.trade_off,
        scatter.cost,
        shares.variance,
        radar.radar,
        codes.codes,
    ):
        with styled():
            plot = draw(analysis)
        if plot is not None:
            yield plot
