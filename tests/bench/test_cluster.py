"""Clusters without a cluster: scripts, command lines, and the simulation's books."""

import contextlib
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import cluster
from bench.cell import Cell, CellError, CellRecord
from bench.cluster_simulation import Cluster, play, report
from bench.config import Cluster as Options
from bench.config import minutes
from bench.errors import UserError
from bench.stages.submit import forget, retry
from bench.study import Study

OPTIONS: dict[str, Any] = vars(Options())


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM that takes every job and runs none; gives the log of what it was asked.

    It refuses jobs while a file `refuse` is beside the log.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    take = 'cat > /dev/null; [ -e refuse ] && { echo "no such partition" >&2; exit 1; }'
    for program, does in (("sbatch", f"{take}; wc -l < log"), ("scontrol", ":")):
        text = f'#!/bin/sh\ncd {folder}; echo "{program} $*" >> log; {does}\n'
        (folder / program).write_text(text)
        (folder / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "log"


def fail(cell: Cell) -> Cell:
    """The cell, with a stored failure."""
    named = {"variant": cell.variant, "prompt_id": cell.prompt_id, "seed": cell.seed}
    error = CellError(kind="NaN", message="no")
    cell.write(CellRecord.model_validate(named | {"status": "failed", "error": error}))
    return cell


def test_the_script_says_what_was_chosen_and_is_a_shell_script(tmp_path: Path) -> None:
    options = OPTIONS | {
        "partition": "gpu", "gpus": 2, "parallel": 3, "setup": ["module load cuda"],
        "container": "apptainer exec --nv bench.sif", "extra": ["--reservation=r"],
    }  # fmt: skip
    text = cluster.script(options, ["variant=td_f1k1_g9+D", "study=/s"], 5, tmp_path / "s" / "logs")
    for line in (
        "#SBATCH --array=0-4%3", "#SBATCH --gres=gpu:2", "#SBATCH --partition=gpu",
        "#SBATCH --signal=B:USR1@120", "#SBATCH --requeue", "#SBATCH --reservation=r",
        "module load cuda",
    ):  # fmt: skip
        assert f"\n{line}\n" in text
    assert "--qos" not in text
    assert "apptainer exec --nv bench.sif " in text
    assert "workers=10" in text
    assert text.count("'") % 2 == 0
    checked = subprocess.run(["bash", "-n"], input=text, text=True, check=False)
    assert checked.returncode == 0


def test_every_gpu_of_a_job_has_a_worker_of_its_own_and_the_worst_of_them_is_the_job_s(
    tmp_path: Path,
) -> None:
    say = 'echo "$CUDA_VISIBLE_DEVICES ${@: -1}"; [[ $CUDA_VISIBLE_DEVICES != b ]]'
    options = OPTIONS | {"gpus": 2, "command": shlex.join(["bash", "-c", say])}
    text = cluster.script(options, ["study=/s"], 3, tmp_path / "s" / "logs")
    there = {"SLURM_ARRAY_TASK_ID": "2", "CUDA_VISIBLE_DEVICES": "a,b", "PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["bash"], input=text, capture_output=True, text=True, check=False, env=there
    )
    assert sorted(done.stdout.splitlines()) == ["a worker=4", "b worker=5"]
    assert done.returncode == 1


@pytest.mark.parametrize(("code", "requeued"), [(75, True), (138, True), (1, False), (0, False)])
def test_a_job_whose_time_is_over_goes_back_into_the_queue(
    tmp_path: Path, code: int, requeued: bool
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/sh\necho "scontrol $*"\n')
    scontrol.chmod(0o755)
    options = OPTIONS | {"gpus": 0, "command": shlex.join(["bash", "-c", f"exit {code}"])}
    text = cluster.script(options, [], 1, tmp_path / "s" / "logs")
    there = {
        "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "0",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        ["bash"], input=text, capture_output=True, text=True, check=False, env=there
    )
    assert ("scontrol requeue 7_0" in done.stdout) == requeued
    assert done.returncode == code


@given(st.integers(0, 3), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_time_limits_are_read_as_slurm_reads_them(d: int, h: int, m: int, s: int) -> None:
    assert minutes(f"{d}-{h:02d}:{m:02d}:{s:02d}") == d * 1440 + h * 60 + m + (s > 0)
    assert minutes(f"{h}:{m:02d}:{s:02d}") == h * 60 + m + (s > 0)


def test_forgetting_failures_makes_them_pending_and_keeps_the_rest(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    study.ask(["v"], ["p"], [0, 1, 2])
    cells = list(study.cells())
    error = CellError(kind="NaN", message="no")
    for cell, status in zip(cells, ("done", "failed", "failed"), strict=True):
        record = CellRecord.model_validate(
            {"variant": "v", "prompt_id": "p", "seed": cell.seed, "status": status}
            | ({"error": error} if status == "failed" else {})
        )
        cell.write(record)
    assert forget(study, cells[1:]) == 2
    assert list(study.states().values()) == ["done", "pending", "pending"]


def test_without_slurm_submitting_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="no sbatch on this machine"):
        cluster.submit(Study.create(tmp_path / "study"), OPTIONS, [], 3)


def test_a_submission_is_remembered_with_its_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text("#!/bin/sh\ncat > /dev/null\necho '42;cluster'\n")
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:/usr/bin:/bin")
    study = Study.create(tmp_path / "study")
    made = cluster.submit(study, OPTIONS | {"jobs": 8}, ["variant=td_f1k1_g9"], 3)
    assert (made.job, made.jobs) == ("42", 3)  # never more jobs than pieces of work
    assert cluster.submissions(study) == [made]
    assert "--array=0-2" in (study.path / "logs" / "42.sh").read_text()


def test_failures_go_back_to_the_cluster_as_they_were_last_submitted(
    slurm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Study.create(tmp_path / "study")
    asked = [study.ask([name], ["p"], [0, 1]) for name in ("one", "two", "here")]
    failed = [fail(cell) for cell in study.cells()]
    there = OPTIONS | {"gpus": 0, "partition": "long", "memory": "64G"}
    for command in asked[:2]:
        words = [f"variant={command.variants[0]}"]
        cluster.submit(study, there, words, 2, command=command.name, cwd="/some where")
    before = set(study.path.glob("logs/*.sh"))
    cfg = {"cluster": OPTIONS | {"time": "12:00:00"}}
    assert retry(cfg, study, failed, ["stage=retry", "cluster.time=12:00:00"]) == 1
    assert list(study.states().values()) == ["pending"] * 4 + ["failed"] * 2
    assert "2 failed cells are left (first: here/p_0)" in capsys.readouterr().out
    scripts = [path.read_text() for path in set(study.path.glob("logs/*.sh")) - before]
    assert len(scripts) == 2
    for line in (
        "#SBATCH --partition=long", "#SBATCH --mem=64G", "#SBATCH --time=12:00:00",
        "cd '/some where'", "#SBATCH --array=0-1",
    ):  # fmt: skip
        assert all(f"\n{line}\n" in text for text in scripts)
    assert sum("variant=one" in text for text in scripts) == 1
    # No job may look before the failures are forgotten.
    assert [line.split()[1:] for line in slurm.read_text().splitlines()[2:]] == [
        ["--parsable", "--hold"], ["release", "3"], ["--parsable", "--hold"], ["release", "5"],
    ]  # fmt: skip


def test_what_slurm_refuses_stays_failed(slurm: Path, tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    command = study.ask(["v"], ["p"], [0])
    failed = [fail(cell) for cell in study.cells()]
    cluster.submit(study, OPTIONS, [], 1, command=command.name)
    slurm.with_name("refuse").touch()
    with pytest.raises(UserError, match="sbatch: no such partition"):
        retry({"cluster": OPTIONS}, study, failed, [])
    assert [cell.status for cell in failed] == ["failed"]


REFUSED = """\
sbatch: error: invalid partition specified: nope
sbatch: error: Batch job submission failed: Invalid partition name specified
"""
UNREACHED = """\
sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host
sbatch: error: fetch_config: DNS SRV lookup failed
sbatch: error: _establish_config_source: failed to fetch config
sbatch: fatal: Could not establish a configuration source
"""


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (
            REFUSED,
            "sbatch: invalid partition specified: nope; "
            "Batch job submission failed: Invalid partition name specified",
        ),
        (
            UNREACHED,
            "sbatch: SLURM does not answer on this machine (Could not establish a configuration "
            "source): submit from one of its login nodes",
        ),
        ("", "sbatch: exit status 1"),
    ],
)
def test_why_sbatch_refuses_is_one_line_and_no_folder_is_left(
    slurm: Path, tmp_path: Path, says: str, told: str
) -> None:
    slurm.with_name("says").write_text(says)
    slurm.with_name("sbatch").write_text(f"#!/bin/sh\ncat {slurm.parent}/says >&2; exit 1\n")
    study = Study.create(tmp_path / "new" / "study", dry=True)
    with pytest.raises(UserError) as caught:
        cluster.submit(study, OPTIONS, [], 1)
    assert str(caught.value) == told
    assert not (tmp_path / "new").exists()


def test_a_refusal_takes_no_folder_from_who_submits_at_the_same_time(tmp_path: Path) -> None:
    logs = tmp_path / "study" / "logs"
    with contextlib.ExitStack() as refused, contextlib.ExitStack() as other:
        refused.enter_context(cluster.room(logs))
        other.enter_context(cluster.room(logs))
        refused.close()
        assert logs.is_dir()
    with cluster.room(tmp_path / "alone" / "logs"):
        pass
    assert not (tmp_path / "alone").exists()


def test_what_the_study_refuses_is_taken_back_from_slurm(slurm: Path, tmp_path: Path) -> None:
    program = slurm.with_name("scancel")
    program.write_text(f'#!/bin/sh\necho "scancel $*" >> {slurm}\n')
    program.chmod(0o755)

    def refuse() -> None:
        raise UserError("made with other settings")

    study = Study.create(tmp_path / "study", dry=True)
    with pytest.raises(UserError, match="other settings"):
        cluster.submit(study, OPTIONS, [], 1, taken=refuse)
    assert slurm.read_text().splitlines()[-1] == "scancel 1"
    assert not study.path.exists()


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("2:00:00", 120),
        ("1-2", 1560),
        ("1-2:3", 1563),
        ("1-2:3:4", 1564),
    ],
)
def test_all_of_slurm_s_formats_of_a_time_are_read(time: str, expected: int) -> None:
    assert minutes(time) == expected


@pytest.mark.parametrize("time", ["", "2h", "1.5", "-5", "1-", "1:2:3:4", "1-2:3:4:5", "43200"])
def test_what_is_no_time_to_slurm_is_refused(time: str) -> None:
    with pytest.raises(UserError, match=f"cluster.time={time}: "):
        minutes(time)


SMALL = Cluster(cells=2000, workers=16, lifetime=1e12)


def test_without_failures_all_time_goes_into_making_loading_and_looking() -> None:
    account = play(SMALL)
    assert account.finished == 2000
    assert account.deaths == 0
    assert account.lost == account.away == 0
    spent = account.making + account.loading + account.looking + account.waiting
    assert spent == pytest.approx(account.end * 16)
    ideal = SMALL.cells * SMALL.cell / SMALL.workers + SMALL.load
    assert ideal * 0.97 < account.end < ideal * 1.1


def test_failures_cost_what_they_throw_away_and_every_cell_is_still_made() -> None:
    failing = replace(SMALL, lifetime=3600.0)
    account = play(failing)
    assert account.finished == failing.cells
    assert account.deaths > 10
    assert 0 < account.lost < account.deaths * 2 * failing.cell
    assert account.end > play(SMALL).end
    assert "what breaks first" in report(failing, account)
