"""Studies on a real SLURM: whatever happens to the jobs, the study ends as a serial run's."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.processes import Process
from tests.cluster.slurm import PROGRAMS, Slurm

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("worker.py")
pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

CELLS = 24
CLUSTER = ["cluster.cpus=1", "cluster.gpus=0", "cluster.memory=null", "cluster.jobs=2"]


@pytest.fixture(scope="module")
def slurm(require: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    os.environ["PATH"] += ":/usr/sbin"
    for program in PROGRAMS:
        require(program)
    root = tmp_path_factory.mktemp("slurm")
    for folder in (root, *root.parents[:2]):
        folder.chmod(0o755)
    cluster = Slurm(root)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command line of the work: 24 short videos of noise."""
    suite = tmp_path_factory.mktemp("suite") / "suite.csv"
    suite.write_text("id,text\n" + "".join(f"p{n},prompt {n}\n" for n in range(4)))
    return [
        "prompts=file", f"prompts.file={suite}", "sampler=[vanilla,inverted]", "seeds=[0,1,2]",
        "cluster.stages=[generate]", f"cluster.container='{sys.executable} {WORKER}'",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def serial(work: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The videos of a run without SLURM."""
    study = tmp_path_factory.mktemp("serial") / "study"
    done = run(WORKER, *work, f"study={study}", pause=0.0)
    assert done.returncode == 0, done.stderr
    return videos(study)


def run(
    program: Path, *arguments: str, env: dict[str, str] | None = None, pause: float = 0.1
) -> subprocess.CompletedProcess[str]:
    env = {**(env or os.environ), "OMP_NUM_THREADS": "1", "SECONDS_PER_SECTION": str(pause)}
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def submit(slurm: Slurm, study: Path, *arguments: str, pause: float = 0.1) -> str:
    """Submit; gives the array's job id, or "" where no job was needed."""
    words = ["stage=submit", f"study={study}", *CLUSTER, *arguments]
    done = run(ROOT / "run_bench.py", *words, env=slurm.env, pause=pause)
    assert done.returncode == 0, done.stderr
    if "no job is needed" in done.stdout:
        return ""
    words = done.stdout.split()
    return words[words.index("job") + 1]


def videos(study: Path) -> dict[str, bytes]:
    paths = (study / "cells").glob("*/*/video.mp4")
    return {str(path.relative_to(study)): path.read_bytes() for path in paths}


def logs(study: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in study.glob("logs/*.log"))


def made(study: Path) -> Counter[str]:
    """How often each cell was finished, as the jobs' output says."""
    lines = (line for line in logs(study).splitlines() if ": done, " in line)
    return Counter(line.split("] ", 1)[1].split(":", 1)[0] for line in lines)


def finished(study: Path) -> int:
    return len(list(study.glob("cells/*/*/cell.json")))


def wait_for(ready: Callable[[], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def workers(study: Path) -> list[int]:
    """Process ids of the living workers of the study."""
    found = (Process.parse(path.name) for path in study.glob("claims/worker@*"))
    return sorted({process.pid for process in found if process and process.alive()})


def settle(slurm: Slurm, study: Path, *arguments: str) -> None:
    """Resubmit until nothing is left to do; three times are enough."""
    for _ in range(3):
        slurm.wait_for_jobs(420)
        if not submit(slurm, study, *arguments, pause=0.0):
            return
    raise AssertionError("the study does not get finished")


def test_an_array_of_jobs_makes_a_study_and_a_second_submission_starts_none(
    slurm: Slurm, work: list[str], serial: dict[str, bytes], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    job = submit(slurm, study, *work)
    live = run(ROOT / "run_bench.py", "stage=status", f"study={study}", "json=true", env=slurm.env)
    state = json.loads(live.stdout)
    assert state["cells"] == CELLS
    assert state["done"] == CELLS or any(name.startswith(job) for name in state["jobs"])
    slurm.wait_for_jobs(420)
    assert videos(study) == serial
    assert len(made(study)) == CELLS
    assert set(made(study).values()) == {1}
    mine = [each for each in slurm.completed() if each["JobId"] >= job]
    assert {each["JobState"] for each in mine} == {"COMPLETED"}
    before = len(slurm.completed())
    assert submit(slurm, study, *work) == ""
    assert not slurm.run("squeue", "-h").strip()
    assert len(slurm.completed()) == before


def test_what_slurm_refuses_or_is_only_planned_leaves_nothing(
    slurm: Slurm, work: list[str], tmp_path: Path
) -> None:
    words = ["stage=submit", f"study={tmp_path / 'new' / 'study'}", *CLUSTER, *work]
    planned = run(ROOT / "run_bench.py", *words, "plan=true", env=slurm.env)
    assert planned.returncode == 0, planned.stderr
    assert f"{CELLS} of {CELLS} cells to make" in planned.stdout
    refused = run(ROOT / "run_bench.py", *words, "cluster.partition=none", env=slurm.env)
    (nowhere := slurm.root / "none.conf").touch()
    silent = run(ROOT / "run_bench.py", *words, env={**slurm.env, "SLURM_CONF": str(nowhere)})
    for done, says in (
        (refused, "invalid partition specified: none"),
        (silent, "sbatch: SLURM does not answer on this machine"),
    ):
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    assert not slurm.run("squeue", "-h").strip()


def test_a_failure_is_made_again_as_it_was_submitted_from_any_folder(
    slurm: Slurm, work: list[str], serial: dict[str, bytes], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    study = tmp_path / "study"
    submit(slurm, study, *work, "prompts.limit=1", "seeds=0")
    slurm.wait_for_jobs(420)
    path = min(study.glob("cells/*/*/cell.json"))
    failure = {"status": "failed", "error": {"kind": "NaN", "message": "no"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | failure))
    (path.parent / "video.mp4").unlink()
    monkeypatch.chdir(tmp_path)
    done = run(ROOT / "run_bench.py", "stage=retry", "study=study", env=slurm.env)
    assert done.returncode == 0, done.stderr
    assert "1 failed cells to be made again" in done.stdout
    slurm.wait_for_jobs(420)
    assert videos(study).items() <= serial.items()
    assert len(videos(study)) == 2
    assert json.loads(path.read_text())["status"] == "done"


def test_a_pocket_study_is_generated_and_scored_by_jobs_and_reported(
    slurm: Slurm, tmp_path: Path
) -> None:
    study = tmp_path / "study"
    pocket = [
        "generator.steps=2", "prompts.limit=2", "sampler=[vanilla,inverted]", "video.seconds=2",
        "threads=1",
    ]  # fmt: skip
    scoring = ["metrics=lite", "metrics.backends=[frame-difference,lab-moments]"]
    submit(slurm, study, *pocket, *scoring, "metrics.unavailable={}", "offline=true")
    serial = tmp_path / "serial"
    assert run(ROOT / "run_bench.py", *pocket, f"study={serial}").returncode == 0
    slurm.wait_for_jobs(600)
    assert videos(study) == videos(serial)
    assert len(videos(study)) == len(list(study.glob("cells/*/*/scores.parquet"))) == 4
    done = run(ROOT / "run_bench.py", "stage=report", f"study={study}")
    assert done.returncode == 0, done.stderr
    assert (study / "report" / "index.html").exists()


def test_hydra_s_launcher_runs_a_study_from_any_folder(
    slurm: Slurm, work: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word for word in work if not word.startswith("cluster.")]
    small = ["stage=plan", "study=study", "cluster.gpus=0", "cluster.memory=null"]
    launched = [*small, "cluster.cpus=1", "hydra/launcher=slurm", "workers=2"]
    done = run(ROOT / "run_bench.py", *words, *launched, env=slurm.env)
    assert done.returncode == 0, done.stderr
    printed = "".join(path.read_text() for path in tmp_path.glob("study/logs/**/*.out"))
    assert printed.count("digest ") == 4  # two variants, two workers


def test_cancelled_jobs_killed_workers_and_a_lost_node_lose_nothing(
    slurm: Slurm, work: list[str], serial: dict[str, bytes], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    job = submit(slurm, study, *work, pause=0.5)
    wait_for(lambda: finished(study) >= 1)
    slurm.run("scancel", f"{job}_0")
    submit(slurm, study, *work, pause=0.5)  # a second sweep on the same study, at once
    wait_for(lambda: finished(study) >= 4)
    for pid in workers(study)[:1]:
        with contextlib.suppress(ProcessLookupError):  # it may have finished this moment
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: finished(study) >= 7)
    slurm.run("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    time.sleep(3)
    # A living slurmd registers again by itself; then there is nothing to resume.
    slurm.run("scontrol", "update", "nodename=n2", "state=resume", check=False)
    settle(slurm, study, *work)
    assert videos(study) == serial
    assert set(made(study).values()) == {1}
    assert not (study / "claims").exists()


def test_a_time_limit_shorter_than_the_work_requeues_until_it_is_done(
    slurm: Slurm, work: list[str], serial: dict[str, bytes], tmp_path: Path
) -> None:
    study = tmp_path / "study"
    # SLURM may warn up to a minute early: 30 to 90 s after the start, of 110 s of work.
    short = ["cluster.time=00:02:00", "cluster.grace=30", "cluster.jobs=1"]
    job = submit(slurm, study, *work, *short, pause=1.5)
    wait_for(lambda: "back into the queue" in logs(study))
    assert finished(study) < CELLS
    slurm.wait_for_jobs(600)
    assert videos(study) == serial
    assert set(made(study).values()) == {1}
    ends = [each["JobState"] for each in slurm.completed() if each["JobId"].startswith(job)]
    assert ends[-1] == "COMPLETED"
