"""stage=submit: hand the missing work to SLURM and return; stage=retry: the failed cells again."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench import cluster
from bench.stages import generate
from bench.study import Cell, Study
from bench.variant import Variant

OWN = ("stage=", "cluster.", "study=", "worker=", "workers=", "+ablation=demo")
"""Overrides that the jobs get from here, not from the command line."""


def run(cfg: Mapping[str, Any], variants: Sequence[Variant], overrides: Sequence[str]) -> int:
    """Submit an array of jobs for what is missing; a finished study starts none.

    Failed cells count as missing: they are forgotten first, so that each job tries them once.

    Raises:
        UserError: the input is wrong, or SLURM refuses.
    """
    study, _, _, work = generate.ask(cfg, variants)
    cells = [cell for batch in work for cell in batch.cells]
    statuses = {cell: cell.status for cell in cells}
    failed = [cell for cell in cells if statuses[cell] == "failed"]
    scoring = "score" in cfg["cluster"]["stages"]
    unscored = [
        cell
        for cell in cells
        if scoring and statuses[cell] == "done" and not (cell.folder / "scores.parquet").exists()
    ]
    pieces = sum(any(statuses[cell] != "done" for cell in batch.cells) for batch in work)
    if not pieces and not unscored:
        generate.settle(study, cfg["claims"]["lease"])
        print(f"study={study.path}: all {len(cells)} cells are finished, no job is needed")
        return 0
    forget(study, failed)
    kept = [word for word in overrides if not word.startswith(OWN)]
    words = [*kept, f"study={study.path.absolute()}"]
    submission = cluster.submit(study, cfg["cluster"], words, pieces or len(unscored))
    missing = sum(status != "done" for status in statuses.values())
    print(f"study={study.path}: {missing} of {len(cells)} cells to make; "
          f"job {submission.job} with {submission.jobs} workers")  # fmt: skip
    print(f"follow: run_bench.py stage=status study={study.path} watch=true")
    print(f"output: {study.path}/logs/{submission.job}_*.log; stop: scancel {submission.job}")
    return 0


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


def retry(cfg: Mapping[str, Any], study: Study, failed: Sequence[Cell]) -> int:
    """Submit the failed cells of a study again, with the command line of its last submission.

    Raises:
        UserError: SLURM refuses.
    """
    number = forget(study, failed)
    last = cluster.submissions(study)[-1]
    submission = cluster.submit(study, cfg["cluster"], last.overrides, number)
    print(f"study={study.path}: {number} failed cells to be made again; "
          f"job {submission.job} with {submission.jobs} workers")  # fmt: skip
    return 0
