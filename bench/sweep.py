"""Make the cells of a study: take a batch, make its videos, put them in place, go on.

The unit that is taken is a **batch**: cells of one variant that are denoised together. Which cells
make up a batch is fixed by what was asked, not by what is left of it, because the last bits of a
batched computation depend on its companions: a batch of which one cell is missing is denoised
whole and gives that one cell. So a study that was killed and continued has the bytes of one that
ran through, at the price of at most one batch per kill.

A failing cell stores its error and the sweep goes on. A full disk stops it, as it would fail every
other cell too.
"""

import errno
import logging
import os
import socket
import sys
import time
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from bench.cell import Cell, CellError, CellRecord, Key
from bench.claims import Worker
from bench.errors import UserError
from bench.progress import Display
from bench.prompts import Prompt, ending, reference
from bench.signals import Stop
from bench.study import Study
from bench.variant import Variant
from bench.video import Frames, VideoFile, write_video

POLL = 2.0
"""Seconds between two looks at cells that others work on."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Request:
    """One cell as the generator sees it."""

    prompt: Prompt
    seed: int


@dataclass(frozen=True)
class Made:
    """One video as the generator gives it: frames, and fields of the cell's record."""

    frames: Any
    """Iterable of uint8 frames [H, W, 3] or chunks [n, H, W, 3]."""
    record: Mapping[str, Any]


class OnSection(Protocol):
    """What a maker calls after each section."""

    def __call__(
        self, number: int, sections: int, frames: Callable[[], Sequence[Frames]] | None = None
    ) -> None:
        """Section `number` of `sections` is done; `frames()` decodes the videos so far."""


class Maker(Protocol):
    """Makes a batch of videos of one variant."""

    def sections(self, variant: Variant, prompt: Prompt) -> int:
        """How many sections the prompt's video has."""

    def describe(self, variant: Variant, prompt: Prompt) -> dict[str, Any]:
        """Fields of the record that are known before anything is made."""

    def make(
        self, variant: Variant, requests: Sequence[Request], on_section: OnSection
    ) -> Sequence[Made | Exception]:
        """Videos of the requests, in their order; an exception for one that failed alone."""


@dataclass(frozen=True)
class Batch:
    """Cells of one variant that are denoised together."""

    variant: Variant
    prompts: tuple[Prompt, ...]
    cells: tuple[Cell, ...]


@dataclass
class Outcome:
    """How a sweep went, in cells."""

    made: int = 0
    failed: dict[Key, CellError] = field(default_factory=dict)
    left: int = 0
    """Not made, because the time was over or others work on them."""


def batches(
    study: Study,
    variants: Sequence[Variant],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    size: int,
    alike: Callable[[Prompt], Hashable] = lambda prompt: None,
) -> list[Batch]:
    """The cells of variants × prompts × seeds in batches, variant by variant.

    Args:
        study, variants, prompts, seeds: what is asked.
        size: cells in a batch, at most.
        alike: what prompts of one batch must agree in (the size of their videos).
    """
    groups: dict[Hashable, list[tuple[Prompt, int]]] = {}
    for prompt in prompts:
        groups.setdefault(alike(prompt), []).extend((prompt, seed) for seed in seeds)
    parts = [
        pairs[first : first + size]
        for pairs in groups.values()
        for first in range(0, len(pairs), size)
    ]
    return [
        Batch(
            variant,
            tuple(prompt for prompt, _ in part),
            tuple(study.cell(variant.name, prompt.id, seed) for prompt, seed in part),
        )
        for variant in variants
        for part in parts
    ]


class DiskFull(UserError):
    """The disk or the quota is full: no other cell would fare better."""


