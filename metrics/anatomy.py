"""Anatomy: the share of people whose body, face and hands look right (VBench-2.0).

In every frame people are found, and in every person's crop faces and hands. Squares around all of
them go to three classifiers, one each for whole people, faces and hands. A person is abnormal if
any of the squares is; a video's score is 1 − abnormal / people over all frames.

Where this departs from VBench-2.0: the proposals come from OWLv2 instead of YOLO-World-XL (whose
licence is GPL), with overlapping boxes merged; a video without people has no score instead of 1;
squares that do not fit into the frame are left out instead of ending the run. The classifiers,
their thresholds, the squares and the BGR channel order that reaches them are VBench-2.0's.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.clip_frames import SIDE, centre_crop, normalise, resized_size
from metrics.consistency import IMAGENET_MEAN, IMAGENET_STD
from metrics.errors import Undefined
from metrics.forward import Forwards, Item, read_state, ready
from metrics.open_vocabulary import Box, OpenVocabularyDetector, boxes

if TYPE_CHECKING:
    import torch

THRESHOLDS: Mapping[str, float] = {
    "human": 0.4545454545454546,
    "face": 0.30303030303030304,
    "hand": 0.3232,
}
"""The probability of "abnormal" above which a square is."""

PARTS = ("face", "hand")
SCORE = 0.1
SAME_BOX = 0.5
IMAGES_PER_DETECTION = 2
SQUARES_PER_FORWARD = 8
RESIZED = 256
"""Short side before the 224 centre crop."""

Judge = Callable[[Item], Item]
"""[n, 3, 224, 224] to the probability of "abnormal", [n]."""


def is_abnormal(probabilities: Iterable[tuple[str, float]]) -> bool:
    """Whether any of a person's squares, (part, P(abnormal)), exceeds its part's threshold."""
    return any(probability > THRESHOLDS[part] for part, probability in probabilities)


def square_around(box: Box, height: int, width: int) -> tuple[int, int, int, int] | None:
    """The square that stands for a box: left, top, right, bottom in whole pixels.

    The smallest square around the box, shifted as little as needed to lie in the frame. Where none
    fits, the largest square within the box's shorter side. None where not even that lies inside.
    """
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    if wide <= 0 or high <= 0:
        return None
    outer, inner = max(wide, high) / 2, min(wide, high) / 2
    across = (max(right - outer, outer), min(left + outer, width - outer))
    down = (max(bottom - outer, outer), min(top + outer, height - outer))
    if across[0] <= across[1] and down[0] <= down[1]:
        square = _around(box, across, down, outer, height, width)
        if square is not None:
            return square
    across, down = (inner, width - inner), (inner, height - inner)
    return _around(box, across, down, inner, height, width)


def _around(
    box: Box,
    across: tuple[float, float],
    down: tuple[float, float],
    reach: float,
    height: int,
    width: int,
) -> tuple[int, int, int, int] | None:
    """A square of 2·reach whose centre is the box's, kept in the given ranges; None outside."""
    x = min(max((box[0] + box[2]) / 2, across[0]), across[1])
    y = min(max((box[1] + box[3]) / 2, down[0]), down[1])
    left, top = x - reach, y - reach
    square = (
        math.floor(left),
        math.floor(top),
        math.ceil(left + 2 * reach),
        math.ceil(top + 2 * reach),
    )
    inside = min(square[:2]) >= 0 and square[2] <= width and square[3] <= height
    return square if inside and square[0] < square[2] and square[1] < square[3] else None


def classifier_input(square: Frames) -> npt.NDArray[np.float32]:
    """A square of a frame as the classifiers see it.

    Args:
        square: uint8 [height, width, 3], RGB.

    Returns:
        float32 [3, 224, 224], blue first: VBench-2.0 reads frames as BGR and normalises them as
        if they were RGB, in training as in use.
    """
    import torch
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(square[..., ::-1]))
    rows, columns = resized_size(square.shape[0], square.shape[1], RESIZED)
    picture = picture.resize((columns, rows), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.asarray(picture, dtype=np.float32)).permute(2, 0, 1)
    values: npt.NDArray[np.float32] = normalise(
        centre_crop(pixels, SIDE) / 255, IMAGENET_MEAN, IMAGENET_STD
    ).numpy()
    return values


