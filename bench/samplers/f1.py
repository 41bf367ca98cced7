"""F1 sampling: vanilla with the input image as a permanent anchor at index 0.

The published F1 code keeps no gap between anchor and history, however far apart they are;
`padding=exact` restores the true distance.
"""

from bench.plan import Section
from bench.samplers.order import Order
from bench.samplers.vanilla import sections as forward


def sections(order: Order) -> list[Section]:
    """Sections in time order; the anchor is the packing's `start`, which the name gives."""
    return forward(order)