class Sweep:
    """One process's part in making the cells of a study.

    Args:
        study: the study.
        maker: gives the maker when the first cell is to be made; finished studies never load one.
        display: where it is shown.
        stop: whether to go on.
        fps, crf, preset: how videos are encoded.
        preview: rewrite a growing `preview.mp4` in the cell's folder after each section.
        retry: make cells again that failed before this run.
        wait: when only cells that others work on are left, wait for those.
    """

    def __init__(
        self,
        study: Study,
        maker: Callable[[], Maker],
        display: Display,
        stop: Stop,
        *,
        fps: float,
        crf: int = 16,
        preset: str = "medium",
        preview: bool = False,
        retry: bool = True,
        wait: bool = True,
    ) -> None:
        self.study = study
        self.display = display
        self.stop = stop
        self.outcome = Outcome()
        self._make_maker = maker
        self._maker: Maker | None = None
        self._fps, self._crf, self._preset = fps, crf, preset
        self._preview = preview
        self._retry = retry
        self._wait = wait
        self._old_failures: dict[Key, int] = {}

    def run(self, work: Sequence[Batch], worker: Worker) -> Outcome:
        """Make all cells of these batches that nobody has made yet."""
        self._old_failures = {
            cell.key: _changed(cell)
            for batch in work
            for cell in batch.cells
            if self._retry and cell.status == "failed"
        }
        waiting = list(work)
        while waiting:
            busy = list(self._round(waiting, worker))
            if not busy or not self._wait or self.stop.soon:
                self.outcome.left += sum(len(self._missing(batch)) for batch in busy)
                break
            waiting = busy
            time.sleep(POLL)
            self.stop.check()
        return self.outcome

    def _round(self, work: Sequence[Batch], worker: Worker) -> Iterator[Batch]:
        """Go once over the batches; gives those that remain: others have them, or time is over."""
        for batch in work:
            missing = self._missing(batch)
            if not missing:
                continue
            if self.stop.soon:
                yield batch
                continue
            names = [cell.work("generate") for cell in missing]
            if not worker.claim(names):
                yield batch
                continue
            try:
                still = self._missing(batch)  # somebody may have finished it before we claimed it
                self.display.elsewhere(len(missing) - len(still))
                if still:
                    self._batch(batch, still, worker)
            finally:
                worker.release(names)

    def _missing(self, batch: Batch) -> list[Cell]:
        """The batch's cells that are neither done nor failed in this run."""
        return [
            cell
            for cell in batch.cells
            if (status := cell.status) is None
            or (status == "failed" and self._old_failures.get(cell.key) == _changed(cell))
        ]

    def _batch(self, batch: Batch, missing: Sequence[Cell], worker: Worker) -> None:
        """Make one batch and put in place those of its cells that are missing."""
        if self._maker is None:
            self._maker = self._make_maker()  # a generator that cannot be built ends the sweep
        for cell in missing:
            cell.folder.mkdir(parents=True, exist_ok=True)
            cell.sweep("generate")
        started = datetime.now(UTC)
        common: dict[str, Any] = {"batch_size": len(batch.cells), "worker": worker_name(worker)}
        made: Sequence[Made | Exception]
        try:
            common |= self._maker.describe(batch.variant, batch.prompts[0])
            sections = self._maker.sections(batch.variant, batch.prompts[0])
            self.display.begin([cell.key for cell in missing], sections)
            requests = [
                Request(prompt, cell.seed)
                for prompt, cell in zip(batch.prompts, batch.cells, strict=True)
            ]
            watch = _Watch(self, batch, missing)
            made = self._maker.make(batch.variant, requests, watch)
        except Exception as error:
            _free_memory()
            made = [error] * len(batch.cells)
        for prompt, cell, result in zip(batch.prompts, batch.cells, made, strict=True):
            if cell in missing:
                self._finish(batch, prompt, cell, result, common, started, worker)

    def _finish(
        self,
        batch: Batch,
        prompt: Prompt,
        cell: Cell,
        result: Made | Exception,
        common: Mapping[str, Any],
        started: datetime,
        worker: Worker,
    ) -> None:
        """Write one cell's video and record, or its failure."""
        basics = {
            "variant": cell.variant,
            "prompt_id": cell.prompt_id,
            "prompt_text": prompt.text,
            "prompt_tags": list(prompt.tags),
            "seed": cell.seed,
            "reference_image": reference(prompt) if prompt.has_image else None,
            "end_image": ending(prompt) if prompt.end_image else None,
            "host": socket.gethostname(),
            "started": started.isoformat(timespec="seconds"),
            **common,
        }
        if not worker.held(cell.work("generate")):
            self._drop(cell)
            return
        try:
            if isinstance(result, Exception):
                raise result
            video = write_video(
                cell.video, result.frames, self._fps, crf=self._crf, preset=self._preset
            )
            fields = {**basics, **result.record, **_video_fields(video), **_ending(started)}
            # What is finished is not looked at again: nothing may be left to do after the record.
            (cell.folder / "preview.mp4").unlink(missing_ok=True)
            placed = cell.write(CellRecord(status="done", **fields))
        except Exception as error:
            if worker.held(cell.work("generate")):
                self._fail(batch, cell, error, {**basics, **_ending(started)})
            else:
                self._drop(cell)  # who took it over has removed our temporary file
            return
        if placed:
            self.outcome.made += 1
            self.display.made(cell.key)

    def _drop(self, cell: Cell) -> None:
        """Leave a cell to who thought us dead and works on it now."""
        self.display.note(f"{cell.key.path}: dropped, another process has taken it over")

    def _fail(self, batch: Batch, cell: Cell, error: Exception, fields: Mapping[str, Any]) -> None:
        """Store a failure; a full disk ends the sweep."""
        cause = explain(error, len(batch.cells))
        self.outcome.failed[cell.key] = cause
        self.display.failed(cell.key, cause)
        logging.getLogger(__name__).info("%s", cause.traceback)
        full = isinstance(error, OSError) and error.errno in DISK_FULL
        try:
            (cell.folder / "preview.mp4").unlink(missing_ok=True)
            cell.write(CellRecord(status="failed", error=cause, **fields))
        except OSError as second:
            full = full or second.errno in DISK_FULL
            self.display.note(f"{cell.key.path}: its error could not be stored ({second.strerror})")
        if full:
            raise DiskFull(
                f"study={self.study.path}: {cause.message} at {cell.key.path}; "
                "make room and run the same command again"
            ) from error


