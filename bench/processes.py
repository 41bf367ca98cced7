"""Which process wrote a file, and whether it still lives.

A process id alone says too little: ids are used again, and on a shared file system the same id
lives on many machines. A process is therefore named by three things: the boot of its machine
(with its pid namespace, so that two containers of one machine stay apart), its id, and the moment
it began. Of a process of another machine nothing can be known from here; `alive` says None then,
and callers fall back on time.
"""

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PATTERN = re.compile(r"(?P<machine>[0-9a-f]{8})-(?P<pid>\d+)-(?P<began>\d+)")


@dataclass(frozen=True)
class Process:
    """One process of one machine; `str()` gives the token that file names carry."""

    machine: str
    pid: int
    began: int

    @classmethod
    def current(cls) -> "Process":
        """The process that asks."""
        pid = os.getpid()
        return cls(_machine(), pid, _began(pid) or 0)

    @classmethod
    def parse(cls, text: str) -> "Process | None":
        """The process that a token inside `text` names; None where there is none."""
        if found := PATTERN.search(text):
            return cls(found["machine"], int(found["pid"]), int(found["began"]))
        return None

    def alive(self) -> bool | None:
        """True or False for a process of this machine, None for one of another."""
        if self.machine != _machine():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        began = _began(self.pid)
        return began is None or began == self.began

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.began}"


@cache
def _machine() -> str:
    """Eight hex digits that name this boot of this machine and this pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    try:
        identity = f"{boot.read_text().strip()} {namespace.readlink()}"
    except OSError:
        identity = socket.gethostname()
    return hashlib.sha256(identity.encode()).hexdigest()[:8]


def _began(pid: int) -> int | None:
    """When a process began, in clock ticks since boot; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, began = fields[0], int(fields[19])
    return -1 if state in "ZX" else began
