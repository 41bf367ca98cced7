"""Scoring: one video, or many.

    from metrics import score_video
    scores = score_video("walk.mp4", "lite", prompt="a person walks")
    scores.value("clarity"), scores.value("motion", "drift")

`score_many` is the body of `stage=score`: it takes jobs (from a study's cells, or from
`jobs_from_folder` for any folder of videos), measures what is not measured yet, and writes
scores.parquet and curves.parquet into each job's folder.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from metrics import registry, store
from metrics.base import Frames, Metric, Reading, ScoringContext, digest
from metrics.errors import MetricError, Unavailable, UserError
from metrics.one_pass import MetricRun, run
from metrics.rows import Labels, measured_rows, status_of
from metrics.sets import MetricSet, load
from metrics.store import How, ScoreRow, Segment
from metrics.stream import Unreadable, Video, sha256

if TYPE_CHECKING:
    import pandas as pd

SET_BACKEND = "none"
"""The back-end in rows of metrics that a set has no back-end for."""

MEASURED = ("ok", "undefined")
"""Statuses of scores that are not measured again while nothing changes."""

PASSES = 3
"""One for a whole file, two for a truncated one; more would mean a file that changes meanwhile."""


@dataclass(frozen=True)
class Job:
    """One video to score, and where its scores go."""

    video: Path
    folder: Path
    """Gets scores.parquet and curves.parquet."""
    prompt: str | None = None
    reference: Path | None = None
    """The input image."""
    section_starts: tuple[int, ...] = ()
    name: str = ""
    """For messages; the video's path when empty."""
    claimed: bool = False
    """Nobody else writes to the folder meanwhile (a study's claim): it needs no lock."""

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.name or str(self.video)


@dataclass(frozen=True)
class Scores:
    """What was found out about one video."""

    rows: tuple[ScoreRow, ...]
    curves: "pd.DataFrame" = field(repr=False)
    """The columns of curves.parquet."""

    @property
    def scores(self) -> "pd.DataFrame":
        """The columns of scores.parquet."""
        return store.scores_frame(self.rows)

    def value(self, metric: str, segment: str = "all", reading: str | None = None) -> float | None:
        """One number; None where none was measured. Segments are read exactly where that exists.

        Raises:
            UserError: the metric was not asked for, or there is no such segment or reading.
        """
        metrics = list(dict.fromkeys(row.metric for row in self.rows))
        for kind, name, there in (
            ("metric", metric, metrics),
            ("segment", segment, get_args(Segment)),
            ("reading", "" if reading is None else reading, get_args(How)),
        ):
            if name not in there:
                known = ", ".join(filter(None, there))
                raise UserError(f"{kind} {name!r} is not among these scores (there are: {known})")
        found = [row for row in self.rows if row.metric == metric and row.segment == segment]
        wanted = [reading] if reading is not None else ["exact", "curve", ""]
        for how in wanted:
            for row in found:
                if row.reading == how:
                    return row.value
        return None

    def row(self, metric: str, segment: str = "all") -> ScoreRow:
        """The first row of a metric's segment. Raises `KeyError` where there is none."""
        for row in self.rows:
            if row.metric == metric and row.segment == segment:
                return row
        raise KeyError((metric, segment))

    @property
    def failed(self) -> list[ScoreRow]:
        """Rows that a run should answer for: the video or a metric failed."""
        return [row for row in self.rows if row.status == "failed"]

    @property
    def failure(self) -> str:
        """The first reason why the video, or a metric of it, failed; "" where none did."""
        return next(
            (failure(row.metric, row.reason, read=row.frames > 0) for row in self.failed), ""
        )


def failure(metric: str, reason: str, *, read: bool) -> str:
    """A failed row in words: it names its metric where the video itself was read."""
    return f"{metric}: {reason}" if read else reason


