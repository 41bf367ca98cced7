"""The table of human ratings, and how far they can be trusted."""

from __future__ import annotations

import numpy as np

from bench.words import count
from reports.analysis import Analysis
from reports.tables.table import Block, Heading, Number, Row, Table, ranked

HEADINGS = (
    Heading("elo", "ELO", "higher"),
    Heading("elo_rank", "Rank", "lower"),
    Heading("elo_spread", "± vote order"),
    Heading("rating", "Bradley-Terry", "higher"),
    Heading("rating_rank", "Rank from–to", numeric=False),
    Heading("votes", "Votes"),
    Heading("wins", "Won"),
    Heading("losses", "Lost"),
    Heading("ties", "Ties"),
    Heading("both_bad", "Both bad"),
)


def ratings(analysis: Analysis) -> Table | None:
    """One row a variant that has votes, best first; None without votes."""
    human = analysis.human
    if human is None:
        return None
    groups: dict[int, list[Row]] = {}
    for one in human.board.rows:
        between = str(one.best) if one.best == one.worst else f"{one.best}–{one.worst}"
        groups.setdefault(one.group, []).append(
            Row(
                one.variant,
                (
                    Number(one.elo, digits=0),
                    Number(float(one.elo_rank), digits=0),
                    Number(one.elo_spread, digits=0),
                    Number(one.rating, one.low, one.high, digits=0),
                    between,
                    *(
                        Number(float(count), digits=0)
                        for count in (one.votes, one.wins, one.losses, one.ties, one.both_bad)
                    ),
                ),
            )
        )
    board = human.board
    notes = [
        f"Question: {human.question}; {count(human.counted, 'vote')}. ELO as in the paper, "
        f"K = {board.k:g}, averaged over vote orders; ± is its standard deviation over orders. "
        f"Rank as in the paper: within {board.k / 2:g} points is a tie.",
        f"Bradley-Terry with ties and side, on the same scale; intervals clustered by {board.by}. "
        "Rank from–to: where the true rank lies, all pairs at once.",
    ]
    if any(np.isinf([one.low, one.high]).any() for one in board.rows):
        notes.append("∞: who never lost, or never won, has no bound on that side.")
    if human.parted:
        notes.append("Groups were never compared: ELO, ratings and ranks hold within each.")
    if board.simulated:
        notes.insert(0, "These votes are simulated: nobody looked at a video.")
    return ranked(
        Table(
            "ratings",
            "Human ratings" + (" (simulated votes)" if board.simulated else ""),
            "Variant",
            HEADINGS,
            tuple(
                Block(f"Group {number + 1}" if human.parted else "", tuple(rows))
                for number, rows in groups.items()
            ),
            tuple(notes),
        ),
        apart=True,
    )
