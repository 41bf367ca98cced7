"""Sweeps: a kill loses nothing, nobody makes a cell twice, and a failure stays where it is."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ablations.variant import parse
from bench import samplers
from bench import sweep as sweep_module
from bench.claims import file_name
from bench.making import FromPlans, Shape
from bench.prompts import Prompt
from bench.signals import Stop, Stopped
from bench.stages.generate import causes, settle
from bench.study import Study
from bench.sweep import DiskFull, Made, OnSection, Request, batches
from bench.variant import Variant
from tests.bench.sweeping import VARIANTS, Noise, sweep, work_of
from tests.bench.test_claims import abandon

ROOT = Path(__file__).parents[2]
STUDY_FILES = {"video.mp4", "cell.json"}


def start(
    study: Path, prompts: int, batch: int, pause: float, log: Path
) -> subprocess.Popen[bytes]:
    program = [sys.executable, "-m", "tests.bench.sweeping", str(study)]
    arguments = [str(prompts), str(batch), str(pause), str(log)]
    return subprocess.Popen([*program, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)


def videos(study: Path) -> dict[str, bytes]:
    paths = (study / "cells").glob("*/*/video.mp4")
    return {str(path.relative_to(study)): path.read_bytes() for path in paths}


def strays(study: Path) -> list[str]:
    """Files that a finished study should not have."""
    cells = {path for name in STUDY_FILES for path in (study / "cells").glob(f"*/*/{name}")}
    asked = {study / "study.yaml", *(study / "asked").glob("????????????????.json")}
    found = {path for path in study.rglob("*") if path.is_file()}
    empty = [path for path in study.rglob("*") if path.is_dir() and not list(path.iterdir())]
    return sorted(map(str, [*(found - cells - asked), *empty]))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The study that ran through, in batches of two."""
    study = Study.create(tmp_path_factory.mktemp("reference") / "study")
    outcome = sweep(study, work_of(study, 3, 2))
    assert (outcome.made, outcome.failed, outcome.left) == (12, {}, 0)
    return videos(study.path)


def test_killed_at_random_points_it_gives_the_same_bytes_and_no_strays(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    study, rng = tmp_path / "study", random.Random(7)
    for _ in range(4):
        process = start(study, 3, 2, 0.02, tmp_path / "log")
        time.sleep(rng.uniform(0.7, 1.6))
        process.kill()
        process.wait()
    assert start(study, 3, 2, 0.0, tmp_path / "log").wait() == 0
    assert videos(study) == reference
    assert strays(study) == []


def test_three_processes_share_the_work_and_make_no_cell_twice(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    study, log = tmp_path / "study", tmp_path / "log"
    processes = [start(study, 3, 2, 0.1, log) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert videos(study) == reference
    assert set(Counter(log.read_text().split()).values()) == {1}
    assert strays(study) == []


def test_a_batch_that_lacks_one_cell_gives_the_bytes_of_the_whole_batch(
    tmp_path: Path, reference: dict[str, bytes]
) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 3, 2)
    sweep(study, work)
    for name in ("video.mp4", "cell.json"):
        (work[1].cells[1].folder / name).unlink()
    assert sweep(study, work).made == 1
    assert videos(study.path) == reference


def test_a_finished_study_loads_no_generator(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 1, 1)
    sweep(study, work)

    def refuse() -> Noise:
        raise AssertionError("a generator was loaded")

    outcome = sweep(study, work, refuse)
    assert (outcome.made, outcome.failed) == (0, {})


class Failing(Noise):
    """Fails for one prompt: alone in its batch, or with all of it."""

    def __init__(self, error: Exception, *, alone: bool) -> None:
        super().__init__()
        self.error = error
        self.alone = alone

    def make(
        self, variant: Variant, requests: Sequence[Request], on_section: OnSection
    ) -> Sequence[Made | Exception]:
        made = list(super().make(variant, requests, on_section))
        for place, request in enumerate(requests):
            if request.prompt.id == "p1":
                if not self.alone:
                    raise self.error
                made[place] = self.error
        return made


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "alone", "kind", "message", "lost"),
    [
        (RuntimeError("latents are not finite\nin section 3"), True, "RuntimeError",
         "latents are not finite", 4),
        (OutOfMemoryError("tried to allocate"), False, "OutOfMemoryError",
         "CUDA out of memory (batch=2: try a smaller one, in another study)", 4),
    ],
)  # fmt: skip
def test_a_failure_stays_in_its_cells_and_is_tried_again_by_the_next_run(
    tmp_path: Path,
    reference: dict[str, bytes],
    error: Exception,
    alone: bool,
    kind: str,
    message: str,
    lost: int,
) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 3, 2)
    outcome = sweep(study, work, lambda: Failing(error, alone=alone))
    assert (outcome.made, len(outcome.failed)) == (12 - lost, lost)
    record = study.cell(VARIANTS[0].name, "p1", 0).record()
    assert record is not None
    assert record.error is not None
    assert (record.error.kind, record.error.message) == (kind, message)
    assert "Traceback" in record.error.traceback
    assert sweep(study, work, retry=False).made == 0
    assert sweep(study, work).made == lost
    assert videos(study.path) == reference
    assert strays(study.path) == []


