"""What a study found, in a few sentences that say how sure they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reports.analysis import Analysis, Entrant
from reports.columns import Column
from reports.tables.evidence import SIGNIFICANT
from reports.tables.table import Number, text_of


def findings(analysis: Analysis) -> Iterator[str]:
    """Sentences for the top of the page; none for a study that can tell nothing."""
    yield from _drift(analysis)
    yield from _dynamic(analysis)
    yield from _variance(analysis)
    yield from _people(analysis)
    yield from _equal(analysis)


def _equal(analysis: Analysis) -> Iterator[str]:
    tested = analysis.differences
    if analysis.baseline is None or any(one.p_holm < SIGNIFICANT for one in tested.values()):
        return
    for column in analysis.scored:
        of = [one.difference for (_, own), one in tested.items() if own == column]
        prompts = [one.prompts for one in of if np.isfinite(one.p)]
        # Of n prompts no sign-flip p is below 2 / 2^n, and Holm multiplies the least by all tests.
        if prompts and len(prompts) * 2.0 ** (1 - max(prompts)) < SIGNIFICANT:
            yield (
                f"No variant's difference to {analysis.baseline.name} is beyond chance in any "
                "column."
            )
            return


def _best(analysis: Analysis, column: Column) -> list[Entrant]:
    """The variants that are best in a column as it is printed; none where all print alike.

    A single video speaks for itself and not for its variant: such variants take no part.
    """
    found = [(analysis.estimate(entrant, column), entrant) for entrant in analysis.variants]
    found = [(one, entrant) for one, entrant in found if one.videos > 1 and np.isfinite(one.value)]
    values = [one.value for one, _ in found]
    if not values:
        return []
    most = _printed(max(values) if column.higher_is_better else min(values), column)
    best = [entrant for one, entrant in found if _printed(one.value, column) == most]
    return best if len(best) < len(found) else []


def _digits(column: Column) -> int:
    """Decimals of a column in the tables."""
    return 2 if column.scale == 100.0 else 3


def _printed(value: float, column: Column) -> str:
    return text_of(value, _digits(column))


def _said(analysis: Analysis, entrant: Entrant, column: Column) -> str:
    one = analysis.estimate(entrant, column)
    number = Number(one.value, one.low, one.high, _digits(column))
    return f"{number.shown} {number.interval}".strip()


def _drift(analysis: Analysis) -> Iterator[str]:
    columns = [column for column in analysis.scored if column.segment == "drift"]
    best: dict[str, list[Column]] = {}
    for column in columns:
        winners = _best(analysis, column)
        if len(winners) == 1:
            best.setdefault(winners[0].name, []).append(column)
    for name, won in sorted(best.items(), key=lambda item: -len(item[1])):
        entrant = next(e for e in analysis.variants if e.name == name)
        shown = ", ".join(f"{c.title} {_said(analysis, entrant, c)}" for c in won)
        proven = [
            c.title
            for c in won
            if (name, c) in analysis.differences
            and analysis.differences[name, c].p_holm < SIGNIFICANT
        ]
        base = analysis.baseline
        sure = ""
        if base is not None and base.name == name:
            sure = ""
        elif base is not None:
            sure = (
                f"; less than {base.name} beyond chance in {', '.join(proven)}"
                if proven
                else f"; not beyond chance against {base.name}"
            )
        yield f"{name} drifts least in {len(won)} of {len(columns)} metrics: {shown}{sure}."


def _dynamic(analysis: Analysis) -> Iterator[str]:
    for column in analysis.scored:
        if (column.metric, column.segment) == ("dynamic", "all"):
            best = _best(analysis, column)
            if best:
                also = f", as do {len(best) - 1} more" if len(best) > 1 else ""
                said = f"{column.title} {_said(analysis, best[0], column)}"
                yield f"{best[0].name} moves most{also}: {said}."


def _variance(analysis: Analysis) -> Iterator[str]:
    for column in analysis.scored:
        if (column.metric, column.segment) != ("clarity", "drift"):
            continue
        shares = {share.factor: share for share in analysis.variance[column].shares}
        # As the table prints them, so that the two agree.
        told = ", ".join(
            f"{name} {text_of(100 * shares[name].share, 1)} %"
            for name in ("sampler", "packing", "section", "prompt", "seed", "shared")
            if name in shares and np.isfinite(shares[name].share)
        )
        if len(analysis.variants) > 1 and told:
            yield f"Of the variance of {column.title} between videos go with: {told}."


def _people(analysis: Analysis) -> Iterator[str]:
    human = analysis.human
    if human is None or len(human.board.rows) < 2:
        return
    best = human.board.rows[0]
    rivals = sum(row.group == best.group for row in human.board.rows)
    among = " among the largest group that votes connect" if human.parted else ""
    simulated = " (simulated votes)" if human.board.simulated else ""
    rank = str(best.best) if best.best == best.worst else f"{best.best} to {best.worst}"
    yield (
        f"{best.variant} is rated highest{among}{simulated}: ELO {best.elo:.0f}; its true rank is "
        f"{rank} among {rivals}, from {human.counted} votes."
    )
