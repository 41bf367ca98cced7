"""Drift as the paper defines it, and what is said besides."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics import drift
from metrics.base import Curve
from metrics.errors import Undefined


def curve(values, span=1, step=1):
    return Curve(np.arange(len(values)) * step, np.asarray(values, dtype=float), span)


@pytest.mark.parametrize(
    ("frames", "length"), [(1, 1), (6, 1), (7, 1), (20, 3), (100, 15), (145, 21), (901, 135)]
)
def test_a_segment_has_the_integer_part_of_15_percent_and_at_least_one_frame(frames, length):
    assert drift.segment_length(frames) == length


def test_a_segment_is_as_long_as_the_metric_needs_but_no_longer_than_the_video():
    assert drift.segment_length(20, at_least=4) == 4
    assert drift.segment_length(3, at_least=4) == 3


def test_slope_is_the_trend_per_second_and_ignores_outliers():
    values = 0.9 - 0.02 * np.arange(60) / 30
    values[[3, 20, 41, 50]] = [0.0, 5.0, 0.1, -3.0]
    assert drift.slope(curve(values), fps=30) == pytest.approx(-0.02)


@settings(deadline=None, max_examples=20)
@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(2, 2500))
def test_slope_of_a_line_is_exact_at_any_length(level, trend, count):
    line = level + trend * np.arange(count) / 25
    assert drift.slope(curve(line), fps=25) == pytest.approx(trend, abs=1e-6)


def test_joint_is_the_step_at_section_boundaries_minus_that_elsewhere():
    values = np.concatenate((np.full(9, 0.5), np.full(9, 0.8), np.full(9, 0.8)))
    values[1::2] += 0.01
    jump = drift.joint(curve(values), [0, 9, 18])
    steps = np.abs(np.diff(values))
    elsewhere = np.delete(steps, [8, 17]).mean()
    assert jump == pytest.approx((steps[8] + steps[17]) / 2 - elsewhere)


@pytest.mark.parametrize("starts", [(0, 10, 19), (1, 10, 19), (19, 1, 10, 10)])
def test_the_jump_from_a_given_image_is_no_joint_in_any_order_of_the_starts(starts):
    values = np.full(30, 0.5)
    values[0] = 1.0  # the given image
    values[10:], values[19:] = 0.6, 0.8
    elsewhere = 0.5 / 27
    assert drift.joint(curve(values), starts) == pytest.approx((0.1 + 0.2) / 2 - elsewhere)


def test_joint_of_pairs_is_at_the_first_pair_that_sees_the_new_section():
    values = np.ones(20)
    values[9] = 0.2  # the pair (9, 10) lies across the boundary at frame 10
    assert drift.joint(curve(values, span=2), [0, 10]) > 0.7


@pytest.mark.parametrize("starts", [(), (0,), (40,)])
def test_joint_without_a_boundary_is_undefined(starts):
    with pytest.raises(Undefined):
        drift.joint(curve(np.ones(20)), starts)


def test_onset_sees_a_change_right_after_the_start():
    values = np.concatenate((np.full(15, 1.0), np.full(85, 0.6)))
    assert drift.onset(curve(values), frames=100) == pytest.approx(0.4)
    assert drift.onset(curve(values[::-1]), frames=100) == 0


def test_a_curve_slice_holds_items_that_lie_inside_only():
    pairs = curve(np.arange(9), span=2)
    assert list(pairs.between(2, 6).frames) == [2, 3, 4]


def test_summaries_weigh_and_leave_out_undefined_items():
    values = np.array([1.0, np.nan, 0.0])
    assert Curve(np.arange(3), values).summary() == 0.5
    assert Curve(np.arange(3), values, weights=np.array([3.0, 9.0, 1.0])).summary() == 0.75
    with pytest.raises(Undefined):
        Curve(np.arange(1), np.array([np.nan])).summary()


def test_later_is_the_change_between_parts_after_the_start():
    values = np.concatenate((np.full(15, 1.0), np.full(85, 0.6)))
    assert drift.onset(curve(values), frames=100) == pytest.approx(0.4)
    assert drift.later(curve(values), frames=100) == 0
    even = np.linspace(0, 1, 100)
    assert drift.later(curve(even), 100) == pytest.approx(drift.onset(curve(even), 100))
    with pytest.raises(Undefined):
        drift.later(curve(np.ones(4)), 4, at_least=2)
