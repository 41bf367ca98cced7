"""What is there and what is missing, before anything runs: the body of `stage=doctor`.

Each metric of a set is `ready`, `missing` (with the command that gets what is missing) or `wrong`
(a weight file with other bytes than the registry says). Nothing is fetched and no network is built.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from metrics import registry, weights
from metrics.errors import UserError
from metrics.scorer import build
from metrics.sets import MetricSet, load
from metrics.weights import Weight

State = Literal["ready", "missing", "wrong", "unavailable"]

PACKAGES = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "pyiqa",
    "open-clip-torch",
    "insightface",
    "timm",
    "onnx",
    "onnxruntime",
    "opencv-python-headless",
    "av",
    "numpy",
    "pandas",
    "pyarrow",
    "hydra-core",
)
"""Whose versions decide how scores come out."""


@dataclass(frozen=True)
class Finding:
    """One row of the table."""

    metric: str
    backend: str
    state: State
    detail: str
    """What is missing or wrong, and the command that mends it, on a line of its own to be copied;
    where weights come from."""
    licence: str = ""
    """Of the weight files; marked where it forbids commercial use."""


def table(metrics: str | Sequence[str] | Mapping[str, Any] | MetricSet = "lite") -> list[Finding]:
    """A row for every metric of a set, in the set's order.

    Raises:
        UserError: an unknown set, back-end or option.
    """
    chosen = load(metrics)
    rows = []
    for backend in chosen.backends:
        state, detail, licence = _examine(chosen, backend)
        rows += [
            Finding(metric, backend, state, detail, licence)
            for metric in registry.measures(backend)
        ]
    rows += [
        Finding(metric, "", "unavailable", reason) for metric, reason in chosen.unavailable.items()
    ]
    return rows


def ready(findings: Sequence[Finding]) -> bool:
    """Whether everything that the set asks for is there."""
    return all(finding.state in ("ready", "unavailable") for finding in findings)


def _examine(chosen: MetricSet, backend: str) -> tuple[State, str, str]:
    try:
        metric = build(chosen, backend)
    except ImportError as error:
        return "missing", f"package {error.name}: pip install {error.name}", ""
    files = [weights.lookup(name) for name in metric.weights]
    licence = "; ".join(dict.fromkeys(_licence(file) for file in files))
    missing, wrong = _missing_and_wrong(files)
    if wrong:
        return "wrong", "\n".join(wrong), licence
    absent = [name for name in metric.modules if importlib.util.find_spec(name) is None]
    if absent:
        return "missing", f"packages: pip install {' '.join(absent)}", licence
    if missing:
        return "missing", _how_to_get(missing, chosen.offline), licence
    sources = dict.fromkeys(f"{_place(file)} ({file.trust})" for file in files)
    return "ready", ", ".join(sources) or "no weights needed", licence


def _licence(file: Weight) -> str:
    """A file's licence, marked where it forbids commercial use."""
    return f"NON-COMMERCIAL: {file.licence}" if file.non_commercial else file.licence


def _how_to_get(missing: Sequence[Weight], offline: bool) -> str:
    """What no score can be had without, and how it comes here: a line each."""
    lines = ["no score here without"]
    lines += [f"{file.file} from {_place(file)} ({file.size}, {file.trust})" for file in missing]
    by_hand = f"put the file into the folder that {weights.FOLDER_VARIABLE} names"
    if offline or weights.offline_asked():
        return "\n".join([*lines, f"offline: {by_hand}"])
    command = f"python -m metrics.weights {' '.join(file.name for file in missing)}"
    return "\n".join([*lines, "get it:", command, f"or {by_hand}"])


def _place(file: Weight) -> str:
    """Where a file comes from, short enough for a table."""
    source = file.source
    return urlsplit(source.address).netloc if isinstance(source, weights.Url) else str(source)


def _missing_and_wrong(files: Sequence[Weight]) -> tuple[list[Weight], list[str]]:
    """Files that are not here, and what is wrong with those that are."""
    missing: list[Weight] = []
    wrong: list[str] = []
    for file in files:
        path = weights.find(file.name)
        if path is None:
            missing.append(file)
            continue
        try:
            weights.check(file, path)
        except UserError as error:
            wrong.append(str(error))
    return missing, wrong


def machine(*folders: Path) -> list[tuple[str, str]]:
    """Devices, versions and disk space, as (what, value) rows.

    Args:
        *folders: whose free space to tell, besides the weight cache's.
    """
    import torch

    rows = [
        ("python", platform.python_version()),
        ("platform", platform.platform()),
        ("cpu", f"{os.cpu_count()} cores"),
    ]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            memory = f"{properties.total_memory / 2**30:.0f} GiB"
            rows.append((f"cuda:{index}", f"{properties.name}, {memory}"))
    else:
        rows.append(("cuda", "none: networks run on the cpu"))
    for package in PACKAGES:
        try:
            rows.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            rows.append((package, "not installed"))
    for folder in (weights.cache_folder(), *folders):
        there = folder
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free / 2**30
        rows.append(("disk", f"{free:.1f} GiB free at {folder}"))
    return rows
