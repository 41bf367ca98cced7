"""Frames of a video file, once, in bounded memory.

PyAV decodes; frames arrive upright (the display matrix is applied) as RGB chunks. Frames are taken
as they are stored: a variable frame rate drops and doubles none, it only makes the average rate
the `fps`. Sound is not decoded. What a broken file still gives is given, with the reason why it
ends.

The number of frames must be known before the last 15 % begin. Counting packets needs no decoding
and is exact for whole files; where the decoder gives another number (a truncated file), the scorer
reads again with the number that it then knows.
"""

import contextlib
import hashlib
from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from metrics.base import Chunk, Frames, VideoInfo
from metrics.errors import MetricError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MAX_CHUNK_BYTES = 256 * 2**20
"""A chunk of 8K frames is shortened to this; scores do not depend on where a stream is cut."""

MAX_PIXELS = 8192 * 8192
"""Frames larger than this are a broken header, not a video."""

MAX_ERRORS = 100
"""Packets that may fail to decode before the rest of a file is given up."""

FALLBACK_FPS = 25.0
"""For files that give neither a rate nor times (a raw stream, one frame)."""

NOMINAL = 0.05
"""A rate that is further than this from the average of the frames' times is only what a header
says: Matroska's names one for a variable rate, too."""

HOLE = 1.5
"""Frames. A longer step between two that are decoded one after the other is no rounding."""

SHORTFALL = 0.05
"""Containers round the length that they promise; a file that lacks more of it is cut off."""

TIMES_MAY_JUMP = 0x200
"""FFmpeg's flag of formats whose times may start anew: MPEG streams, Ogg."""

JUMP = 10.0
"""Seconds. A longer step in such a format is the joint of two recordings, as for FFmpeg itself
(`-dts_delta_threshold`), unless others are about as long."""

INDEXES = ("concat", "hls", "dash")
"""FFmpeg's names of formats that only name other files: those could change under a digest."""

UNSPECIFIED_MATRIX = 2
"""FFmpeg's number for a file that names no colour matrix."""

QUARTER_TURN = 90


