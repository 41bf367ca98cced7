"""stage=generate: make the videos that are missing, and say what came of it."""

import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import files, prompts, suites
from bench.cell import Cell, Key
from bench.errors import UserError
from bench.generators import folder
from bench.making import maker, plans, shapes
from bench.plan import single
from bench.progress import Display, display
from bench.prompts import Suite
from bench.signals import Stop, Stopped
from bench.study import Command, Study
from bench.sweep import Batch, DiskFull, Maker, Outcome, Sweep, batches
from bench.variant import Variant
from bench.video import check_video
from bench.words import are, count

OK, FAILED, AGAIN, INTERRUPTED = 0, 1, 75, 130
"""Exit statuses; AGAIN says that the time was over before the work was (EX_TEMPFAIL)."""

SPEED_ONLY = frozenset({"device", "offload", "tiling", "vae_tiling", "cache_dir", "threads"})
"""Keys of a generator that change how fast it is, not what it is asked to make."""


def run(
    cfg: Mapping[str, Any],
    variants: Sequence[Variant],
    stop: Stop | None = None,
    only: Collection[Key] | None = None,
) -> int:
    """Make what is missing of variants × prompts × seeds.

    Args:
        cfg: the configuration.
        variants: what is compared.
        stop: whether to go on; made from the configuration where it is not given.
        only: cells whose batches are looked at; all where it is not given.

    Raises:
        UserError: the input is wrong; nothing has been made then.
    """
    if cfg["generator"].get("kind") == "folder":
        return _existing(cfg)
    study, suite, _, work = ask(cfg, variants)
    if only is not None:
        work = [batch for batch in work if any(cell.key in only for cell in batch.cells)]
    cells = [cell for batch in work for cell in batch.cells]
    alone = cfg["claims"]["wait"]
    # A job among hundreds does not look at all cells before it begins, nor after it ends.
    missing = sum(unfinished(work, retry=cfg["retry_failed"]).values()) if alone else len(cells)
    if not missing:
        settle(study, cfg["claims"]["lease"])
    if not missing and cfg["retry_failed"]:
        print(f"study={study.path}: {_all_finished(len(cells))}, nothing to make")
        return OK
    if not missing:
        return _verdict(study, cells, Outcome())
    if alone:
        print(f"study={study.path}: {missing} of {count(len(cells), 'cell')} to make", flush=True)
        if told := single(plans(cfg, variants, map(shapes(cfg["video"]), suite.prompts)).values()):
            print(told, flush=True)
    stop = stop or Stop(cfg["time_limit"], cfg["cluster"]["grace"])
    about = about_us(cfg)
    build = maker(cfg, variants, suite.prompts, shapes(cfg["video"]))
    outcome = Outcome()
    try:
        with (
            stop.listening(),
            study.worker(cfg["claims"]["lease"], about) as worker,
            display(missing) as shown,
        ):
            sweep = _sweep(cfg, study, build, shown, stop)
            outcome = sweep.outcome
            sweep.run(_from_here(work, cfg["worker"], cfg["workers"]), worker)
    except (KeyboardInterrupt, Stopped) as reason:
        _interrupted(study, cells, reason)
        return AGAIN if stop.warned else INTERRUPTED
    except DiskFull as full:
        print(f"error: {full}", flush=True)
        return FAILED
    finally:
        tidy(study)
    if stop.soon and outcome.left:
        print(f"study={study.path}: the time is over, {count(outcome.made, 'cell')} made")
        return AGAIN
    if alone:
        return _verdict(study, cells, outcome)
    print(f"study={study.path}: {count(outcome.made, 'cell')} made, "
          f"{len(outcome.failed)} failed; what is left is others'")  # fmt: skip
    return FAILED if outcome.failed else OK


