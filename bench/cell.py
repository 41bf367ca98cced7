"""A cell of a study: one variant, prompt and seed; its folder, its record, its state."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench import claims, files
from bench.errors import UserError

SCHEMA = 1
"""The version of a study's files."""

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
