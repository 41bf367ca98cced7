"""The recipe that made the committed checkpoint. Changing a number here changes the default."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class AutoencoderRecipe:
    """How the autoencoder is trained."""

    seed: int = 0
    clips: int = 1600
    """Training clips; held-out clips have other seeds."""
    clip_frames: int = 12
    """Frames kept of each clip, from a random place."""
    batch: int = 16
    """Groups of four frames in a step."""
    steps: int = 2800
    decay: int = 1850
    """Steps at the end in which the learning rate falls to zero."""
    warmup: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    still: float = 0.12
    """Share of groups that repeat one frame, as the first frame of a video does."""
    noise: float = 0.07
    """Standard deviation of noise added to latents, so that small errors do not show."""
    ema: float = 0.998


@dataclass(frozen=True)
class DecoderRecipe:
    """How the decoder is refined while the transformer trains: latents must not change then."""

    seed: int = 1
    batch: int = 16
    steps: int = 2400
    decay: int = 2000
    warmup: int = 50
    learning_rate: float = 1.5e-3
    ema: float = 0.998


@dataclass(frozen=True)
class TransformerRecipe:
    """How the transformer is trained."""

    seed: int = 0
    clips: int = 800
    latents: int = 46
    """Latent frames of a training clip: 181 frames, eleven seconds."""
    steps: int = 2060
    decay: int = 1160
    warmup: int = 150
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    ema: float = 0.998
    text_dropout: float = 0.1
    """Share of batches trained with the empty prompt, which guidance needs."""
    sigma_mean: float = 0.3
    sigma_spread: float = 1.1
    """Noise levels are sigmoid(N(mean, spread))."""
    sections: tuple[tuple[int, int, float], ...] = (
        (9, 16, 0.45),
        (4, 28, 0.25),
        (2, 36, 0.10),
        (1, 48, 0.20),
    )
    """Latent frames per section, batch size, share of steps."""
    orders: tuple[tuple[str, float], ...] = (
        ("vanilla", 0.30),
        ("f1", 0.14),
        ("end", 0.12),
        ("inverted", 0.44),
    )
    """Context orders and their share of steps."""
    packings: tuple[tuple[str, float], ...] = (
        ("f16k4f2k2f1k1", 0.55),
        ("f8k8f4k4f2k2f1k1", 0.15),
        ("f4k4f2k2f1k1", 0.10),
        ("f2k2f1k1", 0.10),
        ("f1k1", 0.10),
    )
    """Packings and their share of steps."""


@dataclass(frozen=True)
class Recipe:
    """Everything."""

    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    decoder: DecoderRecipe = field(default_factory=DecoderRecipe)
    transformer: TransformerRecipe = field(default_factory=TransformerRecipe)


def rate(step: int, steps: int, warmup: int, decay: int) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero at the end.

    The constant part may be lengthened or cut while training runs; a cosine could not.
    """
    return min(1.0, (step + 1) / warmup, (steps - step) / decay)
