"""Any folder, any names; and scores for other programs."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from metrics import export, store, wide
from metrics.errors import UserError
from metrics.jobs import jobs_from_folder, score_folder
from metrics.score import Job, score_many


@pytest.fixture
def folder(tmp_path):
    for name in ("a_b.mp4", "a_b-0.mp4", "sub/a_b.mp4", "sub/Ünï code.WEBM", ".hidden/x.mp4"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "videos" / "notes.txt").touch()
    return tmp_path / "videos"


def prompts(tmp_path, *lines):
    path = tmp_path / "prompts.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_every_video_has_a_job_and_a_folder_of_its_own(folder, tmp_path):
    jobs = jobs_from_folder(folder, tmp_path / "out")
    assert [job.name for job in jobs] == [
        "a_b-0.mp4",
        "a_b.mp4",
        "sub/a_b.mp4",
        "sub/Ünï code.WEBM",
    ]
    assert len({job.folder for job in jobs}) == 4


@pytest.mark.parametrize("suffix", ["3gp", "flv", "m2ts", "MPEG", "mpg", "ogv", "ts", "wmv", "y4m"])
def test_videos_in_less_common_containers_are_found(tmp_path, suffix):
    (tmp_path / f"v.{suffix}").touch()
    assert [job.name for job in jobs_from_folder(tmp_path, tmp_path / "out")] == [f"v.{suffix}"]


def test_what_a_folder_scores_not_at_all_or_in_part_is_told(
    tmp_path, write_clip, moving, capsys, monkeypatch
):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_clip(videos / "long.mp4", moving(8, 32, 32))
    write_clip(videos / "one.mp4", moving(1, 32, 32))
    (videos / "film.webp").touch()
    (videos / "prompts.csv").write_text("video,prompt\nlong.mp4,a\none.mp4,b\n")
    monkeypatch.chdir(tmp_path)  # the CSV is named in another way than the folder
    prompts = Path("videos/prompts.csv")
    backends = {"name": "x", "backends": ["frame-difference"], "unavailable": {"semantic": "no"}}
    score_folder(videos, tmp_path / "out", backends, prompts=prompts, device="cpu")
    told = capsys.readouterr().out.splitlines()
    assert "left out, as their names are no video's: film.webp" in told
    assert "no change for 1 of 2 videos: needs 2 frames, the video has 1" in told
    assert "no semantic: no" in told


def test_folders_of_scores_inside_the_videos_are_no_videos(folder):
    names = [job.name for job in jobs_from_folder(folder, folder / "study" / "scores")]
    for name in names:
        (folder / "study" / "scores" / name).mkdir(parents=True)
    assert [job.name for job in jobs_from_folder(folder, folder / "study" / "scores")] == names


def test_prompts_and_images_come_from_the_csv(folder, tmp_path):
    csv = prompts(
        tmp_path,
        "video,prompt,reference,section_starts",
        'sub/a_b.mp4,"a man, walking",first.png,0 33 66',
        "Ünï code.WEBM,by its name,,",
    )
    jobs = {job.name: job for job in jobs_from_folder(folder, tmp_path / "out", csv)}
    assert jobs["sub/a_b.mp4"].prompt == "a man, walking"
    assert jobs["sub/a_b.mp4"].reference == tmp_path / "first.png"
    assert jobs["sub/a_b.mp4"].section_starts == (0, 33, 66)
    assert jobs["sub/Ünï code.WEBM"].prompt == "by its name"
    assert jobs["a_b.mp4"].prompt is None


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["name,prompt"], "needed is video"),
        (["video,promt"], "known are"),
        (["video,prompt", "c.mp4,x"], "line 2: 'c.mp4' is no video"),
        (["video,prompt", "a_b-0.mp4,x", "a_b-0.mp4,y"], "line 3.*twice"),
        (["video,section_starts", "a_b-0.mp4,one"], "not frame numbers"),
        (["video,section_starts", "a_b-0.mp4,0 66 33"], "'0 66 33' are not .* rising from"),
        (["video,section_starts", "a_b-0.mp4,0 33 33"], "rising from"),
        (["video,section_starts", "a_b-0.mp4,-1 33"], "rising from the first section's"),
    ],
)
def test_a_csv_that_does_not_fit_is_told_in_one_line(folder, tmp_path, lines, says):
    with pytest.raises(UserError, match=says) as caught:
        jobs_from_folder(folder, tmp_path / "out", prompts(tmp_path, *lines))
    assert "\n" not in str(caught.value)


def test_no_folder_and_no_videos_are_told(tmp_path):
    with pytest.raises(UserError, match="not a folder"):
        jobs_from_folder(tmp_path / "none", tmp_path)
    with pytest.raises(UserError, match="no video"):
        jobs_from_folder(tmp_path, tmp_path)


def test_exports_hold_what_was_scored(tmp_path, write_clip, moving):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_clip(videos / "good_1.mp4", moving(9))
    write_clip(videos / "good_2.mp4", moving(9, seed=2))
    (videos / "bad.mp4").touch()
    jobs = jobs_from_folder(videos, tmp_path / "out")
    score_many(jobs, ["classical", "lab-moments"], device="cpu")
    scores = export.collect((job.name, job.folder) for job in jobs)
    export.to_csv(scores, tmp_path / "scores.csv")
    again = pd.read_csv(tmp_path / "scores.csv", keep_default_na=False)
    assert set(again["video"]) == {"good_1.mp4", "good_2.mp4", "bad.mp4"}
    assert set(again[again["video"] == "bad.mp4"]["reason"]) == {"the file is empty"}
    export.to_vbench(scores, tmp_path / "results.json")
    mean, videos = json.loads((tmp_path / "results.json").read_text())["clarity.classical"]
    assert [video["video_path"] for video in videos] == ["good_1.mp4", "good_2.mp4"]
    assert mean == pytest.approx(sum(video["video_results"] for video in videos) / 2)


def test_a_folders_unreadable_videos_are_told_as_failed_and_counted_once(
    tmp_path, write_clip, moving, capsys
):
    videos = tmp_path / "videos"
    videos.mkdir()
    write_clip(videos / "good.mp4", moving(9))
    (videos / "bad.mp4").write_text("no video")
    assert (
        score_folder(videos, tmp_path, {"name": "x", "backends": ["lab-moments"]}, device="cpu")
        == 1
    )
    told = capsys.readouterr().out
    assert "[1] bad.mp4: failed: not a video (Invalid data found" in told
    assert told.count("not a video") == 1
    assert "[2] good.mp4: scored\n" in told
    assert "1 scored, 0 kept, 1 failed" in told
    table = pd.read_csv(tmp_path / "scores_wide.csv", index_col="video")
    assert list(table) == [
        f"{sign}{metric}" for metric in ("colour", "contrast", "cast") for sign in ("", "Δ")
    ]
    assert table.loc["bad.mp4"].isna().all()
    assert 0 < table.loc["good.mp4", "colour"] <= 1
    percent = 100 * table.loc["good.mp4", "contrast"]
    (row,) = [line for line in told.splitlines() if line.startswith("good.mp4 ")]
    assert f"{percent:.1f}" in row.split()


def scored(*rows):
    """Rows of (video, metric, back-end, fingerprint, segment, reading, value)."""
    heads = ["video", "metric", "backend", "fingerprint", "segment", "reading", "value"]
    return pd.DataFrame(rows, columns=heads).assign(status="ok")


def test_a_wide_table_takes_the_exact_drift_and_mixes_nothing():
    table = wide.wide(
        scored(
            ("a.mp4", "clarity", "classical", "f", "all", "exact", 0.5),
            ("a.mp4", "clarity", "classical", "f", "drift", "curve", 0.1),
            ("a.mp4", "clarity", "classical", "f", "drift", "exact", 0.2),
            ("a.mp4", "clarity", "musiq-spaq", "f", "all", "exact", 0.7),
            ("b.mp4", "motion", "rife", "old", "all", "exact", 0.8),
            ("a.mp4", "motion", "rife", "new", "all", "exact", 0.9),
            ("b.mp4", "clarity", "classical", "f", "drift", "curve", 0.3),
            ("b.mp4", "departure", "grid-departure", "f", "all", "exact", 3.0),
            ("b.mp4", "departure", "grid-departure", "f", "drift", "exact", 1.0),
        )
    )
    assert list(table["video"]) == ["a.mp4", "b.mp4"]
    there = {
        head: [None if pd.isna(value) else value for value in table[head]]
        for head in table.columns[1:]
        if table[head].notna().any()
    }
    assert there == {
        "clarity.classical": [0.5, None],
        "Δclarity.classical": [0.2, 0.3],
        "clarity.musiq-spaq": [0.7, None],
        "motion.rife.old": [None, 0.8],
        "motion.rife.new": [0.9, None],
        "departure": [None, 3.0],
    }


def test_a_printed_table_fits_a_terminal_and_ends_after_some_videos():
    metrics = ("clarity", "motion", "dynamic_magnitude", "identity_rate", "cast", "ours")
    rows = [
        (f"{'deep/' * 20}{number:02}.mp4", metric, "b", "f", segment, "exact", 0.25)
        for number in range(23)
        for metric in metrics
        for segment in ("all", "drift")
    ]
    lines = wide.lines(wide.wide(scored(*rows)))
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "… and 3 more"
    assert sum("19.mp4" in line for line in lines) == 2
    assert not any("20.mp4" in line for line in lines)
    assert lines[2].split()[:3] == ["Clarity", "Δ", "Motion"]
    assert lines[3].split()[1:4] == ["25.0", "25.0", "25.0"]
    assert lines[-2].split()[1:] == ["0.25"] * 6
    assert wide.lines(wide.wide(scored())) == ["no video has a score"]


def exported(*rows):
    """VBench's layout of (metric, back-end, fingerprint, [(frames, value) of each video])."""
    table = [
        {"video": f"{number}.mp4", "metric": metric, "backend": backend,
         "fingerprint": fingerprint, "frames": frames, "value": value}
        for metric, backend, fingerprint, videos in rows
        for number, (frames, value) in enumerate(videos)
    ]  # fmt: skip
    found = export.vbench(pd.DataFrame(table).assign(segment="all", status="ok"))
    return {
        name: (mean, [video["video_results"] for video in videos])
        for name, (mean, videos) in json.loads(json.dumps(found)).items()
    }


