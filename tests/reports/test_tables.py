"""Every number in the tables, recomputed from the files by another route."""

from __future__ import annotations

import csv
import json
import math
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from bench.cell import CellError, CellRecord
from reports.analysis import analyse
from reports.reference import MARK, reference
from reports.results import load
from reports.tables import all_tables, write
from reports.tables.formats import plain, to_csv, to_markdown
from reports.tables.latex import latex_escape, to_latex
from reports.tables.table import Block, Heading, Number, Row, Table, ranked, text_of
from tests.reports.planted import FOUR, plant

if TYPE_CHECKING:
    from reports.report import Written

Cells = dict[tuple[str, str, int], dict[str, float]]


def raw_scores(study: Path) -> Cells:
    """metric.segment values by cell, read file by file with nothing of `reports`."""
    found: Cells = {}
    for path in sorted((study / "cells").glob("*/*/cell.json")):
        cell = json.loads(path.read_text())
        if cell["status"] != "done":
            continue
        rows = pq.ParquetFile(path.with_name("scores.parquet")).read().to_pylist()
        values = {
            f"{row['metric']}.{row['segment']}": 100 * row["value"]
            for row in rows
            if row["status"] == "ok"
        }
        found[cell["variant"], cell["prompt_id"], cell["seed"]] = values
    return found


@pytest.fixture(scope="module")
def raw(planted_study: Path) -> Cells:
    return raw_scores(planted_study)


def rows_of(report: Written, name: str) -> dict[str, dict[str, str]]:
    text = (report.page.parent / "tables" / f"{name}.csv").read_text()
    return {row["variant"]: row for row in csv.DictReader(text.splitlines())}


def naive_interval(values: dict[str, list[float]]) -> tuple[float, float, float]:
    """Mean of videos and its interval, from lists by prompt: the jackknife written out."""
    everything = [value for of in values.values() for value in of]
    mean = sum(everything) / len(everything)
    number = len(values)
    without = []
    for left_out in values:
        rest = [value for prompt, of in values.items() if prompt != left_out for value in of]
        without.append(sum(rest) / len(rest))
    error = math.sqrt((number - 1) / number * sum((one - mean) ** 2 for one in without))
    # Quantiles of Student's t at 0.975 from a printed table.
    quantile = {6: 2.447, 7: 2.365}[number - 1]
    return mean, mean - quantile * error, mean + quantile * error


def test_means_and_intervals_equal_the_raw_files(report: Written, raw: Cells) -> None:
    table = rows_of(report, "samplers_intervals")
    assert len(table) == 4
    checked = 0
    for variant, row in table.items():
        for key in report.analysis.paper:
            segment = f"{key.metric}.{key.segment}"
            by_prompt: dict[str, list[float]] = {}
            for (of, prompt, _), values in raw.items():
                if of == variant and segment in values:
                    by_prompt.setdefault(prompt, []).append(values[segment])
            mean, low, high = naive_interval(by_prompt)
            assert float(row[key.key]) == pytest.approx(mean)
            low = max(low, -100.0 if key.metric in ("semantic", "identity") else 0.0)
            assert float(row[f"{key.key}_low"]) == pytest.approx(low, rel=2e-3)
            assert float(row[f"{key.key}_high"]) == pytest.approx(high, rel=2e-3)
            checked += 1
    assert checked == 44


def test_differences_and_their_tests_equal_the_raw_files(report: Written, raw: Cells) -> None:
    base = report.analysis.baseline
    assert base is not None
    table = rows_of(report, "differences")
    for variant, row in table.items():
        for column in report.analysis.scored:
            segment = f"{column.metric}.{column.segment}"
            by_prompt: dict[str, list[float]] = {}
            for (of, prompt, seed), values in raw.items():
                other = raw.get((base.name, prompt, seed), {})
                if of == variant and segment in values and segment in other:
                    by_prompt.setdefault(prompt, []).append(values[segment] - other[segment])
            deltas = [value for of in by_prompt.values() for value in of]
            assert float(row[column.key]) == pytest.approx(sum(deltas) / len(deltas), abs=1e-9)
            sums = np.array([sum(of) for of in by_prompt.values()])
            signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
            p = np.mean(np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9)
            tested = report.analysis.differences[variant, column]
            assert tested.difference.p == pytest.approx(p)
            assert tested.difference.prompts == len(sums)


