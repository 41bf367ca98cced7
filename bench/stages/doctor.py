"""stage=doctor: what this machine has, before anything runs."""

import importlib.metadata
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

PACKAGES = ("torch", "diffusers", "transformers", "av", "pyiqa", "open-clip-torch", "insightface")


def run(cfg: Mapping[str, Any]) -> int:
    """Print the machine, the generator's checkpoint and the metric set's weights."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in {**machine(), **checkpoint(cfg["generator"])}.items():
        table.add_row(name, value)
    console.print(table)
    from metrics import doctor

    weights = doctor.table(cfg["metrics"])
    console.print(weights)
    return 0


def machine() -> dict[str, str]:
    """Cores, disk, devices and versions of what matters."""
    found = {
        "cores": str(len(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else "",
        "free disk": f"{shutil.disk_usage(Path.cwd()).free / 2**30:.1f} GiB",
        "device": device(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def device() -> str:
    """The accelerator that generators and metrics would use."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30
    return f"cuda: {torch.cuda.get_device_name(0)}, {memory:.0f} GiB"


def checkpoint(generator: Mapping[str, Any]) -> dict[str, str]:
    """The generator's checkpoint, and whether it is there."""
    name = generator.get("checkpoint")
    if not name:
        return {}
    path = Path(str(name))
    if path.is_dir():
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return {"checkpoint": f"{path}, {size / 2**20:.0f} MiB"}
    return {"checkpoint": f"{name} (not a folder here: a hub id, or missing)"}
