"""The plot of +D: which variants belong together, and that both limits are drawn."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.cell import CellRecord
from reports.analysis import Analysis, analyse
from reports.plots import styled
from reports.plots.codes import codes, families_of
from reports.results import load
from tests.reports.planted import INVERTED, Made, plant

BASE = Made("td_f16k4f2k2f1k1_g9", "vanilla", "f16k4f2k2f1k1")
K = (1, 16, 256)


def record(one: CellRecord) -> CellRecord:
    """What a rollout tells: one colour of K = 1, less change the more codes."""
    if one.discrete is None:
        return one
    k = one.discrete or 128
    told = {"mse": 1.0 / k, "peak": 4.0, "colours": float(k)}
    book = {"codebook": f"K={k} 0123"}
    return one.model_copy(update={"history": told, "generator": one.generator | book})


@pytest.fixture(scope="module")
def analysis(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    made = [replace(BASE, name=f"{BASE.name}+D{k}", discrete=k) for k in K]
    bare = replace(BASE, name=f"{BASE.name}+D", discrete=0)
    lone = Made(INVERTED + "+D16", "inverted", "f16k4f2k2f1k1", discrete=16)
    path = tmp_path_factory.mktemp("codes") / "study"
    variants = [*made, bare, BASE, lone]
    plant(path, variants, prompts=3, seeds=1, change=record, curves=False)
    return analyse(load(Path(path)))


def test_variants_that_differ_in_k_alone_are_one_family(analysis: Analysis) -> None:
    (family,) = families_of(analysis)
    assert family.name == f"{BASE.name}+D"
    assert [k for k, _ in family.members] == [1, 16, 128, 256], "a bare +D is its codebook's K"
    assert family.plain is not None and family.plain.name == BASE.name


def test_both_limits_are_in_the_plot(analysis: Analysis) -> None:
    with styled():
        plot = codes(analysis)
    assert plot is not None
    history, colours, *drifts = plot.figure.axes
    labels = [label.get_text() for label in history.get_xticklabels()]
    assert labels == ["1", "16", "128", "256", "∞"]
    line = history.lines[0]
    assert list(line.get_ydata()) == sorted(line.get_ydata())
    unchanged = history.lines[2]
    assert unchanged.get_xdata()[0] > line.get_xdata()[-1]
    assert unchanged.get_ydata()[0] > line.get_ydata()[-1]
    assert colours.lines[0].get_ydata()[0] == 1
    assert len(drifts) == 2
    assert all(panel.get_ylim()[0] == 0 for panel in drifts)


def test_a_study_without_two_numbers_of_codes_has_no_such_plot(planted_study: Path) -> None:
    assert codes(analyse(load(planted_study))) is None
