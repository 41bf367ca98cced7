"""Studies in memory with planted effects, for the claims: no files, a thousand in a minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ablations.tables import block_of
from metrics.catalogue import DRIFTS_IN_PAPER, PAPER
from reports.analysis import Analysis, Entrant
from reports.columns import Column, Measured
from reports.human import Human
from reports.ratings.board import rate
from reports.results import Results
from reports.simulation import Design, Population, simulate

COLUMNS = tuple(
    Column(
        metric,
        segment,
        f"{'Δ' * (segment == 'drift')}{metric.capitalize()}",
        "planted",
        "0" * 16,
        higher_is_better=segment == "all",
    )
    for segment, metrics in (("all", PAPER), ("drift", DRIFTS_IN_PAPER))
    for metric in metrics
)


@dataclass(frozen=True)
class Kind:
    """A variant and what was planted: shifts in standard deviations by `metric` or `metric.drift`
    (`drift` for all of them, `all` for all metrics), and a skill in human eyes."""

    name: str
    sampler: str = "vanilla"
    packing: str = "f16k4f2k2f1k1"
    section: int = 9
    tail: str = "td"
    discrete: int | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    shifts: Mapping[str, float] = field(default_factory=dict)
    skill: float = 0.0
    tokens: Sequence[int] = (1000,) * 6


def analysis_of(
    kinds: Sequence[Kind],
    seed: int,
    *,
    prompts: int = 24,
    seeds: int = 1,
    interaction: float = 0.3,
    votes: int = 0,
) -> Analysis:
    """A study whose values are shift + prompt + variant×prompt + noise, and votes by skill."""
    rng = np.random.default_rng(seed)
    size = prompts * seeds
    easy = rng.normal(0, 1.0, (prompts, len(COLUMNS)))
    values, rows, entrants = [], [], []
    for place, kind in enumerate(kinds):
        shift = np.array(
            [
                kind.shifts.get(column.key, 0.0)
                + kind.shifts.get("drift" if column.segment == "drift" else "all", 0.0)
                for column in COLUMNS
            ]
        )
        apart = interaction * rng.normal(size=(prompts, len(COLUMNS)))
        mean = np.repeat(easy + apart + shift, seeds, axis=0)
        values.append(mean + rng.normal(size=(size, len(COLUMNS))))
        for prompt in range(prompts):
            for number in range(seeds):
                rows.append((kind.name, f"p{prompt:03d}", number, kind.tokens))
        entrants.append(
            Entrant(
                kind.name,
                kind.sampler,
                kind.packing,
                kind.section,
                kind.tail,
                kind.discrete,
                kind.options,
                block_of(kind.sampler, kind.discrete, kind.options),
                np.arange(place * size, (place + 1) * size),
                size,
                size,
                0,
            )
        )
    cells = pd.DataFrame(rows, columns=["variant", "prompt_id", "seed", "tokens_per_section"])
    cells["section_seconds"] = [[2.0] * len(tokens) for tokens in cells["tokens_per_section"]]
    all_values = 50 + 10 * np.concatenate(values)
    measured = Measured(COLUMNS, all_values, np.ones_like(all_values), ({},) * len(COLUMNS))
    human = None
    if votes:
        skills = tuple(kind.skill for kind in kinds)
        population = Population(skills, taste=0.2)
        told = simulate(population, Design(raters=40, votes=votes, prompts=prompts), seed)
        names = dict(zip(population.variants, [kind.name for kind in kinds], strict=True))
        told = told.replace({"left": names, "right": names})
        human = Human(rate(told, orders=2, resamples=200, seed=seed), told, "overall")
    prompt = pd.factorize(cells["prompt_id"])[0].astype(np.int64)
    results = Results(cells, pd.DataFrame(), pd.DataFrame())
    return Analysis(results, measured, tuple(entrants), None, prompt, human=human)
