"""Feeding a metric with frames, without a file."""

from pathlib import Path

import pytest

from metrics.base import Chunk, ScoringContext, VideoInfo


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