class Scorer:
    """A metric set, its networks loaded once for all videos."""

    def __init__(
        self,
        metrics: str | Sequence[str] | Mapping[str, Any] | MetricSet = "lite",
        *,
        device: str | None = None,
        chunk: int | None = None,
        fraction: float | None = None,
        offline: bool | None = None,
        threads: int | None = None,
    ) -> None:
        """Arguments that are given take the place of the set's.

        Raises:
            UserError: an unknown set, back-end or option, or a value out of its range.
        """
        given: dict[str, Any] = {
            "device": device,
            "chunk": chunk,
            "fraction": fraction,
            "offline": offline,
        }
        self.set = replace(
            load(metrics), **{key: value for key, value in given.items() if value is not None}
        )
        self.chunk, self.fraction = self.set.chunk, self.set.fraction
        self.offline = self.set.offline
        self.threads = threads
        self._device = self.set.device
        _check_there(self._device)
        self.metrics = [build(self.set, backend) for backend in self.set.backends]
        self._loaded: dict[str, MetricError | None] = {}

    @property
    def device(self) -> str:
        """Where networks run; chosen on first use and recorded in every row."""
        if self._device is None:
            import torch

            self._device = "cuda" if torch.cuda.is_available() else "cpu"
        return self._device

    def load(self, metric: Metric) -> MetricError | None:
        """Load a metric's network once; the error it could not be loaded for, if any.

        Raises:
            UserError: a weight file has the wrong bytes: no score may come of that.
        """
        if metric.backend not in self._loaded:
            error: MetricError | None = None
            try:
                for name in metric.weights:
                    from metrics import weights

                    weights.get(name, offline=self.offline or None)
                metric.load(self.device)
            except MetricError as raised:
                error = raised
            except UserError:
                raise
            except ImportError as raised:
                error = Unavailable(f"needs the package {raised.name}, which is not installed")
            except Exception as raised:
                error = MetricError(_told(raised, " on loading"))
            self._loaded[metric.backend] = error
        return self._loaded[metric.backend]

    def inputs(self, metric: Metric, job: Job) -> str:
        """Digest of what besides the video and the metric decides the rows."""
        content: dict[str, Any] = {
            "fraction": self.fraction,
            "section_starts": list(job.section_starts),
        }
        if "prompt" in metric.uses:
            content["prompt"] = job.prompt
        if "reference" in metric.uses and job.reference is not None:
            content["reference"] = _sha256_or_empty(job.reference) or str(job.reference)
        return digest(content)

    def score(self, job: Job, metrics: Sequence[Metric] | None = None) -> Scores:
        """Measure one video with all metrics of the set, or with some of them.

        Nothing about the video raises: what cannot be measured is a row with a reason.
        """
        chosen = self.metrics if metrics is None else list(metrics)
        errors = {metric.backend: self.load(metric) for metric in chosen}
        reference: Frames | None = None
        try:
            reference = _image(job.reference)
        except MetricError as unread:
            users = [metric.backend for metric in chosen if "reference" in metric.uses]
            errors |= {backend: errors[backend] or unread for backend in users}
        rows: list[ScoreRow] = []
        curves: list[pd.DataFrame] = []
        ready = [metric for metric in chosen if errors[metric.backend] is None]
        video, runs, problem = self._measure(job, reference, ready)
        done = {one.metric.backend: one for one in runs}
        for metric in chosen:
            fingerprint, inputs = metric.fingerprint(), self.inputs(metric, job)
            labels = {
                name: Labels(
                    metric=name,
                    backend=metric.backend,
                    fingerprint=fingerprint,
                    inputs=inputs,
                    video_sha256=video.info.sha256 if video else _sha256_or_empty(job.video),
                    frames=video.decoded if video else 0,
                    fps=video.info.fps if video else 0.0,
                    device=metric.ran_on or self.device,
                    note=problem if video else "",
                )
                for name in metric.metrics
            }
            error = errors[metric.backend] or (None if video else Unreadable(problem))
            found: tuple[dict[str, Reading], dict[str, dict[str, Any]]] = ({}, {})
            if error is None:
                try:
                    found = done[metric.backend].finish()
                except MetricError as raised:
                    error = raised
            for name, label in labels.items():
                if error is not None:
                    rows += label.absent(status_of(error), str(error))
                elif name not in found[0]:
                    rows += label.absent("undefined", "the metric gave no reading")
                else:
                    rows += measured_rows(
                        label,
                        found[0][name],
                        done[metric.backend].slices,
                        found[1][name],
                        job.section_starts,
                        self.fraction,
                    )
                    curves.append(_curve_rows(label, found[0][name]))
        return Scores(tuple(rows), _joined(curves))

    def missing(self, video_sha256: str) -> list[ScoreRow]:
        """A video's rows for metrics of the paper that the set has no back-end for."""
        return [
            ScoreRow(
                metric=metric,
                backend=SET_BACKEND,
                fingerprint=digest({"set": self.set.name, "reason": reason}),
                segment="all",
                reading="exact",
                status="unavailable",
                reason=reason,
                video_sha256=video_sha256,
            )
            for metric, reason in self.set.unavailable.items()
        ]

    def _measure(
        self, job: Job, reference: Frames | None, metrics: Sequence[Metric]
    ) -> tuple[Video | None, list[MetricRun], str]:
        """One pass; a second one only where the number of frames proves to be another."""
        context = ScoringContext(
            prompt=job.prompt,
            reference=reference,
            section_starts=job.section_starts,
            device=self.device,
        )
        frames: int | None = None
        for _ in range(PASSES):
            try:
                with Video(job.video, frames) as video:
                    runs = [MetricRun(each, video.info, context, self.fraction) for each in metrics]
                    run(runs, video.chunks(self.chunk), self.threads, self.device)
            except Unreadable as error:
                return None, [], str(error)
            except UserError:
                raise
            except Exception as error:  # whatever a file does to the libraries that read it
                return None, [], _told(error, " on reading")
            if video.decoded == video.info.frames:
                return video, runs, video.problem or _short(frames, video)
            frames = video.decoded
        return None, [], f"{PASSES} passes gave as many different numbers of frames"


