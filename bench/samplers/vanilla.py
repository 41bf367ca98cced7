"""Vanilla sampling: every section sees only the frames before it. Drifts the most."""

from bench.plan import Section
from bench.samplers.order import Order, forward_section


def sections(order: Order) -> list[Section]:
    """Sections in time order; history frames before the video's start are zero latents."""
    made = {0}
    planned = []
    for number in range(order.count):
        target = order.target(number)
        planned.append(forward_section(order, target, made))
        made.update(target)
    return planned
