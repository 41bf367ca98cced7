"""The FramePack generator: diffusers' HunyuanVideo FramePack classes on any context.

One code path serves the pocket checkpoint and the published 13B ones. Frames equal those of
`HunyuanVideoFramepackPipeline` bit for bit where that pipeline can make the video at all.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from bench.codebook import autoencoder_digest
from bench.codebook import digest as codes_digest
from bench.errors import UserError
from bench.generators import checkpoint as ckpt
from bench.generators.base import ContextFrames, Denoised, OnStep, Request, Settings
from bench.generators.codebooks import codebook
from bench.generators.deltas import Delta
from bench.generators.flow import mu, read_shift, released_shift
from bench.generators.lora import Lora
from bench.generators.options import device_name, dtype_name, place, read
from bench.generators.projections import (
    PUBLISHED,
    Projection,
    make_projections,
    trained_projections,
)
from bench.generators.sources import local_folder
from bench.generators.teacache import HUNYUAN_CURVE, TeaCache
from bench.generators.transformer import (
    PackedTransformer,
    SectionState,
    TextInputs,
    TextTokens,
)
from bench.history import Discrete, Noisy, Treatment, at_level, untouched
from bench.packing import Kernel
from bench.variant import Scalar, Variant

ROOT: Final = Path(__file__).parents[2]

KEPT_IMAGES: Final = 512
"""Encoded images that are kept; methods that encode frames of their own would add without end."""


@dataclass(frozen=True)
class Config:
    """Everything that `conf/generator` can say about a FramePack checkpoint."""

    checkpoint: str
    """Folder or hub id in diffusers' layout."""
    transformer: str | None = None
    """Folder or hub id of another transformer than the checkpoint's."""
    image_encoder: str | None = None
    """Folder or hub id with `image_encoder` and `feature_extractor`."""
    name: str | None = None
    """What records call it; the checkpoint's own name where not given."""
    dtype: str = "auto"
    """float32, bfloat16, float16; auto is float32 on a CPU and bfloat16 elsewhere."""
    other_dtype: str | None = None
    """Of autoencoder and encoders; the transformer's where not given."""
    device: str | None = None
    """cpu, cuda, cuda:1, …; cuda where there is one if not given."""
    offload: str = "none"
    """none; model: one component on the device at a time; sequential: one layer at a time."""
    vae_tiling: bool = False
    """Decode in tiles: less memory, other bits."""
    decode_batch: int = 1
    """Cells that are decoded together."""
    steps: int = 25
    guidance: float = 10.0
    """Distilled guidance, embedded."""
    cfg: float = 1.0
    """True classifier-free guidance; 1 is off."""
    negative: str = ""
    """What true guidance steers away from where the prompt does not say."""
    shift: str | float | None = None
    """Flow shift: null is the checkpoint's scheduler, `released` the rule on target tokens."""
    teacache: float = 0.0
    """Threshold; 0 is off."""
    teacache_curve: Sequence[float] = HUNYUAN_CURVE
    """Rescaling polynomial, highest power first."""
    loras: Mapping[str, str] = field(default_factory=dict)
    """Name → file, folder or hub id; a variant asks for one by `+lora-NAME`."""
    transformers: Mapping[str, str] = field(default_factory=dict)
    """Name → folder or hub id of fine-tuned weights; a variant asks by `+weights-NAME`."""
    deltas: str | None = None
    """Folder with NAME.safetensors of `bench.variant.DELTAS`; a variant asks by `+delta-NAME` and
    runs training-free where that file is not there."""
    codebooks: Mapping[str, str] = field(default_factory=dict)
    """K → safetensors file with `codes` [K, channels]; the first serves a bare +D."""
    trained: Sequence[str] = ()
    """What this checkpoint has seen in training besides packed, deleted history: +D, ta, tc, noise,
    forcing, guidance, causal, k8, … All else is named as untrained in every cell that uses it."""
    samplers: Sequence[str] = ()
    """Orders of sampling it was trained for; others are named as untrained. None: not known."""
    offline: bool = False


def build(options: Mapping[str, Any]) -> "FramePack":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return FramePack(read(Config, options))


