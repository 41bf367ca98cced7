"""Files that are whole or absent.

Every file of a study is written under a temporary name in its own folder, flushed to the disk and
renamed: a reader on any machine sees the old file, the new file or none, never half of one. The
temporary name carries the writing process, so that what a killed process left behind can be told
from what a living one is about to rename.
"""

import contextlib
import os
import secrets
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from bench.processes import Process

LEFTOVER_AGE = 24 * 3600.0
"""Seconds after which a temporary file of another machine counts as left behind."""


def temporary_path(path: Path) -> Path:
    """A name beside `path` that no other writer uses: `.NAME.PROCESS-RANDOM.tmp`."""
    return path.with_name(f".{path.name}.{Process.current()}-{secrets.token_hex(3)}.tmp")


def is_temporary(name: str) -> bool:
    """Whether a file name is one that `temporary_path` gives."""
    return name.startswith(".") and name.endswith(".tmp") and Process.parse(name) is not None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; on success it becomes `path`, on error it is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(path)
        flush(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write a whole file or nothing; text is UTF-8. An existing file is replaced."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def create_once(path: Path, data: bytes | str) -> bool:
    """Write a whole file that must not exist yet; False, and nothing written, where it does.

    `link` is atomic on local and network file systems alike. A network file system may carry a
    link out and lose the answer, so that the second try says "exists": the link count tells then.
    File systems without hard links get a check and a rename, which two writers that arrive in the
    same instant both pass: the later one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
        flush(temporary)
        try:
            os.link(temporary, path)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):  # taken away by who thinks us dead
                return temporary.stat().st_nlink == 2
            return False
        except OSError:
            if path.exists():
                return False
            temporary.replace(path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return True


def sweep(folder: Path, *, held: Collection[str] = ()) -> int:
    """Remove what dead writers left in one folder (not below it); gives the number removed.

    Args:
        folder: the folder; it need not exist.
        held: names of files that nobody but the caller may write now, because it has the claim on
            them: all of their temporary files go. Of other files those go whose process of this
            machine is dead, and those older than a day.
    """
    removed = 0
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.endswith(".tmp")]
    except FileNotFoundError:
        return 0
    for name in names:
        path = folder / name
        mine = any(name.startswith(f".{file}.") for file in held)
        with contextlib.suppress(FileNotFoundError):
            if mine or (is_temporary(name) and _abandoned(path)):
                path.unlink()
                removed += 1
    return removed


def _abandoned(path: Path) -> bool:
    """Whether the writer of a temporary file is dead, or has to be taken for it."""
    process = Process.parse(path.name)
    dead = process is not None and process.alive() is False
    return dead or time.time() - path.stat().st_mtime > LEFTOVER_AGE


def flush(path: Path) -> None:
    """Push a file or a folder to the disk; a full disk is heard of here, not lost."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        if not path.is_dir():  # some network file systems cannot flush folders
            raise
    finally:
        os.close(descriptor)