def test_counts_and_coverage_equal_the_folder(report: Written, planted_study: Path) -> None:
    table = rows_of(report, "coverage")
    for variant, row in table.items():
        cells = list((planted_study / "cells" / variant).glob("*/cell.json"))
        states = [json.loads(path.read_text())["status"] for path in cells]
        assert float(row["asked"]) == 16
        assert float(row["made"]) == states.count("done")
        assert float(row["failed"]) == states.count("failed")
        assert float(row["unfinished"]) == 16 - len(states)
        assert float(row["scored"]) == states.count("done")
        # Anatomy is undefined on one prompt of eight, two seeds.
        assert row["anatomy_videos"] == f"{states.count('done') - 2}"


def test_costs_equal_the_records(report: Written, planted_study: Path) -> None:
    for variant, row in rows_of(report, "costs_intervals").items():
        records = [
            json.loads(path.read_text())
            for path in (planted_study / "cells" / variant).glob("*/cell.json")
        ]
        done = [record for record in records if record["status"] == "done"]
        per_frame = [one["seconds"] / one["frames"] / one["batch_size"] for one in done]
        assert float(row["seconds_per_frame"]) == pytest.approx(np.mean(per_frame))
        assert float(row["tokens_last"]) == max(max(one["tokens_per_section"]) for one in done)
        assert float(row["peak_memory"]) == max(one["peak_memory_bytes"] for one in done) / 2**30
        assert row["untrained"] == ("k8" if "k8" in variant else "none")


def test_elo_and_rank_are_those_of_the_votes(report: Written, planted_study: Path) -> None:
    from ablations.arena import votes
    from reports.elo import elo

    table = votes.load(planted_study)
    rated = elo(table)
    rows = rows_of(report, "samplers")
    for name, rating in zip(rated.variants, rated.rating, strict=True):
        assert float(rows[name]["elo"]) == pytest.approx(rating)
    order = sorted(rows, key=lambda name: -float(rows[name]["elo"]))
    assert float(rows[order[0]]["rank"]) == 1


def test_agreement_with_votes_equals_counting_by_hand(
    report: Written, raw: Cells, planted_study: Path
) -> None:
    from ablations.arena import votes

    agrees = total = 0
    for vote in votes.load(planted_study).itertuples():
        left = raw.get((vote.left, vote.prompt_id, vote.seed), {}).get("clarity.drift")
        right = raw.get((vote.right, vote.prompt_id, vote.seed), {}).get("clarity.drift")
        if vote.kind == "normal" and vote.answer in ("left", "right") and left and right:
            total += 1
            agrees += (left < right) == (vote.answer == "left")
    text = (report.page.parent / "tables" / "correlation.csv").read_text()
    row = next(row for row in csv.DictReader(text.splitlines()) if row["metric"] == "ΔClarity")
    assert float(row["agrees"]) == pytest.approx(100 * agrees / total)
    assert float(row["votes"]) == total


def test_the_papers_columns_stand_in_its_order(report: Written) -> None:
    titles = [heading.title for heading in report.tables["samplers"].headings]
    assert titles == [
        "Clarity",
        "Aesthetic",
        "Motion",
        "Dynamic",
        "Semantic",
        "Anatomy",
        "Identity",
        "ΔClarity",
        "ΔMotion",
        "ΔSemantic",
        "ΔAnatomy",
        "ELO",
        "Rank",
        "Videos",
    ]
    blocks = [block.title for block in report.tables["samplers"].blocks]
    assert blocks == [
        "Vanilla sampling",
        "Vanilla sampling, discretised history",
        "Inverted anti-drifting sampling",
    ]


