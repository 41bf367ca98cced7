"""What a study found, in a few sentences that say how sure they are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.words import count
from reports.analysis import Analysis, Entrant
from reports.columns import Column
from reports.statistics import Share
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
    """The variants that are best in a column as it is printed; none where all print alike."""
    found = [entrant for entrant in analysis.variants if _counts(analysis, entrant, column)]
    values = [analysis.estimate(entrant, column).value for entrant in found]
    if not values:
        return []
    most = _printed(max(values) if column.higher_is_better else min(values), column)
    best = [e for e, value in zip(found, values, strict=True) if _printed(value, column) == most]
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
    metrics = count(len(columns), "metric")
    for name, won in sorted(best.items(), key=lambda item: -len(item[1])):
        entrant = next(e for e in analysis.variants if e.name == name)
        shown = ", ".join(f"{c.title} {_said(analysis, entrant, c)}" for c in won)
        sure = _sure(analysis, entrant, won, "less")
        yield f"{name} drifts least in {len(won)} of {metrics}: {shown}; {sure}."


def _sure(analysis: Analysis, best: Entrant, columns: list[Column], how: str) -> str:
    """How sure it is that a variant is best: tested against the baseline, and the baseline against
    the next best of each column."""
    base = analysis.baseline
    own = base is None or best.name == base.name
    against = "the next best" if base is None or own else base.name
    tested = {}
    for column in columns:
        other = _next_best(analysis, best, column) if own else best
        if other is not None and (other.name, column) in analysis.differences:
            tested[column] = analysis.differences[other.name, column]
    prompts = max((one.difference.prompts for one in tested.values()), default=0)
    if prompts < 2:
        return f"not tested against {against}"
    if 2.0 ** (1 - prompts) >= SIGNIFICANT:  # no sign-flip p is smaller
        return f"{prompts} prompts are too few to test that against {against}"
    proven = [c.title for c, one in tested.items() if one.p_holm < SIGNIFICANT]
    if proven:
        return f"{how} than {against} beyond chance in {', '.join(proven)}"
    return f"not beyond chance against {against}"


def _next_best(analysis: Analysis, best: Entrant, column: Column) -> Entrant | None:
    others = [e for e in analysis.variants if e is not best and _counts(analysis, e, column)]
    sign = 1 if column.higher_is_better else -1
    return max(others, key=lambda e: sign * analysis.estimate(e, column).value, default=None)


def _counts(analysis: Analysis, entrant: Entrant, column: Column) -> bool:
    """A single video speaks for itself and not for its variant: such variants take no part."""
    one = analysis.estimate(entrant, column)
    return one.videos > 1 and bool(np.isfinite(one.value))


def _dynamic(analysis: Analysis) -> Iterator[str]:
    for column in analysis.scored:
        if (column.metric, column.segment) == ("dynamic", "all"):
            best = _best(analysis, column)
            if best:
                also = f", as do {len(best) - 1} more" if len(best) > 1 else ""
                said = f"{column.title} {_said(analysis, best[0], column)}"
                if not also:
                    said += f"; {_sure(analysis, best[0], [column], 'more')}"
                yield f"{best[0].name} moves most{also}: {said}."


def _variance(analysis: Analysis) -> Iterator[str]:
    for column in analysis.scored:
        if (column.metric, column.segment) != ("clarity", "drift"):
            continue
        shares = {share.factor: share for share in analysis.variance[column].shares}
        # As the table prints them, so that the two agree.
        told = ", ".join(
            f"{name} {_share(shares[name])}"
            for name in ("sampler", "packing", "section", "prompt", "seed", "shared")
            if name in shares and np.isfinite(shares[name].share)
        )
        if len(analysis.variants) > 1 and told:
            yield f"Of the variance of {column.title} between videos go with: {told}."


def _share(share: Share) -> str:
    number = Number(100 * share.share, 100 * share.low, 100 * share.high, 1)
    return f"{number.shown} % {number.interval}".strip()


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
        f"{rank} among {rivals}, from {count(human.counted, 'vote')}."
    )
