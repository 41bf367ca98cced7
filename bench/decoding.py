"""When which latents are decoded, and how the pieces join: the published schedule.

The first section is decoded whole. Every later decode covers two sections, so that the decoder
sees some of the past, and its first (or last) section is blended linearly with the video so far.
"""

from collections.abc import Sequence

from bench.plan import Decode, Section


def overlap_frames(section: int, temporal: int = 4) -> int:
    """Frames blended at a joint: 4·w − 3, the pixel frames of a section of w latents alone."""
    return (section - 1) * temporal + 1


def forward(sections: Sequence[Section], temporal: int = 4) -> tuple[Decode, ...]:
    """Decodes in time order; a section made ahead of its time waits for those before it."""
    width = len(sections[0].target)
    made: set[int] = {0}
    done = 1
    decodes: list[Decode] = []
    for after, section in enumerate(sections):
        made.update(section.target)
        while done in made:
            done += width
            if not decodes:
                decodes.append(Decode(after, 0, width + 1, 0, "whole"))
            else:
                overlap = overlap_frames(width, temporal)
                decodes.append(Decode(after, done - 2 * width, 2 * width, overlap, "append"))
    return tuple(decodes)


def inverted(sections: Sequence[Section], temporal: int = 4) -> tuple[Decode, ...]:
    """Decodes from the end of the video to its start; the last one includes the input image."""
    width = len(sections[0].target)
    decodes: list[Decode] = []
    for after, section in enumerate(sections):
        with_image = after == len(sections) - 1
        first = 0 if with_image else section.target[0]
        count = (width if after == 0 else 2 * width) + with_image
        overlap = overlap_frames(width, temporal) if after else 0
        decodes.append(Decode(after, first, count, overlap, "prepend" if after else "whole"))
    return tuple(decodes)
