"""Many videos: measure what is not measured yet, and write it beside each."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from metrics import store
from metrics.base import Metric
from metrics.errors import MetricError, UserError
from metrics.scorer import SET_BACKEND, Scorer, joined, sha256_or_empty
from metrics.scores import Job, Scores, failure
from metrics.sets import MetricSet

if TYPE_CHECKING:
    import pandas as pd

MEASURED = ("ok", "undefined")
"""Statuses of scores that are not measured again while nothing changes."""


@dataclass
class Tally:
    """What a run of `score_many` did."""

    scored: int = 0
    """Videos that something was measured of, and nothing failed."""
    kept: int = 0
    """Videos that nothing was measured of: their scores were all there, or cannot be made here."""
    failed: dict[str, str] = field(default_factory=dict)
    """Video → the first reason why it, or a metric of it, failed."""
    absent: dict[str, str] = field(default_factory=dict)
    """Metric → the first reason why it had no score for some video."""
    lacking: Counter[str] = field(default_factory=Counter)
    """Metric → how many videos it had no score for, and did not fail on."""
    videos: int = 0
    """All that were looked at."""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether no video failed; decides the exit status."""
        return not self.failed

    def gaps(self) -> list[str]:
        """A line for every metric without a score: for all videos, or for how many of them."""
        return [
            f"no {metric}: {reason}"
            if self.lacking[metric] >= self.videos
            else f"no {metric} for {self.lacking[metric]} of {self.videos} videos: {reason}"
            for metric, reason in sorted(self.absent.items())
        ]


def score_many(
    jobs: Iterable[Job],
    metrics: str | Sequence[str] | Mapping[str, Any] | MetricSet = "lite",
    *,
    shard: str | tuple[int, int] = (1, 1),
    on_job: Callable[[Job, Scores | None, int, int], None] | None = None,
    force: bool = False,
    **options: Any,
) -> Tally:
    """Score what is not scored yet, and write it beside each video.

    A score is kept while the video's SHA-256, the metric's fingerprint and its inputs are the
    same. Failed ones are tried again, unavailable ones when what they lacked is there. Where a
    metric cannot be loaded, what it measured of the same video and inputs before is kept, too.

    Args:
        jobs: what to score; taken one by one, so a generator can claim each and release it after.
        metrics: as for `score_video`.
        shard: "2/8" or (2, 8): the second of eight parts, for as many processes or machines.
        on_job: called after each job with its new scores (None where all were kept), the number of
            jobs done and the number of all (0 where a generator does not tell).
        force: measure all metrics of the set again; other back-ends' scores stay.
        **options: of `Scorer`: device, chunk, fraction, offline.

    Raises:
        UserError: a wrong set, option or shard, or a weight file with wrong bytes.
    """
    part, parts = parse_shard(shard)
    mine = jobs if parts == 1 else list(jobs)[part - 1 :: parts]
    total = len(mine) if isinstance(mine, Sized) else 0
    scorer = Scorer(metrics, **options)
    tally, begun = Tally(), time.monotonic()
    for done, job in enumerate(mine, start=1):
        scores, unloaded = _score_job(scorer, job, force)
        before = len(tally.failed)
        _count(tally, scorer, job, unloaded)
        if len(tally.failed) == before:
            if scores is None:
                tally.kept += 1
            else:
                tally.scored += 1
        if on_job is not None:
            on_job(job, scores, done, total)
    tally.seconds = time.monotonic() - begun
    return tally


def parse_shard(shard: str | tuple[int, int]) -> tuple[int, int]:
    """(k, n) of "k/n", 1 ≤ k ≤ n. Raises `UserError` for anything else."""
    try:
        part, parts = (int(word) for word in shard.split("/")) if isinstance(shard, str) else shard
    except ValueError:
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise UserError(f"shard={shard!r} is not k/n with 1 ≤ k ≤ n, such as 2/8")
    return part, parts


