"""What a study of this size could have seen."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import special  # type: ignore[import-untyped, unused-ignore]

ALPHA = 0.05
POWER = 0.8


@lru_cache(maxsize=1024)
def detectable_in_errors(prompts: int, alpha: float = ALPHA, power: float = POWER) -> float:
    """The true difference, in standard errors, that a paired two-sided t test finds with `power`.

    The noncentrality δ of Student's t with C−1 degrees of freedom for which
    P(|t'| > t₁₋α/₂) = power. NaN with fewer than two prompts.
    """
    if prompts < 2:
        return np.nan
    freedom = prompts - 1
    bar = float(special.stdtrit(freedom, 1 - alpha / 2))

    def found(shift: float) -> float:
        # The far tail is below 1e-10 long before SciPy loses it.
        far = float(np.nan_to_num(special.nctdtr(freedom, shift, -bar)))
        return 1.0 - float(special.nctdtr(freedom, shift, bar)) + far

    # With one or two degrees of freedom the bar is 12.7 or 4.3 and the shift a multiple of it.
    low, high = 0.0, 4 * bar + 10
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return high


def detectable(error: float, prompts: int, *, alpha: float = ALPHA, power: float = POWER) -> float:
    """The smallest true difference that would have been found with probability `power`, in the
    metric's units, given the standard error of a paired difference over `prompts` prompts."""
    return detectable_in_errors(prompts, alpha, power) * error


def prompts_needed(
    error: float, prompts: int, target: float, *, alpha: float = ALPHA, power: float = POWER
) -> int | None:
    """How many prompts would make `target` detectable, the spread between prompts staying as it is.

    None when it cannot be said (no spread measured, or more than a million).
    """
    if prompts < 2 or not np.isfinite(error) or error <= 0 or target <= 0:
        return None
    spread = error * np.sqrt(prompts)
    low, high = 2, 1_000_000
    if detectable(spread / np.sqrt(high), high, alpha=alpha, power=power) > target:
        return None
    while low < high:
        middle = (low + high) // 2
        if detectable(spread / np.sqrt(middle), middle, alpha=alpha, power=power) <= target:
            high = middle
        else:
            low = middle + 1
    return low
