"""Wan first-last frame to video in a loop: every section starts from the last frame made and is
led to the end image.

Anti-drifting in the paper's sense: all sections see the history and one frame that no section can
spoil. The end is not a gap away: it is the last frame of every clip. Where a request has no end
image, it is the input image, and every section comes back to it.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from bench.generators.clips import Clips
from bench.generators.options import read
from bench.generators.wan_i2v import WanConfig, WanI2V

CLIPS = Clips(kind="wan_flf2v", options=("steps", "cfg", "shift"), end=True, trained=21)

plan = CLIPS.plan


def build(options: Mapping[str, Any]) -> "WanFLF2V":
    """The generator of a configuration.

    Raises:
        UserError: an option is unknown or wrong, or the checkpoint cannot be loaded.
    """
    return WanFLF2V(read(WanConfig, options))


class WanFLF2V(WanI2V):
    """WanImageToVideoPipeline with a last image, clip by clip."""

    clips: ClassVar[Clips] = CLIPS
