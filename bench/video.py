"""Write videos: H.264 in MP4, byte for byte the same whenever the frames are the same.

Bytes matter here: a video's SHA-256 keys its scores, and a study that was killed and continued
must equal one that ran through. So the encoder runs in one thread with a fixed look-ahead, the
container carries neither date nor version, and the colours are BT.709, limited range, and say so
(an untagged file is BT.601 to one player and BT.709 to the next).
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bench import files
from bench.errors import UserError

Frames = NDArray[np.uint8]

BT709 = 1
LIMITED_RANGE = 1
X264 = "threads=1:lookahead-threads=1:sliced-threads=0:mbtree=0"
"""One thread, and no macroblock tree: with it x264's assembly gives small frames (seen at 96×64,
one run in eight) other bytes from run to run, whatever the number of threads."""

CRF_RANGE = (0, 51)
FPS_RANGE = (1, 240)
"""Beyond it a plan has sections without end, or the file a rate that rounds to 0."""
LONGEST = 3600
"""Seconds that may be asked for: a plan comes first, and what it lists of a tail that is kept (ta,
tc) grows with their square."""
PRESETS = (
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
)
"""Of x264, fastest first."""


@dataclass(frozen=True)
class VideoFile:
    """What was written: size in pixels (even), frames, frames per second, bytes and digest."""

    width: int
    height: int
    frames: int
    fps: float
    bytes: int
    sha256: str


def check_video(video: Mapping[str, Any]) -> None:
    """Check what all videos of a study have in common, before the first of them is made.

    Args:
        video: see `bench.config.Video`.

    Raises:
        UserError: names the first key that is wrong, and what it may be.
    """
    for key in ("seconds", "fps"):
        if not (math.isfinite(video[key]) and video[key] > 0):
            raise UserError(f"video.{key}={video[key]}: give a positive number")
    if video["seconds"] > LONGEST:
        raise UserError(f"video.seconds={video['seconds']:g}: give at most {LONGEST} (an hour)")
    if not FPS_RANGE[0] <= video["fps"] <= FPS_RANGE[1]:
        raise UserError(f"video.fps={video['fps']:g}: give {FPS_RANGE[0]} to {FPS_RANGE[1]}")
    check_crf(video["crf"])
    if video["preset"] not in PRESETS:
        raise UserError(f"video.preset={video['preset']}: choose from {', '.join(PRESETS)}")
    size = (video["height"], video["width"])
    if size != (None, None) and not all(size):
        raise UserError(f"video.height={size[0]}, video.width={size[1]}: give both or neither")


def check_crf(crf: int) -> None:
    """Raises UserError where x264 has no such constant rate factor."""
    if not CRF_RANGE[0] <= crf <= CRF_RANGE[1]:
        raise UserError(f"video.crf={crf}: give 0 (best) to 51")


def write_video(
    path: Path,
    frames: Iterable[Frames],
    fps: float,
    *,
    crf: int = 16,
    preset: str = "medium",
) -> VideoFile:
    """Write frames to an MP4 file, whole or not at all; nothing but one frame is kept in memory.

    Odd widths and heights get one more column or row, a copy of the last: 4:2:0 has no half
    chroma sample.

    Args:
        path: the file; it is replaced if it exists.
        frames: uint8 RGB, single frames [H, W, 3] or chunks [n, H, W, 3], all of one size.
        fps: frames per second; 29.97 and its like become the exact fraction over 1001.
        crf: x264's constant rate factor, 0 (lossless) to 51.
        preset: x264's speed preset.

    Raises:
        UserError: no frames, frames of different sizes, or a CRF out of range.
    """
    check_crf(crf)
    rate = exact_rate(fps)
    with files.replacing(path) as temporary:
        size, count = _encode(temporary, _single(frames), rate, crf, preset, path)
        digest = sha256(temporary)
    return VideoFile(*size, count, float(rate), path.stat().st_size, digest)


def exact_rate(fps: float) -> Fraction:
    """Frames per second as a fraction: 23.976, 29.97 and 59.94 are n·1000/1001."""
    if fps <= 0:
        raise UserError(f"video.fps={fps}: give a positive number")
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    whole = Fraction(fps).limit_denominator(1000)
    return ntsc if whole.denominator > 1 and abs(float(ntsc) - fps) < 0.005 else whole


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _single(frames: Iterable[Frames]) -> Iterator[Frames]:
    """Frames one by one, whether they come singly or in chunks."""
    for item in frames:
        if item.dtype != np.uint8 or item.ndim not in (3, 4) or item.shape[-1] != 3:
            raise ValueError(
                f"frames must be uint8 [H, W, 3] or [n, H, W, 3], not {item.dtype} {item.shape}"
            )
        yield from (item if item.ndim == 4 else item[None])


def _even(frame: Frames) -> Frames:
    """The frame with an even number of rows and columns; the last ones are repeated."""
    height, width = frame.shape[:2]
    if height % 2 or width % 2:
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(frame)


def _encode(
    temporary: Path, frames: Iterator[Frames], rate: Fraction, crf: int, preset: str, path: Path
) -> tuple[tuple[int, int], int]:
    """Encode to one file; gives ((width, height), frames)."""
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    stream: VideoStream | None = None
    size, count = (0, 0), 0
    with av.open(str(temporary), "w", format="mp4", options=options) as container:
        for raw in frames:
            array = _even(raw)
            if stream is None:
                size = (array.shape[1], array.shape[0])
                stream = _stream(container, size, rate, crf, preset)
            elif size != (array.shape[1], array.shape[0]):
                raise UserError(f"{path}: frame {count} is {array.shape[1]}×{array.shape[0]}, "
                                f"the first one {size[0]}×{size[1]}")  # fmt: skip
            frame = av.VideoFrame.from_ndarray(array, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            frame.pts, frame.time_base = count, 1 / rate
            container.mux(stream.encode(frame))
            count += 1
        if stream is None:
            raise UserError(f"{path}: a video needs at least one frame")
        container.mux(stream.encode())
    return size, count


def _stream(
    container: Any, size: tuple[int, int], rate: Fraction, crf: int, preset: str
) -> VideoStream:
    """The one stream of the container, set up so that its bytes depend on the frames alone."""
    stream: VideoStream = container.add_stream("libx264", rate=rate)
    stream.width, stream.height = size
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": str(crf), "preset": preset, "x264-params": X264}
    context = stream.codec_context
    context.thread_count = 1
    context.time_base = 1 / rate
    context.colorspace = context.color_primaries = context.color_trc = BT709
    context.color_range = LIMITED_RANGE
    return stream
