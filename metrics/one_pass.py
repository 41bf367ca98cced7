"""All metrics of a set over one decode of a video.

Every metric's measurement is given every chunk; measurements of one chunk run on as many threads
as there are cores while the next chunk is decoded, and their networks' forwards run side by side.
What one metric raises ends that metric alone.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat

from metrics.base import (
    Chunk,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.drift import segment_length
from metrics.errors import MetricError, Unavailable, Undefined, UserError
from metrics.forward import in_parallel
from metrics.rows import Slices

Found = tuple[dict[str, Reading], dict[str, dict[str, Reading | MetricError]]]
"""Readings of the whole by metric, and of "start" and "end" by metric."""


class MetricRun:
    """One metric on one video: the whole, and those segments that must be measured alone."""

    def __init__(
        self, metric: Metric, video: VideoInfo, context: ScoringContext, fraction: float
    ) -> None:
        self.metric = metric
        self.video = video
        self.error: MetricError | None = None
        length = segment_length(video.frames, fraction, metric.frames_needed(video))
        self.slices = Slices(length, video.frames)
        self._whole: Measurement | None = None
        self._alone: dict[str, tuple[int, int, Measurement | MetricError]] = {}
        self._found: Found | None = None
        ends = (("start", self.slices.start), ("end", self.slices.end))
        try:
            with _one_core_each():  # an input image goes through networks, too
                self._whole = self._begin(metric, video, context)
                for name, (first, stop) in ends:
                    if not metric.sliceable(first, video):
                        self._alone[name] = (first, stop, self._begin_slice(first, stop, context))
        except Exception as error:
            self._fail(error)

    @staticmethod
    def _begin(metric: Metric, video: VideoInfo, context: ScoringContext) -> Measurement:
        for need in metric.needs:
            if getattr(context, need) is None:
                raise Unavailable(f"needs a {need}, and the video came without one")
        if video.frames < (needed := metric.frames_needed(video)):
            raise Undefined(f"needs {needed} frames, the video has {video.frames}")
        pixels = video.width * video.height
        if metric.max_pixels is not None and pixels > metric.max_pixels:
            raise Undefined(
                f"frames of {video.width}×{video.height} are larger than this metric's "
                f"{metric.max_pixels / 1e6:.1f} megapixels"
            )
        return metric.begin(video, context)

    def _begin_slice(
        self, first: int, stop: int, context: ScoringContext
    ) -> Measurement | MetricError:
        video = self.video
        part = VideoInfo(
            video.path, stop - first, video.fps, video.width, video.height, video.sha256
        )
        try:
            return self._begin(self.metric, part, context)
        except MetricError as error:
            return error

    def update(self, chunk: Chunk) -> None:
        """Give the next frames to all measurements; does nothing once the metric has failed."""
        if self.error is not None or self._whole is None:
            return
        try:
            self._whole.update(chunk)
            for first, stop, measurement in self._alone.values():
                part = chunk.between(first, stop)
                if part is not None and isinstance(measurement, Measurement):
                    measurement.update(part)
        except Exception as error:
            self._fail(error)

    def settle(self) -> None:
        """All chunks were seen: compute what is left, which `finish` then gives."""
        if self.error is not None or self._whole is None:
            return
        try:
            whole = {reading.metric: reading for reading in self._whole.finish()}
            alone: dict[str, dict[str, Reading | MetricError]] = {name: {} for name in whole}
            for segment, (_, _, measurement) in self._alone.items():
                found = self._finish_slice(measurement)
                for name in whole:
                    missing = Undefined("not measured on the segment")
                    alone[name][segment] = (
                        found if isinstance(found, MetricError) else found.get(name, missing)
                    )
            self._found = whole, alone
        except Exception as error:
            self._fail(error)

    def finish(self) -> Found:
        """What was found.

        Raises:
            MetricError: why the metric has no score.
        """
        if self._found is None:
            raise self.error or MetricError("not begun")
        return self._found

    @staticmethod
    def _finish_slice(
        measurement: Measurement | MetricError,
    ) -> dict[str, Reading] | MetricError:
        if isinstance(measurement, MetricError):
            return measurement
        try:
            return {reading.metric: reading for reading in measurement.finish()}
        except MetricError as error:
            return error

    def _fail(self, error: Exception) -> MetricError:
        """Keep the reason, let go of the frames that a measurement may hold."""
        if isinstance(error, UserError):
            raise error
        if not isinstance(error, MetricError):
            text = (str(error).splitlines() or [""])[0]
            error = MetricError(f"{type(error).__name__}: {text}"[:500])
        self.error = error
        self._whole = None
        self._alone = {}
        return error


def run(
    runs: Sequence[MetricRun],
    chunks: Iterable[Chunk],
    threads: int | None = None,
    device: str = "cpu",
) -> None:
    """Give every chunk to every run, and finish them. While one chunk is measured the next is
    decoded, and the networks that run on the CPU have the cores between them.

    A forward has one core: its last bits depend on how many share it, and so would a score on the
    machine and on how many metrics are measured. The price is paid where few networks meet many
    cores: each has no more than its own forwards at once, four at most, and so as many cores.
    """
    cores = threads or usable_cores()
    threads = max(1, min(len(runs), cores))
    stream = iter(chunks)
    with (
        _one_core_each() as share,
        ThreadPoolExecutor(cores, initializer=share) as networks,
        ThreadPoolExecutor(1) as decoder,
    ):

        def begin() -> None:
            share()
            in_parallel(networks, device)

        with ThreadPoolExecutor(threads, initializer=begin) as pool:
            coming: Future[Chunk | None] = decoder.submit(next, stream, None)
            while (chunk := coming.result()) is not None:
                coming = decoder.submit(next, stream, None)
                for _ in pool.map(MetricRun.update, runs, repeat(chunk)):
                    pass
            for _ in pool.map(MetricRun.settle, runs):
                pass


def usable_cores() -> int:
    """Cores that this process may use: a cluster's job often has some of its machine's only."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _one_core_each() -> Iterator[Callable[[], None]]:
    """torch and OpenCV use one core in this thread, and in those that begin with what this gives.

    Left alone every thread's networks would use all cores, and wait for each other at every layer.
    """
    import cv2

    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else 1
    before_cv2 = cv2.getNumThreads()

    def share() -> None:
        if torch:
            torch.set_num_threads(1)

    cv2.setNumThreads(1)
    share()
    try:
        yield share
    finally:
        cv2.setNumThreads(before_cv2)
        if torch:
            torch.set_num_threads(before)
