"""A study: a folder that says what was asked, what is made, and how it went.

```
STUDY/study.yaml                  settings that all cells share; the first run's configuration
STUDY/asked/DIGEST.json           one file per distinct request: variants, prompts, seeds; the
                                  configuration of the first run that made it
STUDY/prompts/PROMPT.json         a prompt's text and tags; beside it PROMPT.png, its first frame
STUDY/cells/VARIANT/PROMPT_SEED/  video.mp4, cell.json, scores.parquet, curves.parquet
STUDY/claims/                     who works on what just now (bench.claims); gone when nobody does
STUDY/logs/                       what jobs printed
```

Two choices carry the rest. First, a cell is finished when its `cell.json` says "done", and that
file is put in place after the video: no index that could disagree with the folder, and nothing to
repair after a kill. The price is one small read per cell to recognise a finished study. Second,
requests are files named by their content: several processes can add variants to one study at once
without reading, changing and writing back a common file, which no lock would protect.

This module imports neither torch nor the packages that make or measure videos.
"""

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from bench import claims, files
from bench.cell import FILES, SCHEMA, Cell, Key, State
from bench.errors import UserError

SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")
"""Characters that names of variants and prompts may have: they name folders and claims."""

SAFE_WORDS = "a-z A-Z 0-9 . _ + -, the first of them no . or -"
"""What a name of variants and prompts may be, for messages."""


@dataclass(frozen=True)
class Command:
    """What one run asked a study for: variants × prompts × seeds, and with what configuration."""

    name: str
    """The digest that names its file in STUDY/asked."""
    variants: list[str]
    prompts: list[str]
    seeds: list[int]
    configuration: dict[str, Any] = field(default_factory=dict)
    """Of the first run that asked for this."""

    @property
    def keys(self) -> list[Key]:
        """Its cells, variant by variant."""
        return [Key(*key) for key in itertools.product(self.variants, self.prompts, self.seeds)]


