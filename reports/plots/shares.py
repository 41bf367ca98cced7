"""Stacked shares of the variance, one bar a metric."""

from __future__ import annotations

from matplotlib.figure import Figure

from reports.analysis import Analysis
from reports.plots.figure import Plot
from reports.plots.style import FAINT, HATCHES, INK, PALETTE, PAPER
from reports.tables.evidence import FACTOR_TITLES, FACTORS


def variance(analysis: Analysis) -> Plot | None:
    """What goes with sampler, packing, section, prompt and seed."""
    columns = [column for column in analysis.scored if analysis.variance[column].shares]
    if not columns or len(analysis.variants) < 2:
        return None
    figure = Figure(figsize=(10.5, 1.3 + 0.32 * len(columns)), layout="constrained")
    panel = figure.subplots()
    used = [
        factor
        for factor in FACTORS
        if any(share.factor == factor for c in columns for share in analysis.variance[c].shares)
    ]
    for row, column in enumerate(columns):
        shares = {share.factor: share.share for share in analysis.variance[column].shares}
        shown = {factor: shares.get(factor, 0.0) for factor in used}
        left = 0.0
        for factor in used:
            width = 100 * shown[factor]
            place = FACTORS.index(factor)
            rest = factor in ("rest", "shared")
            panel.barh(
                row,
                width,
                left=left,
                height=0.66,
                facecolor=FAINT if rest else PALETTE[place],
                alpha=0.22 if factor == "rest" else None,
                edgecolor=PAPER,
                hatch="" if rest else HATCHES[place],
                linewidth=0.8,
                label=FACTOR_TITLES[factor] if row == 0 else None,
            )
            if width >= 6:
                panel.text(
                    left + width / 2,
                    row,
                    f"{100 * shown[factor]:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=INK if factor == "rest" else "#000000",
                    bbox=None
                    if factor == "rest"
                    else {
                        "boxstyle": "round,pad=0.15",
                        "fc": "#ffffff",
                        "ec": "none",
                        "alpha": 0.8,
                    },
                )
            left += width
    panel.set_ylim(len(columns) - 0.5, -0.5)
    panel.set_yticks(range(len(columns)), [column.title for column in columns])
    panel.set_xlim(0, 100)
    panel.set_xlabel("percent of the variance between videos")
    panel.grid(visible=False)
    panel.spines["left"].set_visible(False)
    figure.legend(loc="outside lower left", ncols=len(used), handlelength=2.2)
    return Plot(
        "variance_explained",
        "Variance explained",
        "What the differences between videos go with. Shared is what the sweep did not vary apart; "
        "Rest is variant × prompt and chance. Intervals are in the table.",
        figure,
    )