def _existing(cfg: Mapping[str, Any]) -> int:
    """generator=folder: the videos of a folder become cells."""
    if not cfg["generator"].get("path"):
        raise UserError("generator.path: give the folder of the videos, generator.path=FOLDER")
    existing = folder.find(Path(str(cfg["generator"]["path"])))
    suite = Suite(())
    if cfg["prompts"]["file"]:
        suite = suites.chosen(cfg["prompts"], known_images(Path(cfg["study"])))
    study = Study.create(cfg["study"], {"generator": cfg["generator"]}, configuration=cfg)
    by_id = {prompt.id: prompt for prompt in prompts.store(study, suite).prompts}
    if by_id and by_id.keys().isdisjoint(item.key.prompt_id for item in existing):
        suite_of = f"the suite's {count(len(by_id), 'prompt')} (such as {next(iter(by_id))})"
        print(f"prompts: no video is named after one of {suite_of}: "
              "none gets a text or a first frame")  # fmt: skip
    outcome = Outcome()
    with study.worker(cfg["claims"]["lease"]) as worker:
        if not worker.claim(["folder"]):
            raise UserError(f"study={study.path}: another process is putting videos into it")
        others = folder.replaced(study, existing)
        for cell, error in folder.present(study, existing, by_id):
            print(f"{cell.key.path}: {'failed, ' + error.message if error else 'taken over'}")
            outcome.made += error is None
    status = _verdict(study, [study.cell(*item.key) for item in existing], outcome)
    for line in others:
        print(line)
    return FAILED if others else status


def ask(
    cfg: Mapping[str, Any], variants: Sequence[Variant], *, dry: bool = False
) -> tuple[Study, Suite, Command, list[Batch]]:
    """Open or create the study, ask it for the cells, and give them in batches.

    Args:
        cfg: the configuration.
        variants: what is compared.
        dry: write nothing; what comes back is what would be.

    Raises:
        UserError: something is wrong that can be seen before a model is loaded.
    """
    check_video(cfg["video"])
    if cfg["batch"] < 1:
        raise UserError(f"batch={cfg['batch']}: give 1 or more")
    if not 0 <= cfg["worker"] < cfg["workers"]:
        raise UserError(f"worker={cfg['worker']}: give 0 to workers-1 ({cfg['workers'] - 1})")
    path = Path(cfg["study"])
    suite = suites.chosen(cfg["prompts"], known_images(path))
    if not suite.prompts:
        raise UserError("prompts: none is left of the suite; change prompts.ids or prompts.tags")
    seeds = seed_list(cfg["seeds"])
    alike = shapes(cfg["video"])
    plans(cfg, variants, map(alike, suite.prompts))  # what cannot be planned stops here
    study = Study.create(path, settings(cfg), configuration=cfg, dry=dry)
    suite = prompts.store(study, suite, dry=dry)
    names, ids = [variant.name for variant in variants], [prompt.id for prompt in suite.prompts]
    command = study.ask(names, ids, seeds, cfg, dry=dry)
    work = batches(study, variants, suite.prompts, seeds, cfg["batch"], alike)
    return study, suite, command, work


def settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """What all cells of a study share: changing it asks for another study."""
    generator = {key: value for key, value in cfg["generator"].items() if key not in SPEED_ONLY}
    return {"generator": generator, "video": dict(cfg["video"]), "batch": cfg["batch"]}


def known_images(path: Path) -> set[str]:
    """SHA-256 of the images that the study in this folder has already read."""
    return {
        str(json.loads(file.read_bytes()).get("origin"))
        for file in (path / "prompts").glob("*.json")
    }


def seed_list(seeds: Any) -> list[int]:
    """Seeds from a number or a list of numbers."""
    listed = seeds if isinstance(seeds, Sequence) and not isinstance(seeds, str) else [seeds]
    whole = all(isinstance(s, int) and not isinstance(s, bool) for s in listed)
    if not (listed and whole and all(0 <= s < 2**63 for s in listed)):
        raise UserError(f"seeds={seeds}: give a whole number from 0 on, or a list of them")
    return list(dict.fromkeys(listed))


def unfinished(work: Sequence[Batch], *, retry: bool) -> Counter[str]:
    """Cells by status that a run would make: those without a record, and failed ones."""
    found: Counter[str] = Counter(
        cell.status or "pending" for batch in work for cell in batch.cells
    )
    del found["done"]
    if not retry:
        del found["failed"]
    return found


