"""What is drawn is what was measured: curves, bands and the windows they are seen through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import reports
from bench.cell import CellRecord
from reports.analysis import analyse
from reports.columns import Column
from reports.plots.dots import reach
from reports.plots.matrix import letters
from reports.plots.over_time import LEAST_POINTS, POINTS, band, binned_curves, parts_of, window
from reports.plots.scatter import cost
from reports.statistics import Estimate
from reports.tables import all_tables
from tests.reports.planted import plant

COLUMN = Column("clarity", "all", "Clarity", "piqe", "f" * 16)


def curve(cell: int, frames: np.ndarray, values: np.ndarray, span: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cell": cell,
            "metric": "clarity",
            "fingerprint": "f" * 16,
            "frame": frames,
            "span": span,
            "value": values,
        }
    )


def test_a_curve_of_every_frame_is_averaged_in_equal_parts() -> None:
    values = np.random.default_rng(0).random(80)
    binned = binned_curves(curve(3, np.arange(80), values), COLUMN, 8)
    assert binned[3] == pytest.approx(values.reshape(8, 10).mean(axis=1))


def test_parts_without_a_value_are_filled_between_their_neighbours() -> None:
    frames = np.array([0, 40, 79])
    binned = binned_curves(curve(0, frames, np.array([0.0, 1.0, 2.0])), COLUMN, 8)
    assert binned[0] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1 + 1 / 3, 1 + 2 / 3, 2])


def test_every_part_holds_two_values_of_the_shortest_curve() -> None:
    long = curve(0, np.arange(200), np.zeros(200))
    short = curve(1, np.arange(0, 72, 2), np.zeros(36), span=3)
    assert parts_of(long, COLUMN) == POINTS
    assert parts_of(pd.concat([long, short]), COLUMN) == 18
    assert parts_of(short[:3], COLUMN) == LEAST_POINTS


def test_a_curve_of_gaps_only_is_cut_as_if_it_were_long() -> None:
    gaps = curve(0, np.arange(20), np.full(20, np.nan))
    assert parts_of(gaps, COLUMN) == POINTS


def test_rows_and_columns_of_a_large_matrix_have_the_same_names() -> None:
    names = [letters(place) for place in range(800)]
    assert names[:2] == ["A", "B"] and names[25:28] == ["Z", "AA", "AB"]
    assert names[701:703] == ["ZZ", "AAA"] and len(set(names)) == 800


def test_a_metric_that_swings_between_frames_is_drawn_as_its_mean() -> None:
    swinging = np.tile([0.0, 1.0], 36)
    frames = curve(0, np.arange(72), swinging)
    assert np.ptp(binned_curves(frames, COLUMN, parts_of(frames, COLUMN))[0]) < 1e-9


def test_the_band_is_the_t_interval_over_prompts_at_every_point() -> None:
    rng = np.random.default_rng(1)
    values, prompts = rng.random((12, 5)), np.repeat(np.arange(4), 3)
    middle, low, high = band(values, prompts)
    means = values.reshape(4, 3, 5).mean(axis=1)
    assert middle == pytest.approx(means.mean(axis=0))
    expected = stats.t.interval(0.95, 3, means.mean(axis=0), stats.sem(means, axis=0))
    assert np.array([low, high]) == pytest.approx(np.array(expected))


def test_one_prompt_has_no_band() -> None:
    middle, low, high = band(np.ones((2, 3)), np.zeros(2, dtype=np.int64))
    assert (low == middle).all()
    assert (high == middle).all()


def test_wide_bands_do_not_flatten_the_lines() -> None:
    middle = np.linspace(50, 60, 10)
    bottom, top = window([(middle, middle - 500, middle + 500)])
    assert (bottom, top) == pytest.approx((50 - 12.48, 60 + 12.48))
    narrow = window([(middle, middle - 1, middle + 1)])
    assert narrow == pytest.approx((49 - 0.48, 61 + 0.48))


def test_an_axis_of_drifts_shows_every_value_and_bounded_intervals() -> None:
    wide = Estimate(2.0, 0.0, 200.0, 1.0, 4, 2)
    other = Estimate(5.0, 4.0, 6.0, 1.0, 4, 2)
    assert reach([wide, other]) == pytest.approx(1.06 * 15)
    assert reach([other]) == pytest.approx(1.06 * 6)
    nothing = Estimate(np.nan, np.nan, np.nan, np.nan, 0, 0)
    assert reach([nothing]) == 1.0


def test_no_interval_of_seconds_goes_below_none(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord:
        seconds = 90.0 if record.prompt_id == "scene-000" else 1.0
        return record.model_copy(update={"seconds": seconds, "section_seconds": [seconds]})

    plant(tmp_path / "s", prompts=3, seeds=1, change=change, curves=False)
    analysis = analyse(reports.load(tmp_path / "s"))
    plot = cost(analysis)
    assert plot is not None
    for panel in plot.figure.axes:
        assert min(np.min(line.get_xdata()) for line in panel.lines) >= 0
        assert panel.get_xlim()[0] >= 0
    for row in all_tables(analysis)["costs"].rows:
        assert all(entry.low >= 0 for entry in row.entries if getattr(entry, "interval", ""))
