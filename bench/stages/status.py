"""stage=status: how a study stands, once, as JSON, or live."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench import cluster
from bench.claims import read_claims
from bench.progress import console
from bench.stages.generate import causes
from bench.study import Study

REFRESH = 5.0
"""Seconds between two looks of watch=true."""


def run(cfg: Mapping[str, Any]) -> int:
    """Print the study's state; exit status 0 when all cells are finished, 1 otherwise.

    Raises:
        UserError: there is no study.
    """
    study = Study.open(cfg["study"])
    state = look(study, cfg["claims"]["lease"])
    if cfg["json"]:
        print(json.dumps(state, indent=1))
    elif not cfg["watch"]:
        console().print(show(state))
    else:
        with Live(show(state), auto_refresh=False) as live:
            while state["done"] < state["cells"]:
                time.sleep(REFRESH)
                state = look(study, cfg["claims"]["lease"])
                live.update(show(state), refresh=True)
    return 0 if state["done"] == state["cells"] else 1


def look(study: Study, lease: float) -> dict[str, Any]:
    """The study's state as plain data.

    Keys: study, cells, done, failed, running, pending, scored, causes, jobs (of SLURM, with their
    states), workers, seconds_left (null until a cell is finished), by_variant.
    """
    states = study.states()
    count = Counter(states.values())
    claims = [claim for claim in read_claims(study.path / "claims", lease) if claim.alive]
    workers: dict[str, dict[str, Any]] = {}
    for claim in claims:
        name = job_name(claim.about) or str(claim.process)
        about: dict[str, Any] = {
            "host": claim.about.get("host"),
            "age": round(claim.age, 1),
            "works_on": [],
        }
        workers.setdefault(name, about)["works_on"].append(claim.work.replace("@", "/"))
    makers = len({claim.process for claim in claims if claim.work.startswith("generate")})
    by_variant: dict[str, Counter[str]] = {}
    for key, state in states.items():
        by_variant.setdefault(key.variant, Counter())[state] += 1
    jobs = cluster.queue([submission.job for submission in cluster.submissions(study)])
    return {
        "study": str(study.path),
        "cells": len(states),
        **{state: count[state] for state in ("done", "failed", "running", "pending")},
        "scored": sum(1 for _ in study.path.glob("cells/*/*/scores.parquet")),
        "causes": causes(study, [key for key, state in states.items() if state == "failed"]),
        "jobs": jobs,
        "workers": workers,
        "seconds_left": seconds_left(study, count["running"] + count["pending"], makers),
        "by_variant": {name: dict(counter) for name, counter in by_variant.items()},
    }


def seconds_left(study: Study, left: int, workers: int) -> float | None:
    """Time left: the median of what the last hundred cells took, shared by the workers.

    What each cell says of itself, not when it came: a night's pause is no pace.
    """
    if not left:
        return 0.0
    files = sorted(study.path.glob("cells/*/*/cell.json"), key=lambda file: file.stat().st_mtime)
    took = []
    for file in files[-100:]:
        record = json.loads(file.read_bytes())
        if record["status"] == "done" and record.get("seconds"):
            # The batch's, whose cells were made together.
            took.append(record["seconds"] / record.get("batch_size", 1))
    return round(left * median(took) / max(1, workers), 1) if took else None


def duration(seconds: float) -> str:
    """Hours, or minutes below two of them."""
    if seconds < 2 * 3600:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


def job_name(about: Mapping[str, str]) -> str:
    """The SLURM job of a worker; empty where there is none."""
    array, number = about.get("slurm_array_job_id"), about.get("slurm_array_task_id")
    return f"{array}_{number}" if array else about.get("slurm_job_id", "")


def show(state: Mapping[str, Any]) -> Group:
    """The state for people."""
    left = state["seconds_left"]
    lines = [
        f"study={state['study']} at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        f"{state['done']} of {state['cells']} cells are finished, {state['running']} running, "
        f"{state['failed']} failed, {state['pending']} not begun; {state['scored']} scored",
    ]
    if left:
        lines.append(f"about {duration(left)} left at the pace of the last hundred cells")
    lines += [f"failed: {cause}" for cause in state["causes"]]
    queued = Counter(state["jobs"].values())
    if queued:
        lines.append("jobs: " + ", ".join(f"{n} {what.lower()}" for what, n in queued.items()))
    table = Table(box=None, pad_edge=False)
    for column in ("job", "host", "heartbeat", "works on"):
        table.add_column(column)
    for name, worker in state["workers"].items():
        more = f" and {len(worker['works_on']) - 1} more" if len(worker["works_on"]) > 1 else ""
        table.add_row(
            name, worker["host"], f"{worker['age']:.0f} s ago", worker["works_on"][0] + more
        )
    text = Text("\n".join(lines))
    return Group(text, table) if state["workers"] else Group(text)
