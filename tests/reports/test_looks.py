"""A study of many variants: a few in colour, the same in every plot, and legends that fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from bench.cell import CellRecord
from reports.analysis import Analysis, analyse
from reports.plots import styled
from reports.plots.dots import drift
from reports.plots.filmstrip import MOMENTS, Filmstrip, Strip, draw
from reports.plots.looks import GREY, MOST_VARIANTS, chosen, looks
from reports.plots.over_time import MOST_JOINTS, over_time
from reports.plots.radar import radar
from reports.plots.scatter import cost, trade_off
from reports.plots.style import FAINT
from reports.results import load
from tests.reports.planted import FOUR, INVERTED, VANILLA, plant

MANY = 20
ODD = f"{VANILLA}+steps-16"
"""The one variant that drifts far more than all others, amid the order."""


def short_sections(record: CellRecord) -> CellRecord:
    """The odd variant has a section a frame."""
    if record.variant != ODD:
        return record
    return record.model_copy(update={"section_starts": list(range(0, record.frames, 4))})


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    vanilla = [
        replace(FOUR[0], name=f"{VANILLA}+steps-{n}", options={"steps": n}) for n in range(1, MANY)
    ]
    odd = [replace(one, drift=0.4) if one.name == ODD else one for one in vanilla]
    path = tmp_path_factory.mktemp("many") / "study"
    plant(path, [*odd, FOUR[0], FOUR[3]], prompts=4, seeds=1, change=short_sections)
    return analyse(load(path), baseline=VANILLA)


def colours(figure: Figure) -> dict[str, str]:
    """The colour of every name in a plot's legend."""
    (legend,) = figure.legends
    return {
        text.get_text(): to_hex(handle.get_color())  # type: ignore[attr-defined]
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }


def test_the_baseline_every_blocks_first_and_what_stands_out_are_chosen(analysis: Analysis) -> None:
    names = [entrant.name for entrant in chosen(analysis)]
    assert len(names) == MOST_VARIANTS < len(analysis.variants)
    assert {VANILLA, INVERTED, ODD} <= set(names)
    fewer = [entrant.name for entrant in chosen(analysis, 4)]
    assert len(fewer) == 4 and set(fewer) <= set(names)
    assert {VANILLA, INVERTED, ODD} <= set(fewer)


def test_no_two_variants_share_a_colour_and_the_others_are_grey(analysis: Analysis) -> None:
    found = looks(analysis)
    coloured = [one.colour for one in found if one is not GREY]
    assert len(coloured) == len(set(coloured)) == MOST_VARIANTS
    assert FAINT not in coloured


def test_a_variant_has_one_colour_in_all_plots_and_legends_stay_short(analysis: Analysis) -> None:
    with styled():
        drawn = [plot for plot in map_of(analysis) if plot is not None]
    assert len(drawn) == 3
    expected = {
        entrant.name: to_hex(one.colour)
        for entrant, one in zip(analysis.variants, looks(analysis), strict=True)
    }
    others = f"{len(analysis.variants) - MOST_VARIANTS} other variants"
    for plot in drawn:
        told = colours(plot.figure)
        assert len(told) <= MOST_VARIANTS + 1
        if plot.name != "radar":
            assert others in told
            assert f"{others.split()[0]} others in grey" in plot.caption
        for name in set(told) - {others}:
            assert told[name] == expected[name]


def test_one_variant_in_grey_is_not_called_many(tmp_path: Path) -> None:
    nine = [replace(FOUR[0], name=f"{VANILLA}+steps-{n}", options={"steps": n}) for n in range(9)]
    plant(tmp_path / "s", nine, prompts=2, seeds=1, curves=False)
    with styled():
        drawn = [plot for plot in map_of(analyse(load(tmp_path / "s"))) if plot is not None]
    for plot in drawn[:2]:
        assert list(colours(plot.figure))[-1] == "1 other variant"
    assert all("; the other in grey." in plot.caption for plot in drawn[:2])


def map_of(analysis: Analysis) -> list:  # type: ignore[type-arg]
    return [trade_off(analysis), cost(analysis), radar(analysis)]


def test_dots_have_the_colours_of_the_other_plots(analysis: Analysis) -> None:
    with styled():
        plot = drift(analysis)
    assert plot is not None
    dots = [line for line in plot.figure.axes[0].lines if line.get_linestyle() == "None"]
    found = [to_hex(line.get_color()) for line in dots]
    assert found == [to_hex(one.colour) for one in looks(analysis)]


def test_few_variants_are_all_in_colour(tmp_path: Path) -> None:
    plant(tmp_path / "s", FOUR, prompts=2, seeds=1, curves=False)
    few = analyse(load(tmp_path / "s"))
    assert GREY not in looks(few)
    with styled():
        plot = trade_off(few)
    assert plot is not None and "grey." not in plot.caption
    assert set(colours(plot.figure)) == {one.name for one in FOUR}


def test_a_metric_in_which_all_score_the_same_has_no_axis_on_the_radar(tmp_path: Path) -> None:
    def same(record: CellRecord, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        return [row | {"value": 1.0} if row["metric"] == "dynamic" else row for row in rows]

    plant(tmp_path / "s", FOUR, prompts=2, seeds=1, curves=False, rows=same)
    with styled():
        plot = radar(analyse(load(tmp_path / "s")))
    assert plot is not None
    axes = [label.get_text() for label in plot.figure.axes[0].get_xticklabels()]
    assert "Clarity" in axes and "Dynamic" not in axes


def test_every_variants_joints_are_its_own_and_never_a_hatch(analysis: Analysis) -> None:
    with styled():
        plot = over_time(analysis)
    assert plot is not None
    shown = [entrant.name for entrant in chosen(analysis)]
    across = len(plot.figure.axes) // len(shown)
    joints = {
        name: sum(list(line.get_xdata()[:1]) == list(line.get_xdata()[1:]) for line in panel.lines)
        for name, panel in zip(shown, plot.figure.axes[::across], strict=True)
    }
    assert joints[VANILLA] == 2 and joints[INVERTED] == 2
    assert joints[ODD] == 0
    assert MOST_JOINTS < 109 // 4


def test_frames_stand_side_by_side_however_long_a_name_is() -> None:
    frames = (np.zeros((48, 80, 3), np.uint8),) * len(MOMENTS)
    long = Strip("td_f16k1_g9+delta-forcing-random+forcing-0.1+missing-drop" * 2, frames)
    with styled():
        figure = draw(Filmstrip("walk", 0, "", (long, Strip("b", frames)))).figure
    figure.canvas.draw()
    left = [panel.get_window_extent() for panel in figure.axes[: len(MOMENTS)]]
    gaps = [two.x0 - one.x1 for one, two in pairwise(left)]
    assert max(gaps) < 0.05 * left[0].width
    name, moment = (
        next(text for text in panel.texts if text.get_text() == words).get_window_extent()
        for panel, words in ((figure.axes[0], long.variant), (figure.axes[4], "end"))
    )
    assert not name.overlaps(moment)
