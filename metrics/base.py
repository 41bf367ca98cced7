"""What a metric is: a consumer of decoded frame chunks that returns curves.

A set of metrics shares one decode. The reader cuts the video into chunks; every metric's
measurement sees every chunk once, in order, and keeps what it needs and no more, so memory does not
grow with the video's length. At the end it returns a curve: one value per frame, pair or triplet.

**Segments.** Drift compares the first and the last frames. Where every item of a curve depends on
its own frames only, a slice of the curve *is* the metric on the slice. Where it is not (RAFT's
stride starts anew, ViCLIP chooses its 8 frames inside the slice) the metric says so with
`sliceable`, and the scorer begins a second measurement that is given the slice alone, from the same
decode. A metric never looks at files.

**Batches.** A score must not depend on the chunk it travelled in. A network that is forwarded in
batches does so through `Groups`, which cuts the stream at fixed frame positions and pads the last
group, so that the arithmetic is the same whatever the chunks were.

A minimal metric:

    class Brightness(Metric):
        backend = "mean"
        metrics = ("brightness",)

        def begin(self, video, context):
            return PerFrame("brightness", lambda frame: float(frame.mean()) / 255)
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from metrics.errors import Undefined

T = TypeVar("T")

Frames = npt.NDArray[np.uint8]
"""RGB frames, uint8 [n, height, width, 3]."""

Values = npt.NDArray[np.float64]
"""One number per item of a curve; NaN where the metric is undefined there."""


@dataclass(frozen=True)
class MetricSpec:
    """What a column of a table needs to know about a metric."""

    id: str
    """The name in scores.parquet."""
    title: str
    """The heading of a table's column."""
    what: str
    """One sentence: what it measures."""
    higher_is_better: bool | None = True
    """None where neither way is better by itself."""
    percent: bool = True
    """Tables print ×100."""
    bounds: tuple[float, float] = (0.0, 1.0)
    """The documented range; a back-end may leave it slightly (an unclamped regression)."""
    unit: str = ""
    drifts: bool = True
    """Whether |start − end| says something about drift."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video before its first frame is decoded."""

    path: Path
    frames: int
    """The exact number of frames that decode."""
    fps: float
    width: int
    """In pixels, after rotation."""
    height: int
    sha256: str = ""

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.frames / self.fps


@dataclass(frozen=True)
class ScoringContext:
    """What a metric may know besides the frames."""

    prompt: str | None = None
    reference: Frames | None = None
    """The input image, uint8 [height, width, 3]; None for text-to-video."""
    section_starts: tuple[int, ...] = ()
    device: str = "cpu"


@dataclass(frozen=True)
class Chunk:
    """Consecutive frames of one video, and what has been computed from them so far."""

    frames: Frames
    first: int
    """The index of the first frame in the video (or in the slice that is measured)."""
    _memory: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    _locks: dict[Hashable, Lock] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.frames)

    def shared(self, key: Hashable, compute: Callable[[Frames], T]) -> T:
        """`compute(frames)`, done once for all metrics of the set that ask with the same key."""
        with self._locks.setdefault(key, Lock()):
            if key not in self._memory:
                self._memory[key] = compute(self.frames)
        value: T = self._memory[key]
        return value

    def between(self, start: int, stop: int) -> "Chunk | None":
        """The part within frames [start, stop), its indices counted from `start`."""
        low, high = max(start, self.first), min(stop, self.first + len(self))
        if low >= high:
            return None
        return Chunk(self.frames[low - self.first : high - self.first], low - start)


@dataclass(frozen=True)
class Curve:
    """A metric's value over time.

    Item i looks at the `span` source frames frames[i], ..., frames[i] + span − 1.
    """

    frames: npt.NDArray[np.int64]
    """[n], ascending: the first source frame that item i looks at."""
    values: Values
    """[n], NaN where the metric is undefined."""
    span: int = 1
    """Source frames from the first to the last one that an item looks at, both included."""
    weights: Values | None = None
    """[n] for a weighted mean (people per frame); None weighs all items alike."""
    rule: Callable[[Values], float] | None = None
    """How defined values become one number where it is not their mean."""

    def __len__(self) -> int:
        return len(self.values)

    def between(self, start: int, stop: int) -> "Curve":
        """The items that look at frames of [start, stop) only."""
        inside = (self.frames >= start) & (self.frames + self.span <= stop)
        weights = None if self.weights is None else self.weights[inside]
        return Curve(self.frames[inside], self.values[inside], self.span, weights, self.rule)

    def coverage(self) -> float:
        """The share of items where the metric is defined; 0 for an empty curve."""
        return float(np.mean(np.isfinite(self.values))) if len(self) else 0.0

    def summary(self) -> float:
        """One number for the curve: its (weighted) mean over defined items, or its rule.

        Raises:
            Undefined: no item is defined.
        """
        defined = np.isfinite(self.values)
        if not defined.any():
            raise Undefined("the metric is defined for no frame")
        values = self.values[defined]
        if self.rule is not None:
            return float(self.rule(values))
        if self.weights is None:
            return float(np.mean(values))
        weights = self.weights[defined]
        if weights.sum() <= 0:
            raise Undefined("the metric is defined for no frame")
        return float(np.sum(values * weights) / np.sum(weights))


