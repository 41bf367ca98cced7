"""The FramePack generator: diffusers' HunyuanVideo FramePack classes on any context.

One code path serves the pocket checkpoint and the published 13B ones. Frames equal those of
`HunyuanVideoFramepackPipeline` bit for bit where that pipeline can make the video at all.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

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
from bench.generators.conditions import Condition, Conditioner
from bench.generators.flow import mu, read_shift, released_shift
from bench.generators.framepack_config import Config
from bench.generators.options import device_name, dtype_name, read
from bench.generators.projections import (
    PUBLISHED,
    Projection,
    make_projections,
    trained_projections,
)
from bench.generators.sources import local_folder
from bench.generators.teacache import TeaCache
from bench.generators.transformer import SectionState, TextTokens
from bench.generators.transformer_weights import TransformerWeights
from bench.history import Discrete, Noisy, Treatment, at_level, untouched
from bench.packing import Kernel
from bench.variant import Scalar, Variant


def build(options: Mapping[str, Any]) -> "FramePack":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return FramePack(read(Config, options))


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
        self._weights = TransformerWeights(self.pipe, config, self.device, self._dtype)
        self._conditioner = Conditioner(self.pipe, self.device, self._dtype)
        if config.vae_tiling:
            self.pipe.vae.enable_tiling()
        self.spatial: int = self.pipe.vae_scale_factor_spatial
        self.temporal: int = self.pipe.vae_scale_factor_temporal
        self.channels: int = self.pipe.transformer.config.in_channels
        self.decodes_alone: bool = getattr(self.pipe.vae, "decodes_alone", False)
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
        delta = self._weights.use(variant)
        embedder = self.pipe.transformer.clean_x_embedder.proj
        base = tuple(
            t.detach().to(self.device, self._dtype) for t in (embedder.weight, embedder.bias)
        )
        further = kernels.difference(PUBLISHED)
        trained = trained_projections(self._weights.folder) if further else {}
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

    # Encoding

    def condition(self, request: Request, height: int, width: int) -> Condition:
        """A request's texts and images, encoded; each once as long as the generator lives."""
        guided = float(self._settings.values.get("cfg", 1.0)) > 1
        negative = (request.negative or self.config.negative) if guided else None
        return self._conditioner.encode(request, height, width, negative)

    def forget(self) -> None:
        """Drop all kept embeddings: the next request is encoded again."""
        self._weights.texts = TextTokens()
        self._conditioner.forget()

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
        texts = self._weights.texts
        return SectionState(contexts, target_indices, texts, self._projections, causal)

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
