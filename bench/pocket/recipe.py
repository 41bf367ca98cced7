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
    plain: bool = True
    """Lantern and sign have panes of one colour in this part."""
    batch: int = 16
    """Groups of four frames in a step."""
    steps: int = 6500
    decay: int = 4300
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
class RefineRecipe:
    """How the autoencoder, or its decoder alone, is trained on."""

    part: str
    encoder: bool
    seed: int
    steps: int
    decay: int
    learning_rate: float
    noise: float
    """Standard deviation of noise added to latents of unit variance."""
    warmup: int = 50
    ema: float = 0.998


@dataclass(frozen=True)
class TransformerRecipe:
    """How the transformer is trained."""

    seed: int = 0
    clips: int = 1500
    latents: int = 46
    """Latent frames of a training clip: 181 frames, eleven seconds."""
    steps: int = 6500
    decay: int = 4000
    warmup: int = 150
    learning_rate: float = 1.5e-3
    matrix_rate: float = 2e-3
    """Muon's learning rate, for the matrices of the blocks."""
    weight_decay: float = 0.01
    ema: float = 0.998
    text_dropout: float = 0.1
    """Share of batches trained with the empty prompt, which guidance needs."""
    sigma_mean: float = 1.1
    sigma_spread: float = 1.2
    """Noise levels are sigmoid(N(mean, spread)). Many are high: what captions and memory decide is
    decided there, as a target with little noise in it shows its own lights and limbs."""
    sections: tuple[tuple[int, int, float], ...] = (
        (9, 16, 0.45),
        (4, 28, 0.25),
        (2, 40, 0.10),
        (1, 56, 0.20),
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


MEMORY = TransformerRecipe(
    seed=1,
    steps=2000,
    decay=1900,
    warmup=50,
    learning_rate=1.0e-3,
    matrix_rate=1.3e-3,
    sections=((9, 16, 0.70), (4, 28, 0.15), (2, 40, 0.05), (1, 56, 0.10)),
    orders=(("vanilla", 0.45), ("f1", 0.20), ("end", 0.05), ("inverted", 0.30)),
    packings=(
        ("f16k4f2k2f1k1", 0.75),
        ("f8k8f4k4f2k2f1k1", 0.10),
        ("f4k4f2k2f1k1", 0.05),
        ("f2k2f1k1", 0.05),
        ("f1k1", 0.05),
    ),
)
"""The transformer once more, mostly where old history tells what comes: long sections after it."""


@dataclass(frozen=True)
class Recipe:
    """Everything."""

    autoencoder: AutoencoderRecipe = field(default_factory=AutoencoderRecipe)
    panes: RefineRecipe = RefineRecipe("panes", True, 2, 2000, 1900, 1.5e-3, 0.05)
    """Both halves, once the plain world is learned: now every pane has its own colour."""
    decoder: RefineRecipe = RefineRecipe("decoder", False, 1, 5000, 4900, 1.5e-3, 0.0)
    """The decoder once more, on clean latents."""
    transformer: TransformerRecipe = field(default_factory=TransformerRecipe)
    memory: TransformerRecipe = MEMORY


def rate(step: int, steps: int, warmup: int, decay: int) -> float:
    """The learning rate's factor: linear warm-up, constant, linear decay to zero at the end."""
    return min(1.0, (step + 1) / warmup, (steps - step) / decay)
