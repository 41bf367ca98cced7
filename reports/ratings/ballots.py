"""Votes as numbers: who was shown on which side, what was answered, by whom, about which prompt.

Ratings need only *counts*: how often i stood left of j, and how often left won, right won or
neither. They are kept for each rater and each prompt, so that a resample of raters is a weighted
sum of small arrays and never touches the votes again.

"Both bad" is not a tie. A tie says the two are equally good; both bad says neither was worth
comparing, and raters say it of pairs of weak variants most. It is counted and reported, and no
rating uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.ratings.errors import NoVotesError, VotesError

ANSWERS = ("left", "right", "tie", "both_bad")
"""What a rater may answer, in the order of the codes 0..3."""

LEFT, RIGHT, TIE, BOTH_BAD = range(4)

KINDS = ("normal", "repeat", "control")

REQUIRED = ("left", "right", "answer", "rater", "prompt_id")

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
By = Literal["rater", "prompt"]


@dataclass(frozen=True)
class Ballots:
    """Votes as codes into `variants`, `raters` and `prompts`; arrays are `[n]`."""

    variants: tuple[str, ...]
    raters: tuple[str, ...]
    prompts: tuple[str, ...]
    left: Codes
    right: Codes
    answer: Codes
    rater: Codes
    prompt: Codes

    def __len__(self) -> int:
        return len(self.answer)

    def where(self, kept: NDArray[np.bool_]) -> Ballots:
        """The votes where `kept` `[n]`; variants, raters and prompts keep their codes."""
        return Ballots(
            self.variants,
            self.raters,
            self.prompts,
            *(
                codes[kept]
                for codes in (self.left, self.right, self.answer, self.rater, self.prompt)
            ),
        )

    @property
    def rated(self) -> Ballots:
        """Without "both bad"."""
        return self.where(self.answer != BOTH_BAD)

    def clusters(self, by: By) -> tuple[Codes, int]:
        """Each vote's cluster `[n]` and the number of clusters."""
        if by == "rater":
            return self.rater, len(self.raters)
        return self.prompt, len(self.prompts)

    @property
    def cell(self) -> Codes:
        """`[n]` where a vote is counted in a flattened `[3, K, K]` (outcome, left, right)."""
        size = len(self.variants)
        return np.asarray((self.answer * size + self.left) * size + self.right, dtype=np.int64)

    def counts(self) -> Floats:
        """`[3, K, K]`: how often left won, right won or neither, i on the left, j on the right."""
        size = len(self.variants)
        flat = np.bincount(self.rated.cell, minlength=3 * size * size)
        return flat.astype(np.float64).reshape(3, size, size)

    def counts_by(self, by: By) -> Floats:
        """`[G, 3·K·K]`: `counts`, flattened, of each rater or prompt."""
        rated = self.rated
        codes, groups = rated.clusters(by)
        cells = 3 * len(self.variants) ** 2
        flat = np.bincount(codes * cells + rated.cell, minlength=groups * cells)
        return flat.astype(np.float64).reshape(groups, cells)


def _codes(column: pd.Series) -> tuple[Codes, tuple[str, ...]]:
    codes, names = pd.factorize(column, sort=True)
    return codes.astype(np.int64), tuple(str(name) for name in names)


def read(votes: pd.DataFrame, *, variants: Sequence[str] | None = None) -> Ballots:
    """Turn a table of votes into ballots.

    Args:
        votes: columns left, right (variant names), answer (left, right, tie, both_bad), rater,
            prompt_id; one row a vote in the order of voting. Where there is a column `kind`, only
            its `normal` votes count: controls are no comparison of variants, and repeats would
            count one opinion twice.
        variants: the variants in the order wanted; by default all that occur, sorted.

    Raises:
        VotesError: a column is missing, an answer or kind is unknown, a name is empty, a variant
            meets itself or is not among `variants`; the message names the first such row.
    """
    if absent := [name for name in REQUIRED if name not in votes.columns]:
        raise VotesError(f"votes lack the column {absent[0]!r}; needed: {', '.join(REQUIRED)}")
    if "kind" in votes.columns:
        if (strange := ~votes["kind"].isin(KINDS).to_numpy()).any():
            row = int(strange.argmax())
            raise VotesError(
                f"vote {votes.index[row]}: unknown kind {votes['kind'].iloc[row]!r}; "
                f"accepted: {', '.join(KINDS)}"
            )
        votes = votes[votes["kind"] == "normal"]
    for name in REQUIRED:
        if (empty := votes[name].isna().to_numpy()).any():
            raise VotesError(f"vote {votes.index[int(empty.argmax())]}: no value in {name!r}")
    answer = pd.Index(ANSWERS).get_indexer(cast(pd.Index, votes["answer"]))
    if (unknown := answer < 0).any():
        row = int(unknown.argmax())
        raise VotesError(
            f"vote {votes.index[row]}: unknown answer {votes['answer'].iloc[row]!r}; "
            f"accepted: {', '.join(ANSWERS)}"
        )
    both, seen = _codes(pd.concat([votes["left"], votes["right"]], ignore_index=True))
    if variants is not None:
        if others := sorted(set(seen) - set(variants)):
            raise VotesError(f"votes name the variant {others[0]!r}, which is not in this study")
        both = np.array([list(variants).index(name) for name in seen], dtype=np.int64)[both]
        seen = tuple(variants)
    left, right = both[: len(votes)], both[len(votes) :]
    if (same := left == right).any():
        row = int(same.argmax())
        raise VotesError(f"vote {votes.index[row]}: {seen[left[row]]!r} stands on both sides")
    rater, raters = _codes(votes["rater"])
    prompt, prompts = _codes(votes["prompt_id"])
    return Ballots(seen, raters, prompts, left, right, answer.astype(np.int64), rater, prompt)


def require_rated(ballots: Ballots) -> Ballots:
    """The ballots without "both bad", if there are any.

    Raises:
        NoVotesError: there are none.
    """
    rated = ballots.rated
    if not len(rated):
        said = f"all {len(ballots)} votes say both bad" if len(ballots) else "there are no votes"
        raise NoVotesError(f"nothing to rate: {said}; needed: votes for left, right or tie")
    return rated
