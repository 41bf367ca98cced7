"""What every generator can do: encode a prompt and its image, denoise one section, decode.

A generator knows nothing of samplers: it is given context frames with their kernels and RoPE
indices, and makes the target frames. All tensors that cross this border are float32 latents of
shape [batch, channels, frames, h, w] on the generator's device, or pixels in −1..1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from bench.packing import Kernel
from bench.variant import Scalar, Variant

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from bench.history import Treatment
    from bench.plan import Plan
    from bench.rollout import OnSection, Rollout

OnStep = Callable[[int, int], None]
"""Called after every diffusion step with (step, steps), counted from 1."""


@dataclass(frozen=True)
class Request:
    """One cell, as a generator sees it."""

    prompt_id: str
    text: str
    image: "Image.Image"
    """The first frame; resized to the plan's size."""
    seed: int
    negative: str = ""
    """Only used with true classifier-free guidance."""
    last_image: "Image.Image | None" = None
    """The end image; the plan must have been made with `end_image=True`."""


@dataclass(frozen=True)
class Settings:
    """What one variant asks of a generator, defaults filled in."""

    values: dict[str, Scalar]
    """steps, guidance, cfg, shift, teacache, lora, weights: recorded in every cell."""

    untrained: tuple[str, ...] = ()
    """What the checkpoint never saw in training: k8 and k16 made from k1, tails, +D, noise, a delta
    that it lacks."""


@dataclass(frozen=True)
class ContextFrames:
    """One context of a section, filled with latents."""

    kernel: Kernel
    latents: "torch.Tensor"
    """[batch, channels, frames, h, w]; zeros where a frame does not exist yet."""
    indices: tuple[int, ...]
    """RoPE time index of every frame."""
    pool: Literal["", "append", "compress"] = ""


@dataclass(frozen=True)
class Denoised:
    """What `denoise` gives back."""

    latents: "torch.Tensor"
    """[batch, channels, section, h, w], float32."""
    tokens: int
    """Video tokens that one model call actually had, contexts and target."""


class Generator(Protocol):
    """A model that makes videos section by section."""

    spatial: int
    """Pixels per latent position."""
    temporal: int
    """Pixel frames per latent frame after the first."""
    channels: int
    """Latent channels."""
    decodes_alone: bool
    """Whether every latent frame decodes alone, whatever its neighbours: batches decode it once."""
    device: str
    dtype: str

    def identity(self) -> dict[str, Any]:
        """What made the videos: checkpoint, weights digest, dtype; plain JSON values."""

    def use(self, variant: Variant, kernels: frozenset[Kernel]) -> Settings:
        """Get ready for a variant: its weights, LoRA and projections; later calls are for it.

        Raises:
            UserError: the variant asks for an option or weights that this generator lacks.
        """

    def history_treatment(self, variant: Variant) -> "Treatment":
        """What happens to clean history before it is packed, see `bench.history`.

        Raises:
            UserError: the treatment needs something that this generator lacks (a codebook).
        """

    def condition(self, request: Request, height: int, width: int) -> Any:
        """Text and image embeddings of one request; encoded once, then taken from memory."""

    def image_latents(
        self, condition: Any, rng: "torch.Generator"
    ) -> "tuple[torch.Tensor, torch.Tensor | None]":
        """Latents [1, C, 1, h, w] of the first frame, and of the end image where there is one.

        Drawn from the autoencoder's posterior with the cell's own random numbers.
        """

    def denoise(
        self,
        conditions: Sequence[Any],
        contexts: Sequence[ContextFrames],
        target_indices: Sequence[int],
        noise: "torch.Tensor",
        on_step: OnStep | None = None,
        unguided: Sequence[ContextFrames] | None = None,
    ) -> Denoised:
        """Make one section of every cell of a batch.

        Args:
            conditions: one per cell, from `condition`.
            contexts: in token order, the target's tokens come last.
            target_indices: RoPE time index of every target frame.
            noise: [batch, C, section, h, w], standard normal.
            on_step: called after every diffusion step.
            unguided: the same contexts with fully noised history: what history guidance steers
                away from, and what DiffusionForcing mixes in.
        """

    def decode(self, latents: "torch.Tensor") -> "torch.Tensor":
        """Latents [batch, C, n, h, w] to pixels [batch, 3, 4n − 3, H, W] in −1..1."""

    def peak_memory(self) -> int | None:
        """Bytes of device memory at their highest since `use`; None where it is not measured."""


@runtime_checkable
class RollsOut(Protocol):
    """A model that can only be asked for pixels: it goes from section to section itself.

    Its module has `plan`, which takes the arguments of `bench.samplers.plan` and refuses, in one
    line, the variants that the model has no notion of.
    """

    device: str
    dtype: str

    def identity(self) -> dict[str, Any]:
        """What made the videos, as `Generator.identity`."""

    def rollout(
        self,
        variant: Variant,
        plan: "Plan",
        requests: Sequence[Request],
        *,
        on_section: "OnSection | None" = None,
        on_step: OnStep | None = None,
    ) -> "list[Rollout | Exception]":
        """As `bench.rollout.rollout`."""
