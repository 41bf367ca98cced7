"""SLURM: one array of jobs per submission, each a worker on the study's cells.

The unit of work is the cell, and the study folder knows which cells are done; so a job is nothing
but a process that takes cells until none is left or its time is over. Jobs may die, be requeued,
or join later; none of them is special, and nobody waits for them.

- **Time limit**: SLURM warns the batch script (SIGUSR1) `grace` seconds before the end. The worker
  then begins no new cell, finishes or drops the one at hand, and ends with `AGAIN`; the script
  requeues the job.
- **Preemption and scancel**: SIGTERM drops the cell at hand and gives its claim back. SLURM itself
  requeues preempted jobs and those of failed nodes (`--requeue`).
- **Exit status**: 0 when nothing failed, 1 when a cell failed, and SLURM's accounting shows it.
- **Several GPUs**: one worker per GPU of the job, each with its own `CUDA_VISIBLE_DEVICES`.

A submission is kept in `STUDY/logs/JOB.json`, beside the job's script and output.
"""

import contextlib
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import files
from bench.errors import UserError
from bench.stages.generate import AGAIN
from bench.study import Study

SILENT = ("configuration source", "configuration file", "contact slurm controller")
"""What SLURM's programs say on a machine from which no SLURM is reached."""

RUN_BENCH = Path(__file__).parents[1] / "run_bench.py"

SCRIPT = """\
#!/bin/bash
{directives}

cd {cwd}
{setup}
workers=()
tell() {{ for pid in "${{workers[@]}}"; do kill -s "$1" "$pid" 2>/dev/null; done; }}
trap 'tell USR1' USR1
trap 'tell TERM' TERM

IFS=, read -ra gpus <<< "${{CUDA_VISIBLE_DEVICES:-}}"
for ((local = 0; local < {processes}; local++)); do
  if ((${{#gpus[@]}} >= {processes} && {processes} > 1)); then
    export CUDA_VISIBLE_DEVICES="${{gpus[$local]}}"
  fi
  {command} worker=$((SLURM_ARRAY_TASK_ID * {processes} + local)) &
  workers+=($!)
done

status=0
for pid in "${{workers[@]}}"; do
  while :; do
    wait "$pid"
    code=$?
    kill -0 "$pid" 2>/dev/null || break  # the wait was interrupted by a signal: wait on
  done
  # 138: the warning came before the worker could listen.
  ((code == {again} || code == 138)) && requeue=yes
  ((code > status)) && status=$code
done
if [[ ${{requeue:-}} ]]; then
  echo "the time is over with work left: back into the queue"
  scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_${{SLURM_ARRAY_TASK_ID}}"
fi
exit "$status"
"""


@dataclass(frozen=True)
class Submission:
    """What was handed to SLURM."""

    job: str
    """The array's job id."""
    jobs: int
    """Jobs of the array."""
    overrides: list[str]
    """The command line that asked for the work, without stage and cluster keys."""
    cwd: str
    """Where that command was given, and the jobs run."""
    submitted: str
    """ISO 8601, UTC."""
    cluster: dict[str, Any] = field(default_factory=dict)
    """The cluster keys; see `bench.config.Cluster`."""
    command: str = ""
    """Names the cells asked for: `bench.study.Command.name`."""


def script(
    cluster: Mapping[str, Any],
    overrides: Sequence[str],
    jobs: int,
    logs: Path,
    cwd: str | None = None,
) -> str:
    """The batch script of an array of jobs.

    Args:
        cluster: see `bench.config.Cluster`.
        overrides: the command line that asks for the work, without stage and cluster keys.
        jobs: jobs in the array.
        logs: folder of the jobs' output.
        cwd: where the jobs run; here where it is not given.
    """
    processes = max(cluster["gpus"], 1)
    words = [
        *shlex.split(cluster["container"] or ""),
        *(shlex.split(cluster["command"] or "") or [sys.executable, str(RUN_BENCH)]),
        "stage=work",
        *overrides,
        f"workers={jobs * processes}",
        "claims.wait=false",
        "retry_failed=false",
        f"cluster.grace={cluster['grace']}",
        f"cluster.stages=[{','.join(cluster['stages'])}]",
    ]
    return SCRIPT.format(
        directives="\n".join(f"#SBATCH {line}" for line in directives(cluster, jobs, logs)),
        cwd=shlex.quote(cwd or str(Path.cwd())),
        setup="\n".join(cluster["setup"]),
        processes=processes,
        command=shlex.join(words),
        again=AGAIN,
    )


