"""The paper's eight claims, put to the test on a study.

Each claim is a list of hypotheses about differences between groups of variants, paired by prompt
and seed, or about human ratings. `reports.verdicts` says when that supports or contradicts the
claim and when this study does not decide it; `reports.contrasts` how groups are compared.

Where the paper's words leave a number open, it is fixed here and named: what still *competes*, what
is *negligible*. Variants with options (other steps, TeaCache, other methods) take part only in the
claim about TeaCache. Of a study that sweeps the codes of +D, one number of codes speaks for it. A
verdict is about the generator, prompts and metrics of the study at hand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from metrics.catalogue import PAPER
from reports.analysis import Analysis, Entrant
from reports.columns import Column
from reports.contrasts import (
    Contrast,
    cells,
    contrast,
    contrast_of,
    gap_difference,
    matched,
    rated,
    squared_gap,
    within,
)
from reports.statistics.paired import Difference, difference
from reports.verdicts import Effect, Part, Question, Verdict, settle

COMPETES = 50.0
"""Elo points by which a variant may be worse and still compete: it wins 43 % against the other. The
paper's tie rule of 16 points is half a vote; telling 16 points apart takes thousands of votes."""

NEGLIGIBLE = 0.2
"""Standard deviations between videos below which a difference is negligible (Cohen's small
effect): two piles of videos that overlap by 92 %."""

SLOWER = 5.0
"""Percent by which later sections may take longer and their cost still count as bounded."""


@dataclass(frozen=True)
class Claim:
    """One claim: the paper's words as a hypothesis, the verdict, and the parts it rests on."""

    number: int
    statement: str
    verdict: Verdict
    parts: tuple[Part, ...]

    @property
    def because(self) -> str:
        """The verdict's reason: the part that decided it, or that would have to be decided."""
        deciding = [part for part in self.parts if not part.optional]
        parts = [part for part in deciding if part.verdict == self.verdict] or deciding
        if lacking := [part.lacking for part in parts if part.lacking]:
            return f"this study lacks {lacking[0]}"
        weakest = min(parts, key=lambda part: part.clear)
        shown = f"{weakest.said}: {_shown(weakest)}"
        if (needs := max(part.needs for part in parts)).words:
            return f"{shown}; {needs.sentence}"
        return shown


def _shown(part: Part) -> str:
    text = f"{part.effect:+.3g} {part.unit}"
    if np.isfinite(part.high - part.low):
        text += f" [{part.low:.3g}, {part.high:.3g}]"
    return text.replace("-", "−")


@dataclass(frozen=True)
class Asked:
    """What the tests of one study share."""

    analysis: Analysis
    plain: tuple[Entrant, ...]
    """Variants without options, and of discretised history those of one codebook."""

    @classmethod
    def of(cls, analysis: Analysis) -> Asked:
        """What there is to ask of a study."""
        return cls(analysis, one_codebook([e for e in analysis.variants if not e.departures]))

    def block(self, name: str) -> list[Entrant]:
        """The plain variants of one way of sampling: vanilla, vanilla+D, inverted, …"""
        return [e for e in self.plain if e.block.id == name]

    def blocks(self) -> dict[str, list[Entrant]]:
        """All ways of sampling in the study."""
        found: dict[str, list[Entrant]] = {}
        for entrant in self.plain:
            found.setdefault(entrant.block.id, []).append(entrant)
        return found

    def columns(self, segment: str, metrics: Sequence[str] = PAPER) -> list[Column]:
        """The paper's columns of one segment that have values."""
        return [c for c in self.analysis.scored if c.segment == segment and c.metric in metrics]

    def dynamic(self) -> list[Column]:
        """Dynamic; where it is the same in every video, the flow's magnitude, which is not."""
        found = self.columns("all", ["dynamic"])
        spread = [c for c in found if np.nanstd(self.analysis.measured.of(c)) > 0]
        if spread:
            return spread
        magnitudes = [
            c
            for c in self.analysis.measured.columns
            if (c.metric, c.segment) == ("dynamic_magnitude", "all")
            and np.isfinite(self.analysis.measured.of(c)).any()
        ]
        return magnitudes or found

    @cached_property
    def seeds(self) -> float:
        """Videos of one variant and prompt, on average."""
        made = np.isfinite(self.analysis.measured.values).any(axis=1)
        pairs = np.unique(np.stack([self.analysis.variant, self.analysis.prompt])[:, made], axis=1)
        return float(made.sum() / max(pairs.shape[1], 1))


