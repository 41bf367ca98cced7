"""Departure says how far the layout is from the first frame's; reach how far quality lets it go."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from metrics import registry
from metrics.base import Chunk, Curve, ScoringContext, VideoInfo
from metrics.departure import departure, layout, reach
from metrics.errors import Undefined

ROOM = np.full((64, 64, 3), 120, np.uint8)
ROOM[:, 32:] = (90, 110, 150)


def person(left: int) -> np.ndarray:
    """The room with somebody in it, 16 pixels wide; gone when `left` is 64 or more."""
    frame = ROOM.copy()
    frame[16:, left : left + 16] = (200, 60, 40)
    return frame


def test_the_first_frame_has_not_departed_and_a_person_who_leaves_has() -> None:
    first = layout(person(24))
    assert departure(first, first) == 0
    walk = [departure(layout(person(left)), first) for left in (24, 32, 40, 48)]
    assert walk == sorted(walk) and walk[-1] > 10
    gone = departure(layout(ROOM), first)
    assert 5 < gone < walk[-1], "absent from one place, not also present at another"


def test_light_colour_and_blur_everywhere_are_hardly_a_departure() -> None:
    import cv2

    start = person(24)
    first = layout(start)
    gone = departure(layout(ROOM), first)
    cast = np.clip(start.astype(int) + np.array([12, -6, 0]), 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).normal(0, 12, start.shape)
    noisy = np.clip(start + noise, 0, 255).astype(np.uint8)
    for changed in (cast, cv2.GaussianBlur(start, (5, 5), 1.5), noisy):
        assert departure(layout(changed), first) < 0.25 * gone


def test_the_back_end_gives_one_value_a_frame_whatever_the_chunks() -> None:
    frames = np.stack([person(left) for left in range(24, 64, 4)])
    video = VideoInfo(Path("v.mp4"), len(frames), 16.0, 64, 64)
    curves = []
    for cuts in ((0, 10), (0, 3, 4, 10)):
        measurement = registry.build("grid-departure").begin(video, ScoringContext())
        for low, high in pairwise(cuts):
            measurement.update(Chunk(frames[low:high], low))
        (reading,) = measurement.finish()
        assert reading.metric == "departure"
        curves.append(reading.curve.values)
    assert curves[0][0] == 0
    assert np.array_equal(*curves)
    assert len(curves[0]) == 10


def curve(*values: float) -> Curve:
    return Curve(
        np.arange(100), np.repeat(np.asarray(values, dtype=np.float64), 100 // len(values))
    )


def test_reach_is_the_departure_that_quality_lived_through() -> None:
    rising = Curve(np.arange(100), np.linspace(0, 20, 100))
    good = curve(0.8)
    whole = reach(rising, good, 100)
    assert whole == pytest.approx(np.linspace(0, 20, 100)[85:].mean())
    half = reach(rising, curve(0.8, 0.6), 100)
    assert 7 < half < 10.5, "quality fails in the middle"
    assert reach(rising, curve(0.8, 0.76), 100) == whole, "within the tolerance"
    assert reach(rising, curve(0.8, 0.6, 0.8, 0.8), 100) < half, "what comes back was lost before"


def test_a_video_that_stands_still_reaches_nothing() -> None:
    assert reach(curve(0.0), curve(0.9), 100) == 0


def test_frames_without_quality_do_not_end_the_reach() -> None:
    rising = Curve(np.arange(100), np.linspace(0, 20, 100))
    blank = curve(0.8, np.nan, 0.8, 0.8)
    assert reach(rising, blank, 100) == reach(rising, curve(0.8), 100)
    with pytest.raises(Undefined):
        reach(rising, curve(np.nan, 0.8), 100)
