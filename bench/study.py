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
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench import claims, files
from bench.errors import UserError

SCHEMA = 1
SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-")
"""Characters that names of variants and prompts may have: they name folders and claims."""

SAFE_WORDS = "a-z A-Z 0-9 . _ + -, the first of them no . or -"
"""What a name of variants and prompts may be, for messages."""

State = Literal["done", "failed", "running", "pending"]

FILES = {
    "generate": ("video.mp4", "cell.json", "preview.mp4"),
    "score": ("scores.parquet", "curves.parquet"),
}
"""What each stage writes into a cell's folder, under its claim on the cell."""


class Key(NamedTuple):
    """What names a cell."""

    variant: str
    prompt_id: str
    seed: int

    @property
    def path(self) -> str:
        """The cell's folder below STUDY/cells."""
        return f"{self.variant}/{self.prompt_id}_{self.seed}"


class CellError(BaseModel):
    """Why a cell failed."""

    model_config = ConfigDict(extra="forbid")

    kind: str
    """The exception's class, e.g. "OutOfMemoryError"; failures are grouped by it."""
    message: str
    """One line."""
    traceback: str = ""


class CellRecord(BaseModel):
    """What cell.json says of one video: what was asked, what was done and what it cost."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    schema_version: int = Field(default=SCHEMA, alias="schema")
    variant: str
    """The variant's name, which is its folder's name."""
    prompt_id: str
    prompt_text: str = ""
    prompt_tags: list[str] = []
    seed: int
    status: Literal["done", "failed"]
    error: CellError | None = None
    plan_digest: str = ""
    """SHA-256 of the plan's canonical JSON; empty where there was no plan (existing videos)."""
    sampler: str = ""
    packing: str = ""
    section: int = 0
    """Latent frames per section (g)."""
    tail: str = ""
    discrete: int | None = None
    """Codes of the codebook of a discretised history (+D); None without."""
    options: dict[str, Any] = {}
    generator: dict[str, Any] = {}
    """The generator's identity: checkpoint, weights digest, dtype, steps, ..."""
    reference_image: str | None = None
    """Path of the first frame's image, relative to the study."""
    end_image: str | None = None
    """Path of the image that the video was told to end with; None where it was not told."""
    latents: int = 0
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    section_starts: list[int] = []
    """First pixel frame of every section, in video order: the joints."""
    tokens_per_section: list[int] = []
    """Transformer tokens of each section, in the order made."""
    section_seconds: list[float] = []
    """Wall seconds of each section, in the order made; of the whole batch where there is one."""
    seconds: float = 0.0
    """Wall seconds from claim to video, of the whole batch."""
    seconds_decode: float = 0.0
    peak_memory_bytes: int | None = None
    untrained: list[str] = []
    """Projections that were initialised, not trained (k8, k16)."""
    history: dict[str, float] | None = None
    """What noise or a codebook did to the history that sections saw, in latents: mse, peak (the
    range of values, for a PSNR) and colours; None where history was not treated."""
    batch_size: int = 1
    """Cells denoised together; part of what identifies the bytes of a video."""
    video_sha256: str = ""
    bytes: int = 0
    versions: dict[str, str] = {}
    device: str = ""
    dtype: str = ""
    host: str | None = None
    worker: str | None = None
    """The process, and the SLURM job where there is one, that made the cell."""
    started: str = ""
    """ISO 8601, UTC."""
    finished: str = ""

    def to_json(self) -> str:
        """The text of cell.json."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"


@dataclass(frozen=True)
class Cell:
    """One cell of a study: variant, prompt and seed, and the folder that holds what is made."""

    study: Path
    key: Key

    @property
    def variant(self) -> str:
        """The variant's name."""
        return self.key.variant

    @property
    def prompt_id(self) -> str:
        """The prompt's name in its suite."""
        return self.key.prompt_id

    @property
    def seed(self) -> int:
        """The seed of the cell's noise."""
        return self.key.seed

    @property
    def folder(self) -> Path:
        """The folder of video.mp4, cell.json, scores.parquet and curves.parquet."""
        return self.study / "cells" / self.key.path

    @property
    def video(self) -> Path:
        """The video, which exists when the cell is done."""
        return self.folder / "video.mp4"

    @property
    def status(self) -> Literal["done", "failed"] | None:
        """What cell.json says, without reading the rest of it; None where there is none."""
        try:
            status = json.loads((self.folder / "cell.json").read_bytes())["status"]
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(f"{self.folder / 'cell.json'}: not a cell's record ({error})") from None
        return "done" if status == "done" else "failed"

    @property
    def state(self) -> State:
        """Done, failed, running (somebody holds a living claim on it) or pending."""
        if status := self.status:
            return status
        work = claims.file_name(self.work("generate"))
        found = claims.read_claims(self.study / "claims")
        return "running" if any(c.alive and c.work == work for c in found) else "pending"

    def work(self, stage: str) -> str:
        """The name under which a stage claims this cell."""
        return f"{stage}/{self.key.path}"

    def sweep(self, stage: str) -> None:
        """Remove the temporary files of a stage; only for who holds its claim on this cell."""
        files.sweep(self.folder, held=FILES[stage])

    def record(self) -> CellRecord | None:
        """The cell's record; None where it is neither done nor failed yet."""
        path = self.folder / "cell.json"
        try:
            return CellRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}: {where}: {first['msg']}") from None

    def write(self, record: CellRecord) -> bool:
        """Put the record in place; False where somebody else's "done" is there already."""
        path, text = self.folder / "cell.json", record.to_json()
        if files.create_once(path, text):
            return True
        if self.status == "done":
            return False
        files.atomic_write(path, text)
        return True


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
