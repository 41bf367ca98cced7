"""A plan: the sections of one video as data, made without a model.

Latent frames are counted along the finished video: position 0 is the encoded input image,
positions 1 and up are generated, and an end image, where one is given, stands one past the last.
A plan says for every section which positions it makes, which frames it sees at which kernel, where
all of these stand on the section's RoPE time axis, and when which latents are decoded.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from bench.packing import Kernel
from bench.words import count

PLAN_SCHEMA: Final = 1

Role = Literal["start", "history", "end", "tail"]


@dataclass(frozen=True)
class Context:
    """Frames that one section sees, packed by one kernel in one tensor."""

    kernel: Kernel
    """How the frames are packed; for a tail, the kernel whose projection is used."""

    frames: tuple[int | None, ...]
    """Positions in the video, in time order; None is a zero latent (a frame not yet made)."""

    indices: tuple[int, ...]
    """RoPE time index of every frame."""

    tokens: int
    """Exact tokens, padding included."""

    pool: Literal["", "append", "compress"] = ""
    """How a tail is pooled before its kernel; empty for every other context."""


@dataclass(frozen=True)
class Section:
    """The latent frames made in one denoising run."""

    target: tuple[int, ...]
    """Positions in the video."""

    target_indices: tuple[int, ...]
    """RoPE time index of every target frame."""

    contexts: tuple[Context, ...]
    """In token order: tails, then the largest kernel first; the target's tokens come last."""

    target_tokens: int

    @property
    def context_tokens(self) -> int:
        """Tokens of all contexts."""
        return sum(context.tokens for context in self.contexts)

    @property
    def tokens(self) -> int:
        """Video tokens of one model call: contexts and target; text and image tokens excluded."""
        return self.context_tokens + self.target_tokens


@dataclass(frozen=True)
class Decode:
    """One call of the autoencoder's decoder, and how its frames join the video so far."""

    after: int
    """The section (in the order made) after which it can happen."""

    first: int
    """The first latent position that is decoded."""

    count: int
    """How many latents are decoded."""

    overlap: int
    """Frames that are blended linearly with the video so far; 0 for the first decode."""

    side: Literal["whole", "append", "prepend"]
    """Where the frames go."""

    def short(self, section: int) -> "Decode":
        """The same piece without latents that were decoded before, but for the one at the joint.

        For autoencoders that decode every latent frame alone: decoding again gives the same
        pixels. The first latent of a piece gives one frame, so that one latent must overlap.

        Args:
            section: w, latent frames per section; a whole later decode has two sections.
        """
        if self.side == "whole":
            return self
        first = self.first + (section - 1 if self.side == "append" else 0)
        return replace(self, first=first, count=self.count - section + 1)


@dataclass(frozen=True)
class Plan:
    """All sections of one video, in the order in which they are made."""

    sampler: str
    height: int
    """Pixels."""
    width: int
    """Pixels."""
    section: int
    """g: latent frames of one section."""
    sections: tuple[Section, ...]
    latents: int
    """Latent frames of the finished video, the input image's included."""
    decodes: tuple[Decode, ...]
    temporal: int = 4
    """Pixel frames per latent frame (after the first latent, which is one frame)."""
    spatial: int = 8
    """Pixels per latent position."""
    end_image: bool = False
    """Whether an end image stands one past the last latent."""

    @property
    def frames(self) -> int:
        """Pixel frames of the finished video."""
        return (self.latents - 1) * self.temporal + 1

    @property
    def tokens_per_section(self) -> list[int]:
        """Video tokens of one model call, for every section in the order made."""
        return [section.tokens for section in self.sections]

    @property
    def section_starts(self) -> list[int]:
        """The first pixel frame of every section, in video order: the joints.

        Frame 0 is the input image, so the first section starts at frame 1.
        """
        return sorted((s.target[0] - 1) * self.temporal + 1 for s in self.sections)

    @property
    def grid(self) -> tuple[int, int]:
        """Latent height and width."""
        return self.height // self.spatial, self.width // self.spatial

    @property
    def kernels(self) -> frozenset[Kernel]:
        """Every kernel that some context uses."""
        return frozenset(c.kernel for section in self.sections for c in section.contexts)

    def to_json(self) -> dict[str, object]:
        """The whole plan as plain JSON values."""
        return {
            "schema": PLAN_SCHEMA,
            "sampler": self.sampler,
            "height": self.height,
            "width": self.width,
            "section": self.section,
            "latents": self.latents,
            "frames": self.frames,
            "end_image": self.end_image,
            "sections": [
                {
                    "target": list(section.target),
                    "target_indices": list(section.target_indices),
                    "tokens": section.tokens,
                    "contexts": [
                        {
                            "kernel": context.kernel.name,
                            "frames": list(context.frames),
                            "indices": list(context.indices),
                            "tokens": context.tokens,
                            "pool": context.pool,
                        }
                        for context in section.contexts
                    ],
                }
                for section in self.sections
            ],
            "decodes": [[d.after, d.first, d.count, d.overlap, d.side] for d in self.decodes],
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: two plans with one digest ask for the same work."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def single(plans: Iterable[Plan]) -> str:
    """A caution where videos have a single section; empty where none has."""
    counts = [len(plan.sections) for plan in plans]
    if 1 not in counts:
        return ""
    return (
        f"caution: {counts.count(1)} of {count(len(counts), 'plan')} with a single section: "
        "nothing is fed back to the model, so samplers can hardly differ; give more video.seconds"
    )
