"""Which variants can be compared at all, and which have no upper or lower bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csgraph  # type: ignore[import-untyped, unused-ignore]

from reports.ratings.ballots import LEFT, RIGHT, TIE, Floats


def beats(counts: Floats) -> NDArray[np.bool_]:
    """`[K, K]` whether i ever did at least as well as j, from counts `[3, K, K]`."""
    wins = counts[LEFT] + counts[RIGHT].T + counts[TIE] + counts[TIE].T
    return np.asarray(wins > 0)


def groups(counts: Floats) -> list[list[int]]:
    """Variants that are compared, directly or through others; the largest group first.

    Between two groups no difference can be estimated: nothing in the votes speaks of it.
    """
    met = counts.sum(axis=0) > 0
    number, label = csgraph.connected_components(met, directed=False)
    found = [np.flatnonzero(label == one).tolist() for one in range(number)]
    return sorted(found, key=lambda group: (-len(group), group))


def unbounded(counts: Floats) -> tuple[list[int], list[int]]:
    """Variants with no upper and with no lower bound, in a connected comparison graph.

    A finite maximum of the likelihood exists only if everyone can be reached from everyone along
    "did at least as well as" (Ford 1957). Otherwise a set of variants that was never beaten from
    outside has no upper bound, and one that never did as well as anyone outside no lower bound.
    The gap opens between two sets; the largest set of several variants counts as the one that
    stays, and is not named.
    """
    edges = beats(counts)
    number, label = csgraph.connected_components(edges, directed=True, connection="strong")
    if number == 1:
        return [], []
    sizes = np.bincount(label)
    stays = int(sizes.argmax()) if sizes.max() > 1 else -1
    between = edges & (label[:, None] != label[None, :])
    leaving = [one for one in range(number) if one != stays]
    never_beaten = [one for one in leaving if not between[:, label == one].any()]
    never_winning = [one for one in leaving if not between[label == one].any()]
    return (
        np.flatnonzero(np.isin(label, never_beaten)).tolist(),
        np.flatnonzero(np.isin(label, never_winning)).tolist(),
    )