class PeopleCount(Measurement):
    """Counts people and abnormal people per frame; holds few frames while networks wait."""

    def __init__(self, detector: OpenVocabularyDetector, judges: Mapping[str, Judge]) -> None:
        self._detector = detector
        self._people: Forwards[tuple[int, Frames]] = Forwards(
            IMAGES_PER_DETECTION, lambda images: detector.forward(images, ("human",))
        )
        self._parts: Forwards[tuple[int, int, Frames, tuple[int, int, int, int]]] = Forwards(
            IMAGES_PER_DETECTION, lambda images: detector.forward(images, PARTS)
        )
        self._judges: dict[str, Forwards[tuple[int, int]]] = {
            part: Forwards(SQUARES_PER_FORWARD, judge) for part, judge in judges.items()
        }
        self._count: dict[int, int] = {}
        self._abnormal: set[tuple[int, int]] = set()
        self._frames = 0

    def update(self, chunk: Chunk) -> None:
        """Look for people in every frame."""
        for offset, frame in enumerate(chunk.frames):
            self._frames += 1
            key = (chunk.first + offset, frame.copy())
            self._found_people(self._people.put(key, self._detector.prepare(frame)))

    def _found_people(self, answers: Iterator[tuple[tuple[int, Frames], Item]]) -> None:
        for (index, frame), candidates in answers:
            height, width = frame.shape[:2]
            people = boxes(candidates, height, width, SCORE, SAME_BOX)
            self._count[index] = len(people)
            for person, (box, _) in enumerate(people):
                self._judge("human", (index, person), frame, box)
                left, top, right, bottom = (int(side) for side in box)
                crop = frame[top:bottom, left:right]
                if crop.size:
                    key = (index, person, frame, (left, top, right, bottom))
                    self._found_parts(self._parts.put(key, self._detector.prepare(crop)))

    def _found_parts(
        self,
        answers: Iterator[tuple[tuple[int, int, Frames, tuple[int, int, int, int]], Item]],
    ) -> None:
        for (index, person, frame, (left, top, right, bottom)), candidates in answers:
            for box, query in boxes(candidates, bottom - top, right - left, SCORE, SAME_BOX):
                moved = (box[0] + left, box[1] + top, box[2] + left, box[3] + top)
                self._judge(PARTS[query], (index, person), frame, moved)

    def _judge(self, part: str, key: tuple[int, int], frame: Frames, box: Box) -> None:
        square = square_around(box, *frame.shape[:2])
        if square is not None:
            left, top, right, bottom = square
            prepared = classifier_input(frame[top:bottom, left:right])
            self._judged(part, self._judges[part].put(key, prepared))

    def _judged(self, part: str, answers: Iterator[tuple[tuple[int, int], Item]]) -> None:
        for key, probability in answers:
            if is_abnormal([(part, float(probability))]):
                self._abnormal.add(key)

    def finish(self) -> Sequence[Reading]:
        """An item per frame, weighted by its people. Raises `Undefined` where there is nobody."""
        self._found_people(self._people.rest())
        self._found_parts(self._parts.rest())
        for part, judge in self._judges.items():
            self._judged(part, judge.rest())
        return [anatomy_reading(self._frames, self._count, self._abnormal)]


def anatomy_reading(
    frames: int, people: Mapping[int, int], abnormal: Iterable[tuple[int, int]]
) -> Reading:
    """1 − abnormal / people per frame, NaN in frames without people; weighted by people.

    Args:
        frames: number of frames.
        people: frame → people found in it.
        abnormal: (frame, person) of the abnormal ones.
    """
    weights = np.array([float(people.get(index, 0)) for index in range(frames)])
    if not weights.any():
        raise Undefined("nobody was found")
    wrong = np.zeros(frames)
    for index, _ in abnormal:
        wrong[index] += 1
    values = np.full(frames, np.nan)
    seen = weights > 0
    values[seen] = 1 - wrong[seen] / weights[seen]
    return Reading("anatomy", Curve(np.arange(frames), values, weights=weights))


class VBench2Vit(Metric):
    """Human anatomy by OWLv2's proposals and VBench-2.0's three classifiers."""

    backend = "vbench2-vit"
    metrics = ("anatomy",)
    uses = ()
    weights = ("owlv2-base", "vbench2-human", "vbench2-face", "vbench2-hand")
    modules = ("transformers", "timm", "torchvision")
    detector: OpenVocabularyDetector
    judges: Mapping[str, Judge]

    def parameters(self) -> Mapping[str, Any]:
        """Thresholds, and what changes the last digits."""
        return {
            "thresholds": dict(THRESHOLDS),
            "score": SCORE,
            "same_box": SAME_BOX,
            "dtype": "float32",
            "groups": [IMAGES_PER_DETECTION, SQUARES_PER_FORWARD],
        }

    def load(self, device: str) -> None:
        """Read the detector and the three classifiers."""
        from metrics.networks.abnormality import abnormality_classifier, published_state

        self.detector = OpenVocabularyDetector.published("owlv2-base", device)
        judges = {}
        for part in THRESHOLDS:
            network = abnormality_classifier()
            network.load_state_dict(published_state(read_state(f"vbench2-{part}", "model")))
            judges[part] = judge(ready(network, device), device)
        self.judges = judges

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A value per frame that has people, 0..1."""
        return PeopleCount(self.detector, self.judges)


def judge(network: "torch.nn.Module", device: str) -> Judge:
    """A classifier as a function of prepared squares."""
    import torch

    from metrics.networks.abnormality import ABNORMAL

    def probability(squares: Item) -> Item:
        with torch.inference_mode():
            logits = network(torch.from_numpy(squares).to(device))
        values: Item = logits.softmax(dim=1)[:, ABNORMAL].double().cpu().numpy()
        return values

    return probability
