"""Studies that are not whole give a correct report that says what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import reports
from bench.study import CellError, CellRecord, Study
from reports.analysis import Analysis, analyse
from reports.findings import EQUAL, findings
from reports.tables import all_tables
from reports.tables.formats import to_csv, to_latex, to_markdown
from tests.reports.planted import FOUR, INVERTED, VANILLA, Made, plant, plant_votes

Rows = list[dict[str, object]]
TWO = (FOUR[0], FOUR[3])


def analysis_of(study: Study) -> Analysis:
    """Analyse a study and print all of its tables, whatever it lacks."""
    analysis = analyse(reports.load(study.path))
    for table in all_tables(analysis).values():
        for intervals in (False, True):
            assert to_csv(table, intervals=intervals)
            assert to_markdown(table, intervals=intervals)
            assert "nan" not in to_latex(table, intervals=intervals)
    list(findings(analysis))
    return analysis


def says(analysis: Analysis, words: str) -> bool:
    return any(words in note for note in analysis.notes)


def test_without_votes_elo_and_rank_are_dashes(tmp_path: Path) -> None:
    analysis = analysis_of(plant(tmp_path / "s", TWO, prompts=6, seeds=1, curves=False))
    assert says(analysis, "no votes: ELO and rank are empty")
    table = all_tables(analysis)["samplers"]
    elo = [heading.key for heading in table.headings].index("elo")
    assert {row.entries[elo].shown for row in table.rows} == {"–"}  # type: ignore[union-attr]


def test_with_one_metric_the_others_are_empty_and_named(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=6, seeds=1, curves=False, metrics=["clarity"])
    analysis = analysis_of(study)
    assert [column.title for column in analysis.scored] == ["Clarity", "ΔClarity"]
    assert says(analysis, "never measured: Aesthetic, Motion, Dynamic, Semantic, Anatomy, Identity")
    assert len(analysis.paper) == 11


def test_one_cell_has_no_interval_and_nothing_to_compare(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO[:1], prompts=1, seeds=1, curves=False)
    analysis = analysis_of(study)
    assert says(analysis, "one variant only")
    assert says(analysis, "one prompt only")
    one = analysis.estimate(analysis.variants[0], analysis.paper[0])
    assert np.isfinite(one.value)
    assert np.isnan(one.low)
    assert "differences" not in all_tables(analysis)


def test_of_variants_that_move_as_much_none_is_said_to_move_most_alone(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        value = 0.5 if record.variant == INVERTED else 1.0
        return [{**row, "value": value} for row in found]

    study = plant(
        tmp_path / "s", FOUR, prompts=2, seeds=1, metrics=["dynamic"], rows=rows, curves=False
    )
    told = list(findings(analyse(reports.load(study.path))))
    assert any("moves most, as do 2 more: Dynamic 100.00" in sentence for sentence in told)


def test_half_failed_is_counted_and_every_failure_listed(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord | None:
        if int(record.prompt_id[-1]) % 2:
            error = CellError(kind="RuntimeError", message=f"broke on {record.prompt_id}")
            return record.model_copy(
                update={"status": "failed", "error": error, "video_sha256": ""}
            )
        return record

    study = plant(tmp_path / "s", TWO, prompts=12, seeds=1, curves=False, change=change)
    analysis = analysis_of(study)
    assert says(analysis, "12 of 24 cells failed")
    failures = all_tables(analysis)["failures"]
    assert len(failures.rows) == 12
    assert "broke on scene-001" in to_csv(failures)
    assert [(e.asked, e.made, e.failed) for e in analysis.variants] == [(12, 6, 6)] * 2
    made = [row.entries[-1] for row in all_tables(analysis)["samplers"].rows]
    assert made == ["6/12", "6/12"]


def test_everything_failed_is_still_a_report(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord | None:
        error = CellError(kind="RuntimeError", message="no")
        return record.model_copy(update={"status": "failed", "error": error})

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, change=change)
    analysis = analysis_of(study)
    assert says(analysis, "no videos: every table of scores is empty")


def test_made_and_not_scored_says_so(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        return []

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, rows=rows)
    assert says(analysis_of(study), "nothing is scored yet: run stage=score")


def test_asked_and_never_begun_is_still_a_report(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, change=lambda record: None)
    analysis = analysis_of(study)
    assert says(analysis, "4 of 4 cells are not made yet")
    assert [entrant.sampler for entrant in analysis.variants] == ["vanilla", "inverted"]


def test_two_fingerprints_of_one_metric_are_told(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        if record.seed == 1:
            for row in found:
                row |= {"fingerprint": "f" * 16} if row["metric"] == "motion" else {}
        return found

    analysis = analysis_of(plant(tmp_path / "s", TWO, prompts=4, seeds=2, curves=False, rows=rows))
    assert says(analysis, "motion was measured in 2 ways")
    motions = [c for c in analysis.paper if (c.metric, c.segment) == ("motion", "all")]
    assert [np.isfinite(analysis.measured.of(c)).sum() for c in motions] == [8, 8]
    assert len({c.key for c in analysis.paper}) == len(analysis.paper)


def test_mixed_frame_rates_are_told(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord | None:
        return record.model_copy(update={"fps": 24.0 if record.seed else 30.0})

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=2, curves=False, change=change)
    assert says(analysis_of(study), "2 frame rates (24, 30)")


def test_an_unavailable_metric_tells_its_reason(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        for row in found:
            if row["metric"] == "semantic":
                row |= {"value": None, "status": "unavailable", "reason": "no weights here"}
        return found

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, rows=rows)
    assert says(
        analysis_of(study), "no value of Semantic, ΔSemantic (unavailable: no weights here)"
    )


def test_an_unavailable_metric_needs_to_say_so_only_once(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        kept = [row for row in found if row["metric"] != "anatomy" or row["segment"] == "all"]
        for row in kept:
            if row["metric"] == "anatomy":
                row |= {"value": None, "status": "unavailable", "reason": "not here"}
        return kept

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, rows=rows)
    analysis = analysis_of(study)
    assert says(analysis, "no value of Anatomy, ΔAnatomy (unavailable: not here)")
    assert not says(analysis, "never measured")


def test_too_few_prompts_for_significance_is_told(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=4, seeds=2, curves=False)
    assert says(analysis_of(study), "no sign-flip p can fall below 0.125")


def test_planted_effects_are_found_and_equal_variants_are_not(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", FOUR, prompts=14, seeds=2, curves=False)
    analysis = analysis_of(study)
    drift = next(column for column in analysis.scored if column.title == "ΔClarity")
    assert analysis.baseline is not None
    assert analysis.baseline.name == VANILLA
    assert analysis.differences[INVERTED, drift].p_all < 0.05
    assert analysis.differences[INVERTED, drift].difference.value == pytest.approx(-7, abs=1.5)
    shares = {share.factor: share.share for share in analysis.variance[drift].shares}
    assert shares["sampler"] > 0.4
    assert abs(shares["packing"]) < 0.03
    assert any(
        INVERTED in sentence and "drifts least in 4 of 4" in sentence
        for sentence in findings(analysis)
    )

    same = [Made(name, "vanilla", name[3:-3]) for name in ("td_f16k4_g9", "td_f8k4_g9")]
    equal = analysis_of(plant(tmp_path / "e", same, prompts=10, seeds=1, curves=False, seed=5))
    assert EQUAL in list(findings(equal))


def test_votes_of_several_questions_are_rated_apart(
    tmp_path: Path,
) -> None:
    study = plant(tmp_path / "s", FOUR, prompts=4, seeds=1, curves=False)
    plant_votes(study.path, prompts=4, votes=120)
    results = reports.load(study.path)
    votes = results.votes.copy()
    votes.loc[votes.index[:40], "question"] = "motion"
    rest = str(votes["question"].iloc[-1])
    from dataclasses import replace

    analysis = analyse(replace(results, votes=votes))
    assert analysis.human is not None
    assert analysis.human.question == rest
    assert says(analysis, "also asked: motion")
    other = analyse(replace(results, votes=votes), question="motion")
    assert other.human is not None
    assert other.human.counted <= 40
