"""What generators can make that continue a video clip by clip, and the plans for it; no torch.

Most published image-to-video models make one clip from one image. A long video is made in a loop:
every section is a new clip that begins with the last frames made. In the naming grammar that is
vanilla sampling with a history of a few frames at full length, `td_f1k1_g20`: one latent frame of
history, 20 made at once. Such a generator has no packing, no gaps and no order but that of time,
and says so in one line before anything is made.

A clip of n + g latents decodes to T·(n + g − 1) + 1 frames, T pixel frames per latent. Its first
T·(n − 1) + 1 frames are the history again and are dropped; T·g new frames are left.
"""

from dataclasses import dataclass

from bench.errors import UserError
from bench.packing import KERNELS, Kernel, Level
from bench.plan import Context, Decode, Plan, Section
from bench.samplers import section_count
from bench.variant import Variant

FULL: Kernel = KERNELS[1]
"""Frames are seen at full length; a model has no other kernel than its own patches."""

ENDS = ((Level(1, FULL),),)
"""The context ahead of models that are given the clip's last frame: `_x_f1k1`."""


@dataclass(frozen=True)
class Clips:
    """What the clips of one kind of generator can be.

    Args:
        kind: the generator's kind.
        options: options of a variant that it honours.
        history: latent frames of history that it can begin with, at most.
        end: every clip is led to a given last frame; its names end with `_x_f1k1`.
        spatial: pixels per latent position.
        temporal: pixel frames per latent frame after the first.
        patch: latent positions per side of a token.
        trained: latent frames of the longest clip seen in training; longer ones are recorded as
            untrained. 0: not known.
    """

    kind: str
    options: tuple[str, ...]
    history: int = 1
    end: bool = False
    spatial: int = 8
    temporal: int = 4
    patch: int = 2
    trained: int = 0

    @property
    def side(self) -> int:
        """Pixels per side of a token: sizes are multiples of it."""
        return self.spatial * self.patch

    @property
    def names(self) -> str:
        """What its variants are called, in words."""
        example = "td_f1k1_g20" + ("_x_f1k1" if self.end else "")
        if self.history == 1:
            return f"{example} (any section length)"
        return f"{example} (any section length, f1 to f{self.history})"

    def check(self, variant: Variant) -> None:
        """Refuse what these models have no notion of.

        Raises:
            UserError: names the first such thing, and what is possible.
        """
        wrong = self._impossible(variant)
        if wrong:
            raise UserError(
                f"{variant.name}: generator {self.kind} has no {wrong}; possible are names like "
                f"{self.names} with the options {', '.join(self.options)}"
            )

    def _impossible(self, variant: Variant) -> str:
        packing = variant.packing
        levels = "".join(map(str, reversed(packing.levels)))
        if variant.sampler != ("anti_drifting" if self.end else "vanilla"):
            return f"{variant.sampler} sampling"
        if len(packing.levels) > 1 or packing.levels[0].kernel != FULL:
            return f"packing {levels}"
        if packing.history > self.history:
            return f"history {levels}"
        if packing.tail != "td":
            return f"tail {packing.tail}"
        if self.end and packing.ends != ENDS:
            return f"endpoint {''.join(map(str, packing.ends[0]))}"
        if variant.discrete is not None:
            return "+D"
        # One frame passed on is what `method-repeat` asks of other generators.
        known = {*self.options, *(["method"] if self._repeats(variant) else [])}
        unknown = [key for key in variant.options if key not in known]
        return f"option {unknown[0]}" if unknown else ""

    def _repeats(self, variant: Variant) -> bool:
        repeat = variant.option("method", "packed") == "repeat"
        return repeat and variant.packing.history == 1 and not self.end

    def check_size(self, height: int, width: int) -> None:
        """Refuse sizes that are not whole tokens.

        Raises:
            UserError: names the side that is not, and the multiple that is needed.
        """
        for key, pixels in (("height", height), ("width", width)):
            if pixels < 1 or pixels % self.side:
                raise UserError(
                    f"video.{key}: {pixels} is not a multiple of {self.side} pixels, "
                    f"which generator {self.kind} needs"
                )

    def untrained(self, variant: Variant) -> tuple[str, ...]:
        """The section, where a clip of it is longer than those seen in training."""
        longer = self.trained and variant.packing.history + variant.section > self.trained
        return (f"g{variant.section}",) if longer else ()

    def frames(self, latents: int) -> int:
        """Pixel frames of so many latents from a clip's start."""
        return (latents - 1) * self.temporal + 1

    def plan(
        self,
        variant: Variant,
        *,
        height: int,
        width: int,
        seconds: float | None = None,
        sections: int | None = None,
        fps: float = 30.0,
        end_image: bool = False,
    ) -> Plan:
        """The plan of one video; arguments as of `bench.samplers.plan`.

        Raises:
            UserError: the variant is not possible, or the size is not a multiple of a token.
        """
        self.check(variant)
        self.check_size(height, width)
        if end_image and not self.end:
            raise no_end_image(variant, self.kind)
        made = variant.section
        count = sections or section_count(seconds or 0.0, made, fps, self.temporal)
        latents = count * made + 1
        # Without an end image every clip is led back to the input image.
        end = (latents if end_image else 0) if self.end else None
        frame_tokens = (height // self.side) * (width // self.side)
        planned = tuple(
            self._section(number * made, variant, frame_tokens, end) for number in range(count)
        )
        return Plan(
            sampler=variant.sampler,
            height=height,
            width=width,
            section=made,
            sections=planned,
            latents=latents,
            decodes=tuple(
                Decode(number, 0 if number == 0 else section.target[0], made + (number == 0), 0,
                       "append" if number else "whole")
                for number, section in enumerate(planned)
            ),
            temporal=self.temporal,
            spatial=self.spatial,
            end_image=end_image,
        )  # fmt: skip

    def _section(self, newest: int, variant: Variant, tokens: int, end: int | None) -> Section:
        """The clip that continues after position `newest`."""
        history = tuple(range(max(0, newest + 1 - variant.packing.history), newest + 1))
        seen, made = len(history), variant.section
        contexts = [Context(FULL, history, tuple(range(seen)), seen * tokens)]
        if end is not None:
            # The last frame stands in the channels of the last target latent: no tokens of its own.
            contexts.append(Context(FULL, (end,), (seen + made - 1,), 0))
        return Section(
            target=tuple(range(newest + 1, newest + 1 + made)),
            target_indices=tuple(range(seen, seen + made)),
            contexts=tuple(contexts),
            target_tokens=made * tokens,
        )


def no_end_image(variant: Variant, kind: str) -> UserError:
    """What to say of a prompt with an end image to a kind of generator that takes none."""
    return UserError(
        f"{variant.name}: generator {kind} takes no end image; leave prompts with one out "
        "(prompts.ids), or use wan_flf2v or FramePack's inverted sampling"
    )
