"""Whether a weight file has the bytes that it must have.

Wrong bytes never become scores: a file whose SHA-256 differs, or that holds only zeros, stops the
run with both digests.
"""

import contextlib
import functools
import hashlib
import json
from pathlib import Path

from metrics.store import replace_file
from metrics.weight import Weight, WrongWeights, lookup
from metrics.weight_places import find

BLOCK = 1 << 20


def check(weight: Weight, path: Path) -> str:
    """The file's SHA-256, compared with the registry's and with the first fetch's.

    Raises:
        WrongWeights: it differs, or the file holds only zeros.
    """
    actual, zeros = digest(path)
    expected = weight.sha256 or _first_seen(path)
    if zeros:
        raise WrongWeights(
            f"{path} holds only zeros: SHA-256 is {actual}, expected {expected or 'another'}; "
            f"delete it and run: {weight.command}"
        )
    if not actual.startswith(expected):
        raise WrongWeights(
            f"{path} is not {weight.name}: SHA-256 is {actual}, expected {expected}; "
            f"delete it and run: {weight.command}"
        )
    return actual


def registered_digest(name: str) -> str:
    """The SHA-256 of a weight for fingerprints: the registry's, else that of the file found."""
    weight = lookup(name)
    if len(weight.sha256) == 64:
        return weight.sha256
    path = find(name)
    return digest(path)[0] if path else weight.sha256 or "absent"


def _sidecar(path: Path) -> Path:
    return path.with_name(f".{path.name}.digest.json")


def digest(path: Path) -> tuple[str, bool]:
    """SHA-256 and whether all bytes are zero; remembered beside the file until that changes."""
    stat = path.stat()
    stamp = {"size": stat.st_size, "modified": stat.st_mtime_ns}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(_sidecar(path).read_text())
        if {key: known[key] for key in stamp} == stamp:
            return str(known["sha256"]), bool(known["zeros"])
    sha256, zeros = _hash_of(path, stat.st_size, stat.st_mtime_ns)
    record = {**stamp, "sha256": sha256, "zeros": zeros}
    with contextlib.suppress(OSError):  # a read-only folder only costs a hash in every process
        replace_file(_sidecar(path), json.dumps(record).encode())
    return sha256, zeros


@functools.cache
def _hash_of(path: Path, size: int, modified: int) -> tuple[str, bool]:
    """`hash_file`, once while a file keeps its size and time of change: every video asks for it."""
    return hash_file(path)


def hash_file(path: Path) -> tuple[str, bool]:
    """SHA-256 of a file, and whether all its bytes are zero (an empty file's are)."""
    sha, zeros = hashlib.sha256(), True
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha.update(block)
            zeros = zeros and not any(block)
    return sha.hexdigest(), zeros


def _first_seen(path: Path) -> str:
    """The digest noted when the file was first fetched, or ""."""
    note = _note(path)
    return note.read_text().strip() if note.is_file() else ""


def remember(path: Path, sha256: str) -> None:
    """Note the digest of a file that is fetched for the first time, where it will lie."""
    replace_file(_note(path), sha256.encode())


def _note(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")
