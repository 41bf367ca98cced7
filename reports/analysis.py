"""Everything that tables, plots and the page say about a study, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ablations.tables import Block, block_of, place_of
from bench.errors import UserError
from reports.columns import Column, Measured, measure, paper_columns
from reports.human import Human, rate
from reports.results import Results
from reports.statistics import (
    Difference,
    Estimate,
    Variance,
    differences,
    estimate,
    holm,
    variance_shares,
)
from reports.statistics.clusters import Floats

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Entrant:
    """A variant of the study: what it is, and what became of its cells.

    `rows` are its rows of `Results.cells`.
    """

    name: str
    sampler: str
    packing: str
    section: int
    tail: str
    discrete: int | None
    options: Mapping[str, Any]
    block: Block
    rows: Labels
    asked: int
    made: int
    failed: int

    @property
    def unfinished(self) -> int:
        """Cells that are neither made nor failed."""
        return self.asked - self.made - self.failed

    @property
    def trained_for_codes(self) -> bool:
        """Whether its weights learned to read a discretised history, as the paper's +D did."""
        return self.discrete is not None and self.options.get("delta") == "discrete"

    @property
    def departures(self) -> dict[str, Any]:
        """The options that make it something else than its sampler, packing and +D say.

        A zero changes nothing, and weights trained for +D are what +D means.
        """
        chosen = {key: value for key, value in self.options.items() if value}
        if self.trained_for_codes:
            del chosen["delta"]
        return chosen


@dataclass(frozen=True)
class Tested:
    """A difference to the baseline, its p corrected over the variants of one column (`p_holm`) and
    over all variants and columns tested (`p_all`)."""

    difference: Difference
    p_holm: float
    p_all: float


@dataclass(frozen=True)
class Analysis:
    """A study's results with what follows from them.

    variants: in the order of the tables. measured: every score, by cell and column. baseline: the
    variant that differences are taken to; None where there is only one. prompt: `[cells]` the
    cluster of each cell, its prompt; prompts that begin with the same image are one cluster, since
    what is easy or hard in that image is so for all of them. human: ratings from votes.
    """

    results: Results
    measured: Measured
    variants: tuple[Entrant, ...]
    baseline: Entrant | None
    prompt: Labels
    notes: tuple[str, ...] = ()
    human: Human | None = None

    @property
    def cells(self) -> pd.DataFrame:
        """The study's cells."""
        return self.results.cells

    @cached_property
    def paper(self) -> list[Column]:
        """The columns of the paper's tables."""
        return paper_columns(self.measured)

    @cached_property
    def scored(self) -> list[Column]:
        """Those of the paper's columns that this study has values of."""
        return [c for c in self.paper if np.isfinite(self.measured.of(c)).any()]

    @cached_property
    def variant(self) -> Labels:
        """`[cells]` number of each cell's variant."""
        number = np.zeros(len(self.cells), dtype=np.int64)
        for place, entrant in enumerate(self.variants):
            number[entrant.rows] = place
        return number

    @cached_property
    def pairing(self) -> Labels:
        """`[cells]` number of each cell's prompt and seed."""
        keys = pd.MultiIndex.from_arrays([self.cells["prompt_id"], self.cells["seed"]])
        return pd.factorize(keys)[0].astype(np.int64)

    def estimate(self, entrant: Entrant, column: Column) -> Estimate:
        """Mean of a variant in a column, clustered by prompt."""
        return self._estimates[entrant.name, column]

    @cached_property
    def _estimates(self) -> dict[tuple[str, Column], Estimate]:
        found = {}
        for place, column in enumerate(self.measured.columns):
            for entrant in self.variants:
                values = self.measured.values[entrant.rows, place]
                prompts = self.prompt[entrant.rows]
                found[entrant.name, column] = estimate(
                    values / column.scale,
                    prompts,
                    bounds=_held(column, values),
                )
        return {key: _scaled(found[key], key[1].scale) for key in found}

    @cached_property
    def differences(self) -> dict[tuple[str, Column], Tested]:
        """Each variant against the baseline, in every scored column of the paper."""
        if self.baseline is None or not self.scored:
            return {}
        others = [entrant for entrant in self.variants if entrant is not self.baseline]
        values = self.measured.pick(self.scored).values
        base = self._by_pairing(self.baseline, values)
        prompts = np.zeros(len(base), dtype=np.int64)
        prompts[self.pairing] = self.prompt
        found = {}
        for entrant in others:
            for column, one in zip(
                self.scored,
                differences(self._by_pairing(entrant, values) - base, prompts),
                strict=True,
            ):
                found[entrant.name, column] = one
        ps = {key: one.p for key, one in found.items()}
        overall = dict(zip(ps, holm(np.array(list(ps.values()))), strict=True))
        tested = {}
        for column in self.scored:
            keys = [key for key in found if key[1] == column]
            for key, corrected in zip(keys, holm(np.array([ps[key] for key in keys])), strict=True):
                tested[key] = Tested(found[key], float(corrected), float(overall[key]))
        return tested

    def _by_pairing(self, entrant: Entrant, values: Floats) -> Floats:
        """`[pairings, columns]` a variant's values by prompt and seed; NaN where it has none."""
        placed = np.full((int(self.pairing.max(initial=-1)) + 1, values.shape[1]), np.nan)
        placed[self.pairing[entrant.rows]] = values[entrant.rows]
        return placed

    @cached_property
    def variance(self) -> dict[Column, Variance]:
        """Shares of the variance of every scored column of the paper."""
        factors = {
            "sampler": [
                (entrant.sampler, entrant.discrete is not None) for entrant in self.variants
            ],
            "packing": [entrant.packing for entrant in self.variants],
            "section": [entrant.section for entrant in self.variants],
        }
        levels = {
            name: pd.factorize(pd.Series(of))[0].astype(np.int64) for name, of in factors.items()
        }
        seeds = pd.factorize(self.cells["seed"])[0].astype(np.int64)
        return {
            column: variance_shares(
                self.measured.of(column),
                variant=self.variant,
                prompt=self.prompt,
                seed=seeds,
                factors=levels,
            )
            for column in self.scored
        }