class _Watch:
    """What happens after each section: the display moves, the preview grows, time is checked."""

    def __init__(self, sweep: Sweep, batch: Batch, missing: Sequence[Cell]) -> None:
        self._sweep = sweep
        self._batch = batch
        self._missing = missing

    def __call__(
        self, number: int, sections: int, frames: Callable[[], Sequence[Frames]] | None = None
    ) -> None:
        sweep = self._sweep
        sweep.display.section(number, sections)
        if sweep._preview and frames is not None:
            for cell, video in zip(self._batch.cells, frames(), strict=True):
                # Sections made ahead are decoded later, and a cell that failed not at all.
                if cell in self._missing and len(video):
                    write_video(cell.folder / "preview.mp4", [video], sweep._fps, crf=sweep._crf)
        sweep.stop.check()


def explain(error: Exception, batch: int = 1) -> CellError:
    """What a cell's record says of a failure: a kind to group by, one line, the traceback."""
    kind = type(error).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0] if lines else kind
    if kind == "OutOfMemoryError":
        hint = (
            f"batch={batch}: try a smaller one, in another study"
            if batch > 1
            else "try generator.offload=model, or a smaller video.height and video.width"
        )
        message = f"CUDA out of memory ({hint})"
    elif isinstance(error, OSError) and error.errno in DISK_FULL:
        kind, message = "DiskFull", os.strerror(error.errno or errno.ENOSPC)
    text = "".join(traceback.format_exception(error))
    return CellError(kind=kind, message=message, traceback=text)


def worker_name(worker: Worker) -> str:
    """The process, and the SLURM job where there is one."""
    job = os.environ.get("SLURM_JOB_ID")
    name = worker.name.removeprefix("worker@")
    return f"slurm-{job} {name}" if job else name


def _video_fields(video: VideoFile) -> dict[str, Any]:
    """The record's fields that come from the video file."""
    return {
        "frames": video.frames,
        "fps": video.fps,
        "width": video.width,
        "height": video.height,
        "bytes": video.bytes,
        "video_sha256": video.sha256,
    }


def _ending(started: datetime) -> dict[str, Any]:
    """The record's fields about the end of the work."""
    now = datetime.now(UTC)
    seconds = round((now - started).total_seconds(), 3)
    return {"finished": now.isoformat(timespec="seconds"), "seconds": seconds}


def _changed(cell: Cell) -> int:
    """When the cell's record was put in place, in the file system's ns; 0 where there is none."""
    try:
        return (cell.folder / "cell.json").stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _free_memory() -> None:
    """Give the device's cached memory back after a failure, so that the next cell has it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
