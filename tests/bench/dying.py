"""Die before every single file operation of a study, and look what the next run makes of it.

`python dying.py generate|score FOLDER` runs a stage once to count its file operations, then once
for each of them: a child runs up to that operation and is gone, as a kill leaves it, and a second
child runs through. Prints one line for each study whose files are then not those of the first, and
at last the number of operations. Children are forks: importing everything takes longer than a run.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from bench.signals import Stop
from bench.stages import score
from bench.stages.generate import tidy
from bench.study import Study
from metrics import store
from tests.bench.sweeping import sweep, work_of

OPERATIONS = frozenset(
    {"open", "os.link", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.scandir", "os.utime"}
)
"""Python's audit events of file operations; each comes before the operation itself."""

CURVES = pd.DataFrame(columns=store.curve_schema().names)


def generate(folder: Path) -> None:
    """Make a study of one batch of two cells."""
    study = Study.create(folder, {"fps": 16})
    sweep(study, work_of(study, 1, 2)[:1], preview=True, preset="ultrafast")
    tidy(study)


def scored(folder: Path) -> None:
    """Write scores for every cell under the claims of stage=score."""
    study = Study.open(folder)
    with study.worker() as worker:
        cells = [cell for cell in study.cells() if cell.status == "done"]
        for cell in score._claimed(cells, worker, Stop(), wait=True):
            if not (cell.folder / "scores.parquet").exists():
                store.write_scores(cell.folder, store.scores_frame([]), CURVES)


def alone(work: Callable[[Path], None], folder: Path, last: int | None = None) -> int:
    """Do the work in a child, which dies before operation `last`; gives the operations done."""
    reading, writing = os.pipe()
    if child := os.fork():
        os.close(writing)
        with os.fdopen(reading) as file:
            count = file.read()
        _, status = os.waitpid(child, 0)
        if last is None and status:
            sys.exit(f"{folder}: a run that nobody killed failed")
        return len(count)
    count = 0

    def look(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in OPERATIONS and str(folder) in str(arguments[:2]):
            count += 1
            if count == last:
                os._exit(9)
            os.write(writing, b".")

    status = 1
    try:
        sys.addaudithook(look)
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
        work(folder)
        status = 0
    finally:
        os._exit(status)


def files(folder: Path) -> list[str]:
    """Names of all files and folders of a study."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def main() -> None:
    """The program."""
    stage, root = sys.argv[1], Path(sys.argv[2])
    work = {"generate": generate, "score": scored}[stage]

    if stage == "score":
        alone(generate, root / "made")

    def begun(name: str) -> Path:
        if stage == "score":
            shutil.copytree(root / "made", root / name)
        return root / name

    operations = alone(work, begun("whole"))
    for number in range(1, operations + 1):
        folder = begun(str(number))
        alone(work, folder, number)
        alone(work, folder)
        if differing := set(files(folder)) ^ set(files(root / "whole")):
            print(f"killed before operation {number}: {sorted(differing)}")
    print(operations)


if __name__ == "__main__":
    main()