def _held(column: Column, values: Floats) -> tuple[float | None, float | None]:
    """The column's bounds on the metric's own scale, unless a value leaves them."""
    low, high = (bound if bound is None else bound / column.scale for bound in column.bounds)
    seen = values[np.isfinite(values)] / column.scale
    if len(seen) and low is not None and seen.min() < low:
        low = None
    if len(seen) and high is not None and seen.max() > high:
        high = None
    return low, high


def _scaled(one: Estimate, scale: float) -> Estimate:
    return Estimate(
        one.value * scale,
        one.low * scale,
        one.high * scale,
        one.error * scale,
        one.videos,
        one.prompts,
    )


def analyse(
    results: Results, *, baseline: str | None = None, question: str | None = None
) -> Analysis:
    """Compute what a report says.

    Args:
        results: what `reports.load` gave.
        baseline: the variant that differences are taken to; by default the first vanilla
            one, or the first variant.
        question: which of the arena's questions ELO is of; by default the one with most votes.

    Raises:
        UserError: the baseline is not a variant of the study.
    """
    variants = _entrants(results.cells)
    own = results.cells["reference_origin"].astype(str)
    prompt = pd.factorize(own.where(own != "", results.cells["prompt_id"]))[0].astype(np.int64)
    human, told = rate(results.votes, question)
    analysis = Analysis(
        results, measure(results), variants, _baseline(variants, baseline), prompt, human=human
    )
    from reports.missing import notes

    return replace(analysis, notes=(*notes(analysis), *told))


def _entrants(cells: pd.DataFrame) -> tuple[Entrant, ...]:
    """The study's variants by block, within a block in the order they were asked for."""
    found = []
    for name, rows in cells.groupby("variant", sort=False).indices.items():
        part = cells.iloc[rows]
        first = part.iloc[0]
        discrete = None if pd.isna(first["discrete"]) else int(first["discrete"])
        found.append(
            Entrant(
                name=str(name),
                sampler=str(first["sampler"]),
                packing=str(first["packing"]),
                section=int(first["section"]),
                tail=str(first["tail"]),
                discrete=discrete,
                options=first["options"],
                block=block_of(
                    str(first["sampler"]), discrete, first["options"], str(first["packing"])
                ),
                rows=np.asarray(rows, dtype=np.int64),
                asked=len(part),
                made=int((part["state"] == "done").sum()),
                failed=int((part["state"] == "failed").sum()),
            )
        )
    return tuple(sorted(found, key=lambda entrant: place_of(entrant.block)))


def _baseline(variants: Sequence[Entrant], name: str | None) -> Entrant | None:
    if name is not None:
        for entrant in variants:
            if entrant.name == name:
                return entrant
        known = ", ".join(entrant.name for entrant in variants)
        raise UserError(f"report.baseline: no variant {name!r} in this study; there are {known}")
    if len(variants) < 2:
        return None
    plain = [e for e in variants if e.sampler == "vanilla" and e.discrete is None and e.made]
    among = plain or variants
    # The first asked for, unless much of it is missing.
    most = max(entrant.made for entrant in among)
    return next(entrant for entrant in among if entrant.made >= 0.8 * most)
