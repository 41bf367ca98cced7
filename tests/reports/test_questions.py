"""Tables on readers' questions, on studies whose curves are known."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.cell import CellRecord
from reports.analysis import analyse
from reports.results import load
from reports.tables import questions
from reports.tables.table import Number
from tests.reports.planted import FOUR, INVERTED, VANILLA, plant

METRICS = ("clarity", "contrast", "colour", "departure")
FRAMES = 100


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vanilla loses 20 points of clarity halfway and its contrast jumps after the start; inverted
    goes as far from the first frame and keeps both."""
    path = tmp_path_factory.mktemp("questions") / "study"
    made = [one for one in FOUR if one.name in (VANILLA, INVERTED)]
    planted = plant(path, made, prompts=4, seeds=1, metrics=METRICS, frames=FRAMES)
    frames = np.arange(FRAMES)
    for cell in planted.cells():
        record = cell.record()
        assert isinstance(record, CellRecord)
        table = pd.read_parquet(cell.folder / "curves.parquet")
        falls = record.variant == VANILLA
        values = {
            "departure": np.linspace(0, 40, FRAMES),
            "clarity": np.where(falls & (frames >= 50), 0.6, 0.8),
            "contrast": np.where(falls & (frames < 15), 0.7, 0.5),
            "colour": np.linspace(1.0, 0.9, FRAMES),
        }
        parts = []
        for metric, rows in table.groupby("metric", observed=True):
            first = rows.iloc[:1]
            part = pd.concat([first] * FRAMES, ignore_index=True)
            parts.append(part.assign(frame=frames, span=1, value=values[str(metric)]))
        pd.concat(parts, ignore_index=True).to_parquet(cell.folder / "curves.parquet")
    return path


def entries(table: object, variant: str) -> list[float]:
    (row,) = (row for row in table.rows if row.label == variant)  # type: ignore[attr-defined]
    return [entry.value for entry in row.entries if isinstance(entry, Number)]


def test_reach_tells_a_far_ending_from_a_far_ending_that_holds(study: Path) -> None:
    table = questions.endings(analyse(load(study)))
    assert table is not None
    vanilla, inverted = entries(table, VANILLA), entries(table, INVERTED)
    assert vanilla[0] == pytest.approx(inverted[0]) == pytest.approx(37.0, abs=0.3)
    assert vanilla[1] == pytest.approx(-20)
    assert inverted[1] == pytest.approx(0)
    assert vanilla[2] < 22 < inverted[2] == pytest.approx(37.0, abs=0.3)


def test_a_start_that_drifts_more_than_the_rest_has_an_excess(study: Path) -> None:
    table = questions.onset(analyse(load(study)))
    assert table is not None
    assert [heading.title for heading in table.headings[:2]] == [
        "Contrast onset",
        "Contrast onset − later",
    ]
    vanilla, inverted = entries(table, VANILLA), entries(table, INVERTED)
    assert vanilla[:2] == pytest.approx([20, 20])
    assert inverted[:2] == pytest.approx([0, 0])
    assert vanilla[3] == pytest.approx(0, abs=1e-9), "colour falls evenly"


def test_studies_without_departures_have_no_table_of_endings(planted_study: Path) -> None:
    assert questions.endings(analyse(load(planted_study))) is None