@dataclass(frozen=True)
class Reading:
    """What one measurement says about one metric."""

    metric: str
    """An id of the catalogue."""
    curve: Curve
    value: float | None = None
    """The number for all frames where it is not the curve's summary (ViCLIP's 8 frames)."""
    coverage: float | None = None
    """Where it is not the curve's: the share of frames where the metric is defined."""

    def score(self) -> float:
        """The number for all frames that were measured. Raises `Undefined`."""
        return self.curve.summary() if self.value is None else self.value

    def covered(self) -> float:
        """The share of frames (0..1) where the metric is defined."""
        return self.curve.coverage() if self.coverage is None else self.coverage


class Measurement(ABC):
    """One video (or one slice of it) on its way through one metric."""

    @abstractmethod
    def update(self, chunk: Chunk) -> None:
        """Take the next frames. Chunks come in order, without gaps, and are never empty."""

    @abstractmethod
    def finish(self) -> Sequence[Reading]:
        """All chunks were seen. Raises `Undefined` when the video has no such thing."""


class Metric(ABC):
    """One way (`backend`) of measuring one or more quantities (`metrics`) of a video."""

    backend: str
    """The name in scores.parquet and in `conf/metrics/*.yaml`."""
    metrics: tuple[str, ...]
    """Catalogue ids that a measurement returns readings for."""
    protocol: int = 1
    """Raised whenever a change of code changes a score."""
    weights: tuple[str, ...] = ()
    """Names in `metrics.weights.REGISTRY`; their digests are part of the fingerprint."""
    modules: tuple[str, ...] = ()
    """Python modules of optional packages that it cannot do without."""
    needs: tuple[str, ...] = ()
    """Of "prompt", "reference": without it the metric is unavailable for that video."""
    uses: tuple[str, ...] = ("prompt", "reference")
    """Of these, what may change the score: a change of it measures again. () for frames alone."""
    min_frames: int = 1
    """Below this many frames the metric is undefined; slices are made at least this long."""
    max_pixels: int | None = None
    """Of frames with more pixels the metric is undefined: the network would need more memory than
    there is. A constant, so that what is measured never depends on the machine."""
    span: int = 1
    """Frames that an item of the curve looks at."""
    ran_on: str = ""
    """Set by `load` where the network is on another device than the one asked for."""

    def parameters(self) -> Mapping[str, Any]:
        """What was chosen and changes the score: thresholds, dtype, size of the input."""
        return {}

    def load(self, device: str) -> None:  # noqa: B027 - a metric without a network has nothing to do
        """Fetch and read weights. Called once, before the first `begin`.

        Raises:
            Unavailable: a weight file or a package is missing.
        """

    def frames_needed(self, video: VideoInfo) -> int:
        """`min_frames`, or more where that depends on the video's rate."""
        return self.min_frames

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Whether the curve's items after frame `first` are those of the slice starting there."""
        return self.span == 1

    @abstractmethod
    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A new measurement. `video.frames` is the number of frames that it will see.

        Raises `Unavailable` or `Undefined` when that can be said before the first frame.
        """

    def fingerprint(self) -> str:
        """16 hex digits that change when, and only when, scores may change."""
        from metrics.weights import registered_digest

        content: dict[str, Any] = {
            "backend": self.backend,
            "metrics": list(self.metrics),
            "protocol": self.protocol,
            "weights": {name: registered_digest(name) for name in self.weights},
            "parameters": dict(self.parameters()),
        }
        if self.max_pixels is not None:
            content["max_pixels"] = self.max_pixels
        return digest(content)


def digest(content: Mapping[str, Any]) -> str:
    """The first 16 hex digits of the SHA-256 of canonical JSON."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class PerFrame(Measurement):
    """A metric whose item is one frame, by a function of that frame alone."""

    def __init__(
        self, metric: str, value: Callable[[Frames], float], shared: Hashable | None = None
    ) -> None:
        """`value` maps uint8 [height, width, 3] to a number, NaN where it is undefined.

        With a `shared` key the values are computed once per chunk for all measurements.
        """
        self._metric = metric
        self._value = value
        self._shared = shared
        self._values: list[float] = []

    def update(self, chunk: Chunk) -> None:
        """Measure every frame of the chunk."""

        def all_values(frames: Frames) -> list[float]:
            return [self._value(frame) for frame in frames]

        key = self._shared
        self._values += all_values(chunk.frames) if key is None else chunk.shared(key, all_values)

    def finish(self) -> Sequence[Reading]:
        """One item per frame."""
        values = np.asarray(self._values, dtype=np.float64)
        return [Reading(self._metric, Curve(np.arange(len(values)), values))]


class Groups:
    """Cut a stream of items at fixed positions, whatever the sizes they arrive in.

    A convolution's last bits depend on how many images share the forward. Groups of a constant
    size, the last one padded by repeating its last item, make the bits a function of the items'
    positions alone:

        for group, count in self.groups.add(items): values += net(group)[:count]
        for group, count in self.groups.rest(): ...
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._waiting: list[npt.NDArray[Any]] = []

    def add(
        self, items: Sequence[npt.NDArray[Any]] | npt.NDArray[Any]
    ) -> Iterator[tuple[npt.NDArray[Any], int]]:
        """Full groups ([size, ...], size) that are now complete."""
        for item in items:
            self._waiting.append(item)
            if len(self._waiting) == self.size:
                group, self._waiting = np.stack(self._waiting), []
                yield group, self.size

    def rest(self) -> Iterator[tuple[npt.NDArray[Any], int]]:
        """The last, padded group and how many of its items are real; nothing if none waits."""
        if self._waiting:
            count = len(self._waiting)
            padded = self._waiting + [self._waiting[-1]] * (self.size - count)
            self._waiting = []
            yield np.stack(padded), count