@dataclass(frozen=True)
class Condition:
    """One request, encoded."""

    positive: TextInputs
    negative: TextInputs | None
    first: Any
    """The autoencoder's posterior of the first frame."""
    last: Any
    """The same of the end image, or None."""


class FramePack:
    """A FramePack checkpoint, loaded once; `use` changes what differs between variants."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.device = device_name(config.device)
        self.dtype = dtype_name("dtype", config.dtype, self.device)
        self._dtype = ckpt.DTYPES[self.dtype]
        other = dtype_name("other_dtype", config.other_dtype or self.dtype, self.device)
        ckpt.quiet()
        self.pipe: Any = ckpt.load_pipeline(
            config.checkpoint,
            self._dtype,
            ckpt.DTYPES[other],
            transformer=config.transformer,
            image_encoder=config.image_encoder,
            offline=config.offline,
        )
        self.pipe.set_progress_bar_config(disable=True)
        self._weights: str | None = ""
        """Of `transformers`, empty for the checkpoint's own; None where loading has failed."""
        self._merged: dict[str, Lora] = {}
        self._pack()
        if config.vae_tiling:
            self.pipe.vae.enable_tiling()
        self.spatial: int = self.pipe.vae_scale_factor_spatial
        self.temporal: int = self.pipe.vae_scale_factor_temporal
        self.channels: int = self.pipe.transformer.config.in_channels
        self.decodes_alone: bool = getattr(self.pipe.vae, "decodes_alone", False)
        self._texts = TextTokens()
        self._encoded: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self._images: dict[str, tuple[Tensor, Any]] = {}
        self._projections: dict[Kernel, Projection] = {}
        self._settings = Settings({})
        self._identity: dict[str, Any] | None = None

    # What it is

    def identity(self) -> dict[str, Any]:
        """Checkpoint, digest of its weights, dtype and offload."""
        if self._identity is None:
            sources = [
                self.config.checkpoint,
                *filter(None, [self.config.transformer, self.config.image_encoder]),
            ]
            folders = [local_folder(source) for source in sources]
            digests = [ckpt.digest(folder) for folder in folders if folder]
            self._identity = {
                "kind": "framepack",
                "checkpoint": self.config.name or self.config.checkpoint,
                "weights_digest": hashlib.sha256("".join(digests).encode()).hexdigest()[:16],
                "dtype": self.dtype,
                "vae_tiling": self.config.vae_tiling,
            }
            if self.config.transformer:
                self._identity["transformer"] = self.config.transformer
        return dict(self._identity)

    def peak_memory(self) -> int | None:
        """Bytes of CUDA memory since `use`; None on a CPU."""
        if self.device.startswith("cuda"):
            return int(torch.cuda.max_memory_allocated(self.device))
        return None

    # What a variant changes

    def use(self, variant: Variant, kernels: frozenset[Kernel]) -> Settings:
        """Load what the variant asks for and fill in the defaults."""
        config = self.config
        defaults: dict[str, Scalar | None] = {
            "steps": config.steps,
            "guidance": config.guidance,
            "cfg": config.cfg,
            "shift": config.shift,
            "teacache": config.teacache,
            "history_guidance": None,
            "forcing": None,
            "attention": None,
            "lora": None,
            "weights": None,
        }
        values = {key: variant.options.get(key, value) for key, value in defaults.items()}
        delta = self._delta(variant)
        self._use_weights(variant, str(values["weights"] or ""), str(values["lora"] or ""), delta)
        embedder = self.pipe.transformer.clean_x_embedder.proj
        base = tuple(
            t.detach().to(self.device, self._dtype) for t in (embedder.weight, embedder.bias)
        )
        further = kernels.difference(PUBLISHED)
        trained = trained_projections(self._transformer_folder()) if further else {}
        self._projections, untrained = make_projections(further, (base[0], base[1]), trained)
        kept = {key: value for key, value in values.items() if value is not None}
        if variant.discrete is not None:
            codes = self._codes(variant)
            kept["codebook"] = f"K={len(codes)} {codes_digest(codes)}"
        seen = set(config.trained)
        if delta is not None:
            kept["delta"] = f"{delta.name} {delta.digest}"
            seen |= delta.trained
        unseen = [*untrained, *unseen_treatments(variant)]
        if config.samplers and variant.sampler not in config.samplers:
            unseen.append(variant.sampler)
        if delta is None and "delta" in variant.options:
            unseen.append(f"delta-{variant.options['delta']}")
        self._settings = Settings(kept, tuple(x for x in unseen if x not in seen))
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
        return self._settings

    def history_treatment(self, variant: Variant) -> Treatment:
        """Noise, a codebook, or nothing."""
        sigma, forcing = (float(variant.option(key, 0.0)) for key in ("noise", "forcing"))
        if forcing > 1:
            raise UserError(f"{variant.name}: option forcing: σ is 0 to 1, not {forcing:g}")
        chosen = [("+D", variant.discrete is not None), ("noise", sigma), ("forcing", forcing)]
        if len(several := [name for name, value in chosen if value]) > 1:
            raise UserError(f"{variant.name}: either {' or '.join(several)}, not both")
        if variant.discrete is not None:
            return Discrete(self._codes(variant))
        return Noisy(sigma) if sigma else untouched

    def _codes(self, variant: Variant) -> Tensor:
        key, path = codebook(self.config.codebooks, variant)
        with safe_open(path, "pt") as opened:
            about = opened.metadata() or {}
        made_with = about.get("autoencoder", "")
        if made_with and local_folder(self.config.checkpoint) and made_with != self._autoencoder:
            raise UserError(
                f"generator.codebooks.{key}: {path} was made with another autoencoder than that of "
                f"{self.config.checkpoint}: make it again (python -m bench.codebook)"
            )
        codes = load_file(path)["codes"].to(self.device)
        if codes.ndim != 2 or codes.shape[1] != self.channels:
            raise UserError(
                f"generator.codebooks.{key}: codes of shape {tuple(codes.shape)}; "
                f"needed are [K, {self.channels}]"
            )
        return codes

    @cached_property
    def _autoencoder(self) -> str:
        return autoencoder_digest(self.config.checkpoint)

    def _delta(self, variant: Variant) -> Delta | None:
        """The delta that a variant asks for, or None where there is none.

        Raises:
            UserError: it was trained for another transformer than the one in use.
        """
        name, folder = str(variant.option("delta", "")), self.config.deltas
        if not name or folder is None:
            return None
        path = Path(folder) if Path(folder).is_dir() else ROOT / folder
        file = path / f"{name}.safetensors"
        if not file.is_file():
            return None
        source = self._transformer_source(str(variant.option("weights", "")))
        transformer = local_folder(source)
        return Delta.read(name, file, None if transformer is None else inner_folder(transformer))

    def _use_weights(self, variant: Variant, weights: str, lora: str, delta: Delta | None) -> None:
        files = {f"loras.{lora}": self.config.loras.get(lora, "")} if lora else {}
        if delta is not None:
            files[f"deltas.{delta.name}"] = str(delta.file)
        if weights == self._weights and list(files) == list(self._merged):
            return
        for key, name, table in (
            ("weights", weights, self.config.transformers),
            ("lora", lora, self.config.loras),
        ):
            if name and name not in table:
                place = "transformers" if key == "weights" else "loras"
                raise UserError(
                    f"{variant.name}: no {key} {name!r}; generator.{place} has "
                    f"{', '.join(table) or 'none'}"
                )
        self._texts = TextTokens()
        for key in reversed(list(self._merged)):
            self._merged.pop(key).remove(self.pipe.transformer)
        if weights != self._weights:
            self._load_weights(weights)
        for key, source in files.items():
            found = Lora(key, source, offline=self.config.offline)
            found.merge(self.pipe.transformer)
            self._merged[key] = found

    def _load_weights(self, name: str) -> None:
        source = self._transformer_source(name)
        key = f"generator.transformers.{name}" if name else "generator.transformer"
        self.pipe.remove_all_hooks()
        self.pipe.transformer, self._weights = None, None  # two 13B models do not fit
        loaded = ckpt.load_transformer(source, self._dtype, key=key, offline=self.config.offline)
        self.pipe.register_modules(transformer=loaded)
        self._weights = name
        self._pack()

    def _transformer_source(self, name: str) -> str:
        if name:
            return self.config.transformers[name]
        if self.config.transformer:
            return self.config.transformer
        folder = local_folder(self.config.checkpoint)
        return str(folder or self.config.checkpoint)

    def _transformer_folder(self) -> Path | None:
        folder = local_folder(self._transformer_source(self._weights or ""))
        return None if folder is None else inner_folder(folder)

    def _pack(self) -> None:
        """Give the transformer our forward, and place all components."""
        # Same modules and weights; only `forward` differs, so hooks and offloading keep working.
        self.pipe.transformer.__class__ = PackedTransformer
        self.pipe.transformer.eval()
        place(self.pipe, self.config.offload, self.device)

    def forget(self) -> None:
        """Drop all kept embeddings: the next request is encoded again."""
        self._texts = TextTokens()
        self._encoded.clear()
        self._images.clear()

    # Encoding, once per prompt

    def condition(self, request: Request, height: int, width: int) -> Condition:
        """Embeddings and posteriors, taken from memory where they were made before."""
        with torch.inference_mode():
            first_tokens, first = self._image(request.image, height, width)
            last = None
            if request.last_image is not None:
                last = self._image(request.last_image, height, width)[1]
            positive = self._text(request.text, first_tokens)
            negative = None
            if float(self._settings.values.get("cfg", 1.0)) > 1:
                negative = self._text(request.negative or self.config.negative, first_tokens)
        return Condition(positive, negative, first, last)

    def _text(self, text: str, image: tuple[str, Tensor]) -> TextInputs:
        if text not in self._encoded:
            embeds, pooled, mask = self.pipe.encode_prompt(prompt=text, device=self.device)
            self._encoded[text] = tuple(t.to(self._dtype) for t in (embeds, pooled, mask))
        embeds, pooled, mask = self._encoded[text]
        key, tokens = image
        return TextInputs(f"{key}\0{text}", embeds, mask, pooled, tokens)

    def _image(self, image: Any, height: int, width: int) -> tuple[tuple[str, Tensor], Any]:
        """((digest, SigLIP tokens), posterior) of one image at one size."""
        key = hashlib.sha256(f"{height}x{width}{image.size}{image.mode}".encode() + image.tobytes())
        name = key.hexdigest()
        if name not in self._images:
            if len(self._images) >= KEPT_IMAGES:
                self._images.pop(next(iter(self._images)))
            pixels = self.pipe.video_processor.preprocess(image, height, width)
            tokens = self.pipe.encode_image(pixels, device=self.device).to(self._dtype)
            video = pixels.unsqueeze(2).to(self.device, self.pipe.vae.dtype)
            self._images[name] = (tokens, self.pipe.vae.encode(video).latent_dist)
        tokens, posterior = self._images[name]
        return (name, tokens), posterior

    def image_latents(
        self, condition: Condition, rng: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Draw the first frame's latents, then the end image's, as the pipeline does."""
        scale = self.pipe.vae.config.scaling_factor

        def draw(posterior: Any) -> Tensor:
            sample: Tensor = posterior.sample(generator=rng) * scale
            return sample.to(self.device, torch.float32)

        first = draw(condition.first)
        return first, None if condition.last is None else draw(condition.last)

    # Denoising and decoding

    def denoise(
        self,
        conditions: Sequence[Condition],
        contexts: Sequence[ContextFrames],
        target_indices: Sequence[int],
        noise: Tensor,
        on_step: OnStep | None = None,
        unguided: Sequence[ContextFrames] | None = None,
    ) -> Denoised:
        """One section by flow matching with Euler steps."""
        values = self._settings.values
        steps, cfg = int(values["steps"]), float(values["cfg"])
        recall, forcing = (
            float(values.get(key, 0.0)) if unguided is not None else 0.0
            for key in ("history_guidance", "forcing")
        )
        scheduler, timesteps = self._schedule(noise, steps)
        guidance = torch.tensor([float(values["guidance"])] * len(conditions))
        guidance = guidance.to(self.device, self._dtype) * 1000.0
        state = self._state(contexts, target_indices)
        positive = [condition.positive for condition in conditions]
        sides = [(positive, state)]
        if cfg > 1:
            negative = [c.negative for c in conditions if c.negative is not None]
            sides.append((negative, state))
        if unguided is not None and recall:
            sides.append((positive, self._state(unguided, target_indices)))
        caches = [self._teacache(steps) for _ in sides]
        latents = noise
        for step, now in enumerate(timesteps, start=1):
            timestep = now.expand(len(conditions))
            if unguided is not None and forcing:
                level = forcing * float(now) / scheduler.config.num_train_timesteps
                state.contexts, state.packed = at_level(contexts, unguided, level), None
            velocities = [
                self.pipe.transformer(
                    latents.to(self._dtype), timestep, texts, guidance, seen, cache
                )
                for (texts, seen), cache in zip(sides, caches, strict=True)
            ]
            velocity = velocities[0]
            if cfg > 1:
                velocity = velocities[1] + cfg * (velocities[0] - velocities[1])
            if recall:
                velocity = velocity + recall * (velocities[0] - velocities[-1])
            latents = scheduler.step(velocity.float(), now, latents, return_dict=False)[0]
            if on_step is not None:
                on_step(step, steps)
        assert state.packed is not None
        return Denoised(latents, len(state.packed[1][0]))

    def _state(
        self, contexts: Sequence[ContextFrames], target_indices: Sequence[int]
    ) -> SectionState:
        causal = self._settings.values.get("attention") == "causal"
        return SectionState(contexts, target_indices, self._texts, self._projections, causal)

    def _teacache(self, steps: int) -> TeaCache | None:
        threshold = float(self._settings.values["teacache"])
        return TeaCache(threshold, steps, self.config.teacache_curve) if threshold > 0 else None

    def _schedule(self, noise: Tensor, steps: int) -> tuple[Any, Tensor]:
        """The scheduler, set for a section of this size."""
        scheduler = self.pipe.scheduler
        own = scheduler.config
        patch = self.pipe.transformer.config.patch_size
        tokens = noise[0, 0].numel() / patch**2
        shift = read_shift(self._settings.values.get("shift"))
        if shift is not None:
            value = released_shift(tokens) if shift == "released" else float(shift)
            euler: Any = FlowMatchEulerDiscreteScheduler
            scheduler = euler.from_config(own, use_dynamic_shifting=False, shift=value)
        sigmas = np.linspace(1.0, 0.0, steps + 1)[:-1]
        dynamic = mu(
            tokens,
            own.get("base_image_seq_len", 256),
            own.get("max_image_seq_len", 4096),
            own.get("base_shift", 0.5),
            own.get("max_shift", 1.15),
        )
        scheduler.set_timesteps(sigmas=sigmas, device=self.device, mu=dynamic)
        return scheduler, scheduler.timesteps

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels in −1..1, in the autoencoder's type."""
        vae = self.pipe.vae
        size = max(self.config.decode_batch, 1)
        scaled = latents.to(vae.dtype) / vae.config.scaling_factor
        parts = torch.split(scaled, size)
        return torch.cat([vae.decode(part, return_dict=False)[0] for part in parts])


def unseen_treatments(variant: Variant) -> list[str]:
    """Parts of a variant that a checkpoint only knows if it was trained with them."""
    found: list[str] = [] if variant.packing.tail == "td" else [variant.packing.tail]
    if variant.discrete is not None:
        found.append("+D")
    names = {"noise": "noise", "forcing": "forcing", "history_guidance": "guidance"}
    found += [name for key, name in names.items() if float(variant.option(key, 0.0)) > 0]
    if variant.option("attention", "full") == "causal":
        found.append("causal")
    return found


def inner_folder(folder: Path) -> Path:
    """Where the transformer's weights are: the folder itself, or a whole checkpoint's part."""
    return folder / "transformer" if (folder / "transformer").is_dir() else folder
