"""How plots look: few lines, one palette, and a second cue beside every colour.

Colours are Okabe and Ito's, chosen for colour-blind readers; markers, line styles and hatches tell
the same apart in grey. Files are the same bytes for the same data: identifiers in the SVG are
hashed with the plot's name, and no date is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg", force=False)

from matplotlib.figure import Figure

from bench.files import replacing

INK = "#1b1b1f"
"""Text and axes; the page swaps it for its own text colour."""
FAINT = "#8a8a94"
"""Helping lines and second-rank text."""
PAPER = "#fefefe"
"""Behind text that stands on data."""

PALETTE = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#e69f00", "#56b4e9", "#7a6f9b", "#3d3d44"),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "++", "oo")

MONO = "DejaVu Sans Mono"

SETTINGS: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 8,
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.markersize": 5.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "savefig.dpi": 160,
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # publishers refuse matplotlib's default, Type 3
}


@dataclass(frozen=True)
class Look:
    """How one variant is drawn wherever it appears."""

    colour: str
    marker: str
    line: Any
    hatch: str


def look(place: int) -> Look:
    """The look of the variant at `place` among those in colour.

    Colour, marker and line step at different periods, so that no two of the first 40 share both
    colour and marker.
    """
    return Look(
        PALETTE[place % len(PALETTE)],
        MARKERS[place % len(MARKERS)],
        LINES[place % len(LINES)],
        HATCHES[place % len(HATCHES)],
    )


@contextmanager
def styled() -> Iterator[None]:
    """Draw with these settings and leave matplotlib as it was."""
    with mpl.rc_context(SETTINGS):
        yield


def save(figure: Figure, folder: Path, name: str, *, pdf: bool = True) -> tuple[Path, ...]:
    """Write NAME.svg (transparent), NAME.png (on white), and NAME.pdf for LaTeX.

    A plot of pixels needs no `pdf`: LaTeX takes its PNG.
    """
    svg, png, for_latex = (folder / f"{name}.{kind}" for kind in ("svg", "png", "pdf"))
    with mpl.rc_context({**SETTINGS, "svg.hashsalt": name}):
        with replacing(svg) as path:
            figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
        # The layout is settled now; computing it again would double the time.
        figure.set_layout_engine("none")
        with replacing(png) as path:
            figure.savefig(path, format="png", facecolor="white", metadata={"Software": None})
        if not pdf:
            return svg, png
        with replacing(for_latex) as path:
            figure.savefig(path, format="pdf", metadata={"CreationDate": None, "Creator": None})
    return svg, png, for_latex
