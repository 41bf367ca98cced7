"""Where weight files lie on this machine."""

import os
import sys
from pathlib import Path

from metrics.weight import lookup

CACHE_VARIABLE = "FRAMEPACK_BENCH_CACHE"
FOLDER_VARIABLE = "FRAMEPACK_BENCH_WEIGHTS"


def cache_folder() -> Path:
    """Where fetched files are kept; FRAMEPACK_BENCH_CACHE overrides the platform's place."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "framepack-bench"


def find(name: str) -> Path | None:
    """The file where it is on this machine, unchecked; None where it is not."""
    weight = lookup(name)
    folders = [cache_folder() / "weights"]
    if chosen := os.environ.get(FOLDER_VARIABLE):
        folders.insert(0, Path(chosen))
    for folder in folders:
        if (folder / weight.file).is_file():
            return folder / weight.file
    return None
