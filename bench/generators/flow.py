"""Flow shift: how strongly diffusion steps crowd at high noise, by the number of target tokens."""

import math
from typing import Final

from bench.errors import UserError

BASE_TOKENS, MAX_TOKENS = 256, 4096
BASE_SHIFT, MAX_SHIFT = 0.5, 1.15
LARGEST_SHIFT: Final = 7.0
"""The published code caps mu at ln 7."""


def mu(
    tokens: float,
    base_tokens: int = BASE_TOKENS,
    max_tokens: int = MAX_TOKENS,
    base_shift: float = BASE_SHIFT,
    max_shift: float = MAX_SHIFT,
) -> float:
    """Linear in **target** tokens (0.5 at 256, 1.15 at 4096), capped at ln 7."""
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    intercept = base_shift - slope * base_tokens
    return min(tokens * slope + intercept, math.log(LARGEST_SHIFT))


def released_shift(tokens: float) -> float:
    """exp(mu): the shift that the published code uses for a section of so many target tokens.

    Example:
        >>> [round(released_shift(g * 1560), 2) for g in (1, 2, 3, 4, 5, 9)]
        [2.06, 2.68, 3.49, 4.54, 5.91, 7.0]
    """
    return math.exp(mu(tokens))


def read_shift(value: float | str | None) -> str | float | None:
    """What an option says of the shift: None, `released`, or a positive number.

    Raises:
        UserError: anything else.
    """
    if value is None or value == "released":
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise UserError(f"shift: {value!r} is neither `released` nor a positive number")
    return number