def _score_job(
    scorer: Scorer, job: Job, force: bool
) -> tuple[Scores | None, dict[str, MetricError]]:
    """Measure what is missing of one job and write it; None when nothing was.

    Besides: metric → why it cannot be measured here, where its scores from before are kept.
    """
    import pandas as pd

    video_digest = sha256_or_empty(job.video)
    old, old_curves = _stored(job, video_digest)
    stale: list[Metric] = []
    unloaded: dict[str, MetricError] = {}
    for metric in scorer.metrics:
        mine = old[
            (old["backend"] == metric.backend)
            & (old["segment"] == "all")
            & (old["inputs"] == scorer.inputs(metric, job))
        ]
        if not force and _settled(scorer, metric, job, mine, old_curves):
            continue
        error = scorer.load(metric)
        if error is not None and mine["status"].isin(MEASURED).any():
            unloaded |= dict.fromkeys(metric.metrics, error)
        # Weights that came just now have changed the fingerprint.
        elif force or not _settled(scorer, metric, job, mine, old_curves):
            stale.append(metric)
    if not stale:
        return None, unloaded
    fresh = scorer.score(job, stale)
    gone = {metric.backend for metric in stale} | {SET_BACKEND}
    rows = (*fresh.rows, *scorer.missing(video_digest))
    with contextlib.nullcontext() if job.claimed else store.locked(job.folder):
        # Another set may have been scored meanwhile.
        old, old_curves = _stored(job, video_digest)
        kept = old[~old["backend"].isin(gone)]
        frames = [frame for frame in (kept, store.scores_frame(rows)) if len(frame)]
        scores = pd.concat(frames, ignore_index=True)
        still = old_curves[old_curves["fingerprint"].isin(set(kept["fingerprint"]))]
        curves = joined([frame for frame in (still, fresh.curves) if len(frame)])
        store.write_scores(job.folder, scores, curves)
    return replace(fresh, rows=rows), unloaded


def _stored(job: Job, video_digest: str) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The scores of the video as it is now, and the curves in its folder."""
    scores, curves = store.read_scores(job.folder), store.read_curves(job.folder)
    return scores[(scores["video_sha256"] == video_digest) & (video_digest != "")], curves


def _settled(
    scorer: Scorer, metric: Metric, job: Job, whole: "pd.DataFrame", curves: "pd.DataFrame"
) -> bool:
    """Whether a metric's rows of the whole video, for the same inputs, say all that it can say."""
    current = whole[whole["fingerprint"] == metric.fingerprint()]
    final = list(MEASURED)
    if (current["status"] == "unavailable").any() and _still_unavailable(scorer, metric, job):
        final.append("unavailable")
    settled = current[current["status"].isin(final)]
    # Every score comes with a curve; one without was written by two processes at once.
    curveless = (settled["status"] == "ok") & ~settled["fingerprint"].isin(curves["fingerprint"])
    return set(settled[~curveless]["metric"]) == set(metric.metrics)


def _still_unavailable(scorer: Scorer, metric: Metric, job: Job) -> bool:
    """Whether what a metric lacked is still lacking: then its video need not be opened again."""
    lacking = any(getattr(job, need) is None for need in metric.needs)
    return lacking or scorer.load(metric) is not None


def _count(tally: Tally, scorer: Scorer, job: Job, unloaded: Mapping[str, MetricError]) -> None:
    """Add one video's statuses to the tally: those of the set, whoever measured them and when."""
    rows = store.read_scores(job.folder)
    mine = rows[(rows["segment"] == "all") & rows["backend"].isin(scorer.set.backends)]
    broken = mine[mine["status"] == "failed"]
    for row in broken.itertuples():
        why = failure(str(row.metric), str(row.reason), read=bool(row.frames))
        tally.failed.setdefault(job.title, why)
    rest = mine[~mine["status"].isin(["ok", "failed"])]
    found = [(str(row.metric), str(row.reason)) for row in rest.itertuples()]
    for metric, error in unloaded.items():
        reason = f"{error}; scores from before are kept"
        if error.status == "failed":
            tally.failed.setdefault(job.title, f"{metric}: {reason}")
        else:
            found.append((metric, reason))
    found += scorer.set.unavailable.items()
    for metric, reason in found:
        tally.absent.setdefault(metric, reason)
    tally.lacking.update({metric for metric, _ in found})
    tally.videos += 1