def test_vbenchs_protocol_has_vbenchs_names_scales_and_means():
    found = exported(
        ("clarity", "musiq-spaq", "f", [(9, 0.5), (9, 0.75)]),
        ("dynamic", "raft-large", "f", [(9, 1.0), (9, 0.0)]),
        ("motion", "amt-s", "f", [(9, 0.5), (33, 1.0)]),
        ("subject_consistency", "dino-b16", "f", [(9, 0.5), (25, 0.9)]),
    )
    assert found == {
        "imaging_quality": (0.625, [50, 75]),
        "dynamic_degree": (0.5, [True, False]),
        "motion_smoothness": (0.75, [0.5, 1.0]),
        "subject_consistency": (pytest.approx((8 * 0.5 + 24 * 0.9) / 32), [0.5, 0.9]),
    }
    assert [type(result) for result in found["dynamic_degree"][1]] == [bool, bool]


@pytest.mark.parametrize(
    ("metric", "backend"),
    [
        ("clarity", "classical"),
        ("clarity", "pocket-judge"),
        ("aesthetic", "laion-mlp"),
        ("motion", "rife"),
        ("dynamic", "dis"),
        ("semantic", "clip-mean"),
        ("anatomy", "blaze-landmarks"),
        ("anatomy", "vbench2-vit"),  # its people are found by another detector
        ("identity_rate", "mobilefacenet"),
        ("identity_rate", "buffalo-l"),
    ],
)
def test_what_is_not_vbenchs_protocol_has_a_name_of_its_own(metric, backend):
    assert exported((metric, backend, "f", [(30, 0.4)])) == {f"{metric}.{backend}": (0.4, [0.4])}