def build(metric_set: MetricSet, backend: str) -> Metric:
    """The Metric of a set's back-end. Raises `UserError` for a wrong name or option."""
    options = metric_set.options.get(backend, {})
    try:
        return registry.build(backend, **options)
    except TypeError as error:
        raise UserError(f"metrics.options.{backend}: {error}") from None


def _check_there(device: str | None) -> None:
    """Refuse a GPU that is not there: every video would fail by it, one after the other."""
    if device is None or not device.startswith("cuda"):
        return
    import torch

    number = int(device.partition(":")[2] or 0)
    if number >= torch.cuda.device_count():
        raise UserError(f"device={device}: there is no such CUDA device here")


def score_video(
    path: str | Path,
    metrics: str | Sequence[str] | Mapping[str, Any] | MetricSet = "lite",
    *,
    prompt: str | None = None,
    reference: str | Path | None = None,
    section_starts: Sequence[int] | None = None,
    device: str | None = None,
    chunk: int | None = None,
    fraction: float | None = None,
    offline: bool | None = None,
) -> Scores:
    """Score one video in one pass.

    Args:
        path: any file that FFmpeg can decode.
        metrics: a set's name (`lite`, `paper`, `pocket`), or back-ends' names.
        prompt: for Semantic.
        reference: the input image, for Identity and colour.
        section_starts: the first frame of every section, for the section-boundary jump.
        device: "cpu" or "cuda"; by default cuda when there is one.
        chunk: frames decoded at a time; no score depends on it.
        fraction: the start's and the end's share of the frames.
        offline: never touch the network.

    Raises:
        UserError: no such file, an unknown set, back-end or option, or a weight file with wrong
            bytes. A broken video raises nothing: its rows say what is wrong with it.
    """
    for name, file in (("path", path), ("reference", reference)):
        if file is not None and not Path(file).is_file():
            raise UserError(f"{name}={file}: there is no such file")
    scorer = Scorer(metrics, device=device, chunk=chunk, fraction=fraction, offline=offline)
    job = Job(
        Path(path),
        Path(path).parent,
        prompt,
        None if reference is None else Path(reference),
        tuple(section_starts or ()),
    )
    scores = scorer.score(job)
    return Scores((*scores.rows, *scorer.missing(_sha256_or_empty(job.video))), scores.curves)


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
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether no video failed; decides the exit status."""
        return not self.failed


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

    video_digest = _sha256_or_empty(job.video)
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
        curves = _joined([frame for frame in (still, fresh.curves) if len(frame)])
        store.write_scores(job.folder, scores, curves)
    return Scores(rows, fresh.curves), unloaded


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


def _curve_rows(labels: Labels, reading: Reading) -> "pd.DataFrame":
    import pandas as pd

    curve = reading.curve
    return pd.DataFrame(
        {
            "metric": labels.metric,
            "backend": labels.backend,
            "fingerprint": labels.fingerprint,
            "frame": curve.frames.astype(np.int64),
            "span": np.full(len(curve), curve.span, np.int64),
            "time": curve.frames / labels.fps,
            "value": curve.values,
        }
    )


def _joined(frames: "list[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd

    if not frames:
        empty: pd.DataFrame = store.curve_schema().empty_table().to_pandas()
        return empty
    return pd.concat(frames, ignore_index=True)


def _sha256_or_empty(path: Path) -> str:
    try:
        return sha256(path) if path.is_file() else ""
    except OSError:
        return ""


def _image(path: Path | None) -> Frames | None:
    """An RGB image, uint8 [height, width, 3], upright.

    Raises:
        MetricError: it cannot be read, or is larger than Pillow takes for an image.
    """
    if path is None:
        return None
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=np.uint8)
    # What Pillow's readers raise on damaged files has no common class: a PNG with a broken chunk is
    # a wrong syntax, a TIFF that ends early a struct.error.
    except Exception as error:
        raise MetricError(f"the reference image cannot be read: {_told(error)}") from None


def _told(error: Exception, when: str = "") -> str:
    """An unforeseen error in one line of at most 500 characters."""
    text = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}{when}: {text}"[:500]


def _short(expected: int | None, video: Video) -> str:
    """A note where an earlier pass had found other numbers than the container promised."""
    if expected is None:
        return ""
    return f"the file promises another number of frames than the {video.decoded} that decode"


__all__ = ["Job", "Scorer", "Scores", "Segment", "Tally", "score_many", "score_video"]

if __name__ == "__main__":
    # On the command line scoring is a stage of run_bench.py.
    print("To score: python run_bench.py stage=score study=STUDY, or videos=DIR study=OUT")
    print("From Python: from metrics import score_video")
