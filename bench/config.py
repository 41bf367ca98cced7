"""What can be chosen: the structured configuration behind `conf/`, checked before anything runs.

Each group of `conf/` is a field here. The groups `generator`, `metrics`, `arena` and `report` are
mappings that their own packages check, so that a new generator or metric set stays one file and
one YAML.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from bench.errors import UserError


@dataclass
class Prompts:
    """Which prompts: a suite's file, or scenes of the pocket world."""

    kind: str = "file"
    """file: read `file`; pocket: draw scenes of the pocket world."""
    file: str | None = None
    """CSV, JSONL or YAML with id, text, image, end_image, negative, tags."""
    images_dir: str | None = None
    """Where the images are; the suite's own folder where it is not given."""
    scenes: int = 8
    """Pocket world: scenes; each gives two prompts, its own action and another one."""
    first_scene: int = 0
    """Pocket world: number of the first scene."""
    ids: Any = None
    """Only this prompt, or these."""
    tags: Any = None
    """Only prompts with this tag, or one of these."""
    limit: int | None = None
    """Only the first so many."""


@dataclass
class Video:
    """How long, how fast and how finely encoded."""

    seconds: float = 5.0
    """Asked length; a plan rounds it to whole sections."""
    fps: float = 30.0
    height: int | None = None
    """Pixels; null takes the published bucket nearest to the image's shape."""
    width: int | None = None
    crf: int = 16
    """x264's constant rate factor, 0 (lossless) to 51."""
    preset: str = "medium"
    """x264's speed preset."""


@dataclass
class Claims:
    """How processes share a study."""

    lease: float = 90.0
    """Seconds without a sign of life after which a worker of another machine counts as dead."""
    wait: bool = True
    """When only cells that others work on are left: wait for those (and take over dead ones)."""


@dataclass
class Cluster:
    """SLURM jobs of stage=submit and hydra/launcher=slurm."""

    jobs: int = 4
    """Jobs, each working on the study's cells until none is left or its time is over."""
    stages: list[str] = field(default_factory=lambda: ["generate", "score"])
    """What each job does, in this order."""
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: str = "04:00:00"
    """Time limit of one job; what is not finished then is requeued."""
    cpus: int = 4
    memory: str | None = "32G"
    gpus: int = 1
    """GPUs per job; 0 for none. Each GPU gets its own process."""
    parallel: int | None = None
    """Array jobs that run at the same time; null leaves it to SLURM."""
    grace: int = 120
    """Seconds before the time limit at which SLURM warns the job (SIGUSR1)."""
    setup: list[str] = field(default_factory=list)
    """Shell lines before the work: module loads, environment variables."""
    container: str | None = None
    """Command that the work runs in, e.g. `apptainer exec --nv bench.sif`."""
    command: str | None = None
    """Interpreter and run_bench.py as the jobs see them; null for those of this process."""
    extra: list[str] = field(default_factory=list)
    """Further sbatch options, e.g. `--reservation=x`."""


@dataclass
class Config:
    """The whole configuration of `run_bench.py`."""

    stage: str = "generate"
    name: str = MISSING
    study: str = MISSING
    variant: Any = None
    """A name in the paper's grammar, or a list; null: what the parts below make, multiplied."""
    sampler: Any = None
    packing: Any = None
    section: Any = None
    tail: Any = None
    discrete: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    seeds: Any = 0
    batch: int = 1
    preview: bool = False
    offline: bool = False
    threads: int | None = None
    device: str | None = None
    worker: int = 0
    workers: int = 1
    time_limit: float | None = None
    retry_failed: bool = True
    videos: str | None = None
    """A folder of any videos for stage=score; their scores go to the study's folder."""
    shard: str = "1/1"
    """For stage=score: the k-th of n parts of what there is, for as many processes or machines."""
    watch: bool = False
    json: bool = False
    plan: bool = False
    claims: Claims = field(default_factory=Claims)
    cluster: Cluster = field(default_factory=Cluster)
    generator: dict[str, Any] = field(default_factory=dict)
    prompts: Prompts = field(default_factory=Prompts)
    video: Video = field(default_factory=Video)
    metrics: dict[str, Any] = field(default_factory=dict)
    arena: dict[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)


def register() -> None:
    """Make the schema known to Hydra; `conf/config.yaml` and the groups build on it."""
    ConfigStore.instance().store(name="schema", node=Config)
    OmegaConf.register_new_resolver("minutes", minutes, replace=True)
    OmegaConf.register_new_resolver("gres", gres, replace=True)
    OmegaConf.register_new_resolver("gib", gib, replace=True)


BASE_60 = 3600
"""The smallest number that YAML makes of h:mm:ss."""


def minutes(time: str) -> int:
    """SLURM's [days-]hours:minutes:seconds as minutes, rounded up; a bare number is minutes.

    YAML reads an unquoted 12:00:00 as a number to base 60, 43200: bare numbers that may be that are
    refused, as they would be a month.

    Example:
        >>> [minutes(time) for time in ("90", "01:30:00", "1-00:00:30")]
        [90, 90, 1441]

    Raises:
        UserError: it is none of sbatch's formats.
    """
    if not re.fullmatch(r"([0-9]+-)?[0-9]+(:[0-9]+){0,2}", time):
        raise UserError(
            f"cluster.time={time}: give minutes, minutes:seconds, hours:minutes:seconds, "
            "days-hours, days-hours:minutes or days-hours:minutes:seconds"
        )
    if time.isdecimal() and int(time) >= BASE_60:
        raise UserError(
            f"cluster.time={time}: in minutes, {int(time) / 1440:.3g} days; give days-hours, "
            "or quote hours:minutes:seconds in YAML, which else takes it for one number"
        )
    days, dash, clock = time.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:
        hours, mins, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, mins, seconds = parts
    else:
        hours, (mins, seconds) = 0, (*parts, 0)[:2]
    return int(days or 0) * 1440 + hours * 60 + mins + (seconds > 0)


def gres(gpus: int) -> str | None:
    """GPUs of a job as sbatch's generic resource; None for none."""
    return f"gpu:{gpus}" if gpus else None


def gib(memory: str | None) -> int | None:
    """SLURM's memory (512M, 32G, 1T; a bare number is MiB) in whole GiB; None stays None.

    Example:
        >>> [gib(memory) for memory in ("32G", "512M", "1T", "2048", None)]
        [32, 1, 1024, 2, None]

    Raises:
        UserError: it is none of sbatch's formats.
    """
    if not memory:
        return None
    if not re.fullmatch(r"[0-9]+[KMGTkmgt]?", memory):
        raise UserError(f"cluster.memory={memory}: give a whole number with K, M, G or T, or null")
    units = {"K": 2**-20, "M": 2**-10, "G": 1.0, "T": 1024.0}
    unit = memory[-1].upper()
    number = float(memory[:-1] if unit in units else memory)
    return math.ceil(number * units.get(unit, 2**-10))
