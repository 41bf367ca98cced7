"""stage=status: the time that is left."""

import os
from pathlib import Path

import pytest

from bench.cell import CellRecord
from bench.stages import status
from bench.study import Study


def test_the_time_left_is_what_cells_say_they_took_whenever_they_came(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.ask(["v"], ["p"], list(range(10)))
    cells = list(study.cells())
    assert status.seconds_left(study, 10, 1) is None
    for number, (cell, seconds) in enumerate(zip(cells, (60.0, 100.0, 900.0), strict=False)):
        cell.write(
            CellRecord(
                variant="v", prompt_id="p", seed=cell.seed, status="done", seconds=seconds,
                batch_size=2,
            )
        )  # fmt: skip
        night = 1e9 + number * 36_000
        os.utime(cell.folder / "cell.json", (night, night))
    assert status.seconds_left(study, 7, 1) == 7 * 50
    assert status.seconds_left(study, 7, 2) == 7 * 25
    assert status.look(study, lease=90)["seconds_left"] == 7 * 50
    assert status.seconds_left(study, 0, 1) == 0


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "1 min"), (350, "6 min"), (7100, "118 min"), (9000, "2.5 h")]
)
def test_little_time_is_told_in_minutes(seconds: float, told: str) -> None:
    assert status.duration(seconds) == told
