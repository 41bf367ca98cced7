"""Inverted anti-drifting: the last section first, then towards the start frame.

Every section sees the input image, a gap, and the frames after it. All sections approach a known
good frame, so that errors do not pile up in time order.
"""

from bench.plan import Section
from bench.samplers.order import Order, backward_section, paddings


def sections(order: Order) -> list[Section]:
    """Sections from the end of the video to its start."""
    made = {0}
    planned = []
    for step, padding in enumerate(paddings(order.count, order.exact)):
        target = order.target(order.count - 1 - step)
        first_with_image = order.end_image and step == 0
        planned.append(backward_section(order, target, made, padding, first_with_image))
        made.update(target)
    return planned
