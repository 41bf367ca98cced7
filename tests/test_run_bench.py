"""The command line: a manual page, one line for every mistake, an exit status that tells."""

import errno
import importlib.util
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from PIL import Image

ROOT = Path(__file__).parents[1]
VANILLA = "td_f16k4f2k2f1k1_g9"


_SPEC = importlib.util.spec_from_file_location("run_bench", ROOT / "run_bench.py")
assert _SPEC is not None
assert _SPEC.loader is not None
framepack_bench = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(framepack_bench)


def run_bench(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "run_bench.py"), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete checkpoint with untrained weights, as small as it gets."""
    from bench.pocket.components import build_random

    folder = tmp_path_factory.mktemp("checkpoint")
    return build_random(folder, num_layers=1, num_single_layers=1)


def test_help_reads_like_a_manual_page(tmp_path: Path) -> None:
    done = run_bench("--help", cwd=tmp_path)
    assert done.returncode == 0
    for heading in ("NAME", "SYNOPSIS", "STAGES", "GROUPS", "FILES", "EXIT STATUS", "EXAMPLES"):
        assert f"\n{heading}\n" in f"\n{done.stdout}"
    assert "Hydra" not in done.stdout
    groups = re.compile(r"\w+: ")  # Hydra prints a group's values on one line, however many
    ours = [line for line in done.stdout.splitlines() if not groups.match(line)]
    assert max(map(len, ours)) <= 100


def test_options_are_taken_as_the_documents_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = run_here(
        ["stage=plan", "json=true", "options.steps=[8,16]"], monkeypatch, capsys
    )
    assert status == 0
    names = [json.loads(line)["variant"] for line in said.splitlines()]
    assert [name.rpartition("+")[2] for name in names] == ["steps-8", "steps-16"]


def test_a_demo_that_is_refused_says_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(framepack_bench, "doctor", lambda cfg: print("a long table"))
    words = ["stage=demo", "study=study", "prompts.tags=[swim]"]
    assert run_here(words, monkeypatch, capsys) == (2, "")


def test_a_single_section_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.stages import generate
    from tests.bench.sweeping import Noise

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generate, "maker", lambda *arguments: Noise)
    words = ["study=study", "sampler=[vanilla,inverted]", "prompts.limit=1", "video.seconds=3"]
    caution = "caution: 2 of 2 plans with a single section: nothing is fed back to the model"
    for stage in ("plan", "generate"):
        status, said = run_here([f"stage={stage}", *words], monkeypatch, capsys)
        assert status == 0
        assert said.count(caution) == 1
    assert "vanilla, 1 section of g9," in run_here(["stage=plan", *words], monkeypatch, capsys)[1]
    longer = [*words[:-1], "video.seconds=4", "stage=plan"]
    assert "caution" not in run_here(longer, monkeypatch, capsys)[1]
    alone = ["study=one", "sampler=vanilla", "prompts.limit=1"]
    status, said = run_here(alone, monkeypatch, capsys)
    assert "study=one: 1 of 1 cell to make\n" in said
    assert said.endswith("study=one: the one cell is finished, 1 made now\n")


def test_parts_count_beside_a_preset_whose_variant_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["stage=plan", "json=true", "+ablation=demo", "variant=null", "options.cfg=1.0"]
    status, said = run_here([*words, "sampler=vanilla"], monkeypatch, capsys)
    assert status == 0
    assert [json.loads(line)["variant"] for line in said.splitlines()] == [f"{VANILLA}+cfg-1"]


def test_a_run_leaves_the_programs_loggers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = logging.getLogger("framepack_bench.arena")
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run_bench.py", "stage=status", "study=none"])
    with pytest.raises(SystemExit):
        framepack_bench.main()
    capsys.readouterr()
    assert not ours.disabled
    assert (root.level, list(root.handlers)) == before
    assert ours.isEnabledFor(logging.WARNING)


def test_a_checkpoint_with_a_missing_component_is_one_line(
    checkpoint: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    shutil.rmtree(broken / "image_encoder")
    done = run_bench(f"generator.checkpoint={broken}", "study=study", cwd=tmp_path)
    assert done.returncode == 2
    assert "image_encoder" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "study" / "cells").exists()


def test_a_study_from_prompts_to_videos_and_again_for_free(
    checkpoint: Path, tmp_path: Path
) -> None:
    arguments = [
        f"generator.checkpoint={checkpoint}", "generator.steps=1", "study=study", "seeds=[0,1]",
        "prompts.limit=1", "sampler=[vanilla,inverted]", "section=4", "video.seconds=2", "batch=2",
    ]  # fmt: skip
    done = run_bench(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all 4 cells are finished" in done.stdout
    assert "section 2/2" in done.stdout
    found = files(tmp_path / "study")
    assert sum(name.endswith("video.mp4") for name in found) == 4
    assert sum(name.endswith("cell.json") for name in found) == 4
    assert len(found) == 8 + len(["study.yaml", "asked", "prompt.json", "prompt.png"])
    record = json.loads(next((tmp_path / "study").glob("cells/td_*/*/cell.json")).read_text())
    assert record["tokens_per_section"][0] > 4 * 16
    assert record["frames"] == 4 * (record["latents"] - 1) + 1
    assert record["batch_size"] == 2

    again = run_bench(*arguments, cwd=tmp_path)
    assert again.returncode == 0
    assert "nothing to make" in again.stdout
    assert files(tmp_path / "study") == found

    other = run_bench(*arguments, "video.crf=20", cwd=tmp_path)
    assert other.returncode == 2
    assert "video.crf=16, not 20" in other.stderr

    state = run_bench("stage=status", "study=study", "json=true", cwd=tmp_path)
    assert state.returncode == 0
    assert json.loads(state.stdout)["done"] == 4


@pytest.mark.parametrize("before", [[], ["stage=plan"]], ids=["flag first", "flag between"])
def test_plans_are_printed_for_every_variant_of_a_multirun_and_litter_nothing(
    tmp_path: Path, before: list[str]
) -> None:
    names = f"{VANILLA},f1k1_x_g9_f1k1f2k2f16k4_td"
    after = ["stage=plan", "json=true", f"variant={names}"][len(before) :]
    done = run_bench(*before, "-m", *after, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    plans = [json.loads(line) for line in done.stdout.splitlines()]
    assert [plan["variant"] for plan in plans] == names.split(",")
    assert [path for path in files(tmp_path) if not path.endswith("multirun.yaml")] == []


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_continue(tmp_path: Path) -> None:
    (tmp_path / "suite.csv").write_text("id,text\na,one\nb,two\n")
    arguments = ["study=study", "prompts=file", "prompts.file=suite.csv", "seeds=[0,1,2]"]
    command = [sys.executable, str(ROOT / "tests/cluster/worker.py"), *arguments]
    slow = {**os.environ, "SECONDS_PER_SECTION": "0.7"}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=slow)
    assert process.stdout is not None
    for said in process.stdout:
        if ": done, " in said:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait() == 130
    assert "of 6 cells of study=study are finished; run the same command to continue" in rest
    assert not (tmp_path / "study" / "claims").exists()
    state = run_bench("stage=status", "study=study", cwd=tmp_path)
    assert state.returncode == 1
    assert "not begun" in state.stdout
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert "all 6 cells are finished" in again.stdout


def test_retry_makes_failed_cells_again_and_only_those(tmp_path: Path) -> None:
    (tmp_path / "suite.csv").write_text("id,text\na,one\n")
    arguments = ["study=study", "prompts=file", "prompts.file=suite.csv", "seeds=[0,1]"]
    program = [sys.executable, str(ROOT / "tests/cluster/worker.py")]
    subprocess.run([*program, *arguments], cwd=tmp_path, check=True, capture_output=True)
    done, failed = sorted((tmp_path / "study").glob("cells/*/*/cell.json"))
    record = json.loads(failed.read_text())
    record |= {"status": "failed", "error": {"kind": "NaN", "message": "no"}}
    failed.write_text(json.dumps(record))
    before = done.stat().st_mtime_ns
    subprocess.run(
        [*program, "stage=retry", "study=study"], cwd=tmp_path, check=True, capture_output=True
    )
    assert json.loads(failed.read_text())["status"] == "done"
    assert done.stat().st_mtime_ns == before


def run_here(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[object, str]:
    """Exit status and output of a command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["run_bench.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        framepack_bench.main()
    return stopped.value.code, capsys.readouterr().out


def test_retry_makes_failures_of_every_command_with_that_command_s_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.stages import generate
    from tests.bench.sweeping import Noise

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(generate, "maker", lambda *arguments: Noise)
    (tmp_path / "suite.csv").write_text("id,text\na,one\n")
    suite = ["study=study", "prompts=file", "prompts.file=suite.csv"]
    assert run_here(suite, monkeypatch, capsys)[0] == 0
    job = ["workers=2", "worker=1", "claims.wait=false", "retry_failed=false", "time_limit=60"]
    assert run_here([*suite, "seeds=[1,2]", *job], monkeypatch, capsys)[0] == 0
    paths = sorted((tmp_path / "study").glob("cells/*/a_[12]/cell.json"))
    for path in paths:
        error = {"kind": "NaN", "message": "no"}
        path.write_text(
            json.dumps(json.loads(path.read_text()) | {"status": "failed", "error": error})
        )
    status, said = run_here(["stage=retry", "study=study"], monkeypatch, capsys)
    assert status == 0
    assert "all 2 cells are finished, 2 of them now" in said
    assert [json.loads(path.read_text())["status"] for path in paths] == ["done", "done"]

    stray = tmp_path / "study" / "cells" / "v" / "a_9" / "cell.json"
    stray.parent.mkdir(parents=True)
    paths[0].rename(stray)
    record = json.loads(stray.read_text()) | {"variant": "v", "seed": 9, "status": "failed"}
    stray.write_text(json.dumps(record))
    status, said = run_here(["stage=retry", "study=study"], monkeypatch, capsys)
    assert status == 1
    assert "1 failed cell is left (first: v/a_9): run the command that asked for them" in said


def test_jobs_are_told_the_preset_and_score_again_where_only_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cell import CellRecord
    from bench.study import Study

    monkeypatch.chdir(tmp_path)
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\ncat > /dev/null; ls study/logs | wc -l\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    words = ["stage=submit", "+ablation=demo", "study=study"]
    status, said = run_here(words, monkeypatch, capsys)
    assert status == 0
    (script,) = (tmp_path / "study" / "logs").glob("*.sh")
    assert " stage=work +ablation=demo " in script.read_text()

    study = Study.open("study")
    for cell in study.cells():
        named = {"variant": cell.variant, "prompt_id": cell.prompt_id, "seed": cell.seed}
        cell.write(CellRecord.model_validate(named | {"status": "done"}))
        (cell.folder / "scores.parquet").touch()
    status, said = run_here(words, monkeypatch, capsys)
    assert "no job is needed\nto score them with another metric set, add cluster.stages" in said
    status, said = run_here(
        [*words, "metrics=paper", "cluster.stages=[score]"], monkeypatch, capsys
    )
    assert f"{len(study.asked)} to score; job 2 with 4 workers" in said


def fake_sbatch(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An sbatch on the path that is this shell script."""
    (folder / "bin").mkdir()
    program = folder / "bin" / "sbatch"
    program.write_text(f"#!/bin/sh\ncat > /dev/null; {does}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")


SUBMITTING = ["stage=submit", "study=deep/study", "sampler=[vanilla,inverted]", "prompts.limit=2"]


def test_a_planned_submission_is_shown_and_nothing_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_sbatch(tmp_path, "touch called; echo 7", monkeypatch)
    words = [*SUBMITTING, "batch=2", "cluster.jobs=9", "cluster.partition=gpu", "plan=true"]
    status, said = run_here(words, monkeypatch, capsys)
    assert status == 0
    first, second, _, script = said.split("\n", 3)
    assert first == (
        "study=deep/study: 4 of 4 cells to make in 2 batches; jobs: 2, workers of each: 1"
    )
    assert "nothing is submitted; without plan=true, sbatch --parsable gets:" in second
    assert "\n#SBATCH --partition=gpu\n" in script
    assert "plan=true" not in script
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
    status, _ = run_here(words[:-1], monkeypatch, capsys)
    assert (tmp_path / "deep/study/logs/7.sh").read_text() == script


def test_a_refused_submission_leaves_no_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_sbatch(tmp_path, "echo sbatch: error: no such partition >&2; exit 1", monkeypatch)
    assert run_here(SUBMITTING, monkeypatch, capsys)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]
    (tmp_path / "deep").mkdir()
    assert run_here(SUBMITTING, monkeypatch, capsys)[0] == 2
    assert not list((tmp_path / "deep").iterdir())


def test_a_refused_submission_changes_nothing_in_a_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fake_sbatch(tmp_path, "[ -e taken ] && exit 1; touch taken; echo 7", monkeypatch)
    assert run_here(SUBMITTING, monkeypatch, capsys)[0] == 0
    study = tmp_path / "deep" / "study"
    before = {name: (study / name).read_bytes() for name in files(study)}
    more = [*SUBMITTING[:-1], "prompts.limit=3", "seeds=[1]"]
    for words, expected in (([*more, "plan=true"], 0), (more, 2)):
        assert run_here(words, monkeypatch, capsys)[0] == expected
        assert {name: (study / name).read_bytes() for name in files(study)} == before


def test_a_launcher_of_processes_starts_workers_of_one_study(tmp_path: Path) -> None:
    done = run_bench(
        "stage=plan", "json=true", "hydra/launcher=processes", "workers=2", "study=study",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    plans = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(plans) == 2
    assert plans[0] == plans[1]
    failing = run_bench(
        "stage=status", "hydra/launcher=processes", "workers=2", "study=none", cwd=tmp_path
    )
    assert failing.returncode == 1


def test_the_slurm_launcher_takes_the_cluster_keys(tmp_path: Path) -> None:
    done = run_bench(
        "hydra/launcher=slurm", "cluster.gpus=2", "cluster.memory=64G", "cluster.time=1-00:00:00",
        "cluster.partition=long", "study=study", "--cfg", "all", "--resolve", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in ("gres: gpu:2", "mem_gb: 64", "timeout_min: 1440", "partition: long",
                 "submitit_folder: study/logs/%j"):  # fmt: skip
        assert f"    {line}\n" in done.stdout


def test_shards_of_a_study_are_scored_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cell import CellRecord
    from bench.study import Study
    from metrics.score import Job, Tally

    scored: list[list[str]] = []

    def score_many(jobs: Iterable[Job], *rest: object, **options: object) -> Tally:
        scored.append([job.name for job in jobs])
        return Tally()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metrics.score.score_many", score_many)
    study = Study.create("study")
    study.ask(["v"], ["a", "b", "c", "d"], [0])
    for cell in study.cells():
        if cell.prompt_id != "b":  # not made yet: the others' shards are what they will be
            named = {"variant": "v", "prompt_id": cell.prompt_id, "seed": 0, "status": "done"}
            cell.write(CellRecord.model_validate(named))
    for part in (1, 2):
        run_here(["stage=score", "study=study", f"shard={part}/2"], monkeypatch, capsys)
    assert scored == [["v/a_0", "v/c_0"], ["v/d_0"]]


@pytest.mark.parametrize(
    ("words", "name", "told"),
    [
        (["videos=clips"], "lite", "videos=DIR without metrics=SET: measuring with metrics=lite\n"),
        (["videos=clips", "metrics=paper"], "paper", ""),
        (["metrics=pocket", "videos=clips"], "pocket", ""),
    ],
)
def test_videos_of_the_real_world_are_not_judged_by_the_pocket_worlds_judges_unasked(
    words: list[str],
    name: str,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sets = []

    def score_folder(videos: Path, out: Path, metrics: dict[str, object], **rest: object) -> int:
        sets.append(metrics["name"])
        return 0

    monkeypatch.setattr("metrics.jobs.score_folder", score_folder)
    monkeypatch.setattr(sys, "argv", ["run_bench.py", "stage=score", "study=out", *words])
    with pytest.raises(SystemExit) as stopped:
        framepack_bench.main()
    assert (stopped.value.code, sets, capsys.readouterr().err) == (0, [name], told)


def test_a_cell_that_cannot_be_scored_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.cell import CellRecord
    from bench.study import Study

    monkeypatch.chdir(tmp_path)
    cell = Study.create("study").cell("v", "p", 0)
    record = {"variant": "v", "prompt_id": "p", "seed": 0, "status": "done"}
    cell.write(CellRecord.model_validate(record))
    cell.video.write_text("no video")
    words = ["stage=score", "study=study", "metrics=lite", "metrics.backends=[lab-moments]"]
    status, said = run_here(words, monkeypatch, capsys)
    assert status == 1
    assert said.count("failed: not a video") == 1
    assert said.count("not a video") == 1


def test_scores_of_loose_videos_need_a_folder_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metrics.jobs.score_folder", lambda *places, **options: 0)
    words = ["run_bench.py", "stage=score", "metrics=lite", "videos=some/clips"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        framepack_bench.main()
    assert (stopped.value.code, capsys.readouterr().err) == (
        2,
        "error: videos=some/clips: say where their scores go, study=FOLDER "
        "(such as study=studies/clips)\n",
    )
    assert run_here([*words[1:], "name=clips"], monkeypatch, capsys)[0] == 0


def test_existing_videos_become_cells(media: Path, tmp_path: Path) -> None:
    for name in ("ours/bikes.mp4", "theirs/bikes_3.mp4"):
        target = tmp_path / "videos" / name
        target.parent.mkdir(parents=True)
        shutil.copy(media / "bikes.mp4", target)
    (tmp_path / "videos" / "ours" / "broken.mp4").write_bytes(b"no video")
    Image.new("RGB", (32, 32)).save(tmp_path / "bikes.png")
    (tmp_path / "suite.csv").write_text("id,text,image\nbikes,bikes pass,bikes.png\n")
    done = run_bench(
        "generator=folder", "generator.path=videos", "study=study", "prompts=file",
        "prompts.file=suite.csv", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "UnreadableVideo: broken.mp4: not a video (Invalid data found" in done.stdout
    assert "Errno" not in done.stdout
    cell = tmp_path / "study/cells/theirs/bikes_3"
    record = json.loads((cell / "cell.json").read_text())
    assert record["prompt_text"] == "bikes pass"
    assert record["reference_image"] == "prompts/bikes.png"
    assert (cell / "video.mp4").read_bytes() == (media / "bikes.mp4").read_bytes()


def test_a_full_disk_is_one_line_in_every_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(cfg: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "s/claims/worker")

    monkeypatch.setitem(framepack_bench.STAGES, "score", full)
    assert framepack_bench.run(OmegaConf.create({"stage": "score", "study": "s"})) == 1
    told = "study=s: No space left on device at s/claims/worker; mend that and run it again"
    assert capsys.readouterr().err == f"error: {told}\n"


def test_a_study_that_is_a_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["run_bench.py", "study=file"])
    with pytest.raises(SystemExit) as stopped:
        framepack_bench.main()
    said = capsys.readouterr().err
    assert (stopped.value.code, said) == (
        2,
        "error: study=file: not a folder at file; mend that and run it again\n",
    )


@pytest.mark.parametrize("number", [errno.EEXIST, errno.ENOENT, errno.ENOTDIR])
def test_a_place_that_is_none_is_wrong_input(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere(cfg: object) -> int:
        raise OSError(number, os.strerror(number), "/proc/x")

    monkeypatch.setitem(framepack_bench.STAGES, "report", nowhere)
    assert framepack_bench.run(OmegaConf.create({"stage": "report", "study": "s"})) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: study=s: ")
    assert said.endswith(" at /proc/x; mend that and run it again\n")
