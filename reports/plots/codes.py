"""How many codes a discretised history needs: K against what is left of history, and drift.

The paper says that K = 1 is one colour and K → ∞ no discretisation. Both limits are in the plot:
the number of colours starts at one, and the variant without +D stands at ∞, where history is
unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.distortion import psnr
from reports.analysis import Analysis, Entrant
from reports.contrasts import TRAITS, trait
from reports.plots.figure import Plot
from reports.plots.looks import GREY, looks
from reports.plots.style import FAINT, Look, look
from reports.statistics import Estimate, estimate
from reports.statistics.clusters import EMPTY, Floats

HEADROOM = 1.12
"""Where the unchanged history stands: above the best PSNR by this factor."""


@dataclass(frozen=True)
class Family:
    """Variants that differ in K alone, K ascending; `plain` is the one without +D."""

    name: str
    members: tuple[tuple[int, Entrant], ...]
    plain: Entrant | None


def codes(analysis: Analysis) -> Plot | None:
    """History after coding and drift over K; None without two numbers of codes."""
    families = families_of(analysis)
    if not families:
        return None
    drifts = [column for column in analysis.scored if column.segment == "drift"][:2]
    figure = Figure(figsize=(10.5, 3.0 + 0.2 * len(families)), layout="constrained")
    panels = figure.subplots(1, 2 + len(drifts), squeeze=False)[0]
    numbers = sorted({k for family in families for k, _ in family.members})
    at = {float(k): float(place) for place, k in enumerate(numbers)} | {np.inf: len(numbers) + 0.3}
    best = max(
        (one.value for f in families for _, e in f.members if _finite(one := _psnr(analysis, e))),
        default=1.0,
    )
    look_of = dict(zip((e.name for e in analysis.variants), looks(analysis), strict=True))
    for place, family in enumerate(families):
        plain = family.plain
        drawn = look_of[(plain or family.members[0][1]).name]
        if drawn is GREY:  # markers and lines tell grey families apart
            drawn = replace(look(place), colour=FAINT)
        unchanged = None if plain is None else replace(EMPTY, value=HEADROOM * best)
        _line(panels[0], drawn, family, at, lambda e: _psnr(analysis, e), unchanged)
        _line(panels[1], drawn, family, at, lambda e: _colours(analysis, e), None)
        for panel, column in zip(panels[2:], drifts, strict=True):
            found = None if plain is None else analysis.estimate(plain, column)
            _line(panel, drawn, family, at, lambda e, c=column: analysis.estimate(e, c), found)
    if not any(family.plain for family in families):
        del at[np.inf]
    else:
        beside = at[np.inf] - 0.2, HEADROOM * best
        panels[0].annotate("unchanged", beside, ha="right", va="center", color=FAINT, fontsize=8)
    _axes(panels, at)
    panels[0].set_title("History after coding")
    panels[0].set_ylabel("PSNR, dB")
    panels[1].set_title("Colours in history")
    panels[1].set_yscale("log", base=2)
    panels[1].set_yticks(numbers, [str(k) for k in numbers])
    panels[1].minorticks_off()
    panels[1].plot([at[float(k)] for k in numbers], numbers, color=FAINT, linewidth=0.8, zorder=1)
    for panel, column in zip(panels[2:], drifts, strict=True):
        panel.set_title(column.title)
        panel.set_ylim(bottom=0)
    handles, labels = panels[0].get_legend_handles_labels()
    names = {"family": "DejaVu Sans Mono", "size": 7.5}
    figure.legend(handles, labels, loc="outside lower left", ncols=2, prop=names)
    return Plot(
        "codes",
        "How many codes a history needs",
        "K codes against the PSNR of coded history (latents), the different latent pixels left in "
        "it (the grey line is K), and drift, with 95 % intervals clustered by prompt. K = 1 leaves "
        "one colour; at ∞ stands the variant without +D, whose history is unchanged.",
        figure,
    )


def families_of(analysis: Analysis) -> list[Family]:
    """All groups of at least two numbers of codes."""
    rest = [name for name in TRAITS if name != "discrete"]
    groups: dict[tuple[object, ...], list[tuple[int, Entrant]]] = {}
    plain: dict[tuple[object, ...], Entrant] = {}
    for entrant in analysis.variants:
        key = tuple(trait(entrant, name) for name in rest)
        if entrant.discrete is None:
            plain[key] = entrant
        elif k := _codes(analysis, entrant):
            groups.setdefault(key, []).append((k, entrant))
    found = []
    for key, members in groups.items():
        once = tuple(sorted(dict(members).items()))
        if len(once) > 1:
            name = re.sub(r"\+D\d*", "+D", once[0][1].name)
            found.append(Family(name, once, plain.get(key)))
    return found


def _codes(analysis: Analysis, entrant: Entrant) -> int:
    """K: of the name, or of the codebook that a bare +D took."""
    if entrant.discrete:
        return entrant.discrete
    for identity in analysis.cells["generator"].iloc[entrant.rows]:
        if found := re.match(r"K=(\d+)", str(identity.get("codebook", ""))):
            return int(found[1])
    return 0


def _told(analysis: Analysis, entrant: Entrant, read: Any) -> Estimate:
    """The mean of something that records tell of history."""
    values: Floats = np.full(len(entrant.rows), np.nan)
    for place, told in enumerate(analysis.cells["history"].iloc[entrant.rows]):
        if isinstance(told, Mapping):
            values[place] = read(told)
    finite = np.where(np.isfinite(values), values, np.nan)
    return estimate(finite, analysis.prompt[entrant.rows]) if np.isfinite(finite).any() else EMPTY


def _psnr(analysis: Analysis, entrant: Entrant) -> Estimate:
    return _told(analysis, entrant, lambda told: psnr(told["mse"], told["peak"]))


def _colours(analysis: Analysis, entrant: Entrant) -> Estimate:
    return _told(analysis, entrant, lambda told: told.get("colours", np.nan))


def _finite(one: Estimate) -> bool:
    return bool(np.isfinite(one.value))


def _line(
    panel: Axes,
    drawn: Look,
    family: Family,
    at: Mapping[float, float],
    read: Any,
    plain: Estimate | None,
) -> None:
    """One family's values over K, and where it stands without +D."""
    points = [(at[float(k)], read(entrant)) for k, entrant in family.members]
    points = [(k, one) for k, one in points if _finite(one)]
    style: dict[str, Any] = {"color": drawn.colour, "marker": drawn.marker}
    x, y = [k for k, _ in points], [one.value for _, one in points]
    panel.plot(x, y, linestyle=drawn.line, label=family.name, **style)
    if plain is not None and _finite(plain):
        if points:
            ends = [x[-1], at[np.inf]], [y[-1], plain.value]
            panel.plot(*ends, color=drawn.colour, linewidth=0.8, linestyle=(0, (1, 2)))
        panel.plot([at[np.inf]], [plain.value], linestyle="none", markerfacecolor="none", **style)
        points.append((at[np.inf], plain))
    for k, one in points:
        if np.isfinite(one.low) and np.isfinite(one.high):
            panel.plot([k, k], [one.low, one.high], color=drawn.colour, linewidth=1, alpha=0.6)


def _axes(panels: Any, at: Mapping[float, float]) -> None:
    """Numbers of codes side by side, infinity at the right end."""
    for panel in panels:
        panel.set_xticks(list(at.values()), [f"{k:g}" if np.isfinite(k) else "∞" for k in at])
        panel.set_xlim(-0.3, max(at.values()) + 0.3)
        panel.set_xlabel("codes K")