def test_a_full_disk_stops_the_sweep_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reference: dict[str, bytes]
) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 3, 2)
    written = 0
    real = sweep_module.write_video

    def write(path: Path, *arguments: Any, **options: Any) -> Any:
        nonlocal written
        written += 1
        if written == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(sweep_module, "write_video", write)
    with pytest.raises(DiskFull, match="No space left on device") as error:
        sweep(study, work)
    assert "\n" not in str(error.value)
    assert len(videos(study.path)) == 3
    monkeypatch.undo()
    sweep(study, work)
    assert videos(study.path) == reference


def test_the_preview_grows_and_goes(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 1, 1, seeds=[0])
    seen: list[int] = []

    class Looking(Noise):
        def make(
            self, variant: Variant, requests: Sequence[Request], on_section: OnSection
        ) -> Sequence[Made | Exception]:
            def look(*arguments: Any) -> None:
                on_section(*arguments)
                paths = study.path.glob("cells/*/*/preview.mp4")
                seen.append(sum(path.stat().st_size for path in paths))

            return super().make(variant, requests, look)

    sweep(study, work, Looking, preview=True)
    assert seen[0] < seen[1] < seen[2]
    assert strays(study.path) == []


@pytest.mark.parametrize("name", ["td_f1k1_g3_x_f1k1", "td_f1k1_g3_x_f1k1_x_f1k1"])
def test_a_preview_waits_for_sections_that_are_made_ahead_of_their_decoding(
    tmp_path: Path, tiny_generator: Callable[..., Any], name: str
) -> None:
    study, variant, prompt = Study.create(tmp_path / "study"), parse(name), Prompt("p", "he walks")
    shape = Shape(32, 48, end_image=False)
    made = samplers.plan(variant, height=32, width=48, sections=4)
    assert made.decodes[0].after > 0
    work = batches(study, [variant], [prompt], [0, 1], 2)
    build = partial(FromPlans, partial(tiny_generator, steps=1), {(name, shape): made})
    outcome = sweep(study, work, lambda: build(lambda prompt: shape), preview=True)
    assert (outcome.made, outcome.failed) == (2, {})


class Signalled(Noise):
    """Sends a signal to its own process in the middle of one cell; no clock decides which."""

    def __init__(self, number: int, cell: int) -> None:
        super().__init__()
        self.number = number
        self.left = cell

    def make(
        self, variant: Variant, requests: Sequence[Request], on_section: OnSection
    ) -> Sequence[Made | Exception]:
        self.left -= 1

        def told(number: int, *rest: Any) -> None:
            if self.left == 0 and number == 1:
                os.kill(os.getpid(), self.number)
            on_section(number, *rest)

        return super().make(variant, requests, told)


