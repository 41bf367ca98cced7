"""Copies of videos that tell nothing about where they come from, and damaged copies for controls.

A study's videos carry their writer's name in the container and, with x264, all its settings in the
stream itself (a SEI message). The copies that raters get hold the pictures and nothing else: one
H.264 stream, no metadata, index first ("faststart") so that playing starts before the whole file
is there. H.264 goes over without a new encoding, because encoding would change what is judged;
anything a phone may not play is encoded at a quality where the loss is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bench.files import replacing, temporary_path

_NO_NAMES = {"movflags": "+faststart", "fflags": "+bitexact", "empty_hdlr_name": "1"}
_DROP_SEI = "filter_units=remove_types=6"
_PLAYABLE = {"yuv420p", "yuvj420p"}
_NEAR_LOSSLESS = {"crf": "12", "preset": "veryfast", "bf": "0"}
_MOSAIC = 14
"""Side of the damaged copy's blocks in pixels, for a picture 256 wide: nobody can prefer it."""


class Unshowable(ValueError):
    """A video that cannot be read to its end; the message says why in a few words."""


def neutral(source: Path, target: Path) -> None:
    """Write `source` to `target` without any metadata; the pictures stay what they are.

    Raises:
        Unshowable: when the file cannot be opened, has no picture, or breaks off.
    """
    try:
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise Unshowable("it has no video stream")
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec.name == "h264" and codec.pix_fmt in _PLAYABLE:
                with replacing(target) as path:
                    _remux(container, stream, path)
            else:
                with replacing(target) as path:
                    _encode(container, stream, path, _as_is)
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            raise  # the disk, not the video
        raise Unshowable(f"it cannot be read ({type(error).__name__})") from error


def damaged(source: Path, target: Path) -> None:
    """Write a copy of `source` whose picture is a coarse mosaic: a rater who looks sees it."""
    try:
        with av.open(str(source)) as container:
            stream = container.streams.video[0]
            with replacing(target) as path:
                _encode(container, stream, path, _mosaic)
    except av.FFmpegError as error:
        raise Unshowable(f"it cannot be read ({type(error).__name__})") from error


def seconds_of(path: Path) -> float:
    """Duration of the video at `path`, from its packets (containers lie), in seconds."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        end = 0.0
        for packet in container.demux(stream):
            if packet.pts is not None and packet.time_base is not None:
                length = packet.duration or _frame_ticks(stream, packet.time_base)
                end = max(end, float((packet.pts + length) * packet.time_base))
    return end


def still(source: Path, target: Path) -> None:
    """Write the image at `source` as a PNG that holds pixels only."""
    from PIL import Image

    with Image.open(source) as image:
        bare = image.convert("RGB")
        bare.info.clear()
        with replacing(target) as path:
            bare.save(path, format="PNG")


def _remux(container: InputContainer, stream: VideoStream, path: Path) -> None:
    with av.open(str(path), "w", format="mp4", options=_NO_NAMES) as out:
        out.metadata.clear()
        copy = out.add_stream_from_template(stream)
        copy.metadata.clear()
        strip = BitStreamFilterContext(_DROP_SEI, stream, copy)
        written = 0
        for packet in container.demux(stream):
            if packet.dts is None:
                continue
            for bare in strip.filter(packet):
                bare.stream = copy
                out.mux(bare)
                written += 1
        if written == 0:
            raise Unshowable("it has no frames")


def _encode(
    container: InputContainer,
    stream: VideoStream,
    path: Path,
    change: Callable[[VideoFrame], VideoFrame],
) -> None:
    """Encode to a file of its own first: x264 signs its name, and the remux takes that out."""
    rate = stream.average_rate or Fraction(30)
    signed = temporary_path(path)
    try:
        with av.open(str(signed), "w", format="mp4") as out:
            copy = out.add_stream("libx264", rate=rate, options=dict(_NEAR_LOSSLESS))
            # H.264 in 4:2:0 wants even sides.
            copy.width, copy.height = stream.width // 2 * 2, stream.height // 2 * 2
            copy.pix_fmt = "yuv420p"
            count = 0
            for frame in container.decode(stream):
                shown = change(frame).reformat(copy.width, copy.height, format="yuv420p")
                shown.pts, shown.time_base = count, 1 / rate
                out.mux(copy.encode(shown))
                count += 1
            if count == 0:
                raise Unshowable("it has no frames")
            out.mux(copy.encode(None))
        with av.open(str(signed)) as encoded:
            _remux(encoded, encoded.streams.video[0], path)
    finally:
        signed.unlink(missing_ok=True)


def _as_is(frame: VideoFrame) -> VideoFrame:
    return frame


def _mosaic(frame: VideoFrame) -> VideoFrame:
    block = max(8, round(_MOSAIC * frame.width / 256))
    small = frame.reformat(
        max(2, frame.width // block), max(2, frame.height // block), interpolation="AREA"
    )
    return small.reformat(frame.width, frame.height, interpolation="POINT")


def _frame_ticks(stream: VideoStream, time_base: Fraction) -> int:
    rate = stream.average_rate
    return round(1 / (rate * time_base)) if rate else 0