class Study:
    """A study folder. Get one by `Study.open` or `Study.create`."""

    def __init__(
        self, path: Path, settings: Mapping[str, Any], configuration: Mapping[str, Any]
    ) -> None:
        self.path = path
        self.settings = dict(settings)
        """What all cells share: generator, video, batch."""
        self.configuration = dict(configuration)
        """The configuration of the first run."""

    @classmethod
    def open(cls, path: str | Path) -> "Study":
        """An existing study.

        Raises:
            UserError: there is no study in that folder.
        """
        path = Path(path)
        try:
            stored = yaml.load((path / "study.yaml").read_text("utf-8"), _LOADER)
        except (FileNotFoundError, NotADirectoryError):
            cls._refuse_loose(path)
            raise UserError(f"study={path}: no study there (no study.yaml)") from None
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA:
            raise UserError(f"{path / 'study.yaml'}: not a study of schema {SCHEMA}")
        return cls(path, stored.get("settings") or {}, stored.get("configuration") or {})

    @classmethod
    def create(
        cls,
        path: str | Path,
        settings: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        *,
        dry: bool = False,
    ) -> "Study":
        """A new study, or the existing one in that folder if it has the same settings.

        Args:
            path: the study's folder.
            settings: what all of its cells share; changing it asks for another study.
            configuration: the run's resolved configuration, kept for the reader.
            dry: write nothing; what comes back is the study as it would be.

        Raises:
            UserError: the study there was made with other settings, or what is there is none.
        """
        path = Path(path)
        if not (path / "study.yaml").exists():
            cls._refuse_loose(path)
        settings = json.loads(json.dumps(settings or {}))
        stored = {"schema": SCHEMA, "settings": settings, "configuration": configuration or {}}
        text = yaml.safe_dump(stored, sort_keys=False, allow_unicode=True)
        would_be = cls(path, settings, configuration or {})
        if not (path / "study.yaml").exists():
            if dry:
                return would_be
            files.create_once(path / "study.yaml", text)
        study = cls.open(path)
        for key, theirs, ours in _differences(study.settings, settings):
            if not study._bound():  # tries that made nothing bind nobody
                if dry:
                    return would_be
                files.atomic_write(path / "study.yaml", text)
                study._ask_anew({key: (configuration or {}).get(key) for key in settings})
                return cls.open(path)
            raise UserError(
                f"study={path} was made with {key}={theirs}, not {ours}: "
                "go back to that value or name another study"
            )
        return study

    @staticmethod
    def _refuse_loose(path: Path) -> None:
        """A folder has a study or scores of loose videos: tables of both would mix them."""
        loose = path / "scores"
        found = (path / "scores.csv").is_file() or any(loose.rglob("scores.parquet"))
        if loose.is_dir() and found:
            raise UserError(
                f"study={path} holds scores of loose videos (videos=DIR), which are no study; "
                "name another folder, and to report on those videos take them over into it with "
                "generator=folder"
            )

    def _bound(self) -> bool:
        """Whether there are videos of these settings, somebody makes one, or jobs will."""
        return (
            any((self.path / "logs").glob("*.json"))
            or any(claim.alive for claim in claims.read_claims(self.path / "claims"))
            or any(cell.status == "done" for cell in self.cells())
        )

    def _ask_anew(self, shared: Mapping[str, Any]) -> None:
        """Give earlier requests, of which nothing is made, the settings that the study has now."""
        for command in self.commands:
            if command.configuration:
                path = self.path / "asked" / f"{command.name}.json"
                stored = json.loads(path.read_bytes())
                stored["configuration"] |= shared
                files.atomic_write(path, json.dumps(stored, indent=1))

    def ask(
        self,
        variants: Sequence[str],
        prompts: Sequence[str],
        seeds: Sequence[int],
        configuration: Mapping[str, Any] | None = None,
        *,
        dry: bool = False,
    ) -> Command:
        """Add variants × prompts × seeds to what the study is asked for; asking again is free.

        Args:
            variants, prompts, seeds: what names the cells.
            configuration: the run's, with which `stage=retry` makes these cells again.
            dry: write nothing; what comes back is the request as it would be.
        """
        for kind, names in (("variant", variants), ("prompt id", prompts)):
            for name in names:
                if not name or not SAFE.issuperset(name) or name[0] in ".-":
                    raise UserError(
                        f"{kind} {name!r} cannot name a folder: it must be {SAFE_WORDS}"
                    )
        request: dict[str, Any] = {
            "variants": list(variants),
            "prompts": list(prompts),
            "seeds": list(seeds),
        }
        digest = hashlib.sha256(json.dumps(request, indent=1).encode()).hexdigest()[:16]
        path = self.path / "asked" / f"{digest}.json"
        if dry:
            return Command(digest, **request)
        if not path.exists():
            stored = request | ({"configuration": configuration} if configuration else {})
            files.create_once(path, json.dumps(stored, indent=1))
        return _command(path)

    @property
    def commands(self) -> list[Command]:
        """What runs have asked for so far, oldest first."""
        paths = (self.path / "asked").glob("*.json")
        return [
            _command(path)
            for path in sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name))
        ]

    @property
    def asked(self) -> list[Key]:
        """All cells asked for so far, variant by variant, in the order of the requests' making."""
        return list(dict.fromkeys(key for command in self.commands for key in command.keys))

    def cell(self, variant: str, prompt_id: str, seed: int) -> Cell:
        """One cell by its name, whether it exists or not."""
        return Cell(self.path, Key(variant, prompt_id, seed))

    def cells(self) -> Iterator[Cell]:
        """The cells asked for, then those that the folder holds beyond them."""
        asked = self.asked
        for key in asked:
            yield Cell(self.path, key)
        known = set(asked)
        for key in self._stored():
            if key not in known:
                yield Cell(self.path, key)

    def states(self) -> dict[Key, State]:
        """The state of every cell, in one pass over the folder."""
        return self.states_of(cell.key for cell in self.cells())

    def states_of(self, keys: Iterable[Key]) -> dict[Key, State]:
        """The state of some cells; the claims are read once for all of them."""
        running = {claim.work for claim in claims.read_claims(self.path / "claims") if claim.alive}
        states: dict[Key, State] = {}
        for key in keys:
            cell = Cell(self.path, key)
            status = cell.status
            if status is None and running and claims.file_name(cell.work("generate")) in running:
                states[key] = "running"
            else:
                states[key] = status or "pending"
        return states

    def worker(
        self, lease: float = claims.LEASE, about: dict[str, str] | None = None
    ) -> claims.Worker:
        """This process's presence in the study's claims (see `bench.claims`)."""
        folder = self.path / "claims"
        return claims.Worker(folder, lease=lease, about=about, inherit=self.clear)

    def clear(self, claim: str) -> None:
        """Remove what a dead worker left behind in the cell that its claim names.

        A cell that it had finished is never claimed for making again, so nobody else would look.
        """
        stage, *names = claim.split("@")
        if stage == "folder":  # one claim on all cells that are made of existing videos
            for cell in self.cells():
                cell.sweep("generate")
        elif stage in FILES:
            # A long name ends in a digest, which only the names of all cells can tell.
            cells = self.cells() if "~" in claim else [self._named(*names)]
            for cell in cells:
                if claims.file_name(cell.work(stage)) == claim:
                    cell.sweep(stage)

    def _named(self, variant: str, folder: str) -> Cell:
        """The cell of a folder's name."""
        prompt, _, seed = folder.rpartition("_")
        return self.cell(variant, prompt, int(seed))

    def prompts(self) -> dict[str, dict[str, Any]]:
        """The stored prompts by id: text, negative, tags, image (relative to the study) or null."""
        paths = sorted((self.path / "prompts").glob("*.json"))
        return {path.stem: json.loads(path.read_bytes()) for path in paths}

    def _stored(self) -> Iterator[Key]:
        """Cells found on the disk."""
        root = self.path / "cells"
        if not root.is_dir():
            return
        for variant in sorted(path for path in root.iterdir() if path.is_dir()):
            for folder in sorted(path for path in variant.iterdir() if path.is_dir()):
                prompt, _, seed = folder.name.rpartition("_")
                if prompt and seed.lstrip("-").isdecimal():
                    yield Key(variant.name, prompt, int(seed))


def _command(path: Path) -> Command:
    """A request as its file says."""
    return Command(path.stem, **json.loads(path.read_bytes()))


def _differences(
    theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    """Every (key, theirs, ours) where two nested mappings differ."""
    for key in dict.fromkeys([*theirs, *ours]):
        a, b = theirs.get(key), ours.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
