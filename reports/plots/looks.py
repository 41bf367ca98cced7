"""Who is drawn in colour: a variant has one look in all plots of a report.

Up to `MOST_VARIANTS` every variant has a colour of its own. Beyond, colours would repeat and a
legend would be longer than its plot: then a few variants stand out, and the others are grey.
"""

from __future__ import annotations

import numpy as np

from reports.analysis import Analysis, Entrant
from reports.plots.style import FAINT, PALETTE, Look, look

MOST_VARIANTS = len(PALETTE)
"""As many as there are colours; lines that a panel holds without becoming a thicket, too."""

GREY = Look(FAINT, "o", "-", "")


def chosen(analysis: Analysis, most: int = MOST_VARIANTS) -> list[Entrant]:
    """At most so many variants: the baseline, the first of every block, then those that stand out.

    Fewer are always among those that more would be. They come in the report's order.
    """
    made = [entrant for entrant in analysis.variants if entrant.made]
    first = [entrant for entrant in made if entrant is analysis.baseline]
    blocks = {entrant.block.id: entrant for entrant in reversed(made)}
    blocks_first = [entrant for entrant in made if blocks[entrant.block.id] is entrant]
    apart = _apart(analysis, made)
    rest = [made[place] for place in np.argsort(-apart, kind="stable")]
    order = dict.fromkeys(entrant.name for entrant in [*first, *blocks_first, *rest])
    kept = set(list(order)[:most])
    return [entrant for entrant in made if entrant.name in kept]


def _apart(analysis: Analysis, made: list[Entrant]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """How far each variant is from the median one: in standard deviations, mean over metrics."""
    means = np.array([[analysis.estimate(e, c).value for c in analysis.scored] for e in made])
    if not means.size:
        return np.zeros(len(made))
    found = np.zeros(means.shape)
    for place, column in enumerate(means.T):
        seen = np.isfinite(column)
        if seen.any() and np.ptp(column[seen]) > 0:
            gap = np.abs(column[seen] - np.median(column[seen]))
            found[seen, place] = gap / np.std(column[seen])
    return np.asarray(found.mean(axis=1))


def looks(analysis: Analysis) -> list[Look]:
    """The look of every variant, in the report's order."""
    if len(analysis.variants) <= MOST_VARIANTS:
        return [look(place) for place in range(len(analysis.variants))]
    names = [entrant.name for entrant in chosen(analysis)]
    return [
        look(names.index(entrant.name)) if entrant.name in names else GREY
        for entrant in analysis.variants
    ]


def in_colour(analysis: Analysis) -> str:
    """What a caption says where not all variants have a colour; nothing where all have."""
    grey = sum(one is GREY for one in looks(analysis))
    if not grey:
        return ""
    others = f"{grey} others" if grey > 1 else "other"
    return (
        " In colour: the baseline, the first variant of every block, and those whose means are "
        f"furthest from the median variant's; the {others} in grey."
    )
