"""Quality over time: each metric's curve per variant, with bands and section joints.

Curves of many cells are brought to a common axis first: every cell's values are averaged in
equal parts of its video, each long enough to hold two values. The band is pointwise, clustered by
prompt like every interval.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from metrics.catalogue import DRIFTS_IN_PAPER, PAPER
from reports.analysis import Analysis, Entrant
from reports.columns import Column, spec_of
from reports.plots.figure import Plot
from reports.plots.looks import chosen, looks
from reports.plots.style import FAINT, MONO, Look
from reports.statistics.clusters import Floats, t_quantile

POINTS = 40
"""At most so many parts of a video; at 30 fps and 5 s about a tenth of a second each."""
LEAST_POINTS = 8
"""At least so many, however few values a curve has."""
MOST_JOINTS = 16
"""Section joints that a panel holds; sections of one frame would hatch it."""
MOST_CELLS = 64
"""Videos a variant, spread evenly over the prompts: bands no longer narrow visibly beyond."""


def over_time(analysis: Analysis) -> Plot | None:
    """A row a variant, a column a metric: each band alone, the other variants' lines behind it."""
    shown = chosen(analysis)
    cells = [int(row) for entrant in shown for row in _sample(analysis, entrant)]
    if not cells:
        return None
    curves = analysis.results.curves(cells)
    columns = _columns(analysis, curves)
    if not columns:
        return None
    down, across = len(shown), len(columns)
    figure, grid = _panels(down, across)
    seconds = _seconds(analysis, cells)
    joints = {e.name: _joints(analysis, _sample(analysis, e), seconds) for e in shown}
    drawn = dict(zip((entrant.name for entrant in analysis.variants), looks(analysis), strict=True))
    for place, column in enumerate(columns):
        points = parts_of(curves, column)
        axis = (np.arange(points) + 0.5) / points * (seconds or 100.0)
        bands = _bands(analysis, shown, binned_curves(curves, column, points), column)
        for row, entrant in enumerate(shown):
            panel = grid[row][place]
            for other, (middle, _, _) in bands.items():
                if other != entrant.name:
                    panel.plot(axis, middle, color=FAINT, linewidth=0.7, alpha=0.55)
            if entrant.name in bands:
                _draw(panel, axis, bands[entrant.name], drawn[entrant.name])
            for joint in joints[entrant.name]:
                panel.axvline(joint, color=FAINT, linewidth=0.6, linestyle=(0, (1, 2)), zorder=0)
        top, bottom = grid[0][place], grid[-1][place]
        top.set_title(column.title, pad=22)
        top.yaxis.set_major_locator(MaxNLocator(3))
        if bands:
            top.set_ylim(*window(list(bands.values())))
        bottom.set_xlabel("seconds" if seconds else "% of the video")
        bottom.set_xlim(0, seconds or 100.0)
    for row, entrant in enumerate(shown):
        grid[row][0].annotate(
            entrant.name,
            (0, 1),
            xytext=(0, 9),
            xycoords="axes fraction",
            textcoords="offset points",
            family=MONO,
            size=7.5,
        )
    cut = len(analysis.variants) - len(shown)
    told = (
        f" {len(shown)} of {len(analysis.variants)} variants are drawn: the baseline, the first of "
        "every block, and those whose means are furthest from the median variant's."
        if cut
        else ""
    )
    return Plot(
        "quality_over_time",
        "Quality over time",
        "A row a variant: its mean curve of each metric with a pointwise 95 % band clustered by "
        "prompt, before the other variants' means in grey. A column has one scale; dotted "
        f"verticals are section joints.{told}",
        figure,
    )


def _panels(down: int, across: int) -> tuple[Figure, NDArray[np.object_]]:
    """Panels of one size, in inches: searching for a layout of fifty would take seconds."""
    wide, high, between, below = 1.36, 0.92, 0.46, 0.36
    left, right, top, bottom = 0.42, 0.16, 0.62, 0.5
    width = left + across * wide + (across - 1) * between + right
    height = top + down * high + (down - 1) * below + bottom
    width_used = max(width, 4.2)
    figure = Figure(figsize=(width_used, height))
    grid = figure.subplots(
        down,
        across,
        squeeze=False,
        sharex=True,
        sharey="col",
        gridspec_kw={
            "left": left / width_used,
            "right": (width - right) / width_used,
            "top": 1 - top / height,
            "bottom": bottom / height,
            "wspace": between / wide,
            "hspace": below / high,
        },
    )
    return figure, grid


Band = tuple[Floats, Floats, Floats]


def _bands(
    analysis: Analysis, shown: list[Entrant], binned: dict[int, Floats], column: Column
) -> dict[str, Band]:
    """Mean, low and high of each variant that has curves, on the printed scale."""
    found = {}
    for entrant in shown:
        rows = [row for row in entrant.rows if row in binned]
        if rows:
            values = column.scale * np.stack([binned[row] for row in rows])
            middle, low, high = band(values, analysis.prompt[rows])
            low, high = (np.clip(edge, *column.bounds) for edge in (low, high))
            found[entrant.name] = (middle, low, high)
    return found