def directives(cluster: Mapping[str, Any], jobs: int, logs: Path) -> list[str]:
    """The script's sbatch options."""
    limit = f"%{cluster['parallel']}" if cluster["parallel"] else ""
    lines = [
        f"--job-name=bench-{logs.parent.name}",
        f"--array=0-{jobs - 1}{limit}",
        f"--time={cluster['time']}",
        f"--cpus-per-task={cluster['cpus']}",
        f"--signal=B:USR1@{cluster['grace']}",
        "--requeue",
        "--open-mode=append",
        f"--output={logs}/%A_%a.log",
    ]
    if cluster["gpus"]:
        lines.append(f"--gres=gpu:{cluster['gpus']}")
    if cluster["memory"]:
        lines.append(f"--mem={cluster['memory']}")
    for key in ("partition", "account", "qos", "constraint"):
        if cluster[key]:
            lines.append(f"--{key}={cluster[key]}")
    return [*lines, *cluster["extra"]]


def jobs_for(cluster: Mapping[str, Any], pieces: int) -> int:
    """Jobs of an array: more than there are batches for would idle."""
    most: int = cluster["jobs"]
    workers: int = max(cluster["gpus"], 1)
    return max(1, min(most, math.ceil(pieces / workers)))


def sbatch(*, held: bool) -> list[str]:
    """The command that takes the script; no job of a held array begins before `release`."""
    return ["sbatch", "--parsable", *["--hold"] * held]


def submit(
    study: Study,
    cluster: Mapping[str, Any],
    overrides: Sequence[str],
    pieces: int,
    *,
    command: str = "",
    cwd: str | None = None,
    held: bool = False,
    taken: Callable[[], object] = lambda: None,
) -> Submission:
    """Hand one array to SLURM and remember it in the study; refused, nothing has changed.

    Args:
        study: the study.
        cluster: see `bench.config.Cluster`.
        overrides: the command line that asks for the work.
        pieces: batches that are left; more jobs than pieces would idle.
        command: names the cells that it asks for.
        cwd: where the jobs run; here where it is not given.
        held: no job begins before `release`.
        taken: called when SLURM has taken the array; where it fails, the array is cancelled.

    Raises:
        UserError: there is no sbatch here, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UserError("no sbatch on this machine: submit from a login node of SLURM")
    jobs = jobs_for(cluster, pieces)
    logs = (study.path / "logs").absolute()
    cwd = cwd or str(Path.cwd())
    text = script(cluster, overrides, jobs, logs, cwd)
    with room(logs):
        job = _run(sbatch(held=held), text).strip().split(";")[0]
        try:
            taken()
        except BaseException:
            subprocess.run(["scancel", job], check=False)
            raise
        files.atomic_write(logs / f"{job}.sh", text)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        submission = Submission(job, jobs, list(overrides), cwd, now, dict(cluster), command)
        files.atomic_write(logs / f"{job}.json", json.dumps(asdict(submission), indent=1) + "\n")
    return submission


@contextlib.contextmanager
def room(logs: Path) -> Iterator[None]:
    """The folder of the jobs' output, which has to be there when the first begins.

    Folders that are made here and still empty at the end go again. A marker keeps those who submit
    to the same study at the same time from doing that too early.
    """
    made = [folder for folder in (logs, *logs.parents) if not folder.exists()]
    logs.mkdir(parents=True, exist_ok=True)
    marker = files.temporary_path(logs / "submitting")
    try:
        marker.touch()
        yield
    finally:
        marker.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


def _run(command: Sequence[str], text: str | None = None) -> str:
    """What a program of SLURM prints.

    Raises:
        UserError: why it did not do what it should, in one line.
    """
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if not done.returncode:
        return done.stdout
    said = re.sub(r"(?m)^s\w+: ((error|fatal): )?", "", done.stderr).split("\n")
    reasons = [line.strip() for line in said if line.strip()] or [f"exit status {done.returncode}"]
    if any(sign in reasons[-1] for sign in SILENT):
        raise UserError(
            f"{command[0]}: SLURM does not answer on this machine ({reasons[-1]}): "
            "submit from one of its login nodes"
        )
    raise UserError(f"{command[0]}: {'; '.join(dict.fromkeys(reasons))}")


def release(job: str) -> None:
    """Let the jobs of a held array begin.

    Raises:
        UserError: SLURM refuses.
    """
    try:
        _run(["scontrol", "release", job])
    except UserError as error:
        raise UserError(f"{error}; its jobs wait for: scontrol release {job}") from None


def submissions(study: Study) -> list[Submission]:
    """What this study has handed to SLURM so far, oldest first."""
    stored = [json.loads(path.read_bytes()) for path in (study.path / "logs").glob("*.json")]
    return sorted((Submission(**item) for item in stored), key=lambda item: item.submitted)


def queue(jobs: Sequence[str]) -> dict[str, str]:
    """State of every array job that SLURM still knows to wait or run; {} without SLURM."""
    if not jobs or shutil.which("squeue") is None:
        return {}
    command = ["squeue", "--noheader", "--array", f"--jobs={','.join(jobs)}", "--format=%i %T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:  # squeue refuses ids that it has forgotten: all of them are over
        return {}
    return dict(line.split(None, 1) for line in done.stdout.splitlines() if line.strip())
