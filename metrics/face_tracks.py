"""Is it still the same person? Cosines of followed faces to their reference.

VBench-2.0 drops every frame that has not exactly one face, and so never notices when one of two
people changes. Here every reference person is followed: from frame to frame a face belongs to the
person whose last box it overlaps and whose last embedding it resembles, so that a person whose face
slowly turns into another's stays the same track, and the cosine falls. Where there is one reference
person and one face, they are compared whatever they look like, as in VBench-2.0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from metrics.base import Curve, Reading, Values
from metrics.errors import Undefined

SAME_PERSON = 0.4
"""VBench-2.0's cosine from which two faces count as one person's."""
OVERLAP = 0.3
"""Intersection over union from which two boxes in neighbouring frames may be one person's."""

LIKENESS = 2.0
"""What a cosine weighs against an overlap: two people who change places are told by their faces."""


@dataclass(frozen=True)
class Face:
    """One face in one frame."""

    box: npt.NDArray[np.float64]
    """Left, top, right, bottom in pixels."""
    embedding: npt.NDArray[np.float64]
    """A unit vector."""


def overlap(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float:
    """Intersection over union of two boxes: 0..1."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / total if total > 0 else 0.0


def reference_frame(frames: Sequence[Sequence[Face]]) -> int:
    """The first frame with exactly one face; where there is none, the first with any.

    Raises:
        Undefined: there is no face in the video.
    """
    counts = [len(faces) for faces in frames]
    for wanted in ([1], range(2, max(counts, default=0) + 1)):
        for index, count in enumerate(counts):
            if count in wanted:
                return index
    raise Undefined("no face was found")


class Person:
    """A reference person and where and how they were last seen."""

    def __init__(self, face: Face, placed: bool) -> None:
        """`placed` says whether the box lies in the video (not in an input image)."""
        self.reference = face.embedding
        self._box = face.box if placed else None
        self._embedding = face.embedding

    def affinity(self, face: Face) -> float | None:
        """How likely it is that the face is this person's; None where nothing speaks for it."""
        near = 0.0 if self._box is None else overlap(self._box, face.box)
        like = float(self._embedding @ face.embedding)
        alike = max(like, float(self.reference @ face.embedding)) >= SAME_PERSON
        return near + LIKENESS * like if near >= OVERLAP or alike else None

    def see(self, face: Face) -> float:
        """Follow the person to this face; its cosine to the reference."""
        self._box, self._embedding = face.box, face.embedding
        return float(self.reference @ face.embedding)


def assign(people: Sequence[Person], faces: Sequence[Face]) -> list[tuple[Person, Face]]:
    """Who is who: the pairing of people and faces with the largest sum of affinities."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    if len(people) == len(faces) == 1:
        return [(people[0], faces[0])]
    affinities = [[person.affinity(face) for face in faces] for person in people]
    never = -1e6
    gains = np.array([[never if a is None else a for a in row] for row in affinities])
    if gains.size == 0:
        return []
    rows, columns = linear_sum_assignment(gains, maximize=True)
    return [
        (people[row], faces[column])
        for row, column in zip(rows, columns, strict=True)
        if affinities[row][column] is not None
    ]


def identity_readings(
    frames: Sequence[Sequence[Face]], image: Sequence[Face] = ()
) -> list[Reading]:
    """`identity` (mean cosine) and `identity_rate` (share at or above 0.4), frame by frame.

    Args:
        frames: the faces of every frame.
        image: the faces of the input image; empty where there is none, or none in it. Then the
            reference is `reference_frame`'s, which itself and before which nothing is measured.

    Raises:
        Undefined: no face is ever compared.
    """
    if image:
        start, people = 0, [Person(face, placed=False) for face in image]
    else:
        reference = reference_frame(frames)
        start, people = reference + 1, [Person(face, placed=True) for face in frames[reference]]
    cosine: Values = np.full(len(frames), np.nan)
    rate: Values = np.full(len(frames), np.nan)
    for index in range(start, len(frames)):
        seen = [person.see(face) for person, face in assign(people, frames[index])]
        if seen:
            cosine[index] = np.mean(seen)
            rate[index] = np.mean([value >= SAME_PERSON for value in seen])
    if not np.isfinite(cosine).any():
        raise Undefined("no face was found to compare with the reference")
    indices = np.arange(len(frames))
    return [
        Reading("identity", Curve(indices, cosine)),
        Reading("identity_rate", Curve(indices, rate)),
    ]