def test_best_is_bold_and_second_underlined_by_direction() -> None:
    table = ranked(
        Table(
            "t",
            "T",
            "Variant",
            (Heading("up", "Up", "higher"), Heading("down", "Down", "lower"), Heading("no", "No")),
            (
                Block("", (Row("a", (Number(2.001), Number(1.0), Number(5.0))),)),
                Block("", (Row("b", (Number(2.002), Number(0.5), Number(6.0))),)),
                Block("", (Row("c", (Number(1.0), Number(np.nan), Number(7.0))),)),
            ),
        )
    )
    marks = [
        [entry.mark for entry in row.entries if isinstance(entry, Number)] for row in table.rows
    ]
    # 2.001 and 2.002 both print 2.00: they share the first place.
    assert marks == [["best", "second", ""], ["best", "best", ""], ["second", "", ""]]
    markdown = to_markdown(table)
    assert "| `b` | **2.00** | **0.50** | 6.00 |" in markdown
    assert "<u>1.00</u>" in markdown
    assert r"\textbf{2.00}" in to_latex(table)
    assert r"\underline{1.00}" in to_latex(table)


def test_where_neither_way_is_better_no_number_is_best(tmp_path: Path) -> None:
    plant(tmp_path / "s", prompts=2, seeds=1, metrics=["departure"], curves=False)
    table = all_tables(analyse(load(tmp_path / "s")))["more_metrics"]
    place = [heading.key for heading in table.headings].index("departure")
    assert table.headings[place].arrow == ""
    assert {row.entries[place].mark for row in table.rows} == {""}  # type: ignore[union-attr]


def test_a_column_of_equal_numbers_has_no_best() -> None:
    rows = tuple(Row(name, (Number(1.0),)) for name in "abc")
    table = ranked(Table("t", "T", "V", (Heading("x", "X", "higher"),), (Block("", rows),)))
    assert all(entry.mark == "" for row in table.rows for entry in row.entries)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("value", "digits", "sign", "text"),
    [
        (-0.001, 2, False, "0.00"),
        (-0.001, 2, True, "0.00"),
        (1.5, 1, True, "+1.5"),
        (-1.5, 1, False, "−1.5"),
        (1234.0, 0, False, "1234"),
        (12345.0, 0, False, "12\u202f345"),
        (float("nan"), 2, False, "–"),
    ],
)
def test_numbers_print_as_readers_expect(value: float, digits: int, sign: bool, text: str) -> None:
    assert text_of(value, digits, sign) == text


def test_missing_numbers_are_dashes_with_their_count_and_never_zero() -> None:
    assert plain(Number(np.nan, missing=12)) == "– (12 missing)"
    assert plain(Number(3.0, 2.0, 4.0, missing=1), intervals=True) == "3.00† [2.00, 4.00]"
    rows = (Row("a", (Number(np.nan, missing=3),)),)
    table = Table("t", "T", "V", (Heading("x", "X"),), (Block("", rows),))
    assert to_csv(table, intervals=True) == "v,block,x,x_low,x_high,x_missing\na,,,,,3\n"


@pytest.mark.parametrize(("shift", "largest"), [(0.0, "1.00"), (0.07, "7.00")])
def test_what_could_be_seen_in_a_metric_without_spread_is_not_known(
    tmp_path: Path, shift: float, largest: str
) -> None:
    def rows(record: CellRecord, found: list[dict[str, object]]) -> list[dict[str, object]]:
        # Prompts differ, and so do differences: by rounding errors.
        value = 0.1 + 0.13 * int(record.prompt_id[-1]) + shift * (record.variant != FOUR[0].name)
        value -= 0.06 * (record.variant == FOUR[3].name and record.prompt_id == "scene-000")
        return [row | {"value": value} if row["metric"] == "dynamic" else row for row in found]

    plant(tmp_path / "s", prompts=6, seeds=1, curves=False, rows=rows)
    table = all_tables(analyse(load(tmp_path / "s")))["power"]
    shown = {row.label: [plain(entry) for entry in row.entries] for row in table.rows}
    assert shown["Dynamic"] == ["–", largest, "0.00", "6", "–"]
    assert float(shown["Clarity"][0]) > 0
    assert [note.startswith("Dynamic: ") for note in table.notes] == [False, True]


