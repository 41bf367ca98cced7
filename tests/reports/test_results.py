"""Reading studies: tidy tables, several machines, and files that are not as they should be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from bench.cell import CellRecord
from bench.errors import UserError
from reports.columns import measure, paper_columns
from tests.reports.planted import FOUR, INVERTED, VANILLA, plant, plant_votes

TWO = (FOUR[0], FOUR[3])


def test_a_study_is_three_tidy_tables(planted_study: Path) -> None:
    results = reports.load(planted_study)
    assert len(results.cells) == 64
    assert results.cells["state"].value_counts().to_dict() == {
        "done": 62,
        "failed": 1,
        "pending": 1,
    }
    assert set(results.scores["variant"].unique()) == {made.name for made in FOUR}
    one = results.scores[(results.scores["metric"] == "clarity")]
    assert set(one["segment"].unique()) == {"all", "start", "end", "drift"}
    assert {"left", "right", "answer", "rater"} <= set(results.votes.columns)
    assert results.votes["simulated"].all()


@pytest.mark.parametrize("living", [True, False])
def test_many_files_are_read_by_processes_that_give_the_same_tables(
    planted_study: Path, monkeypatch: pytest.MonkeyPatch, living: bool
) -> None:
    from reports import scan

    alone = reports.load(planted_study)
    monkeypatch.setattr(scan, "MANY", 1)
    monkeypatch.setattr(scan.os, "cpu_count", lambda: 3)
    if not living:  # no memory, no interpreter: the caller reads all of it
        monkeypatch.setattr(scan.sys, "executable", "/bin/false")
    shared = reports.load(planted_study)
    pd.testing.assert_frame_equal(shared.scores, alone.scores, check_categorical=False)
    pd.testing.assert_frame_equal(shared.cells, alone.cells)
    assert shared.notes == alone.notes


def test_votes_in_a_database_give_the_report_that_the_same_votes_in_the_study_give(
    planted_study: Path, tmp_path: Path, fresh_postgres: str
) -> None:
    from ablations.arena.votes import export_file, import_file
    from reports.stage import run

    csv = tmp_path / "votes.csv"
    count = export_file(planted_study, None, csv, fastchat=False)
    there = import_file(tmp_path, fresh_postgres, csv, fastchat=False, variants=None)
    assert there == (count, 0)
    study = tmp_path / "study"
    shutil.copytree(planted_study, study, ignore=shutil.ignore_patterns("votes.sqlite*", "report"))

    read = reports.load(study, votes=fresh_postgres).votes.drop(columns="study")
    own = reports.load(planted_study).votes.drop(columns="study")
    pd.testing.assert_frame_equal(read, own)

    chosen = {"votes": fresh_postgres, "filmstrips": 0, "videos": "none", "parquet": False}
    assert run({"study": str(study), "report": chosen}) == 0
    ratings = (study / "report" / "tables" / "ratings.csv").read_text()
    assert VANILLA in ratings
    assert fresh_postgres in (study / "report" / "index.html").read_text()


def test_a_votes_database_that_cannot_be_read_is_one_line_without_its_password(
    planted_study: Path,
) -> None:
    from tests.ports import free_port

    for url, says in (
        (f"postgresql://a:secret@127.0.0.1:{free_port()}/none", "cannot be read"),
        ("mysterydb://a:secret@host/none", "report.votes is no database URL"),
        ("elsewhere", "report.votes=elsewhere"),
    ):
        with pytest.raises(UserError, match=says) as raised:
            reports.load(planted_study, votes=url)
        assert "secret" not in str(raised.value)


def test_a_cell_that_was_never_made_is_described_by_its_variant(planted_study: Path) -> None:
    cells = reports.load(planted_study).cells
    pending = cells[cells["state"] == "pending"].iloc[0]
    assert (pending["variant"], pending["sampler"], pending["section"]) == (INVERTED, "inverted", 9)


def test_the_parquet_holds_everything_in_one_table(planted_study: Path, tmp_path: Path) -> None:
    results = reports.load(planted_study)
    tidy = results.tidy()
    tidy.to_parquet(tmp_path / "tidy.parquet")
    again = pd.read_parquet(tmp_path / "tidy.parquet")
    assert len(again) == len(results.scores) + 2  # the failed and the missing cell are rows as well
    lost = again[again["metric"].isna()]
    assert set(lost["state"]) == {"failed", "pending"}
    mean = again[
        (again["variant"] == VANILLA) & (again["metric"] == "clarity") & (again["segment"] == "all")
    ]["value"].mean()
    ours = results.scores.query("variant == @VANILLA and metric == 'clarity' and segment == 'all'")
    assert mean == pytest.approx(ours["value"].mean())


def test_scores_of_a_video_made_anew_are_left_out_and_it_is_said(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=3, seeds=1, curves=False)
    path = study.cell(VANILLA, "scene-001", 0).folder / "cell.json"
    record = json.loads(path.read_text()) | {"video_sha256": "f" * 64}
    path.write_text(json.dumps(record))
    results = reports.load(study.path)
    there = results.scores.query("variant == @VANILLA")["prompt_id"].unique()
    assert set(there) == {"scene-000", "scene-002"}
    assert any("1 video was made anew" in note for note in results.notes)


def test_a_torn_scores_file_costs_one_cell_and_not_the_report(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=3, seeds=1, curves=False)
    (study.cell(VANILLA, "scene-001", 0).folder / "scores.parquet").write_bytes(b"PAR1 torn")
    results = reports.load(study.path)
    assert results.scores["cell"].nunique() == 5


def test_a_torn_record_is_a_failed_cell_with_its_reason(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False)
    (study.cell(VANILLA, "scene-001", 0).folder / "cell.json").write_text('{"variant": 1}')
    cells = reports.load(study.path).cells
    failed = cells[cells["state"] == "failed"].iloc[0]
    assert failed["error_kind"] == "UnreadableRecord"
    assert "cell.json" in failed["error_message"]


def test_runs_of_two_machines_are_one_sweep(tmp_path: Path) -> None:
    def half(odd: bool) -> Path:
        def change(record: CellRecord) -> CellRecord | None:
            mine = (int(record.prompt_id[-1]) % 2 == 1) == odd
            return record if mine else None

        path = tmp_path / f"machine-{odd}"
        plant(path, TWO, prompts=4, seeds=1, curves=False, change=change)
        return path

    whole = tmp_path / "whole"
    plant(whole, TWO, prompts=4, seeds=1, curves=False)
    merged = reports.load(half(True), half(False))
    assert len(merged.cells) == 8
    assert (merged.cells["state"] == "done").all()
    assert set(merged.cells["study"]) == {"machine-True", "machine-False"}


def test_one_cell_in_two_studies_counts_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        plant(tmp_path / name, TWO, prompts=2, seeds=1, curves=False)
    same = reports.load(tmp_path / "a", tmp_path / "b")
    assert len(same.cells) == 4
    assert not any("different videos" in note for note in same.notes)
    path = tmp_path / "b" / "cells" / VANILLA / "scene-000_0" / "cell.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"video_sha256": "e" * 64}))
    other = reports.load(tmp_path / "a", tmp_path / "b")
    assert any("1 cell was finished in more than one study" in note for note in other.notes)


@pytest.mark.parametrize("database", [False, True])
def test_votes_about_videos_that_are_not_reported_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: bool
) -> None:
    plant(tmp_path / "a", TWO, prompts=4, seeds=1, curves=False, fps=16)
    plant_votes(tmp_path / "a", TWO, prompts=4, votes=200)
    voted = reports.load(tmp_path / "a").votes

    def other(record: CellRecord) -> CellRecord:
        if record.prompt_id == "scene-003":
            return record
        return record.model_copy(update={"video_sha256": f"b{record.video_sha256[1:]}"})

    plant(tmp_path / "b", TWO, prompts=4, seeds=1, curves=False, fps=8, change=other)
    url = None
    if database:
        url = "postgresql://here/votes"
        monkeypatch.setattr("ablations.arena.votes.load", lambda place, key: voted)
    else:
        assert len(reports.load(tmp_path / "a", tmp_path / "b").votes) == len(voted) == 200
    both = reports.load(tmp_path / "b", tmp_path / "a", votes=url)
    kept = voted["prompt_id"] == "scene-003"
    assert len(both.votes) == kept.sum() > 0
    assert set(both.votes["prompt_id"]) == {"scene-003"}
    assert (
        f"{200 - kept.sum()} votes were left out: about other videos than those reported"
        in both.notes
    )
    assert "the studies were made with different settings: video.fps" in both.notes


def test_two_models_are_never_one_row(tmp_path: Path) -> None:
    plant(tmp_path / "a", TWO[:1], prompts=2, seeds=1, curves=False)
    plant(
        tmp_path / "b",
        TWO[:1],
        prompts=4,
        seeds=1,
        curves=False,
        change=lambda record: record.model_copy(
            update={"generator": {"checkpoint": "other", "digest": "cd" * 32}}
        ),
    )
    results = reports.load(tmp_path / "a", tmp_path / "b")
    assert sorted(results.cells["variant"].unique()) == [
        f"{VANILLA} @ other cdcdcd",
        f"{VANILLA} @ planted ababab",
    ]
    assert any("2 different models" in note for note in results.notes)


def test_two_fingerprints_are_two_columns(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: list[dict[str, object]]) -> list[dict[str, object]]:
        if record.variant == INVERTED:
            for row in found:
                if row["metric"] == "clarity":
                    row |= {"fingerprint": "f" * 16, "backend": "musiq-spaq"}
        return found

    study = plant(tmp_path / "s", TWO, prompts=3, seeds=1, curves=False, rows=rows)
    measured = measure(reports.load(study.path))
    titles = [column.title for column in paper_columns(measured)]
    assert titles[:2] == ["Clarity · musiq-spaq", "Clarity · piqe"]
    assert "ΔClarity · piqe" in titles
    for column in paper_columns(measured)[:2]:
        assert np.isfinite(measured.of(column)).sum() == 3


def test_the_exact_reading_is_taken_where_both_are_there(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: list[dict[str, object]]) -> list[dict[str, object]]:
        curves = [
            {**row, "reading": "curve", "value": 9.0} for row in found if row["segment"] == "drift"
        ]
        return [*curves, *found]

    study = plant(tmp_path / "s", TWO, prompts=3, seeds=1, curves=False, rows=rows)
    measured = measure(reports.load(study.path))
    column = next(c for c in paper_columns(measured) if c.title == "ΔClarity")
    assert column.reading == "exact"
    assert (measured.of(column) < 100).all()


def test_a_metric_nobody_knows_still_has_a_column(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, extra_segments=1)
    titles = [column.title for column in measure(reports.load(study.path)).columns]
    assert "Extra 0" in titles


def test_a_folder_without_a_study_is_a_users_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study there"):
        reports.load(tmp_path)
    with pytest.raises(UserError, match="at least one"):
        reports.load()


def test_an_unknown_baseline_names_the_variants(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False)
    with pytest.raises(UserError, match=f"there are {VANILLA}"):
        reports.write([study.path], baseline="nobody")


def test_importing_reports_costs_nothing() -> None:
    import subprocess
    import sys

    code = "import reports, sys; assert not {'pandas', 'torch', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
