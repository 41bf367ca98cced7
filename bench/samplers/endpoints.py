"""Multiple endpoints: some sections are made ahead, evenly spread, the rest fills the gaps.

The sections made ahead come last first. Each is made as inverted sampling makes its first
section: it sees the input image, a gap, and no history. A section that fills a gap sees the
history before it and the nearest endpoints ahead of it, as many as the packing shows.
"""

from bench.plan import Section
from bench.samplers.order import Order, backward_section, forward_section, paddings


def sections(order: Order) -> list[Section]:
    """Endpoint sections, last first; then all others in time order.

    With an end image the last endpoint is that image, and no section is made for it.
    """
    endpoints = endpoint_sections(order.count, len(order.variant.packing.ends), order.end_image)
    made = {0}
    planned = []
    for number in reversed(endpoints):
        target = order.target(number)
        gap = paddings(number + 1, order.exact)[0]
        planned.append(backward_section(order, target, {0}, gap))
        made.update(target)
    given = [order.end] if order.end_image else []
    made.update(given)
    starts = [order.target(number).start for number in endpoints] + given
    for number in range(order.count):
        if number in endpoints:
            continue
        target = order.target(number)
        ahead = [start for start in starts if start >= target.stop]
        planned.append(forward_section(order, target, made, ahead))
        made.update(target)
    return planned


def endpoint_sections(count: int, endpoints: int, end_image: bool = False) -> list[int]:
    """Which sections are made ahead: the last of each of `endpoints` equal parts.

    Example:
        >>> endpoint_sections(9, 3)
        [2, 5, 8]
    """
    numbers = {round(part * count / endpoints) - 1 for part in range(1, endpoints + 1)}
    return sorted(n for n in numbers if n >= 0 and not (end_image and n == count - 1))