class Unreadable(MetricError):
    """The file gives no frames at all."""

    status = "failed"


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Video:
    """One video opened for one pass.

    `with Video(path) as video:` decodes its first frame only; `video.info` says what it is, and
    `for chunk in video.chunks(16)` gives all frames once.
    """

    decodes = 0
    """Times that any video was decoded in this process: what `make bench` counts."""

    def __init__(self, path: str | Path, frames: int | None = None) -> None:
        """`frames` is the true number where an earlier pass found it.

        Raises:
            Unreadable: there is no such file, it cannot be read, or it has no picture.
        """
        self.path = Path(path)
        self.problem = ""
        """Why some frames are missing, or ""."""
        self.decoded = 0
        """Frames given so far."""
        self._errors = 0
        digest = _digest_of_readable(self.path)
        count, fps, self.problem = _count(self.path)
        self._container = _open(self.path)
        try:
            Video.decodes += 1
            self._frames = self._decode()
            self._first = next(self._frames, None)
            if self._first is None:
                raise Unreadable(self.problem or "no frame decodes")
        except BaseException:
            self._container.close()
            raise
        height, width = self._first.shape[:2]
        self.info = VideoInfo(self.path, frames or max(count, 1), fps, width, height, digest)

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._frames.close()
        self._container.close()

    def chunks(self, size: int) -> Iterator[Chunk]:
        """All frames in order, `size` at a time (fewer where frames are huge). May be read once."""
        assert self._first is not None, "a Video is read once"
        shape, frame_bytes = self._first.shape, self._first.nbytes
        size = min(size, max(1, MAX_CHUNK_BYTES // frame_bytes))
        waiting = [self._first]
        self._first = None
        self.decoded = 1
        for frame in self._frames:
            if len(waiting) == size:
                yield Chunk(np.stack(waiting), self.decoded - size)
                waiting = []
            if frame.shape != shape:
                self.problem = (
                    f"frame {self.decoded} is {frame.shape[1]}×{frame.shape[0]}, "
                    f"those before are {shape[1]}×{shape[0]}"
                )
                break
            waiting.append(frame)
            self.decoded += 1
        if waiting:
            yield Chunk(np.stack(waiting), self.decoded - len(waiting))

    def _decode(self) -> Generator[Frames, None, None]:
        """Upright RGB frames; a packet that fails is skipped and told in `problem`."""
        import av

        stream = _picture(self._container)
        # Threads hold frames back, and where a damaged packet fails PyAV drops those that the same
        # call had received: how much of a truncated file is seen would depend on the cores.
        # Decoding overlaps with measuring, which takes longer.
        stream.thread_type = "NONE"
        packets = self._container.demux(stream)
        failures = (av.FFmpegError, ValueError, MemoryError)
        while self._errors <= MAX_ERRORS:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except failures as error:
                self._damaged(error)
                continue
            for frame in frames:
                try:
                    pixels = self._pixels(frame)
                except failures as error:
                    self._damaged(error)
                    continue
                yield pixels

    def _damaged(self, error: Exception) -> None:
        self._errors += 1
        self.problem = self.problem or f"damaged: {_one_line(error)}"

    def _pixels(self, frame: "VideoFrame") -> Frames:
        """Upright RGB. FFmpeg refuses a frame whose colour matrix it has no coefficients of (YCgCo,
        reserved numbers): it is then read as if the file named none."""
        import av

        try:
            return _upright(frame)
        except av.FFmpegError:
            matrix = int(frame.colorspace)
            if matrix == UNSPECIFIED_MATRIX:
                raise
            frame.colorspace = UNSPECIFIED_MATRIX
            pixels = _upright(frame)
        self.problem = self.problem or (
            f"colour matrix {matrix} cannot be converted and was read as unspecified: "
            "colours may be wrong"
        )
        return pixels


def _digest_of_readable(path: Path) -> str:
    try:
        if not path.exists():
            raise Unreadable("the file does not exist")
        if not path.is_file():
            raise Unreadable("not a file")
        if path.stat().st_size == 0:
            raise Unreadable("the file is empty")
        return sha256(path)
    except OSError as error:
        raise Unreadable(f"the file cannot be read: {error.strerror or error}") from None


def _open(path: Path) -> "InputContainer":
    """The container. `file:` keeps a colon in a name from being taken for a protocol."""
    import av

    try:
        # Else a picture's name with %03d in it would stand for other files.
        options = {"protocol_whitelist": "file", "pattern_type": "none"}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError, MemoryError) as error:
        raise Unreadable(f"not a video ({_one_line(error)})") from None
    if container.format.name in INDEXES:
        container.close()
        raise Unreadable(f"not a video, but a list of files ({container.format.name})")
    return container


def _picture(container: "InputContainer") -> "VideoStream":
    """The first video stream that is no cover image."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            context = stream.codec_context
            if context is None:
                raise Unreadable("FFmpeg has no decoder for its picture")
            if context.width * context.height > MAX_PIXELS:
                raise Unreadable(f"frames of {context.width}×{context.height} pixels")
            return stream
    raise Unreadable("there is no picture in it, only sound or data")


class _Times:
    """Of a stream's packets, in seconds and as they come; no list, which would grow with the
    video's length."""

    def __init__(self) -> None:
        self.number = 0
        self.longest = Fraction(0)
        """Step from one to the next."""
        self.goes_back = False
        self._least = self._most = self._last = Fraction(0)

    def add(self, time: Fraction) -> None:
        """The next packet's."""
        if self.number:
            self._least, self._most = min(self._least, time), max(self._most, time)
            self.longest = max(self.longest, time - self._last)
            self.goes_back |= time < self._last
        else:
            self._least = self._most = time
        self._last = time
        self.number += 1

    @property
    def jumps(self) -> bool:
        """Whether the longest step joins two recordings."""
        others = (self._most - self._least - self.longest) / max(self.number - 2, 1)
        return self.longest > JUMP and self.longest > 10 * others

    @property
    def rate(self) -> float:
        """Packets per second between the first and the last; 0 where that is no time."""
        length = self._most - self._least
        return float((self.number - 1) / length) if length else 0.0


def _count(path: Path) -> tuple[int, float, str]:
    """Frames of a whole file, frames per second and what is missing, without decoding."""
    import av

    container = _open(path)
    with contextlib.closing(container):
        stream = _picture(container)
        shown, sent = _Times(), _Times()
        first = end = Fraction(0)  # of all streams: sound may well be longer than the picture
        count = packets = 0
        with contextlib.suppress(av.FFmpegError, ValueError, MemoryError):
            for packet in container.demux():
                time = None
                if packet.pts is not None and packet.time_base is not None:
                    time = packet.pts * packet.time_base
                    first = min(first, time)
                    end = max(end, time + (packet.duration or 0) * packet.time_base)
                if packet.stream.index != stream.index:
                    continue
                packets += bool(packet.size)
                if packet.size and not packet.is_discard:
                    count += 1
                    if time is not None:
                        shown.add(time)
                    if packet.dts is not None and packet.time_base is not None:
                        sent.add(packet.dts * packet.time_base)
        rate = stream.average_rate or stream.guessed_rate
        promised = stream.frames
        seconds = float((container.duration or 0) / av.time_base)
        may_jump = bool(container.format.flags & TIMES_MAY_JUMP)
    average = shown.rate
    fps = float(rate) if rate is not None and rate > 0 else average or FALLBACK_FPS
    # Recordings that were joined have times of their own, and a file that was cut off lacks frames
    # that would be shown before its last ones: neither says that the rate varies.
    joined = sent.goes_back or (may_jump and sent.jumps)
    steady = abs(sent.rate - fps) <= NOMINAL * fps and sent.longest * fps < HOLE
    varies = average and shown.number == count and abs(average - fps) > NOMINAL * fps
    if varies and not joined and not steady:
        fps = average
    problem = ""
    missing = seconds - float(end - first)
    if promised > packets:
        problem = f"truncated: the file promises {promised} frames and holds {packets}"
    # Matroska, WebM and FLV promise seconds, no frames.
    elif not promised and shown.number and missing > max(SHORTFALL * seconds, 2 / fps):
        held = seconds - missing
        problem = f"truncated: the file promises {seconds:.2f} s and holds {held:.2f} s"
    return count, fps, problem


def _upright(frame: "VideoFrame") -> Frames:
    """RGB pixels, uint8 [height, width, 3], turned as the display matrix asks."""
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = round(frame.rotation / QUARTER_TURN) % 4
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _one_line(error: BaseException) -> str:
    import av

    if isinstance(error, av.FFmpegError):
        return error.strerror or type(error).__name__
    return (str(error).splitlines() or [type(error).__name__])[0]
