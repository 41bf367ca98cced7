"""What a reader must know before trusting a report: what is missing, mixed or not comparable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.words import count

if TYPE_CHECKING:
    from reports.analysis import Analysis
    from reports.columns import Column


Mask = NDArray[np.bool_]


def notes(analysis: Analysis) -> Iterator[str]:
    """Sentences, the gravest first; nothing when the study is whole."""
    yield from _cells(analysis)
    yield from _scores(analysis)
    yield from _fingerprints(analysis)
    yield from _mixed(analysis)
    yield from _sections(analysis)
    yield from _sizes(analysis)
    yield from analysis.results.notes


def _cells(analysis: Analysis) -> Iterator[str]:
    states = analysis.cells["state"].value_counts()
    asked = count(len(analysis.cells), "cell")
    if failed := int(states.get("failed", 0)):
        yield f"{failed} of {asked} failed; their reasons are listed under Failed cells"
    if unfinished := int(states.get("pending", 0) + states.get("running", 0)):
        verb = "is" if unfinished == 1 else "are"
        yield f"{unfinished} of {asked} {verb} not made yet; run stage=generate again"
    none = [entrant.name for entrant in analysis.variants if not entrant.made]
    if none:
        yield f"no video at all of {_list(none)}"


def _scores(analysis: Analysis) -> Iterator[str]:
    done = (analysis.cells["state"] == "done").to_numpy()
    if not done.any():
        yield "no videos: every table of scores is empty"
        return
    having = np.zeros(len(done), dtype=bool)
    having[analysis.results.scores["cell"].unique()] = True
    if not having.any():
        yield "nothing is scored yet: run stage=score"
        return
    if unscored := int((done & ~having).sum()):
        verb = "has" if unscored == 1 else "have"
        made = count(int(done.sum()), "video")
        yield f"{unscored} of {made} {verb} no scores; run stage=score again"
    absent = [c for c in analysis.paper if not np.isfinite(analysis.measured.of(c)).any()]
    told: dict[str, list[str]] = {}
    for column in absent:
        own = [*_reasons(analysis, column)]
        # An unavailable metric says so once, for the whole video, and not for its drift.
        own += [r for c in absent if c.metric == column.metric for r in _reasons(analysis, c)]
        told.setdefault(own[0] if own else "", []).append(column.title)
    if never := told.pop("", []):
        yield f"never measured: {_list(never)}"
    for reason, titles in told.items():
        yield f"no value of {_list(titles)} ({reason})"
    for column in analysis.scored:
        reasons = _reasons(analysis, column)
        if reasons:
            total = sum(reasons.values())
            common = max(reasons, key=lambda reason: reasons[reason])
            yield f"{column.title} has no value for {count(total, 'video')} (most often {common})"


def _reasons(analysis: Analysis, column: Column) -> dict[str, int]:
    measured = analysis.measured
    return measured.reasons[measured.columns.index(column)]


def _fingerprints(analysis: Analysis) -> Iterator[str]:
    found: dict[str, dict[tuple[str, str], Mask]] = {}
    for column in analysis.scored:
        if column.segment == "all":
            kinds = found.setdefault(column.metric, {})
            has = np.isfinite(analysis.measured.of(column))
            kinds[column.backend, column.fingerprint] = has
    for metric, kinds in found.items():
        if len(kinds) > 1:
            said = ", ".join(
                f"{backend} {fingerprint[:8]} on {count(int(has.sum()), 'video')}"
                for (backend, fingerprint), has in kinds.items()
            )
            anywhere = np.logical_or.reduce(list(kinds.values()))
            whole = all((has == anywhere).all() for has in kinds.values())
            yield f"{metric} was measured in {len(kinds)} ways ({said}): one column each, " + (
                "never mixed, as their numbers do not compare"
                if whole
                else "never mixed; run stage=score again for one of them on all videos"
            )


def _mixed(analysis: Analysis) -> Iterator[str]:
    done = analysis.cells[analysis.cells["state"] == "done"]
    for name, what, effect in (
        ("fps", "frame rates", "Motion, Dynamic and drift depend on it"),
        ("frames", "lengths in frames", "drift grows with length"),
        ("height", "heights in pixels", "Clarity and Dynamic depend on it"),
    ):
        values = sorted(done[name].unique())
        if len(values) > 1:
            shown = ", ".join(f"{value:g}" for value in values[:6])
            yield f"videos have {len(values)} {what} ({shown}): {effect}, compare with care"
    devices = sorted({str(device) for device in done["device"] if device})
    if len(devices) > 1:
        yield f"videos were made on {_list(devices)}: their costs do not compare"


def _sizes(analysis: Analysis) -> Iterator[str]:
    done = (analysis.cells["state"] == "done").to_numpy()
    named = analysis.cells.loc[done, "prompt_id"].nunique()
    prompts = len(np.unique(analysis.prompt[done]))
    if prompts < named:
        yield (
            f"the {named} prompts begin with {prompts} different images: those that share one "
            "count as one prompt in intervals and tests"
            if prompts > 1
            else f"the {named} prompts begin with the same image: they count as one prompt in "
            "intervals and tests"
        )
    if prompts == 1:
        yield "one prompt only: nothing can be said of other prompts, so there are no intervals"
    elif 1 < prompts < 6 and len(analysis.variants) > 1:
        smallest = 2.0 ** (1 - prompts)
        yield (
            f"{prompts} prompts only: no sign-flip p can fall below {smallest:g}, "
            "so no difference can reach significance"
        )
    if len(analysis.variants) == 1:
        yield "one variant only: there is nothing to compare"


def _sections(analysis: Analysis) -> Iterator[str]:
    done = analysis.cells[analysis.cells["state"] == "done"]
    # Of videos that were brought along no section is known.
    if len(done) and (done["section_starts"].map(len) == 1).all():
        yield (
            "every video is one section: nothing that was made is fed back, so samplers and "
            "packings can hardly differ; ask for longer videos or shorter sections"
        )


def _list(names: list[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