@pytest.mark.parametrize(("number", "error"), [(2, KeyboardInterrupt), (15, Stopped)])
def test_an_interrupt_keeps_what_is_finished_and_leaves_no_claims(
    tmp_path: Path, number: int, error: type[BaseException]
) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 2, 1)
    with pytest.raises(error):
        sweep(study, work, lambda: Signalled(number, 3))
    assert len(videos(study.path)) == 2
    assert not (study.path / "claims").exists()
    sweep(study, work)
    assert strays(study.path) == []


def test_the_warning_of_a_time_limit_lets_the_cell_at_hand_finish(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 4, 1)
    outcome = sweep(study, work, lambda: Signalled(signal.SIGUSR1, 2), Stop(grace=600))
    assert (outcome.made, outcome.left) == (2, 14)
    assert len(videos(study.path)) == 2


def test_a_cell_that_takes_longer_than_the_warning_allows_is_dropped(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 1, 1)
    with pytest.raises(Stopped):
        sweep(study, work, lambda: Signalled(signal.SIGUSR1, 1), Stop(grace=5))
    assert videos(study.path) == {}
    assert not (study.path / "claims").exists()


def test_a_worker_that_is_taken_for_dead_while_it_writes_leaves_the_cell_to_the_other(
    tmp_path: Path,
) -> None:
    study = Study.create(tmp_path / "study")
    (work,) = work_of(study, 1, 1, seeds=[0])[:1]
    name = work.cells[0].work("generate")

    with study.worker(lease=30) as other:

        class Slow(Noise):
            def make(
                self, variant: Variant, requests: Sequence[Request], on_section: OnSection
            ) -> Sequence[Made | Exception]:
                return [Made(self.frames(variant, requests[0]), {})]

            def frames(self, variant: Variant, request: Request) -> Iterator[Any]:
                yield self.video(variant, request, 1)
                claim, silent = study.path / "claims" / f"{file_name(name)}@1", time.time() - 31
                os.utime(claim, (silent, silent))
                while not other.claim([name]):  # a heartbeat came in between
                    os.utime(claim, (silent, silent))

        outcome = sweep(study, [work], Slow)
        assert (outcome.made, outcome.failed) == (0, {})
        assert work.cells[0].status is None
        assert list(work.cells[0].folder.iterdir()) == []


def test_a_finished_study_is_rid_of_what_its_last_worker_left(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")
    work = work_of(study, 1, 1)
    sweep(study, work)
    abandon(study.path / "claims", work[0].cells[0].work("generate"))
    (work[0].cells[0].folder / ".cell.json.00000000-1-1-aaaaaa.tmp").touch()
    settle(study, lease=30)
    assert strays(study.path) == []


def test_failures_that_differ_in_the_cell_only_are_one_cause(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "study")

    class Broken(Noise):
        def make(
            self, variant: Variant, requests: Sequence[Request], on_section: OnSection
        ) -> Sequence[Made | Exception]:
            return [
                RuntimeError(f"not finite (prompt {request.prompt.id}, seed {request.seed}); hm")
                for request in requests
            ]

    outcome = sweep(study, work_of(study, 2, 1), Broken)
    (cause,) = causes(study, list(outcome.failed))
    assert cause.startswith("8 cells: RuntimeError: not finite; hm (cells/")


@pytest.mark.parametrize("stage", ["generate", "score"])
def test_killed_before_any_file_operation_the_next_run_leaves_the_same_files(
    tmp_path: Path, stage: str
) -> None:
    program = [sys.executable, "-m", "tests.bench.dying", stage, str(tmp_path)]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, check=True)
    *differing, operations = done.stdout.splitlines()
    assert differing == []
    assert int(operations) > 30
