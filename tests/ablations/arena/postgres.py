"""A PostgreSQL of one's own: a new cluster in a temporary folder on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; distributions keep them off the PATH."""
    if found := shutil.which("pg_ctl"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextlib.contextmanager
def cluster(binaries: Path) -> Iterator[str]:
    """Run a PostgreSQL and give its URL; the folder and the server go away afterwards.

    PostgreSQL refuses to run as root, so root hands it to the user `postgres`.
    """
    root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="arena-postgres-"))
    prefix: list[str] = []
    user = pwd.getpwuid(os.geteuid()).pw_name
    if root:
        user = "postgres"
        shutil.chown(folder, user)
        prefix = ["runuser", "-u", user, "--"]
    port = free_port()
    data = folder / "data"

    def call(*command: str) -> None:
        subprocess.run(
            [*prefix, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL, timeout=300
        )

    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    call(
        str(binaries / "initdb"), "-D", str(data), "-A", "trust", "-U", user, "--no-locale",
        "-E", "UTF8", "--no-sync",
    )  # fmt: skip
    log = str(folder / "log")
    call(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", log, "-o", options, "start")
    try:
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/postgres"
    finally:
        call(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
