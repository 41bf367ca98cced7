"""Anatomy with MediaPipe's body, hand and face landmark models: are all parts there and plausible?

On eight frames a second: the pose detector finds people, and the pose model confirms each and
places 33 body landmarks. Where a wrist and its knuckles are inside the picture the hand model must
find a hand, and where the person faces the camera the face model a face. A person's score is the
least of these models' probabilities, and 0 where left and right limbs differ in length more than
twofold: as in VBench-2.0 a person is as wrong as their worst part. A frame's value is the mean over
its people, the video's the mean over all people; frames without people count in the coverage only.

This asks whether parts are *found*, not whether a classifier of generated anatomy finds them
natural. A melted face or a missing hand lowers it; a sixth finger does not; a hand behind the back
counts as missing (all through a video, so it does not drift). Small or crowded people are missed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics import weights
from metrics.base import (
    Chunk,
    Curve,
    Frames,
    Groups,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.dynamic_degree import starts_in_phase, stride
from metrics.errors import Undefined
from metrics.face_tracks import overlap
from metrics.forward import Forwards, exact_arithmetic

if TYPE_CHECKING:
    from metrics.networks.landmark_graph import LandmarkGraph

Points = npt.NDArray[np.float64]
"""[n, 2]: x, y in pixels of the frame."""

MOST_PEOPLE = 4
DETECTION_SCORE = 0.5
DETECTION_OVERLAP = 0.3
POSE_SCORE = 0.5
"""Below it MediaPipe itself takes a detection for a mistake."""
IN_VIEW = 0.9
"""Probability, given by the pose model, that a landmark lies inside the picture. High, because of
hands just outside of a portrait the model believes 0.6 to 0.8."""
LIMB_RATIO = 2.0
FRAMES_PER_FORWARD = 4

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_MOUTH, RIGHT_MOUTH = 0, 2, 5, 9, 10
LEFT_SHOULDER, RIGHT_SHOULDER = 11, 12
HANDS = ((13, 15, 17, 19), (14, 16, 18, 20))
"""Left and right: elbow, wrist, knuckles of the little and of the index finger."""
LIMBS = (((11, 13), (12, 14)), ((13, 15), (14, 16)), ((23, 25), (24, 26)), ((25, 27), (26, 28)))
"""Upper arms, forearms, thighs, shins: left and right ends."""


@dataclass(frozen=True)
class Region:
    """A turned square in a frame."""

    x: float
    y: float
    side: float
    up: tuple[float, float]
    """Unit vector, in the frame, that points to the crop's top."""

    def matrix(self, size: int) -> npt.NDArray[Any]:
        """Frame pixels to crop pixels [2, 3], for a crop of size × size."""
        up = np.array(self.up)
        right = np.array([-up[1], up[0]])
        scale = size / max(self.side, 1e-6)
        rotation = np.stack((right, -up)) * scale
        centre = np.array([self.x, self.y])
        return np.column_stack((rotation, size / 2 - rotation @ centre))

    def back(self, points: npt.NDArray[np.float64], size: int) -> Points:
        """Crop pixels [n, 2] to frame pixels."""
        matrix = self.matrix(size)
        return np.asarray((points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)

    def cut(self, frame: Frames, size: int) -> npt.NDArray[np.float32]:
        """The crop, float32 [size, size, 3] in 0..1, black where the frame ends."""
        import cv2

        crop = cv2.warpAffine(frame, self.matrix(size), (size, size))
        return np.asarray(crop, dtype=np.float32) / np.float32(255)


def toward(start: npt.NDArray[Any], end: npt.NDArray[Any]) -> tuple[float, float]:
    """Unit vector from one point to another; straight up where they coincide."""
    step = np.asarray(end, dtype=np.float64) - start
    length = float(np.hypot(*step))
    return (float(step[0] / length), float(step[1] / length)) if length > 1e-6 else (0.0, -1.0)


def anchors() -> Points:
    """Centres, in 0..1, of the pose detector's 2254 boxes: two a cell at strides 8 and 16, six at
    32."""
    rows = []
    for step, boxes in ((8, 2), (16, 2), (32, 6)):
        cells = 224 // step
        grid = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(grid, grid, indexing="ij")
        rows.append(np.repeat(np.column_stack((x.ravel(), y.ravel())), boxes, axis=0))
    return np.concatenate(rows)


def people_regions(
    boxes: npt.NDArray[Any], logits: npt.NDArray[Any], frame: Region, size: int
) -> list[Region]:
    """Where people are: the pose detector's answer for one frame, as regions for the pose model.

    Args:
        boxes: [2254, 12]: centre, width and height, then four points, all relative to the anchor
            in pixels of the detector's input.
        logits: [2254].
        frame: the square that the detector saw.
        size: its side as the detector saw it.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    chosen = np.flatnonzero(scores >= DETECTION_SCORE)
    chosen = chosen[np.argsort(-scores[chosen], kind="stable")]
    centres = anchors() * size
    regions: list[Region] = []
    kept: list[npt.NDArray[np.float64]] = []
    for index in chosen:
        box = boxes[index].astype(np.float64)
        middle = box[:2] + centres[index]
        corners = np.concatenate((middle - box[2:4] / 2, middle + box[2:4] / 2))
        if any(overlap(corners, other) > DETECTION_OVERLAP for other in kept):
            continue
        kept.append(corners)
        hips, reach = frame.back(box[4:8].reshape(2, 2) + centres[index], size)
        radius = float(np.hypot(*(reach - hips)))
        regions.append(Region(hips[0], hips[1], 2 * radius * 1.25, toward(hips, reach)))
        if len(regions) == MOST_PEOPLE:
            break
    return regions


def hand_region(body: Points, hand: tuple[int, int, int, int]) -> Region:
    """The square around a hand: 3.2 palms wide, centred at its knuckles, fingers up.

    A palm is the way from the wrist to the knuckles, or a quarter of the forearm where a pose model
    that does not see the hand makes it smaller.
    """
    elbow, wrist, little, index = (body[number] for number in hand)
    knuckles = (2 * index + little) / 3
    palm = max(float(np.hypot(*(knuckles - wrist))), float(np.hypot(*(wrist - elbow))) / 4)
    up = toward(wrist, knuckles)
    centre = wrist + np.array(up) * palm
    return Region(float(centre[0]), float(centre[1]), 3.2 * palm, up)


def face_region(body: Points) -> Region:
    """The square around a face, by eyes and mouth: three times their distance wide."""
    eyes = (body[LEFT_EYE] + body[RIGHT_EYE]) / 2
    mouth = (body[LEFT_MOUTH] + body[RIGHT_MOUTH]) / 2
    apart = float(np.hypot(*(body[LEFT_EYE] - body[RIGHT_EYE])))
    tall = max(float(np.hypot(*(mouth - eyes))), apart)
    centre = (eyes + mouth) / 2
    return Region(float(centre[0]), float(centre[1]), 3.0 * tall, toward(mouth, eyes))


def faces_camera(body: Points) -> bool:
    """Whether the left shoulder is at the right in the picture."""
    return bool(body[LEFT_SHOULDER][0] > body[RIGHT_SHOULDER][0])


def plausible(world: npt.NDArray[np.float64], in_view: npt.NDArray[np.bool_]) -> bool:
    """Whether left and right limbs that are in view have lengths within a factor of two.

    Args:
        world: landmarks in metres, [33, 3].
        in_view: [33].
    """
    for sides in LIMBS:
        if all(in_view[point] for side in sides for point in side):
            left, right = (float(np.linalg.norm(world[a] - world[b])) for a, b in sides)
            if max(left, right) > LIMB_RATIO * min(left, right):
                return False
    return True


class BlazeLandmarks(Metric):
    """Anatomy, by the share of people whose parts are found."""

    backend = "blaze-landmarks"
    protocol = 2
    metrics = ("anatomy",)
    weights = (
        "blaze-pose-detector",
        "blaze-pose-landmarks",
        "blaze-hand-landmarks",
        "blaze-face-landmarks",
    )
    modules = ("flatbuffers",)
    uses = ()
    models: "dict[str, LandmarkGraph]"

    def parameters(self) -> Mapping[str, Any]:
        """Thresholds."""
        return {
            "detection": [DETECTION_SCORE, DETECTION_OVERLAP, MOST_PEOPLE, POSE_SCORE],
            "in_view": IN_VIEW,
            "limb_ratio": LIMB_RATIO,
        }

    def load(self, device: str) -> None:
        """Read the four models, each with the outputs that are used."""
        from metrics.networks.landmark_graph import LandmarkGraph

        exact_arithmetic()  # these are no modules that `ready` could be given
        wanted = {"detector": (0, 1), "landmarks": (0, 1, 4), "hand": (1,), "face": (1,)}
        self.models = {
            part: LandmarkGraph(weights.get(name), device, outputs)
            for (part, outputs), name in zip(wanted.items(), self.weights, strict=True)
        }

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Sampling starts anew in a slice; the curve agrees where the phase does."""
        return starts_in_phase(first, video)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Samples eight frames a second, as Dynamic does."""
        return _Parts(self.models, stride(video.fps), context.device)


class _Parts(Measurement):
    def __init__(self, models: "dict[str, LandmarkGraph]", step: int, device: str) -> None:
        self._models = models
        self._step = step
        self._device = device
        self._frames: list[int] = []
        self._people: list[list[float]] = []
        self._forwards: Forwards[int] = Forwards(FRAMES_PER_FORWARD, self._measure, device=device)

    def update(self, chunk: Chunk) -> None:
        skip = -chunk.first % self._step
        for offset in range(skip, len(chunk), self._step):
            # A copy: a view would keep the whole chunk alive.
            frame = chunk.frames[offset].copy()
            self._keep(self._forwards.put(chunk.first + offset, frame))

    def _keep(self, answers: Iterator[tuple[int, list[float]]]) -> None:
        for index, people in answers:
            self._frames.append(index)
            self._people.append(people)

    def finish(self) -> Sequence[Reading]:
        self._keep(self._forwards.rest())
        counts = np.array([len(people) for people in self._people], dtype=np.float64)
        if not counts.any():
            raise Undefined("there are no people in any frame")
        values = np.array([np.mean(each) if each else np.nan for each in self._people])
        return [Reading("anatomy", Curve(np.asarray(self._frames), values, weights=counts))]

    def _measure(self, group: npt.NDArray[Any]) -> list[list[float]]:
        """The scores of the people in each of some frames; crops of all of them share forwards."""
        frames = list(group)
        height, width = frames[0].shape[:2]
        whole = Region(width / 2, height / 2, float(max(height, width)), (0.0, -1.0))
        size = self._models["detector"].input_size[0]
        boxes, logits = self._forward("detector", [(frame, whole) for frame in frames])
        regions = [
            (frame, region)
            for frame, box, logit in zip(frames, boxes, logits, strict=True)
            for region in people_regions(box, logit.reshape(-1), whole, size)
        ]
        people = self._bodies(regions)
        self._score_parts(people)
        return [[each.score for each in people if each.frame is frame] for frame in frames]

    def _bodies(self, regions: "list[tuple[Frames, Region]]") -> "list[_Person]":
        """The people whom the pose model confirms, with their landmarks."""
        size = self._models["landmarks"].input_size[0]
        people = []
        for (frame, region), landmarks, pose, metres in zip(
            regions, *self._forward("landmarks", regions), strict=True
        ):
            if pose.reshape(-1)[0] < POSE_SCORE:
                continue
            marks = landmarks.reshape(39, 5)[:33].astype(np.float64)
            body = region.back(marks[:, :2], size)
            in_view = _inside(body, frame) & (1 / (1 + np.exp(-marks[:, 4])) >= IN_VIEW)
            world = metres.reshape(39, 3)[:33].astype(np.float64)
            people.append(_Person(frame, body, in_view, float(plausible(world, in_view))))
        return people

    def _score_parts(self, people: "list[_Person]") -> None:
        """Lower each person's score to that of their worst hand or face."""
        hands = [
            (person, hand_region(person.body, hand))
            for person in people
            for hand in HANDS
            if person.in_view[list(hand[1:])].all()
        ]
        faces = [
            (person, face_region(person.body))
            for person in people
            if person.in_view[NOSE] and faces_camera(person.body)
        ]
        for part, wanted in (("hand", hands), ("face", faces)):
            (answers,) = self._forward(part, [(person.frame, region) for person, region in wanted])
            for (person, _), answer in zip(wanted, answers, strict=True):
                value = float(answer.reshape(-1)[0])
                probability = value if part == "hand" else 1 / (1 + np.exp(-value))
                person.score = min(person.score, probability)

    def _forward(self, part: str, crops: "list[tuple[Frames, Region]]") -> list[Any]:
        """The model's outputs for regions of frames, each [n, ...], in groups of one size."""
        import torch

        model = self._models[part]
        size = model.input_size[0]
        images = [region.cut(frame, size) for frame, region in crops]
        if part == "detector":
            images = [image * 2 - 1 for image in images]
        outputs: list[list[npt.NDArray[Any]]] = [[] for _ in model.outputs]
        groups = Groups(FRAMES_PER_FORWARD)
        for group, count in (*groups.add(images), *groups.rest()):
            for output, answer in zip(
                outputs, model(torch.from_numpy(group).to(self._device)), strict=True
            ):
                output.extend(answer[:count].cpu().numpy())
        return outputs


@dataclass
class _Person:
    frame: Frames
    body: Points
    in_view: npt.NDArray[np.bool_]
    score: float


def _inside(points: Points, frame: Frames) -> npt.NDArray[np.bool_]:
    height, width = frame.shape[:2]
    return np.asarray(((points >= 0) & (points < (width, height))).all(axis=1))


def expected_hands(metric: BlazeLandmarks, frame: Frames) -> list[Region]:
    """Where the metric expects hands in one frame uint8 [height, width, 3]."""
    parts = _Parts(metric.models, 1, "cpu")
    size = metric.models["detector"].input_size[0]
    height, width = frame.shape[:2]
    whole = Region(width / 2, height / 2, float(max(height, width)), (0.0, -1.0))
    boxes, logits = parts._forward("detector", [(frame, whole)])
    regions = people_regions(boxes[0], logits[0].reshape(-1), whole, size)
    return [
        hand_region(person.body, hand)
        for person in parts._bodies([(frame, region) for region in regions])
        for hand in HANDS
        if person.in_view[list(hand[1:])].all()
    ]