def one_codebook(entrants: Sequence[Entrant]) -> tuple[Entrant, ...]:
    """Without those +D variants that a sweep over the number of codes has added.

    Of each sampler that number stays which most variants have, of equals the largest; weights
    trained for codes go before others.
    """
    kept: dict[str, tuple[int | None, bool]] = {}
    for sampler in {e.sampler for e in entrants}:
        kinds = Counter(
            (e.discrete, e.trained_for_codes)
            for e in entrants
            if e.sampler == sampler and e.discrete is not None
        )
        if kinds:
            kept[sampler] = max(kinds, key=lambda kind: (kind[1], kinds[kind], kind[0] or 0))
    return tuple(
        e
        for e in entrants
        if e.discrete is None or (e.discrete, e.trained_for_codes) == kept[e.sampler]
    )


def _effect(asked: Asked, found: Contrast | None, unit: str) -> Effect | None:
    if found is None:
        return None
    effect = _paired(asked, found.difference, found.variants, unit)
    return replace(effect, matched=found.matched)


def _paired(asked: Asked, one: Difference, variants: int, unit: str) -> Effect:
    cost = variants * asked.seeds
    return Effect(one.value, one.error, one.prompts - 1, one.prompts, cost, unit, p=one.p)


def _apart(asked: Asked, one: Difference, variants: int) -> Effect:
    """The effect of a squared gap: two prompts have one product only, and so no spread."""
    return replace(_paired(asked, one, variants, "SD²"), least=3)


def _people(
    asked: Asked, these: Sequence[Entrant], those: Sequence[Entrant], but: Sequence[str]
) -> Effect | None:
    found = rated(asked.analysis, these, those, but) if these and those else None
    if found is None:
        return None
    return Effect(
        found.value,
        found.error,
        found.freedom,
        found.votes,
        1.0,
        "ELO",
        "votes",
        matched=found.matched,
    )


SAMPLING = ("sampler", "discrete")

BOUNDED = "The context, so the cost of a step, is bounded whatever the length of the video."