def tidy(study: Study) -> None:
    """Remove what killed processes left in the folders that cells do not own."""
    for place in (".", "prompts", "asked", "logs"):
        files.sweep(study.path / place)


def settle(study: Study, lease: float) -> None:
    """Clean up behind workers that died between their last cell's record and their leave.

    Costs a look or two where there is nothing to do; living workers are left alone.
    """
    tidy(study)
    if (study.path / "claims").exists():
        with study.worker(lease):
            pass  # leaving buries the dead


def _from_here(work: list[Batch], worker: int, workers: int) -> list[Batch]:
    """The batches from this worker's place on, round to the one before it."""
    first = len(work) * worker // workers
    return work[first:] + work[:first]


def _sweep(
    cfg: Mapping[str, Any], study: Study, build: Callable[[], Maker], shown: Display, stop: Stop
) -> Sweep:
    video = cfg["video"]
    return Sweep(
        study,
        build,
        shown,
        stop,
        fps=video["fps"],
        crf=video["crf"],
        preset=video["preset"],
        preview=cfg["preview"],
        retry=cfg["retry_failed"],
        wait=cfg["claims"]["wait"],
    )


def _all_finished(number: int) -> str:
    """That so many cells are all finished."""
    return f"all {number} cells are finished" if number > 1 else "the one cell is finished"


def _verdict(study: Study, cells: Sequence[Cell], outcome: Outcome) -> int:
    """Say how the study stands, failures grouped by cause; gives the exit status."""
    states = study.states_of(cell.key for cell in cells)
    number = Counter(states.values())
    if number["done"] == len(cells):
        now = f"{outcome.made} of them now" if len(cells) > 1 else f"{outcome.made} made now"
        print(f"study={study.path}: {_all_finished(len(cells))}, {now}")
        return OK
    others = [f"{many} {state}" for state, many in number.items() if state != "done"]
    print(f"study={study.path}: {number['done']} of {count(len(cells), 'cell')} "
          f"{are(len(cells))} finished, {', '.join(others)}")  # fmt: skip
    for line in causes(study, [key for key, state in states.items() if state == "failed"]):
        print(f"failed: {line}")
    if number["running"] or number["pending"]:
        print("continue with the same command")
    return FAILED


def unasked(study: Study, left: Collection[Key]) -> int:
    """Say which failed cells stay as they are, as nothing is known of how they were asked for."""
    if not left:
        return OK
    print(f"study={study.path}: {count(len(left), 'failed cell')} {are(len(left))} left "
          f"(first: {next(iter(left)).path}): run the command that asked for them")  # fmt: skip
    return FAILED


def causes(study: Study, failed: Sequence[Any]) -> list[str]:
    """Failures grouped by kind and message: "12 cells: OutOfMemoryError: ... (first: CELL)"."""
    groups: dict[tuple[str, str], list[str]] = {}
    for key in failed:
        record = study.cell(*key).record()
        if record is not None and record.error is not None:
            own = f" (prompt {record.prompt_id}, seed {record.seed})"  # no cause of its own
            cause = (record.error.kind, record.error.message.replace(own, ""))
            groups.setdefault(cause, []).append(key.path)
    return [
        f"{count(len(paths), 'cell')}: {kind}: {message} (cells/{paths[0]}/cell.json)"
        for (kind, message), paths in sorted(groups.items(), key=lambda item: -len(item[1]))
    ]


def _interrupted(study: Study, cells: Sequence[Cell], reason: BaseException) -> None:
    """Say what is kept and how to go on."""
    done = sum(cell.status == "done" for cell in cells)
    why = f" ({reason})" if str(reason) else ""
    print(f"\nstopped{why}: {done} of {count(len(cells), 'cell')} of study={study.path} "
          f"{are(len(cells))} finished; run the same command to continue", flush=True)  # fmt: skip


def about_us(cfg: Mapping[str, Any]) -> dict[str, str]:
    """What others should know of this process besides its machine."""
    keys = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")
    job = {key.lower(): os.environ[key] for key in keys if key in os.environ}
    return {"worker": str(cfg["worker"]), **job}