def test_two_settings_of_a_back_end_are_not_mixed():
    found = exported(("motion", "amt-s", "old", [(9, 0.4)]), ("motion", "amt-s", "new", [(9, 0.5)]))
    assert found == {"motion_smoothness": (0.4, [0.4]), "motion_smoothness.new": (0.5, [0.5])}


def test_a_studys_scores_are_exported_by_one_command(tmp_path, write_clip, moving, capsys):
    clip = write_clip(tmp_path / "a.mp4", moving(9))
    cell = tmp_path / "study" / "cells" / "td" / "walk_0"
    score_many([Job(clip, cell)], ["lab-moments"], device="cpu")
    table, study = tmp_path / "scores.csv", str(tmp_path / "study")
    broad = tmp_path / "wide.csv"
    assert export.main([study, "--wide", str(broad)]) == 0
    assert capsys.readouterr().out == f"{broad}: scores of 1 video\n"
    assert "Δcolour" in pd.read_csv(broad)
    assert export.main([study, "--csv", str(table), "--vbench", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{table}: scores of 1 video"
    assert set(pd.read_csv(table)["video"]) == {"td/walk_0"}
    results = json.loads((tmp_path / "vbench_results.json").read_text())
    assert results["colour.lab-moments"][1][0]["video_path"] == "td/walk_0"


def test_loose_videos_are_exported_by_their_paths(tmp_path):
    scores = store.scores_frame([])
    for name in ("a.mp4", "sub/a.mp4"):
        store.write_table(
            scores, store.score_schema(), tmp_path / "scores" / name / store.SCORES_FILE
        )
    assert [name for name, _ in export.scored_in(tmp_path)] == ["a.mp4", "sub/a.mp4"]


def test_a_study_exports_its_cells_alone(tmp_path):
    for name in ("cells/v/p_0", "scores/a.mp4"):
        store.write_scores(tmp_path / name, store.scores_frame([]), store.read_curves(tmp_path))
    assert [name for name, _ in export.scored_in(tmp_path)] == ["v/p_0"]


def test_loose_videos_are_not_scored_into_a_study(folder, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    (study / "study.yaml").touch()
    with pytest.raises(UserError, match=r"study=.* is a study, .* name another folder"):
        score_folder(folder, study, "lite")
    assert [path.name for path in study.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["none", "--csv", "s.csv"], "none: there is no such folder"),
        ([".", "--csv", "s.csv"], "holds no scores"),
        (["."], "give --csv FILE, --wide FILE, --vbench FILE"),
        ([".", "--csv", "none/s.csv"], "none/s.csv: give a file in a folder that is there"),
    ],
)
def test_an_export_that_cannot_be_made_is_told_in_one_line(
    tmp_path, monkeypatch, capsys, words, says
):
    monkeypatch.chdir(tmp_path)
    assert export.main(words) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("module", ["export", "score", "weights"])
def test_modules_that_are_run_tell_what_they_are_for(module):
    command = [sys.executable, "-m", f"metrics.{module}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "python " in done.stdout
    assert not done.stderr
