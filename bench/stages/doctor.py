"""stage=doctor: what this machine has, before anything runs."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.generators.sources import local_folder
from bench.making import ROOT, generator_options
from bench.progress import console

OK, MISSING = 0, 1

COLOURS = {"ready": "green", "unavailable": "yellow"}

TABLES = ("loras", "transformers", "codebooks")
"""Keys of a generator that name several sources."""
REPLACING: Mapping[str, tuple[str, ...]] = {
    "transformer": ("transformer",),
    "image_encoder": ("image_encoder", "feature_extractor"),
}
"""Keys of a generator that name another source for components of the checkpoint."""

NESTED = {"image_encoder": REPLACING["image_encoder"]}
"""Keys of a generator whose source has its components in folders of their own."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?<!\.safetensors)")

Row = tuple[str, str, bool]
"""What it is, where it is or how it comes here, and whether it is there."""


def run(cfg: Mapping[str, Any]) -> int:
    """Print the machine, the generator's weights and the metric set's.

    The exit status is 1 when something that the set or the generator needs is not there.
    """
    from metrics import doctor

    shown = console()
    study = Path(cfg["study"]).absolute()
    here = next(path for path in (study, *study.parents) if path.is_dir())
    parts = sources(generator_options(cfg))
    about = [*doctor.machine(here), *((name, found) for name, found, _ in parts)]
    width = max(len(name) for name, _ in about)
    for name, value in about:
        _say(shown, f"{name:{width}}  {value}")
    findings = doctor.table(cfg["metrics"])
    rows = [(f.metric, f.backend, f"[{COLOURS.get(f.state, 'red')}]{f.state}[/]") for f in findings]
    shown.print()
    shown.print(_table(rows, header=("metric", "backend", "state")))
    # Below the table: a column of it would break paths and commands.
    details: dict[str, list[str]] = {}
    for f in findings:
        what = f"{f.detail}\nlicence: {f.licence}" if f.licence else f.detail
        details.setdefault(what, []).append(f.metric)
    for what, metrics in details.items():
        _say(shown, f"\n{', '.join(metrics)}:\n{what}")
    there = all(found for _, _, found in parts)
    return OK if there and doctor.ready(findings) else MISSING


def sources(generator: Mapping[str, Any]) -> list[Row]:
    """A row for everything that a generator is read from."""
    key = "checkpoint" if generator.get("checkpoint") else "path"
    place = generator.get(key)
    if not place:
        return [(str(generator.get("kind")), "nothing is named", False)]
    moved = {key: parts for key, parts in REPLACING.items() if generator.get(key)}
    elsewhere = [part for parts in moved.values() for part in parts]
    rows = [_source(key, str(place), None, elsewhere)]
    rows += [_source(key, str(generator[key]), NESTED.get(key, ())) for key in moved]
    for table in TABLES:
        named = {str(name): str(place) for name, place in (generator.get(table) or {}).items()}
        for name in sorted(named, key=_by_number):
            rows.append(_source(f"{table}.{name}", named[name]))
    return rows


def _by_number(name: str) -> tuple[int, str]:
    """Numbers by their size, then words."""
    return (int(name), "") if name.isdecimal() else (sys.maxsize, name)


def _source(
    name: str, source: str, parts: Sequence[str] | None = (), elsewhere: Sequence[str] = ()
) -> Row:
    """One row.

    Args:
        name: what it is.
        source: folder, file or hub id.
        parts: folders that it must have; None for those that its index names.
        elsewhere: of these, those that come from another source.
    """
    found = local_folder(source) or local_folder(str(ROOT / source))
    if found is None:
        lacks = f"{source} is not here"
    else:
        needed = components(found) if parts is None else parts
        absent = [part for part in needed if part not in elsewhere and not (found / part).is_dir()]
        if not absent:
            files = found.rglob("*") if found.is_dir() else [found]
            size = sum(file.stat().st_size for file in files if file.is_file())
            unit, name_of_unit = (2**20, "MiB") if size >= 2**20 else (2**10, "KiB")
            return name, f"{found}, {size / unit:.1f} {name_of_unit}", True
        lacks = f"{found} has no {', '.join(absent)}"
    if Path(source).exists() or not HUB_ID.fullmatch(source):
        return name, f"{lacks}: give what is there, or a hub id", False
    without = "".join(f" --exclude '{part}/*'" for part in elsewhere)
    return name, f"{lacks}; get it: hf download {source}{without}", False


def components(folder: Path) -> list[str]:
    """The parts of a checkpoint in diffusers' layout, as its index names them; else none."""
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [part for part, kind in index.items() if isinstance(kind, list) and kind[0]]


def _say(shown: Console, text: str) -> None:
    """Lines as they are: a terminal wraps them, and copies them whole."""
    shown.print(text, soft_wrap=True, markup=False)


def _table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=bool(header))
    for number in range(len(rows[0]) if rows else 0):
        table.add_column(header[number] if header else "", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
