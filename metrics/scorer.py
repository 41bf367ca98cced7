"""Measuring one video with all metrics of a set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrics import registry, store
from metrics.base import Frames, Metric, Reading, ScoringContext, digest
from metrics.errors import MetricError, Unavailable, UserError
from metrics.one_pass import MetricRun, run
from metrics.rows import Labels, measured_rows, status_of
from metrics.scores import Job, Scores
from metrics.sets import MetricSet, load
from metrics.store import ScoreRow
from metrics.stream import Unreadable, Video, sha256

if TYPE_CHECKING:
    import pandas as pd

SET_BACKEND = "none"
"""The back-end in rows of metrics that a set has no back-end for."""

PASSES = 3
"""One for a whole file, two for a truncated one; more would mean a file that changes meanwhile."""


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
            content["reference"] = sha256_or_empty(job.reference) or str(job.reference)
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
                    video_sha256=video.info.sha256 if video else sha256_or_empty(job.video),
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
        return Scores(tuple(rows), joined(curves), job.title)

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


def joined(frames: "list[pd.DataFrame]") -> "pd.DataFrame":
    """Curves below each other, with the columns of curves.parquet even where there are none."""
    import pandas as pd

    if not frames:
        empty: pd.DataFrame = store.curve_schema().empty_table().to_pandas()
        return empty
    return pd.concat(frames, ignore_index=True)


def sha256_or_empty(path: Path) -> str:
    """Hex digest of a file's bytes; "" where it cannot be read."""
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