def bounded(asked: Asked) -> list[Question]:
    """Tokens of a section, once the history is full, do not grow with the sections made."""
    growth, slower, clocks = [], [], []
    analysis = asked.analysis
    names = ("tokens_per_section", "section_seconds")
    made = [analysis.cells[name].tolist() for name in names]
    for entrant in asked.plain:
        # Of videos that were brought along no section, so no packed history, is known.
        if entrant.tail == "ta" or not entrant.section:
            continue
        held = sum(int(frames) for frames in re.findall(r"f(\d+)k", entrant.packing))
        full = -(-held // entrant.section)
        for row in entrant.rows:
            tokens, seconds = (np.array(of[row], dtype=np.float64)[full:] for of in made)
            if len(tokens) < 2:
                continue
            half = len(tokens) // 2
            growth.append(100 * (tokens[half:].max() / tokens[:half].max() - 1))
            if len(seconds) == len(tokens) and (seconds > 0).all():
                ratio = seconds[half:].mean() / seconds[:half].mean()
                slower.append(100 * np.log(ratio))
                clocks.append((entrant.name, *made[1][row]))
    lacking = "videos with two sections after the packed history is full"
    tokens_hold = "later sections have no more tokens than earlier ones (tails deleted, compressed)"
    if not growth:
        return [Question(tokens_hold, None, lacking=lacking)]
    # Token counts are exact: no interval, and one video that grows is enough to contradict.
    most = Effect(max(growth), 0.0, 1, len(growth), 1.0, "%")
    tests = [Question(tokens_hold, most, below=1e-9)]
    if slower:
        # Videos of a batch share its clock: they are one measurement.
        labels = pd.factorize(pd.Series(clocks))[0].astype(np.int64)
        time = _paired(asked, difference(np.array(slower), labels), len(asked.plain), "%")
        said = f"later sections take at most {SLOWER:g} % longer"
        tests.append(Question(said, time, below=SLOWER, optional=True))
    return tests


BEST_DRIFT = (
    "Inverted anti-drifting sampling is best on every drift metric, with a small dynamic range."
)


def inverted_drifts_least(asked: Asked) -> list[Question]:
    """Inverted sampling drifts less than every other, and its Dynamic is lower than vanilla's."""
    ours = asked.block("inverted")
    others = {n: e for n, e in asked.blocks().items() if n not in ("inverted", "inverted+D")}
    drifts, dynamic = asked.columns("drift"), asked.dynamic()
    lacking = _lacking(ours=ours, others=others, columns=drifts, what="drift scores")
    if lacking:
        return [Question("inverted sampling drifts least", None, lacking=lacking)]
    tests = []
    table = cells(asked.analysis, [*drifts, *dynamic])
    for name, those in others.items():
        for column in drifts:
            found = contrast(table, ours, those, SAMPLING, [column])
            said = f"{column.title} is lower with inverted than with {_said(name)} sampling"
            tests.append(_or_lacking(asked, said, found, column, below=0.0))
    return tests + [
        _or_lacking(
            asked,
            f"{column.title} is lower with inverted than with vanilla sampling",
            contrast(table, ours, others["vanilla"], SAMPLING, [column]),
            column,
            below=0.0,
        )
        for column in dynamic
        if "vanilla" in others
    ]


def _said(name: str) -> str:
    """A block's name as words."""
    return name.replace("_", "-")


VANILLA_DYNAMIC = "Vanilla sampling has the highest Dynamic score; its ELO is low."


def vanilla_moves_most(asked: Asked) -> list[Question]:
    """Vanilla's Dynamic is higher than each other's; people rate it lower (told, not decisive)."""
    ours = asked.block("vanilla")
    others = {n: e for n, e in asked.blocks().items() if n != "vanilla"}
    dynamic = asked.dynamic()
    lacking = _lacking(ours=ours, others=others, columns=dynamic, what="a Dynamic score")
    if lacking:
        return [Question("vanilla sampling has the highest Dynamic score", None, lacking=lacking)]
    table = cells(asked.analysis, dynamic)
    tests = []
    for name, those in others.items():
        for column in dynamic:
            found = contrast(table, ours, those, SAMPLING, [column])
            said = f"{column.title} is higher with vanilla than with {_said(name)} sampling"
            tests.append(_or_lacking(asked, said, found, column, above=0.0))
    for name, those in others.items():
        tests.append(
            Question(
                f"ELO is lower with vanilla than with {_said(name)} sampling",
                _people(asked, ours, those, SAMPLING),
                lacking="votes that compare them",
                optional=True,
            )
        )
    return tests


DISCRETE = (
    "Vanilla sampling with discretised history competes in human score, with a far larger dynamic "
    "range."
)


def discrete_competes(asked: Asked) -> list[Question]:
    """+D is rated no more than COMPETES below inverted sampling, and its Dynamic is higher."""
    ours, those = asked.block("vanilla+D"), asked.block("inverted")
    dynamic = asked.dynamic()
    human = f"ELO of vanilla+D is at most {COMPETES:g} below that of inverted sampling"
    lacking = _lacking(ours=ours, others=those, columns=dynamic, what="a Dynamic score")
    if lacking:
        return [Question(human, None, lacking=lacking)]
    people = _people(asked, ours, those, SAMPLING)
    tests = [Question(human, people, above=-COMPETES, lacking="votes that compare them")]
    table = cells(asked.analysis, dynamic)
    for column in dynamic:
        found = contrast(table, ours, those, SAMPLING, [column])
        said = f"{column.title} is higher with vanilla+D than with inverted sampling"
        tests.append(_or_lacking(asked, said, found, column, above=0.0))
    return tests


DOMINATES = (
    "Within one sampling approach packings differ less than sampling approaches do: the sampling "
    "approach dominates."
)


def sampling_dominates(asked: Asked) -> list[Question]:
    """Squared standardised differences between approaches exceed those between packings."""
    columns = [*asked.columns("all"), *asked.columns("drift")]
    names = list(asked.blocks())
    by_packing = within(asked.plain, "packing")
    by_sampling = [
        pair
        for place, one in enumerate(names)
        for other in names[place + 1 :]
        for pair in matched(asked.block(one), asked.block(other), SAMPLING)
    ]
    said = "variants of two sampling approaches differ more than variants of two packings"
    if not columns or not by_packing or not by_sampling:
        return [
            Question(said, None, lacking="two sampling approaches with two packings each, scored")
        ]
    table = cells(asked.analysis, columns, standard=True)
    sampling, packing = squared_gap(table, by_sampling), squared_gap(table, by_packing)
    if sampling is None or packing is None:
        return [Question(said, None, lacking="scores of both on the same prompts")]
    more = gap_difference(sampling, packing)
    variants = len({e.name for pair in [*by_packing, *by_sampling] for e in pair})
    little = f"packings differ by less than {NEGLIGIBLE:g} standard deviations (root mean square)"
    return [
        Question(said, _apart(asked, more, variants), above=0.0),
        Question(
            little,
            _apart(asked, gap_difference(packing), packing.variants),
            below=NEGLIGIBLE**2,
            optional=True,
        ),
    ]


SECTIONS = "Sections of 9 latent frames are preferred to 4 or 1."


def long_sections_preferred(asked: Asked) -> list[Question]:
    """ELO with g9 is higher than with g4 and g1, all else equal; drift is told as well."""
    nine = [e for e in asked.plain if e.section == 9]
    tests = []
    drifts = asked.columns("drift")
    table = cells(asked.analysis, drifts, standard=True) if drifts else None
    for length in (4, 1):
        short = [e for e in asked.plain if e.section == length]
        pairs = matched(nine, short, ["section"])
        lacking = "votes that compare them" if pairs else f"the same variants with g9 and g{length}"
        ours, those = [one for one, _ in pairs], [other for _, other in pairs]
        people = _people(asked, ours, those, ["section"])
        tests.append(
            Question(
                f"ELO is higher with g9 than with g{length}", people, above=0.0, lacking=lacking
            )
        )
        if pairs and table is not None:
            found = contrast(table, ours, those, ["section"])
            said = f"drift (mean of the metrics) is lower with g9 than with g{length}"
            tests.append(Question(said, _effect(asked, found, "SD"), below=0.0, optional=True))
    return tests


TAILS = "The three tail options differ negligibly."


def tails_differ_little(asked: Asked) -> list[Question]:
    """For each two tails, the root mean square difference of all metrics is below NEGLIGIBLE."""
    pairs = within(asked.plain, "tail")
    columns = [*asked.columns("all"), *asked.columns("drift")]
    table = cells(asked.analysis, columns, standard=True) if pairs and columns else None
    tests = []
    for tails in combinations(("td", "ta", "tc"), 2):
        two = [pair for pair in pairs if {e.tail for e in pair} == set(tails)]
        gap = squared_gap(table, two) if table and two else None
        effect = _apart(asked, gap_difference(gap), gap.variants) if gap else None
        said = (
            f"{' and '.join(tails)} differ by less than {NEGLIGIBLE:g} standard deviations (root "
            "mean square)"
        )
        lacking = f"the same variant with tails {' and '.join(tails)}, scored"
        tests.append(Question(said, effect, below=NEGLIGIBLE**2, lacking=lacking))
    return tests


TEACACHE = "TeaCache costs quality."


def teacache_costs(asked: Asked) -> list[Question]:
    """Quality (mean of the paper's metrics but Dynamic) is lower with TeaCache, all else equal."""
    pairs = []
    everyone = asked.analysis.variants
    for cached in everyone:
        if not float(cached.options.get("teacache", 0) or 0) > 0:
            continue
        rest = {key: value for key, value in cached.options.items() if key != "teacache"}
        for plain in everyone:
            same = {k: v for k, v in plain.options.items() if k != "teacache" or v}
            if same == rest and (plain, cached) in matched([plain], [cached], ["options"]):
                pairs.append((cached, plain))
    columns = asked.columns("all", [metric for metric in PAPER if metric != "dynamic"])
    said = "quality (mean of the metrics) is lower with TeaCache"
    if not pairs or not columns:
        return [Question(said, None, lacking="the same variant with and without TeaCache, scored")]
    table = cells(asked.analysis, columns, standard=True)
    found = contrast_of(table, pairs)
    tests = [Question(said, _effect(asked, found, "SD"), below=0.0, lacking="cells that both made")]
    drifts = asked.columns("drift")
    if drifts:
        drift = contrast_of(cells(asked.analysis, drifts, standard=True), pairs)
        more = _effect(asked, drift, "SD")
        tests.append(
            Question(
                "drift (mean of the metrics) is higher with TeaCache", more, 0.0, optional=True
            )
        )
    return tests


def _or_lacking(
    asked: Asked,
    said: str,
    found: Contrast | None,
    column: Column,
    *,
    above: float | None = None,
    below: float = 0.0,
) -> Question:
    unit = "points" if column.scale == 100.0 else column.unit
    effect = _effect(asked, found, unit)
    return Question(said, effect, above, below, lacking=f"{column.title} of both on the same cells")


def _lacking(*, ours: object, others: object, columns: object, what: str) -> str:
    """What stands in the way of comparing two groups; "" when nothing does."""
    if not ours or not others:
        return "the variants to compare"
    return "" if columns else what


QUESTIONS: tuple[tuple[str, Callable[[Asked], list[Question]]], ...] = (
    (BOUNDED, bounded),
    (BEST_DRIFT, inverted_drifts_least),
    (VANILLA_DYNAMIC, vanilla_moves_most),
    (DISCRETE, discrete_competes),
    (DOMINATES, sampling_dominates),
    (SECTIONS, long_sections_preferred),
    (TAILS, tails_differ_little),
    (TEACACHE, teacache_costs),
)
"""The claims in the paper's order, each with what tests it."""


def claims(analysis: Analysis) -> tuple[Claim, ...]:
    """All eight claims on one study; what it cannot test is not decided, and says what it lacks."""
    asked = Asked.of(analysis)
    found = []
    for number, (statement, tests) in enumerate(QUESTIONS, 1):
        verdict, parts = settle(tests(asked))
        found.append(Claim(number, statement, verdict, parts))
    return tuple(found)
