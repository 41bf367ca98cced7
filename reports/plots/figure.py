"""A drawn plot and what it says: the page prints both."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """A plot with its file name, title, and one or two sentences that tell how to read it."""

    name: str
    title: str
    caption: str
    figure: Figure
