"""A pipeline of diffusers as a generator: its configuration, its checkpoint, what it is.

How videos come of it is in `looped` (one call for every section) and `whole` (one for the video).
Nothing here imports torch before a checkpoint is loaded: plans need no model.
"""

import importlib
import inspect
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from bench.errors import UserError
from bench.generators.base import Settings
from bench.generators.clips import Clips
from bench.generators.options import device_name, dtype_name, place
from bench.variant import Scalar, Variant


@dataclass(frozen=True)
class Config:
    """What the YAML of every such generator can say; each kind adds its own."""

    checkpoint: str
    """Folder or hub id in diffusers' layout."""
    name: str | None = None
    """What records call it; the checkpoint's own name where not given."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto is float32 on a CPU and bfloat16 elsewhere."""
    dtypes: Mapping[str, str] = field(default_factory=dict)
    """Component → another type than `dtype`."""
    device: str | None = None
    """cpu, cuda, cuda:1, …; cuda where there is one if not given."""
    offload: str = "none"
    """none; model: one component on the device at a time; sequential: one layer at a time."""
    vae_tiling: bool = False
    """Decode in tiles: less memory, other bits."""
    steps: int = 30
    cfg: float = 1.0
    """Classifier-free guidance; 1 is off."""
    negative: str = ""
    """What guidance steers away from where the prompt does not say."""
    offline: bool = False


@dataclass(frozen=True)
class Source:
    """The classes of diffusers that a kind of generator is made of."""

    pipeline: str
    """Dotted name of the pipeline's class."""
    transformer: str
    """Name of its transformer's class: what tells a checkpoint from that of another model."""
    packages: tuple[str, ...] = ()
    """Python packages that the pipeline needs and diffusers does not bring."""

    def load(self) -> Any:
        """The pipeline's class."""
        module, _, name = self.pipeline.rpartition(".")
        return getattr(importlib.import_module(module), name)


class Piped:
    """Base of all kinds that are pipelines of diffusers: what is loaded, what a variant sets."""

    clips: ClassVar[Clips]
    source: ClassVar[Source]

    def __init__(self, config: Config) -> None:
        import torch

        from bench.generators import checkpoint as ckpt

        self.config = config
        self.device = device_name(config.device)
        self.dtype = dtype_name("dtype", config.dtype, self.device)
        names = {"default": self.dtype} | {
            part: dtype_name(f"dtypes.{part}", name, self.device)
            for part, name in config.dtypes.items()
        }
        ckpt.quiet()
        self.pipe: Any = load(
            self.clips.kind,
            self.source,
            config.checkpoint,
            {part: getattr(torch, name) for part, name in names.items()},
            offline=config.offline,
        )
        self._check_compression()
        self.pipe.set_progress_bar_config(disable=True)
        if config.vae_tiling:
            self.pipe.vae.enable_tiling()
        place(self.pipe, config.offload, self.device)
        self._scheduler = self.pipe.scheduler
        self._identity: dict[str, Any] | None = None
        self._settings = Settings({})

    def _check_compression(self) -> None:
        """Plans are made without the model, so that its autoencoder must be as expected."""
        clips, pipe = self.clips, self.pipe
        found = tuple(
            getattr(pipe, f"vae_scale_factor_{axis}", None)
            or getattr(pipe, f"vae_{axis}_compression_ratio")
            for axis in ("spatial", "temporal")
        )
        if found != (clips.spatial, clips.temporal):
            raise UserError(
                f"generator.checkpoint: {self.config.checkpoint}: its autoencoder makes one latent "
                f"of {found[0]} pixels and {found[1]} frames; generator {clips.kind} needs "
                f"{clips.spatial} and {clips.temporal}"
            )

    @property
    def values(self) -> dict[str, Scalar]:
        """What the variant in use has chosen, defaults filled in."""
        return self._settings.values

    def identity(self) -> dict[str, Any]:
        """Checkpoint, the hub id or folder that it came from, digest of its weights, and types."""
        from bench.generators import checkpoint as ckpt
        from bench.generators.sources import local_folder

        if self._identity is None:
            source = self.config.checkpoint
            folder = local_folder(source)
            self._identity = {
                "kind": self.clips.kind,
                "checkpoint": self.config.name or source,
                "source": Path(source).resolve().name if Path(source).exists() else source,
                "pipeline": self.source.pipeline.rpartition(".")[2],
                "weights_digest": ckpt.digest(folder) if folder else "",
                "dtype": self.dtype,
                "dtypes": dict(self.config.dtypes),
                "vae_tiling": self.config.vae_tiling,
            }
        return dict(self._identity)

    def peak_memory(self) -> int | None:
        """Bytes of CUDA memory since `use`; None on a CPU."""
        import torch

        if self.device.startswith("cuda"):
            return int(torch.cuda.max_memory_allocated(self.device))
        return None

    def check(self, variant: Variant) -> None:
        """Refuse what this kind has no notion of.

        Raises:
            UserError: names the first such thing, and what is possible.
        """
        self.clips.check(variant)

    def use(self, variant: Variant) -> Settings:
        """Get ready for a variant and fill in the defaults.

        Raises:
            UserError: the variant asks for something that this kind has no notion of.
        """
        import torch

        self.check(variant)
        values: dict[str, Scalar] = {}
        for key in self.clips.options:
            value = variant.options.get(key, getattr(self.config, key, None))
            if value is not None:
                values[key] = value
        self.pipe.scheduler = shifted(self._scheduler, values.get("shift"))
        self._settings = Settings(values, self.clips.untrained(variant))
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
        return self._settings


