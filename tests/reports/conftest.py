"""A planted study and its report, made once per test process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.cell import CellError, CellRecord

if TYPE_CHECKING:
    from reports.report import Written

FAILED_SEED = ("scene-002", 1)


@pytest.fixture(scope="session")
def planted_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four variants, eight prompts, two seeds; one cell failed, one is not made, votes exist.

    Two cells of every variant have a video, as files of a real decoder; Anatomy is undefined on
    one prompt.
    """
    import numpy as np

    from bench.video import write_video
    from tests.reports.planted import DISCRETE, INVERTED, plant, plant_votes

    def change(record: CellRecord) -> CellRecord | None:
        here = (record.prompt_id, record.seed)
        if record.variant == DISCRETE and here == FAILED_SEED:
            error = CellError(
                kind="OutOfMemoryError", message="no <room> & left", traceback="Traceback: here"
            )
            return record.model_copy(
                update={"status": "failed", "error": error, "video_sha256": ""}
            )
        if record.variant == INVERTED and here == ("scene-003", 0):
            return None
        return record

    def rows(record: CellRecord, found: list[dict[str, object]]) -> list[dict[str, object]]:
        for row in found:
            if row["metric"] == "anatomy" and record.prompt_id == "scene-001":
                row |= {
                    "value": None,
                    "status": "undefined",
                    "reason": "no person",
                    "coverage": 0.0,
                }
        return found

    def video(path: Path, record: CellRecord) -> None:
        if record.prompt_id not in ("scene-000", "scene-004"):
            return
        frames = np.zeros((record.frames, 48, 80, 3), np.uint8)
        frames += np.arange(record.frames, dtype=np.uint8)[:, None, None, None]
        write_video(path, frames, record.fps, preset="ultrafast")

    path = tmp_path_factory.mktemp("studies") / "planted"
    plant(path, change=change, rows=rows, video=video, frames=73)
    plant_votes(path)
    return path


@pytest.fixture(scope="session")
def report(planted_study: Path) -> Written:
    """The planted study's report."""
    from reports.report import write

    return write([planted_study], filmstrips=1, scenes=["scene-000_0"])