def test_every_table_is_there_as_csv_markdown_and_latex(report: Written) -> None:
    folder = report.page.parent / "tables"
    for name, table in report.tables.items():
        forms = [name, f"{name}_intervals"] if table.has_intervals else [name]
        for form in forms:
            for kind in ("csv", "md", "tex"):
                assert (folder / f"{form}.{kind}").stat().st_size > 0
    assert {"samplers", "packings", "costs", "differences", "variance", "power"} <= {*report.tables}


def test_every_column_of_every_table_is_explained(report: Written) -> None:
    from reports.tables.meanings import meaning

    silent = [
        (table.name, heading.key)
        for table in report.tables.values()
        for heading in table.headings
        if not meaning(table.name, heading)
    ]
    assert silent == []


def test_the_reference_is_marked_and_apart(report: Written) -> None:
    table = reference()
    assert MARK in table.title
    assert any(MARK in note for note in table.notes)
    assert all(not entry.mark for row in table.rows for entry in row.entries)  # type: ignore[union-attr]
    ours = to_csv(report.tables["samplers"])
    assert "18.05" not in ours
    found = {row.label: row.entries for row in table.rows}
    first = found["td_f16k4f2k2f1k1_g9"]
    assert [plain(entry) for entry in first] == (
        ["–", "–", "–", "3.18", "3.42", "7.45", "18.05", "1074"]
    )


def test_latex_escapes_what_would_stop_it() -> None:
    assert latex_escape("a_b & 50 % of #1 {x} ~ ^ \\") == (
        r"a\_b \& 50 \% of \#1 \{x\} \~{} \^{} \textbackslash{}"
    )
    assert latex_escape("漢") == latex_escape("\u0149") == "?"
    assert latex_escape("a\x1b[0m\n\nb\x00\x7f\x85c") == "a [0m b c"


def test_latex_knows_every_letter_of_the_reference() -> None:
    assert "?" not in to_latex(reference())


def latex_of(label: str, rows: int, columns: int, words: str = "") -> tuple[str, str]:
    """A table of intervals with an empty column, as LaTeX without and with its intervals."""
    number = Number(50.0, 40.0, 60.0)
    headings = [Heading(f"c{n}", f"Column {n}") for n in range(columns)]
    headings += [Heading("none", "Nothing"), Heading("why", "Why", numeric=False)]
    entries = (*[number] * columns, Number(np.nan, missing=3), words)
    block = Block("", tuple(Row(f"row_{n}", entries) for n in range(rows)))
    table = Table("t", "T", label, tuple(headings), (block,))
    return to_latex(table), to_latex(table, intervals=True)


def test_latex_leaves_out_columns_without_a_value_and_says_so() -> None:
    for text in latex_of("Variant", 2, 2, "so"):
        head = next(line for line in text.splitlines() if line.startswith("Variant"))
        assert "Nothing" not in head and "Why" in head
        assert "No values: Nothing." in text


def test_latex_sets_intervals_beside_where_there_is_room_and_below_where_not() -> None:
    assert r"50.00\,{\scriptsize [40.00, 60.00]} & 50.00" in latex_of("Variant", 2, 2)[1]
    wide = latex_of("Variant", 2, 8)[1]
    assert r"& {\scriptsize [40.00, 60.00]} & {\scriptsize [40.00, 60.00]}" in wide