def load(
    kind: str, source: Source, checkpoint: str, dtypes: Mapping[str, Any], *, offline: bool = False
) -> Any:
    """A pipeline with all its components, on the CPU.

    Args:
        kind: the generator's kind.
        source: the classes.
        checkpoint: folder or hub id.
        dtypes: component → torch type; `default` for all others.
        offline: never touch the network.

    Raises:
        UserError: a package or a component is missing, the checkpoint is another model's, or it
            cannot be read.
    """
    from bench.generators import checkpoint as ckpt

    for package in source.packages:
        if find_spec(package) is None:
            raise UserError(
                f"generator {kind} needs the Python package {package}, which is not installed: "
                f"pip install {package}"
            )
    pipeline = source.load()
    parts = inspect.signature(pipeline.__init__).parameters
    if unknown := [name for name in dtypes if name not in {"default", *parts}]:
        raise UserError(
            f"generator.dtypes.{unknown[0]}: no such component; there are "
            f"{', '.join(name for name in parts if name != 'self')}"
        )
    _check_model(kind, source, checkpoint)
    ckpt.check_folder(checkpoint, needed=components(pipeline, checkpoint))
    try:
        return pipeline.from_pretrained(checkpoint, dtype=dict(dtypes), local_files_only=offline)
    except Exception as error:
        raise ckpt.unusable("generator.checkpoint", checkpoint, error) from error


def components(pipeline: Any, checkpoint: str) -> list[str]:
    """What a checkpoint must have: all that its pipeline cannot do without, and all it names."""
    arguments = inspect.signature(pipeline.__init__).parameters
    named = [name for name, what in _index(checkpoint).items() if name in arguments and what[0]]
    needed = [
        name
        for name, argument in arguments.items()
        if name != "self" and argument.default is inspect.Parameter.empty
    ]
    return list(dict.fromkeys(["transformer", *needed, *named]))


def _index(checkpoint: str) -> dict[str, tuple[str | None, str | None]]:
    """Component → library and class, of a local folder; empty for a hub id."""
    index = Path(checkpoint) / "model_index.json"
    if not index.is_file():
        return {}
    try:
        found: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"generator.checkpoint: {index}: not JSON ({error})") from None
    return {name: tuple(what) for name, what in found.items() if isinstance(what, list)}


def _check_model(kind: str, source: Source, checkpoint: str) -> None:
    """Check that a local folder's transformer is of the class that the kind needs."""
    _, found = _index(checkpoint).get("transformer", (None, source.transformer))
    if found != source.transformer:
        raise UserError(
            f"generator.checkpoint: {checkpoint}: its transformer is a {found}; "
            f"generator {kind} needs a {source.transformer}"
        )


def shifted(scheduler: Any, shift: Scalar | None) -> Any:
    """The scheduler with another flow shift; itself where none is asked.

    Raises:
        UserError: the shift is not a positive number.
    """
    if shift is None:
        return scheduler
    try:
        value = float(shift)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise UserError(f"shift: {shift!r} is not a positive number")
    key = next((key for key in ("flow_shift", "shift") if key in scheduler.config), None)
    if key is None:
        raise UserError(f"shift: {type(scheduler).__name__} has none; leave generator.shift empty")
    return type(scheduler).from_config(
        scheduler.config, **{key: value, "use_dynamic_shifting": False}
    )
