"""stage=submit: hand the missing work to SLURM and return; stage=retry: the failed cells again."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench import cluster
from bench.cell import Cell
from bench.stages import generate
from bench.study import Study
from bench.variant import Variant

OWN = ("stage=", "cluster.", "study=", "worker=", "workers=", "plan=")
"""Overrides that the jobs get from here, not from the command line."""


def run(cfg: Mapping[str, Any], variants: Sequence[Variant], overrides: Sequence[str]) -> int:
    """Submit an array of jobs for what is missing; a finished study starts none.

    Failed cells count as missing: they are forgotten first, so that each job tries them once.
    Whether scores are of this metric set would take longer to see than a submission may: where
    scoring is all that is asked, the jobs look.

    The study is asked for the cells when SLURM has taken the jobs: what it refuses leaves nothing.

    Raises:
        UserError: the input is wrong, or SLURM refuses.
    """
    study, _, command, work = generate.ask(cfg, variants, dry=True)
    making, scoring = (stage in cfg["cluster"]["stages"] for stage in ("generate", "score"))
    statuses = {cell: cell.status for batch in work for cell in batch.cells}
    done = [cell for cell, status in statuses.items() if status == "done"]
    missing = len(statuses) - len(done) if making else 0
    failed = [cell for cell, status in statuses.items() if making and status == "failed"]
    unscored = [
        cell
        for cell in done
        if scoring and not (making and (cell.folder / "scores.parquet").exists())
    ]
    if not missing and not unscored:
        if not cfg["plan"]:
            generate.settle(study, cfg["claims"]["lease"])
        now = f"all {len(done)} cells are finished" if done else "no cell is finished yet"
        print(f"study={study.path}: {now}, no job is needed")
        if done and scoring:
            print("to score them with another metric set, add cluster.stages=[score]")
        return 0
    pieces = sum(any(statuses[cell] != "done" for cell in batch.cells) for batch in work)
    kept = [word for word in overrides if not word.startswith(OWN)]
    kept.append(f"study={study.path.absolute()}")
    what = f"{missing} of {len(statuses)} cells to make" if missing else f"{len(unscored)} to score"
    pieces = pieces if missing else len(unscored)
    if cfg["plan"]:
        batched = f"{what} in {pieces} batches" if missing else what
        _show(study, cfg["cluster"], kept, pieces, batched, held=bool(failed))
        return 0
    submission = _hand_in(
        study,
        cfg["cluster"],
        kept,
        pieces,
        failed,
        command=command.name,
        taken=lambda: generate.ask(cfg, variants),
    )
    print(f"study={study.path}: {what}; job {submission.job} with {submission.jobs} workers")
    print(f"follow: run_bench.py stage=status study={study.path} watch=true")
    print(f"output: {study.path}/logs/{submission.job}_*.log; stop: scancel {submission.job}")
    return 0


def _show(
    study: Study,
    settings: Mapping[str, Any],
    overrides: Sequence[str],
    pieces: int,
    what: str,
    *,
    held: bool,
) -> None:
    """plan=true: print what SLURM would get."""
    jobs, workers = cluster.jobs_for(settings, pieces), max(settings["gpus"], 1)
    logs = (study.path / "logs").absolute()
    print(f"study={study.path}: {what}; jobs: {jobs}, workers of each: {workers}")
    print(f"nothing is submitted; without plan=true, {shlex.join(cluster.sbatch(held=held))} gets:")
    print(f"\n{cluster.script(settings, overrides, jobs, logs)}", end="")


def retry(
    cfg: Mapping[str, Any], study: Study, failed: Sequence[Cell], overrides: Sequence[str]
) -> int:
    """Submit failed cells again, each as the last submission that asked for it was.

    Args:
        cfg: the configuration.
        study: the study.
        failed: its failed cells.
        overrides: what the command line says now; of it, the cluster keys count.

    Raises:
        UserError: SLURM refuses; the failures are as they were.
    """
    given = [word.partition("=")[0] for word in overrides]
    changed = {key: value for key, value in cfg["cluster"].items() if f"cluster.{key}" in given}
    asked = {command.name: command for command in study.commands}
    left = {cell.key: cell for cell in failed}
    for last in reversed(cluster.submissions(study)):
        if last.command not in asked or "generate" not in last.cluster["stages"]:
            continue
        mine = [left.pop(key) for key in asked[last.command].keys if key in left]
        if mine:
            submission = _hand_in(
                study,
                {**cfg["cluster"], **last.cluster, **changed},
                last.overrides,
                len(mine),
                mine,
                command=last.command,
                cwd=last.cwd,
            )
            print(f"study={study.path}: {len(mine)} failed cells to be made again; "
                  f"job {submission.job} with {submission.jobs} workers")  # fmt: skip
    return generate.unasked(study, left)


def _hand_in(
    study: Study,
    settings: Mapping[str, Any],
    overrides: Sequence[str],
    pieces: int,
    failed: Sequence[Cell],
    **about: Any,
) -> cluster.Submission:
    """Submit an array whose jobs begin when the failures that they are to mend are forgotten.

    Not before: SLURM may refuse, and who forgets first would have forgotten for nothing.
    """
    submission = cluster.submit(study, settings, overrides, pieces, held=bool(failed), **about)
    if failed:
        forget(study, failed)
        cluster.release(submission.job)
    return submission


def forget(study: Study, failed: Sequence[Cell]) -> int:
    """Remove the records of failed cells, so that they are pending again; gives their number."""
    if not failed:
        return 0
    forgotten = 0
    with study.worker() as worker:
        for cell in failed:
            name = [cell.work("generate")]
            if worker.claim(name):
                if cell.status == "failed":
                    (cell.folder / "cell.json").unlink()
                    forgotten += 1
                worker.release(name)
    return forgotten
