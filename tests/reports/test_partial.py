"""Studies that are not whole give a correct report that says what is missing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from bench.cell import CellError, CellRecord
from bench.errors import UserError
from bench.study import Study
from reports.analysis import Analysis, analyse
from reports.findings import findings
from reports.tables import all_tables
from reports.tables.formats import to_csv, to_markdown
from reports.tables.latex import to_latex
from reports.tables.table import Number
from tests.reports.planted import FOUR, INVERTED, VANILLA, Made, hash_of, plant, plant_votes

Rows = list[dict[str, object]]
TWO = (FOUR[0], FOUR[3])
EQUAL = "No variant's difference to td_f16k4_g9 is beyond chance in any column."


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


def test_notes_below_a_table_are_about_what_it_shows(tmp_path: Path) -> None:
    metrics = ["clarity", "change"]
    plant(tmp_path / "s", TWO, prompts=1, seeds=1, metrics=metrics, curves=False)
    tables = all_tables(analyse(reports.load(tmp_path / "s")))
    main, more = tables["samplers"].notes, tables["more_metrics"].notes
    assert "Measured by: Clarity piqe." in main
    assert "Measured by: Change planted." in more
    assert not [note for note in (*main, *more) if "ELO" in note or "Intervals" in note]
    # With several prompts there are intervals, with votes there is ELO.
    plant(tmp_path / "t", FOUR, prompts=3, seeds=1, metrics=metrics, curves=False)
    plant_votes(tmp_path / "t", prompts=3)
    tables = all_tables(analyse(reports.load(tmp_path / "t")))
    elo = "ELO and rank: see the table of ratings."
    assert elo in tables["samplers"].notes and elo not in tables["more_metrics"].notes
    assert any("Intervals are 95 %" in note for note in tables["more_metrics"].notes)


def test_with_one_metric_the_others_are_empty_and_named(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", TWO, prompts=6, seeds=1, curves=False, metrics=["clarity"])
    analysis = analysis_of(study)
    assert [column.title for column in analysis.scored] == ["Clarity", "ΔClarity"]
    assert says(analysis, "never measured: Aesthetic, Motion, Dynamic, Semantic, Anatomy, Identity")
    assert len(analysis.paper) == 11


@pytest.mark.parametrize("frames", [37, 73])
def test_videos_of_one_section_are_said_to_feed_nothing_back(tmp_path: Path, frames: int) -> None:
    """A section is 36 frames here: one or two of them."""
    analysis = analysis_of(plant(tmp_path / "s", TWO, prompts=2, frames=frames, curves=False))
    assert says(analysis, "every video is one section: nothing") == (frames == 37)


def test_videos_without_a_record_of_sections_are_not_said_to_have_one(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord:
        return record.model_copy(update={"section_starts": []})

    analysis = analysis_of(plant(tmp_path / "s", TWO, prompts=2, change=change, curves=False))
    assert not says(analysis, "one section")


def test_one_is_said_in_the_singular(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord | None:
        return record if record.prompt_id == "scene-000" else None

    whole = plant(tmp_path / "s", TWO[:1], prompts=2, seeds=1, change=change, curves=False)
    assert says(analysis_of(whole), "1 of 2 cells is not made yet")

    def fail(record: CellRecord) -> CellRecord:
        return record.model_copy(update={"status": "failed"})

    none = plant(tmp_path / "n", TWO[:1], prompts=1, seeds=1, change=fail, curves=False)
    assert says(analysis_of(none), "1 of 1 cell failed")


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


@pytest.mark.parametrize(
    ("prompts", "close", "sure"),
    [
        (12, False, "less than the next best beyond chance in ΔClarity"),
        (12, True, "not beyond chance against the next best"),
        (3, False, "3 prompts are too few to test that against the next best"),
        (1, False, "not tested against the next best"),
    ],
)
def test_a_baseline_that_is_best_is_tested_against_the_next_best(
    tmp_path: Path, prompts: int, close: bool, sure: str
) -> None:
    """The third variant is far off: that the baseline beats it says nothing of the second."""
    drifts = {VANILLA: 0.10, INVERTED: 0.101 if close else 0.2, FOUR[1].name: 0.4}

    def rows(record: CellRecord, found: Rows) -> Rows:
        for row in found:
            if row["segment"] == "drift":
                noise = (hash_of(f"{record.variant}{record.prompt_id}{record.seed}") % 100) / 2000
                row["value"] = drifts[record.variant] + noise
        return found

    variants = [FOUR[0], FOUR[1], FOUR[3]]
    metrics = ["clarity", "dynamic"]
    plant(tmp_path / "s", variants, prompts=prompts, metrics=metrics, rows=rows, curves=False)
    told = list(findings(analyse(reports.load(tmp_path / "s"))))
    (drift,) = [sentence for sentence in told if "drifts least" in sentence]
    assert drift.startswith(f"{VANILLA} drifts least in 1 of 1 metric: ΔClarity ")
    assert drift.endswith(f"; {sure}.")
    (moves,) = [sentence for sentence in told if "moves most" in sentence]
    assert ("prompts are too few" in moves) == (prompts == 3)
    assert ("beyond chance" in moves) == (prompts == 12)


def test_a_best_variant_of_few_prompts_is_not_said_to_be_chance(tmp_path: Path) -> None:
    plant(tmp_path / "s", TWO, prompts=2, metrics=["clarity"], curves=False)
    told = list(findings(analyse(reports.load(tmp_path / "s"))))
    (drift,) = [sentence for sentence in told if "drifts least" in sentence]
    assert drift.startswith(INVERTED)
    assert drift.endswith(f"; 2 prompts are too few to test that against {VANILLA}.")


def test_shares_are_told_with_their_intervals_as_the_table_prints_them(tmp_path: Path) -> None:
    analysis = analysis_of(plant(tmp_path / "s", FOUR, prompts=12, curves=False))
    (told,) = shares_told(analysis)
    (row,) = [one for one in all_tables(analysis)["variance"].rows if one.label == "ΔClarity"]
    found = [e for e in row.entries if isinstance(e, Number) and e.interval]
    assert len(found) > 4
    assert all(f" {e.shown} % {e.interval}" in told for e in found[:-1])  # the last is the rest


@pytest.mark.parametrize(("values", "seeds"), [((0.001, 0.001004), 3), ((0.0, 0.5), 1)])
def test_equal_as_printed_or_from_single_videos_none_drifts_least(
    tmp_path: Path, values: tuple[float, float], seeds: int
) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        value = values[record.variant == INVERTED]
        return [{**row, "value": value} for row in found]

    study = plant(
        tmp_path / "s", TWO, prompts=1, seeds=seeds, metrics=["clarity"], rows=rows, curves=False
    )
    told = list(findings(analyse(reports.load(study.path))))
    assert not [sentence for sentence in told if "drifts least" in sentence]


def shares_told(analysis: Analysis) -> list[str]:
    return [sentence for sentence in findings(analysis) if "Of the variance" in sentence]


def test_shares_that_were_not_measured_are_not_told_as_none(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord | None:
        """Three videos: as many as there are constants to fit."""
        here = (record.variant, record.prompt_id)
        return None if here == (INVERTED, "scene-001") else record

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1, curves=False, change=change)
    assert shares_told(analyse(reports.load(study.path))) == []


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_told_as_the_table_prints_them(tmp_path: Path, seed: int) -> None:
    study = plant(tmp_path / "s", TWO, prompts=3, seeds=2, curves=False, seed=seed)
    analysis = analyse(reports.load(study.path))
    (told,) = shares_told(analysis)
    table = all_tables(analysis)["variance"]
    (row,) = [row for row in table.rows if row.label == "ΔClarity"]
    for heading, entry in zip(table.headings, row.entries, strict=True):
        if heading.key in ("sampler", "prompt", "seed"):
            assert isinstance(entry, Number)
            assert f"{heading.key} {entry.shown} %" in told


def test_why_there_are_no_shares_is_told_once_with_the_metrics_names(tmp_path: Path) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        return [row | {"value": 1.0} if row["metric"] == "dynamic" else row for row in found]

    study = plant(tmp_path / "s", TWO, prompts=4, seeds=2, curves=False, rows=rows)
    table = all_tables(analyse(reports.load(study.path)))["variance"]
    told = [note for note in table.notes if note.startswith("No share of")]
    alike = "No share of sampler, packing, section, prompt, seed in Dynamic: all videos score the"
    assert any(note.startswith(alike) for note in told)
    assert len(told) == 2
    assert "packing, section in Clarity, Aesthetic" in told[0]


def test_one_variant_with_one_prompt_and_many_seeds_is_still_a_report(tmp_path: Path) -> None:
    study = plant(tmp_path / "s", FOUR[:1], prompts=1, seeds=3)
    written = reports.write([study.path])
    assert "No share of prompt in any metric: one prompt only." in written.page.read_text()


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


@pytest.mark.parametrize("whole", [True, False])
def test_scoring_again_is_advised_only_where_it_would_help(tmp_path: Path, whole: bool) -> None:
    def rows(record: CellRecord, found: Rows) -> Rows:
        other = [row | {"fingerprint": "f" * 16} for row in found] if whole or record.seed else []
        return [*found, *other]

    study = plant(tmp_path / "s", TWO, prompts=2, metrics=["motion"], curves=False, rows=rows)
    analysis = analysis_of(study)
    assert says(analysis, "motion was measured in 2 ways")
    assert says(analysis, "run stage=score again") is not whole
    assert says(analysis, "their numbers do not compare") is whole


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


@pytest.mark.parametrize("prompts", [1, 5])
def test_differences_that_could_not_be_found_are_not_said_to_be_chance(
    tmp_path: Path, prompts: int
) -> None:
    analysis = analysis_of(plant(tmp_path / "s", TWO, prompts=prompts, seeds=1, curves=False))
    assert analysis.differences
    assert not [sentence for sentence in findings(analysis) if "in any column" in sentence]


def test_curves_without_any_value_leave_the_page_without_them(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    from metrics.store import CURVES_FILE
    from reports.plots.over_time import over_time

    study = plant(tmp_path / "s", TWO, prompts=2, seeds=1)
    for path in study.path.rglob(CURVES_FILE):
        table = pq.read_table(path)
        frame = table.to_pandas()
        frame.loc[frame["metric"] == "clarity", "value"] = np.nan
        pq.write_table(table.from_pandas(frame, schema=table.schema), path)
    plot = over_time(analysis_of(study))
    assert plot is not None
    titles = [panel.get_title() for panel in plot.figure.axes]
    assert "Aesthetic" in titles and "Clarity" not in titles


def test_votes_of_several_questions_are_rated_apart(
    tmp_path: Path,
) -> None:
    study = plant(tmp_path / "s", FOUR, prompts=4, seeds=1, curves=False)
    plant_votes(study.path, prompts=4, votes=120)
    results = reports.load(study.path)
    votes = results.votes.copy()
    votes.loc[votes.index[:40], "question"] = "motion"
    rest = str(votes["question"].iloc[-1])
    analysis = analyse(replace(results, votes=votes))
    assert analysis.human is not None
    assert analysis.human.question == rest
    assert says(analysis, "also asked: motion")
    other = analyse(replace(results, votes=votes), question="motion")
    assert other.human is not None
    assert other.human.counted <= 40

    votes["question"] = "overall"
    assert says(analyse(replace(results, votes=votes)), "also asked") is False
    with pytest.raises(UserError, match=r"report\.question=motion: no votes; there are overall$"):
        analyse(replace(results, votes=votes), question="motion")


def votes_between(*pairs: tuple[str, str], each: int) -> pd.DataFrame:
    """The first of each pair wins two of three votes, by many raters."""
    rows = [
        (*pair, "left" if number % 3 else "right", f"r{number % 12}", "scene-000", 0, "overall")
        for pair in pairs
        for number in range(each)
    ]
    names = ["left", "right", "answer", "rater", "prompt_id", "seed", "question"]
    return pd.DataFrame(rows, columns=names)


def test_groups_that_votes_never_connect_are_not_ranked_against_each_other(
    tmp_path: Path,
) -> None:
    many = (*FOUR, Made("td_f8k4_g9", "vanilla", "f8k4"))
    results = reports.load(plant(tmp_path / "s", many, prompts=6, seeds=1, curves=False).path)
    a, b, c, d, e = (made.name for made in many)
    votes = votes_between((a, b), (b, c), (d, e), each=36)
    analysis = analyse(replace(results, votes=votes))
    assert analysis.human is not None and analysis.human.parted
    tables = all_tables(analysis)

    ratings = tables["ratings"]
    assert [block.title for block in ratings.blocks] == ["Group 1", "Group 2"]
    for block in ratings.blocks:
        assert [row.entries[0].mark for row in block.rows].count("best") == 1  # type: ignore[union-attr]
    place = [heading.key for heading in tables["samplers"].headings].index("elo")
    shown = {row.label: row.entries[place].shown for row in tables["samplers"].rows}  # type: ignore[union-attr]
    assert {name for name, elo in shown.items() if elo == "–"} == {d, e}
    assert any("among 3, from" in sentence for sentence in findings(analysis))

    # Over the three variants of the largest group: five would give a ρ with an interval.
    rho = tables["correlation"].rows[0].entries[0]
    assert np.isnan(rho.low)  # type: ignore[union-attr]


def test_who_never_lost_has_an_interval_without_an_upper_end(tmp_path: Path) -> None:
    from reports.plots.dots import ratings

    results = reports.load(plant(tmp_path / "s", FOUR, prompts=6, seeds=1, curves=False).path)
    a, b, c, d = (made.name for made in FOUR)
    votes = votes_between((a, b), (b, c), (c, a), (a, d), (b, d), (c, d), each=36)
    votes.loc[votes["right"] == d, "answer"] = "right"
    analysis = analyse(replace(results, votes=votes))
    table = all_tables(analysis)["ratings"]
    best = table.rows[0]
    assert best.label == d
    assert any(
        entry.interval.endswith(", ∞]") for entry in best.entries if isinstance(entry, Number)
    )
    assert r"$\infty$]" in to_latex(table, intervals=True)
    assert ",inf," in to_csv(table, intervals=True)
    plot = ratings(analysis)
    assert plot is not None
    (panel,) = plot.figure.axes
    assert max(line.get_xdata()[-1] for line in panel.lines[:1]) == panel.get_xlim()[1]


def test_prompts_that_begin_with_the_same_image_are_one_cluster(tmp_path: Path) -> None:
    plant(tmp_path / "s", FOUR, prompts=8, curves=False)
    for number, path in enumerate(sorted((tmp_path / "s" / "prompts").glob("*.json"))):
        stored = json.loads(path.read_text()) | {"origin": f"scene {number // 2}"}
        path.write_text(json.dumps(stored))
    analysis = analyse(reports.load(tmp_path / "s"))
    assert len(np.unique(analysis.prompt)) == 4
    column = analysis.scored[0]
    assert analysis.estimate(analysis.variants[0], column).prompts == 4
    assert any("8 prompts begin with 4 different images" in note for note in analysis.notes)
    assert any(note.startswith("4 prompts only") for note in analysis.notes)


def test_prompts_that_all_begin_with_the_same_image_are_told_as_one(tmp_path: Path) -> None:
    plant(tmp_path / "s", TWO, prompts=2, curves=False)
    for path in (tmp_path / "s" / "prompts").glob("*.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"origin": "scene"}))
    analysis = analyse(reports.load(tmp_path / "s"))
    assert says(analysis, "the 2 prompts begin with the same image: they count as one prompt")
