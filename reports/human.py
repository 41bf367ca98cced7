"""What people said: the votes' ratings, attached to the study's variants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.errors import UserError
from reports.statistics.clusters import Estimate, Floats, Labels, estimate

if TYPE_CHECKING:
    from reports.ratings.board import Board, Row


@dataclass(frozen=True)
class Human:
    """Ratings of one question's votes, and the votes they rest on."""

    board: Board
    votes: pd.DataFrame
    question: str

    def of(self, variant: str) -> Row | None:
        """A variant's ratings; None where nobody compared it."""
        return self._rows.get(variant)

    @cached_property
    def _rows(self) -> dict[str, Row]:
        return {row.variant: row for row in self.board.rows}

    @property
    def parted(self) -> bool:
        """Whether variants fall into groups that no vote connects."""
        return len(self.board.groups) > 1

    def comparable(self, variant: str) -> Row | None:
        """A variant's ratings if they compare with most others': those of the largest group."""
        row = self.of(variant)
        return row if row is not None and row.group == 0 else None

    @property
    def counted(self) -> int:
        """Votes that compare variants (no controls, no repeats)."""
        return self.board.answers.votes


def rate(votes: pd.DataFrame, question: str | None = None) -> tuple[Human | None, list[str]]:
    """Rate the votes on one question.

    Args:
        votes: the arena's votes; may be empty.
        question: which one; by default the one with most votes.

    Returns: the ratings, None where there is nothing to rate, and notes for the reader.

    Raises:
        UserError: there are votes, and none on the question.
    """
    if votes.empty:
        return None, []
    from reports.ratings import board
    from reports.ratings.errors import NoVotesError, VotesError

    notes = []
    if "question" in votes.columns:
        counts = votes["question"].value_counts()
        asked = [str(name) for name in counts.index]
        if question is not None and question not in asked:
            raise UserError(f"report.question={question}: no votes; there are {', '.join(asked)}")
        question = question or asked[0]
        if others := ", ".join(name for name in asked if name != question):
            notes.append(f"ELO and rank are of the question {question!r}; also asked: {others}")
        votes = votes[votes["question"] == question]
    try:
        rated = board.rate(votes)
    except NoVotesError as error:
        return None, [*notes, f"no ELO: {error}"]
    except VotesError as error:
        return None, [*notes, f"votes could not be rated: {error}"]
    return Human(rated, votes, question or "preference"), [*notes, *rated.notes]


def agreement(
    votes: pd.DataFrame, cells: pd.DataFrame, prompt: Labels, values: Floats, higher: bool
) -> Estimate:
    """How often the video that people preferred is the one with the better score.

    Args:
        votes: normal votes with `left`, `right`, `answer`, `prompt_id`, `seed`.
        cells: the study's cells.
        prompt: `[cells]` number of each cell's prompt.
        values: `[cells]` scores; NaN where there is none.
        higher: whether higher is better.

    Returns: the share among votes for one side where the scores differ; ½ is chance. Clustered by
        prompt.
    """
    if "kind" in votes.columns:
        votes = votes[votes["kind"] == "normal"]
    decided = votes[votes["answer"].isin(["left", "right"])]
    row_of = {
        key: row
        for row, key in enumerate(
            zip(cells["variant"], cells["prompt_id"], cells["seed"], strict=True)
        )
    }

    def rows(side: str) -> Labels:
        keys: Iterable[Any] = zip(decided[side], decided["prompt_id"], decided["seed"], strict=True)
        return np.array([row_of.get(key, -1) for key in keys], dtype=np.int64)

    left, right = rows("left"), rows("right")
    known = (left >= 0) & (right >= 0)
    left, right = left[known], right[known]
    preferred_left = (decided["answer"] == "left").to_numpy()[known]
    gap = values[left] - values[right]
    if not higher:
        gap = -gap
    agrees = np.where(np.isfinite(gap) & (gap != 0), (gap > 0) == preferred_left, np.nan)
    return estimate(agrees.astype(np.float64), prompt[left], bounds=(0.0, 1.0))
