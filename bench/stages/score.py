"""stage=score: measure the study's finished videos; several processes share the work."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench.cell import Cell
from bench.claims import Worker
from bench.errors import UserError
from bench.signals import Stop, Stopped
from bench.stages.generate import AGAIN, FAILED, INTERRUPTED, OK, about_us
from bench.study import Study
from bench.sweep import POLL


def run(cfg: Mapping[str, Any], stop: Stop | None = None) -> int:
    """Score every finished cell that lacks a current score of some metric of the set.

    Args:
        cfg: the configuration.
        stop: whether to go on; made from the configuration where it is not given.

    Raises:
        UserError: no study, no finished video in it, or a wrong metric set or shard.
    """
    from metrics.score import Job, Scores, parse_shard, score_many

    part, parts = parse_shard(str(cfg["shard"]))
    study = Study.open(cfg["study"])
    asked = list(study.cells())
    cells = [cell for cell in asked if cell.status == "done"]
    if not cells and not cfg["claims"]["wait"]:
        return OK  # a job among others whose first cell is still being made
    if not cells:
        raise UserError(f"study={study.path}: no finished video in it; run stage=generate first")
    if parts > 1:  # of all cells, made or not: a cell's shard stays while others are made
        mine = {cell.key for cell in asked[part - 1 :: parts]}
        cells = [cell for cell in cells if cell.key in mine]
    cells = cells[(first := len(cells) * cfg["worker"] // cfg["workers"]) :] + cells[:first]
    stop = stop or Stop(cfg["time_limit"], cfg["cluster"]["grace"])
    done = 0
    reported: set[str] = set()

    def job(cell: Cell) -> Job:
        record = cell.record()
        assert record is not None
        image = record.reference_image
        return Job(
            video=cell.video,
            folder=cell.folder,
            prompt=record.prompt_text or None,
            reference=study.path / image if image else None,
            section_starts=tuple(record.section_starts),
            name=cell.key.path,
            claimed=True,
        )

    def told(job: Job, scores: Scores | None, number: int, total: int) -> None:
        nonlocal done
        done += 1
        what = "kept" if scores is None else f"scored, {time.monotonic() - told_at[0]:.1f} s"
        if scores is not None and scores.failed:
            what = f"failed: {scores.failure}"
            reported.add(job.title)
        told_at[0] = time.monotonic()
        print(f"[{done}/{len(cells)}] {job.title}: {what}", flush=True)

    told_at = [time.monotonic()]
    options = {key: cfg[key] for key in ("device", "offline") if cfg[key] is not None}
    try:
        with (
            stop.listening(),
            study.worker(cfg["claims"]["lease"], about_us(cfg)) as worker,
        ):
            jobs = (job(cell) for cell in _claimed(cells, worker, stop, wait=cfg["claims"]["wait"]))
            tally = score_many(jobs, cfg["metrics"], on_job=told, **options)
    except (KeyboardInterrupt, Stopped):
        print("\nstopped; run the same command to continue", flush=True)
        return AGAIN if stop.warned else INTERRUPTED
    for line in tally.gaps():
        print(line)
    for title, reason in sorted(tally.failed.items()):
        if title not in reported:
            print(f"failed: {title}: {reason}")
    left = len(cells) - done
    print(f"study={study.path}: {done} of {len(cells)} videos are scored", flush=True)
    if stop.soon and left:
        return AGAIN
    if not cfg["claims"]["wait"]:  # others measure what is left
        left = 0
    return OK if tally.ok and not left else FAILED


def _claimed(cells: list[Cell], worker: Worker, stop: Stop, *, wait: bool) -> Iterator[Cell]:
    """The cells one by one, each held while it is measured; others' cells come round again.

    A cell that somebody else has measured meanwhile is given as well: looking at its scores costs
    little and finds them there.
    """
    while cells:
        busy = []
        for cell in cells:
            if stop.soon:
                return
            work = [cell.work("score")]
            if not worker.claim(work):
                busy.append(cell)
                continue
            try:
                yield cell
            finally:
                cell.sweep("score")
                worker.release(work)
        if not wait:
            return
        cells = busy
        if cells:
            time.sleep(POLL)
