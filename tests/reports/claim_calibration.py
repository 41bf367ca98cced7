"""Do verdicts on the claims keep their promise? Simulated studies by the hundred, with votes.

`python -m tests.reports.claim_calibration --studies 200` prints, and asserts, that the claims that
rest on people (4 and 6) are left undecided in 95 of 100 studies where there is no effect, and get
the right verdict in 95 of 100 where one was planted; and the same of the others, by scores alone.
The tests run the same function on fewer studies.
"""

from __future__ import annotations

import argparse
import time
from math import sqrt

from reports.claims import COMPETES
from reports.ratings.bradley_terry import SCALE
from reports.verdicts import CONTRADICTED, SUPPORTED, UNDECIDED
from tests.reports.test_claims import PEOPLE, PLANTED, verdicts

VOTES = 1000
"""Of a study without effects: as many as a weekend of forty raters gives."""

EDGE = COMPETES / SCALE
"""The skill by which +D may be worse and still compete: at it there is no effect to find."""

NOTHING: list[tuple[int, str, dict[str, object]]] = [
    (4, "no effect at all", {"votes": VOTES}),
    (
        4,
        "+D moves more and is rated lower by what still competes",
        {"votes": VOTES, "discrete": {"dynamic": 1.5}, "skills": (0.0, -EDGE, 0.0)},
    ),
    (6, "no effect at all", {"votes": VOTES}),
]
"""Claims on people's votes, and studies that can decide nothing."""

SCORED = (2, 3, 5, 8)
"""Claims on scores, which say that something differs."""


def share(number: int, verdict: str, studies: int, **planted: object) -> float:
    """The share of studies with this verdict on a claim."""
    return verdicts(number, studies, **planted)[verdict] / studies


def interval(part: float, studies: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, n = 1.96, studies
    middle = (part + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(part * (1 - part) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return middle - half, middle + half


def report(what: str, part: float, studies: int, started: float) -> None:
    """Print one line; stop where 95 % is ruled out."""
    low, high = interval(part, studies)
    print(
        f"{what}: {100 * part:.1f} % of {studies} studies [{100 * low:.1f}, {100 * high:.1f}], "
        f"{time.monotonic() - started:.0f} s",
        flush=True,
    )
    assert high >= 0.95, what


def main() -> None:
    """Run everything at full size."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--planted", type=int, default=40, help="studies with planted preferences")
    options = parser.parse_args()
    started = time.monotonic()
    for number, words, planted in NOTHING:
        part = share(number, UNDECIDED, options.studies, **planted)
        report(f"claim {number}, {words}: not decided", part, options.studies, started)
    for number in SCORED:
        part = share(number, UNDECIDED, options.studies)
        report(f"claim {number}, no effect: not decided", part, options.studies, started)
    for number, verdict, given in PEOPLE:
        planted = {"prompts": 40, "votes": 4000, **given}
        part = share(number, verdict, options.planted, **planted)
        report(f"claim {number}, planted: {verdict}", part, options.planted, started)
    for number, verdict, given in PLANTED:
        assert verdict in (SUPPORTED, CONTRADICTED)
        part = share(number, verdict, options.studies, **{"prompts": 40, **given})
        report(f"claim {number}, planted: {verdict}", part, options.studies, started)


if __name__ == "__main__":
    main()
