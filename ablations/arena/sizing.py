"""How many votes separate variants by a margin: what `stage=arena plan=true` says.

Under Bradley-Terry with balanced pairs, V variants and n votes each, every two variants meet
w = n / (V - 1) times, and each meeting carries the information I (see `information`). The variants
form a complete graph with equal weights w I, in which the difference of two ratings has the
variance 2 / (V w I): votes on third variants help, too. Votes of one rater are correlated, which
costs the usual factor of clustered samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

from ablations.arena.settings import Settings, Sizing, read
from bench.study import Study

ELO = 400.0
"""Points at which the odds are ten to one."""
MARGINS = (25.0, 50.0, 100.0, 200.0)
"""Shown beside the margin asked for."""


@dataclass(frozen=True)
class Needed:
    """Votes needed to separate two of V variants by a margin."""

    margin: float
    """Elo points."""
    per_variant: int
    total: int
    raters: int


def information(margin: float, tie_rate: float) -> float:
    """What one vote says about a difference in Elo points, per point squared.

    With ties as half a win (Davidson at small margins), the score x of a vote is 1/2, 0 or -1/2
    and its log-odds move by k = ln 10 / 400 per point, so I = k² Var(x).

    Args:
        margin: the difference, in Elo points.
        tie_rate: share of ties between equals, 0 to 1.
    """
    k = math.log(10) / ELO
    win = (1 - tie_rate) / (1 + 10 ** (-margin / ELO))
    loss = (1 - tie_rate) - win
    variance = (win + loss - (win - loss) ** 2) / 4
    return k * k * variance


def quantiles(sizing: Sizing, variants: int) -> tuple[float, float]:
    """The normal quantiles of confidence and power; all comparisons counted when familywise."""
    comparisons = variants * (variants - 1) // 2 if sizing.familywise else 1
    alpha = (1 - sizing.confidence) / comparisons
    return NormalDist().inv_cdf(1 - alpha / 2), NormalDist().inv_cdf(sizing.power)


def inflation(sizing: Sizing, pairs_per_rater: int) -> float:
    """How many times more votes correlated raters cost: 1 + (m - 1) rho."""
    return 1 + (pairs_per_rater - 1) * sizing.rater_correlation


def needed(margin: float, variants: int, settings: Settings) -> Needed:
    """Votes that find a gap of `margin` Elo points between two of `variants` variants."""
    sizing = settings.sizing
    confidence, power = quantiles(sizing, variants)
    ordinary = _ordinary(settings)
    # Var(difference) = 2 (V - 1) / (V n I) with n votes for each variant
    variance = 2 * (variants - 1) / (variants * information(margin, sizing.tie_rate))
    votes = variance * (confidence + power) ** 2 / margin**2 * inflation(sizing, ordinary)
    per_variant = math.ceil(votes)
    total = math.ceil(per_variant * variants / 2)
    return Needed(margin, per_variant, total, math.ceil(total / ordinary))


def separable(variants: int, settings: Settings) -> float:
    """The smallest margin, in Elo points, that `votes_per_variant` votes find."""
    low, high = 1.0, 2000.0
    for _ in range(60):
        middle = (low + high) / 2
        if needed(middle, variants, settings).per_variant > settings.votes_per_variant:
            low = middle
        else:
            high = middle
    return high


def win_rate(margin: float) -> float:
    """Expected score of the better variant, 0 to 1 (a tie is half a win)."""
    return 1 / (1 + 10 ** (-margin / ELO))


def report(cfg: Mapping[str, Any]) -> str:
    """The answer as text: a small table, and what the votes configured can tell apart."""
    settings = read(cfg.get("arena"))
    cells = list(Study.open(Path(str(cfg["study"]))).cells())
    variants = len({cell.variant for cell in cells})
    scenes = len({(cell.prompt_id, cell.seed) for cell in cells})
    if variants < 2:
        return f"study={cfg['study']} asks for {variants} variant; votes compare two or more"
    sizing = settings.sizing
    comparisons = variants * (variants - 1) // 2
    every = f", all {comparisons} comparisons together" if sizing.familywise else ""
    lines = [
        f"{variants} variants, {scenes} scenes: {comparisons * scenes} different pairs; "
        f"{settings.pairs_per_rater} pairs per rater, {_ordinary(settings)} of them ordinary",
        f"power {sizing.power:.0%}, confidence {sizing.confidence:.0%}{every}; "
        f"ties {sizing.tie_rate:.0%}, correlation within a rater {sizing.rater_correlation:g}",
        "",
        f"{'margin (Elo)':>12}  {'win rate':>8}  {'votes/variant':>13}  "
        f"{'votes':>7}  {'raters':>6}",
    ]
    for margin in sorted({*MARGINS, sizing.margin}):
        row = needed(margin, variants, settings)
        mark = " <" if margin == sizing.margin else ""
        lines.append(
            f"{margin:12g}  {win_rate(margin):8.1%}  {row.per_variant:13d}  {row.total:7d}  "
            f"{row.raters:6d}{mark}"
        )
    least = separable(variants, settings)
    lines += [
        "",
        f"arena.votes_per_variant={settings.votes_per_variant} separates variants "
        f"{least:.0f} Elo points apart (win rate {win_rate(least):.0%}) or more",
    ]
    if _ordinary(settings) > comparisons * scenes:
        lines.append(
            f"a rater sees no pair twice: with {comparisons * scenes} pairs, raters finish early; "
            "add prompts or seeds"
        )
    return "\n".join(lines)


def _ordinary(settings: Settings) -> int:
    extras = settings.controls_per_rater + settings.repeats_per_rater
    return max(1, settings.pairs_per_rater - extras)
