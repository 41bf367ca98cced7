"""Where a report's numbers come from, and how to get them again."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from bench.files import atomic_write
from bench.study import Study
from bench.words import count
from reports.analysis import Analysis
from reports.anonymous import portable


def _version() -> str:
    try:
        return version_of("framepack-bench")
    except PackageNotFoundError:
        return "0.1.0"


VERSION = _version()

CITATION = f"""\
@misc{{framepack,
  title  = {{Packing Input Frame Context in Next-Frame Prediction Models for Video Generation}},
  author = {{Lvmin Zhang and Maneesh Agrawala}},
  year   = {{2025}},
  eprint = {{2504.12626}},
  archivePrefix = {{arXiv}}
}}
@software{{framepack_bench,
  title   = {{framepack-bench: measuring how next-frame video generators forget and drift}},
  version = {{{VERSION}}}
}}"""

MOST = 24
"""Names listed before the rest is counted."""


def facts(analysis: Analysis) -> list[tuple[str, str]]:
    """What was asked and with what, as pairs of a name and words."""
    cells = analysis.cells
    done = cells[cells["state"] == "done"]
    found = [
        ("Variants", _list([entrant.name for entrant in analysis.variants])),
        ("Prompts", _list(sorted(cells["prompt_id"].astype(str).unique()))),
        ("Seeds", _list([str(seed) for seed in sorted(cells["seed"].unique())])),
        ("Generator", _distinct(_identity(value) for value in done["generator"])),
        ("Size", _distinct(_size(row) for row in done.itertuples(index=False))),
        ("Metrics", _metrics(analysis)),
        ("Baseline", analysis.baseline.name if analysis.baseline else ""),
        ("Versions", _distinct(_pairs(value) for value in done["versions"])),
        (
            "Made on",
            _distinct(
                f"{device} ({dtype})" if dtype else str(device)
                for device, dtype in zip(done["device"], done["dtype"], strict=True)
            ),
        ),
        ("Scored on", _distinct(_scored_on(analysis.results.scores))),
        ("Batch sizes", _distinct(str(size) for size in done["batch_size"])),
        ("Made between", _span(done)),
    ]
    return [(name, text) for name, text in found if text]


def _metrics(analysis: Analysis) -> str:
    measured = analysis.measured
    return "; ".join(
        f"{column.title} by {column.backend} {column.fingerprint}"
        for column in measured.columns
        if column.segment == "all" and np.isfinite(measured.of(column)).any()
    )


def _identity(value: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {item[:12] if isinstance(item, str) and len(item) == 64 else item}"
        for key, item in value.items()
        if isinstance(item, str | int | float) and item != ""
    )


def _size(row: Any) -> str:
    return f"{row.width}×{row.height}, {row.frames} frames at {row.fps:g} fps"


def _pairs(value: dict[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(value.items()))


def _span(done: pd.DataFrame) -> str:
    started = sorted(text for text in done["started"] if text)
    finished = sorted(text for text in done["finished"] if text)
    return f"{started[0]} and {finished[-1]}" if started and finished else ""


def _scored_on(scores: pd.DataFrame) -> pd.Series:
    """The device, once for every video and device."""
    once = ~pd.MultiIndex.from_frame(scores[["cell", "device"]]).duplicated()
    return scores.loc[once, "device"].astype(str)


def _distinct(values: Any) -> str:
    """Each value once, most frequent first, with its number where there are several."""
    counts = pd.Series([value for value in values if value], dtype=object).value_counts()
    if len(counts) <= 1:
        return "".join(map(str, counts.index))
    told = [f"{value} ({count(number, 'video')})" for value, number in counts.head(6).items()]
    return "; ".join(told) + (f"; and {len(counts) - 6} more" if len(counts) > 6 else "")


def _list(names: list[str]) -> str:
    shown = ", ".join(names[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"


def settings(analysis: Analysis) -> list[tuple[str, str]]:
    """Each study's shared settings as YAML."""
    several = len(analysis.results.settings) > 1
    return [
        (
            f"Settings of {name}" if several else "Settings shared by all cells",
            yaml.safe_dump(json.loads(json.dumps(dict(of), default=str)), sort_keys=False),
        )
        for name, of in analysis.results.settings.items()
        if of
    ]


def write_recipe(analysis: Analysis, study: Path, out: Path) -> Path | None:
    """Write OUT/reproduce.yaml: the configuration that asks for the same cells again.

    It is the study's stored configuration with all variants, prompts and seeds that were asked for
    since. Videos that were brought along (generator=folder) name no variants: their folders do.
    None where the study stores no configuration.
    """
    stored = yaml.safe_load((study / "study.yaml").read_text("utf-8"))
    configuration = stored.get("configuration") or {}
    if not configuration:
        return None
    cells = analysis.cells
    names = dict.fromkeys(str(name).split(" @ ")[0] for name in cells["variant"])
    brought = configuration.get("generator", {}).get("kind") == "folder"
    recipe = {**portable(configuration), "variant": None if brought else list(names)}
    recipe["seeds"] = sorted({int(seed) for seed in cells["seed"]})
    later = [one.configuration for one in Study.open(study).commands if one.configuration]
    if later:  # of a study that grew, the prompts that were asked for last, and those before them
        recipe["prompts"] = {
            **portable(later[-1].get("prompts", {})),
            "ids": list(dict.fromkeys(str(prompt) for prompt in cells["prompt_id"])),
            "tags": None,
            "limit": None,
        }
    recipe["name"], recipe["study"] = "again", "studies/again"
    # New videos get votes of their own; the old ones' database may be named with its password.
    recipe["arena"] = {**recipe.get("arena", {}), "database": None}
    recipe["report"] = {**recipe.get("report", {}), "votes": "${arena.database}"}
    # Hydra's own section is not part of what a study stores; these keep it from making folders.
    recipe["hydra"] = {"run": {"dir": "."}, "output_subdir": None}
    recipe["hydra"]["sweep"] = {"dir": "studies/again/logs", "subdir": "."}
    text = (
        "# @package _global_\n"
        "# The configuration of this report's study: see `commands` in index.html.\n"
        "defaults:\n"
        "  - override hydra/hydra_logging: none\n"
        "  - override hydra/job_logging: none\n"
    )
    text += yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
    atomic_write(out / "reproduce.yaml", text)
    return out / "reproduce.yaml"


def commands(studies: Sequence[Path], out: Path, votes: str | None = None) -> str:
    """The commands that make the videos, the scores and this report again.

    Args:
        studies: the folders that were read.
        out: the report's folder.
        votes: URL of the votes' database, which may hold a password: it is not printed.
    """
    lines = []
    recipe = out / "reproduce.yaml"
    if recipe.exists():
        base = f"python run_bench.py --config-dir={shlex.quote(os.path.relpath(out))}"
        base += " --config-name=reproduce"
        lines += [
            "# everything again, in a new study",
            f"{base} stage=generate study=studies/again",
            f"{base} stage=score study=studies/again",
            f"{base} stage=report study=studies/again",
            "",
        ]
    named = [shlex.quote(os.path.relpath(study)) for study in studies]
    lines += ["# this report again, from the study's files"]
    more = f" 'report.studies=[{','.join(named[1:])}]'" if len(named) > 1 else ""
    if votes is not None:
        from ablations.arena.votes import without_password

        more += f" {shlex.quote(f'report.votes={without_password(votes)}')}"
    lines += [f"python run_bench.py stage=report study={named[0]}{more}"]
    return "\n".join(lines)