def _draw(panel: Axes, axis: Floats, one: Band, drawn: Look) -> None:
    """A variant's line on its band."""
    middle, low, high = one
    panel.fill_between(axis, low, high, color=drawn.colour, alpha=0.2, linewidth=0)
    panel.plot(
        axis,
        middle,
        color=drawn.colour,
        linestyle=drawn.line,
        marker=drawn.marker,
        markevery=max(4, len(axis) // 4),
        markersize=3.5,
        linewidth=1.4,
    )


def _sample(analysis: Analysis, entrant: Entrant) -> list[int]:
    """Up to `MOST_CELLS` finished cells of a variant, a round of prompts at a time."""
    done = (analysis.cells["state"] == "done").to_numpy()[entrant.rows]
    rows = entrant.rows[done]
    turn = pd.Series(analysis.prompt[rows]).groupby(analysis.prompt[rows]).cumcount().to_numpy()
    return [int(row) for row in rows[np.argsort(turn, kind="stable")][:MOST_CELLS]]


def _columns(analysis: Analysis, curves: pd.DataFrame) -> list[Column]:
    """The metrics that have values in curves: the paper's first, six at most."""
    having = set(map(str, curves.loc[np.isfinite(curves["value"]), "fingerprint"].unique()))
    wanted = [
        column
        for column in analysis.measured.columns
        if column.segment == "all" and column.fingerprint in having
    ]
    order = {metric: place for place, metric in enumerate((*DRIFTS_IN_PAPER, *PAPER))}
    wanted.sort(key=lambda column: order.get(column.metric, len(order)))
    drifting = [column for column in wanted if spec_of(column.metric).drifts]
    return drifting[:6]


def parts_of(curves: pd.DataFrame, column: Column) -> int:
    """How many parts to cut a video into, so that each holds two values of the shortest curve.

    With fewer values than parts, a metric of every other frame would seem to swing.
    """
    own = (curves["metric"] == column.metric) & (curves["fingerprint"] == column.fingerprint)
    lengths = curves.loc[own & np.isfinite(curves["value"]), "cell"].value_counts()
    return int(np.clip(lengths.min() // 2, LEAST_POINTS, POINTS)) if len(lengths) else POINTS


def binned_curves(curves: pd.DataFrame, column: Column, points: int) -> dict[int, Floats]:
    """Each cell's values of one column, averaged in `points` equal parts of its video.

    An item that looks at several frames counts where its middle is. Parts without an item (a
    metric that looks at every eighth frame) are filled by interpolation.
    """
    part = curves[
        (curves["metric"] == column.metric) & (curves["fingerprint"] == column.fingerprint)
    ]
    binned: dict[int, Floats] = {}
    for cell, rows in part.groupby("cell", sort=False):
        middle = rows["frame"].to_numpy() + (rows["span"].to_numpy() - 1) / 2
        value = rows["value"].to_numpy(dtype=np.float64)
        seen = np.isfinite(value)
        if not seen.any():
            continue
        middle, value = middle[seen], value[seen]
        length = float((rows["frame"] + rows["span"]).max())
        place = np.minimum((middle / length * points).astype(np.int64), points - 1)
        counts = np.bincount(place, minlength=points)
        sums = np.bincount(place, weights=value, minlength=points)
        filled = np.flatnonzero(counts)
        binned[int(str(cell))] = np.interp(np.arange(points), filled, sums[filled] / counts[filled])
    return binned


def band(
    values: Floats, prompts: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Floats, Floats, Floats]:
    """Mean and 95 % band of `[videos, points]`, the means of prompts being the sample.

    Returns: mean, low and high, `[points]`; low and high are the mean with one prompt.
    """
    means = np.stack([values[prompts == one].mean(axis=0) for one in np.unique(prompts)])
    middle = means.mean(axis=0)
    if len(means) < 2:
        return middle, middle, middle
    half = t_quantile(0.975, len(means) - 1) * means.std(axis=0, ddof=1) / np.sqrt(len(means))
    return middle, middle - half, middle + half


def window(seen: list[Band]) -> tuple[float, float]:
    """Where to look: all lines, and of the bands as much as leaves the lines readable.

    With two or three prompts a band can be twenty times as wide as the lines are apart.
    """
    middle, low, high = (np.concatenate(part) for part in zip(*seen, strict=True))
    room = 1.2 * max(float(np.ptp(middle)), 1e-3 * float(np.abs(middle).max()), 1e-9)
    bottom = max(float(low.min()), float(middle.min()) - room)
    top = min(float(high.max()), float(middle.max()) + room)
    return bottom - 0.04 * room, top + 0.04 * room


def _seconds(analysis: Analysis, cells: list[int]) -> float | None:
    """The length that all videos share, or None where they differ: the axis is then a share."""
    part = analysis.cells.iloc[cells]
    lengths = (part["frames"] / part["fps"].replace(0, np.nan)).to_numpy(dtype=np.float64)
    if not np.isfinite(lengths).all() or np.ptp(lengths) > 0.02 * lengths.mean():
        return None
    return float(lengths.mean())


def _joints(analysis: Analysis, cells: list[int], seconds: float | None) -> list[float]:
    """Where sections meet, if they meet at the same few places in all these videos.

    The first section starts the video (after the given frame) and meets nothing.
    """
    part = analysis.cells.iloc[cells]
    places = {
        tuple(start / frames for start in sorted(starts)[1:])
        for starts, frames in zip(part["section_starts"], part["frames"], strict=True)
        if frames
    }
    if len(places) != 1 or len(next(iter(places))) > MOST_JOINTS:
        return []
    return [place * (seconds or 100.0) for place in next(iter(places))]