def test_latex_cuts_what_is_too_wide_or_too_long_and_loses_nothing() -> None:
    text, wide = latex_of("Variant", 100, 24)
    for shown in (text, wide):
        assert shown.count(r"\label{") == 1
        assert shown.count(r"\begin{table*}") == shown.count(" (continued)") + 1 > 2
        assert shown.count(r"50.00") == 100 * 24
        heads = [line for line in shown.splitlines() if line.startswith("Variant & ")]
        assert all(line.count("&") < 24 for line in heads)


def test_only_variants_are_set_in_the_type_of_code() -> None:
    assert r"\texttt{row\_0}" in latex_of("Variant", 1, 1)[0]
    assert r"\texttt" not in latex_of("Metric", 1, 1)[0]
    rows = (Row("a", (Number(1.0),)),)
    for label, shown in (("Variant", "| `a` |"), ("Metric", "| a |")):
        table = Table("t", "T", label, (Heading("x", "X"),), (Block("", rows),))
        assert shown in to_markdown(table)


def test_latex_wraps_long_words() -> None:
    text, _ = latex_of("Claim", 1, 1, "a reason of many words " * 4)
    assert r">{\raggedright\arraybackslash}p{" in text
    assert r"\resizebox" not in text


def words_table(label: str, *rows: tuple[str, str], name: str = "t") -> Table:
    headings = (Heading("why", "Why", numeric=False),)
    block = Block("", tuple(Row(one, (words,)) for one, words in rows))
    return Table(name, "T", label, headings, (block,))


@pytest.mark.parametrize("label", ["Variant", "Claim"])
def test_latex_parts_words_that_are_longer_than_a_line(label: str) -> None:
    path = "/some/folder_of/many-parts.d" * 9
    text = to_latex(words_table(label, ("x" * 120, path)))
    assert r"/\allowbreak{}some/\allowbreak{}folder\_\allowbreak{}of" in text
    assert "x" * 60 not in text
    assert text.replace(r"\allowbreak{}", "").count(latex_escape(path)) == 1


def test_latex_does_not_take_a_name_for_an_option() -> None:
    text = to_latex(words_table("Claim", ("a", "b"), ("[c]", "d"), ("*e", "f")))
    assert "\n{}[c] & d" in text and "\n{}*e & f" in text


def test_latex_cuts_an_entry_longer_than_a_page() -> None:
    table = words_table("Variant", ("a", "b " * 5000))
    assert len(to_latex(table)) < 2000 and len(to_csv(table)) > 5000


def test_a_long_name_without_any_value_is_still_a_table() -> None:
    rows = (Row("v" * 200, (Number(np.nan),)),)
    table = Table("t", "T", "Variant", (Heading("x", "X"),), (Block("", rows),))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "v" * 200 in to_latex(table)


def test_latex_puts_many_pages_of_one_table_in_place_before_there_are_too_many() -> None:
    parts = to_latex(words_table("Variant", *[("a", "b")] * 2000)).split(r"\clearpage")
    counts = [part.count(r"\begin{table*}") for part in parts]
    assert sum(counts) > 30 and max(counts) <= 12


