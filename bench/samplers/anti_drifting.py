"""Anti-drifting: the end section first, then the others in time order, all seeing that end."""

from bench.plan import Section
from bench.samplers.endpoints import sections as with_endpoints
from bench.samplers.order import Order


def sections(order: Order) -> list[Section]:
    """The last section, then the others in time order; one endpoint, the last section's start."""
    return with_endpoints(order)
