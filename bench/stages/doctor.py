"""stage=doctor: what this machine has, before anything runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.making import generator_options

OK, MISSING = 0, 1

COLOURS = {"ready": "green", "unavailable": "yellow"}


def run(cfg: Mapping[str, Any]) -> int:
    """Print the machine, the generator's checkpoint and the metric set's weights.

    The exit status is 1 when something that the set or the generator needs is not there.
    """
    from metrics import doctor

    console = Console(highlight=False)
    study = Path(cfg["study"]).absolute()
    here = next(path for path in (study, *study.parents) if path.is_dir())
    name, found, there = checkpoint(generator_options(cfg))
    console.print(_table([*doctor.machine(here), (name, found)], header=()))
    findings = doctor.table(cfg["metrics"])
    rows = [
        (f.metric, f.backend, f"[{COLOURS.get(f.state, 'red')}]{f.state}[/]", f.detail, f.licence)
        for f in findings
    ]
    console.print(_table(rows, header=("metric", "backend", "state", "weights", "licence")))
    return OK if there and doctor.ready(findings) else MISSING


def checkpoint(generator: Mapping[str, Any]) -> tuple[str, str, bool]:
    """What the generator is, where, and whether it is there."""
    kind = str(generator.get("kind"))
    place = generator.get("checkpoint") or generator.get("path")
    if not place:
        return kind, "nothing is named", False
    path = Path(str(place))
    if not path.is_dir():
        offline = bool(generator.get("offline")) or path.is_absolute()
        return kind, f"{place}: no such folder here; fetched from a hub if it is an id", not offline
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return kind, f"{path}, {size / 2**20:.0f} MiB", True


def _table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=bool(header))
    for number in range(len(rows[0]) if rows else 0):
        table.add_column(header[number] if header else "", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