def test_paper_groups_many_failures_by_reason_and_csv_names_all(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord:
        message = "no room" if record.seed else f"no {record.prompt_id}"
        error = CellError(kind="MemoryError", message=message, traceback="")
        return record.model_copy(update={"status": "failed", "error": error, "video_sha256": ""})

    plant(tmp_path / "s", prompts=2, seeds=11, curves=False, change=change)
    table = all_tables(analyse(load(tmp_path / "s")))["failures"]
    assert to_csv(table).count("MemoryError") == to_markdown(table).count("MemoryError") == 88
    lines = [line for line in to_latex(table).splitlines() if line.startswith("MemoryError")]
    assert [line.split(" & ")[1] for line in lines] == ["80", "4", "4"]
    assert lines[0].endswith(r"no room \\")
    plant(tmp_path / "few", prompts=2, seeds=2, curves=False, change=change)
    table = all_tables(analyse(load(tmp_path / "few")))["failures"]
    assert to_latex(table).count("MemoryError") == 16


def compiled(folder: Path, pdflatex: str, between: str, setting: str, preamble: str) -> None:
    """Compile every table of a folder in one document, without a warning about its size."""
    body = between.join(f"\\input{{{path.stem}}}\n" for path in sorted(folder.glob("*.tex")))
    (folder / "all").write_text(
        f"\\documentclass[twocolumn,{setting}]{{article}}\n{preamble}\n"
        f"\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    run = subprocess.run(
        [pdflatex, "-halt-on-error", "-interaction=nonstopmode", "all"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        errors="replace",
    )
    assert run.returncode == 0, run.stdout[-2000:]
    assert not re.findall(r"^!.*", run.stdout, re.M)
    assert not re.findall(r"Overfull.*|Float too large.*|Missing character.*", run.stdout)
    assert (folder / "all.pdf").stat().st_size > 10_000


def preamble_of(text: str) -> str:
    """What a table's first lines say that a document needs."""
    return "\n".join(line[2:] for line in text.splitlines() if line.startswith("% "))


@pytest.mark.tex
def test_latex_tables_compile(report: Written, tmp_path: Path, require: Callable[..., str]) -> None:
    for path in (report.page.parent / "tables").glob("*.tex"):
        shutil.copy(path, tmp_path)
    margins = "\n\\usepackage[letterpaper,margin=0.75in]{geometry}"
    needed = "\\usepackage[T1]{fontenc}\n\\usepackage{array,booktabs,graphicx}"
    compiled(tmp_path, require("pdflatex"), "\\clearpage\n", "letterpaper", needed + margins)


@pytest.mark.tex
@pytest.mark.parametrize("paper", ["letterpaper", "a4paper"])
def test_latex_tables_of_many_variants_fit_on_pages_of_one_document(
    tmp_path: Path, require: Callable[..., str], paper: str
) -> None:
    made = [
        replace(of, name=f"{of.name}+steps-{n}", options={"steps": n})
        for of in FOUR
        for n in range(12)
    ]
    plant(tmp_path / "s", made, prompts=3, seeds=1, curves=False)
    folder = tmp_path / "tables"
    folder.mkdir()
    for table in all_tables(analyse(load(tmp_path / "s"))).values():
        write(table, folder)
    preamble = preamble_of((folder / "samplers.tex").read_text())
    compiled(folder, require("pdflatex"), "", paper, preamble)


@pytest.mark.tex
def test_latex_compiles_whatever_names_and_messages_hold(
    tmp_path: Path, require: Callable[..., str]
) -> None:
    letters = [chr(code) for code in range(0x180)] + ["漢", "\u0301", "\n\n", "[x]", "*"]
    path, name = "/a/folder_of/many-parts.d" * 10, "W" * 120
    message = f"Nothing at {path} {'word ' * 1000}"
    rows = [(one, one) for one in letters] + [(name, message), (path, name)]
    for number, label in enumerate(("Variant", "Claim")):
        for few, some in enumerate((rows[:-2], rows)):
            table = words_table(label, *some, name=f"t{number}{few}")
            write(replace(table, title=f"About {path}", notes=(message[:400], name)), tmp_path)
    headings = [Heading(key, key, numeric=False) for key in ("prompt", "seed", "kind", "message")]
    entries = ("p" * 40, "0", "OutOfMemoryErrorOfTheDevice", f"Nothing at {path}")
    block = Block(path, (Row("variant_" * 6, entries), Row("v" * 40, (name, *entries[1:]))))
    write(Table("failures", "F", "Variant", tuple(headings), (block,)), tmp_path)
    preamble = preamble_of((tmp_path / "failures.tex").read_text())
    compiled(tmp_path, require("pdflatex"), "", "a4paper", preamble)
