"""The paper's claims: verdicts in one table, and what each rests on in another."""

from __future__ import annotations

from reports.analysis import Analysis
from reports.claims import Claim, claims
from reports.tables.table import Block, Entry, Heading, Number, Row, Table
from reports.verdicts import Part


def tables(analysis: Analysis) -> tuple[Table, ...]:
    """Verdicts and parts; nothing for a study that can put no claim to the test."""
    found = claims(analysis)
    if not any(part.rests_on for claim in found for part in claim.parts):
        return ()
    return _verdicts(found), _parts(found)


def _verdicts(found: tuple[Claim, ...]) -> Table:
    rows = [Row(f"{one.number}. {one.statement}", (one.verdict, one.because)) for one in found]
    return Table(
        "claims",
        "The paper's claims on this study",
        "Claim",
        (
            Heading("verdict", "Verdict", numeric=False),
            Heading("because", "What decides it", numeric=False),
        ),
        (Block("", tuple(rows)),),
        (
            "Verdicts are about the generator, prompts and metrics of this study, and about no "
            "other model.",
            "Supported: every deciding part's 95 % interval, clustered by prompt or rater, lies on "
            "the claimed side. Contradicted: one lies on the other side, corrected for the number "
            "of parts. Each claim by itself; with eight, up to one in three studies without "
            "effects decides one by chance.",
            "How many would decide: with four chances in five, the effect being what it seems.",
        ),
    )


def _entries(part: Part) -> tuple[Entry, ...]:
    return (
        Number(part.effect, part.low, part.high, 2, sign=True),
        part.unit,
        part.verdict + (" (told only)" if part.optional else ""),
        Number(float(part.counted), digits=0),
        _needed(part),
    )


def _needed(part: Part) -> str:
    if part.rests_on is None:
        return f"lacking: {part.lacking}"
    return part.needs.sentence if part.needs.floor else part.needs.words


def _parts(found: tuple[Claim, ...]) -> Table:
    blocks = tuple(
        Block(
            f"{one.number}. {one.statement}",
            tuple(Row(part.said, _entries(part)) for part in one.parts),
        )
        for one in found
    )
    return Table(
        "claim_parts",
        "What the verdicts rest on",
        "Hypothesis",
        (
            Heading("effect", "Effect"),
            Heading("unit", "Unit", numeric=False),
            Heading("verdict", "Verdict", numeric=False),
            Heading("counted", "Videos or votes"),
            Heading("needed", "Would decide it", numeric=False),
        ),
        blocks,
        (
            "Differences of variants alike in all else, on the same prompts and seeds, unless the "
            "row says that none are. SD: the standard deviation between videos of one variant; "
            "SD²: the mean squared difference in these, chance taken off. Parts that are told only "
            "do not count for the verdict.",
        ),
    )
