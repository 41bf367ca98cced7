"""Similarity ordering of history, on hand-made latents."""

import numpy as np
import pytest

from bench.similarity import cosine_similarity, most_similar, time_similarity


def frame(*direction: float) -> np.ndarray:
    return np.broadcast_to(np.array(direction, np.float32)[:, None, None], (2, 3, 3)).copy()


def test_cosines_are_those_of_the_pixels() -> None:
    frames = np.stack([frame(1, 0), frame(0, 5), frame(-2, 0), frame(1, 1), frame(0, 0)])
    found = cosine_similarity(frames, frame(3, 0))
    assert found == pytest.approx([1, 0, -1, 2**-0.5, 0])


def test_time_similarity_is_the_papers() -> None:
    assert time_similarity([0, 1, 2]) == pytest.approx([1, np.exp(-1), np.exp(-4)])


def test_an_old_frame_like_the_newest_comes_before_a_near_one_unlike_it() -> None:
    frames = np.stack([frame(1, 0), frame(0, 1), frame(1, 1), frame(1, 0)])  # oldest first
    distances = [3, 2, 1, 0]
    assert most_similar(frames, distances) == [3, 0, 2, 1]
    assert most_similar(frames, distances, time_weight=100) == [3, 2, 1, 0]


def test_frames_that_are_all_alike_stay_in_time_order() -> None:
    assert most_similar(np.stack([frame(1, 2)] * 4), [3, 2, 1, 0]) == [3, 2, 1, 0]
