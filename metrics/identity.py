"""Identity by insightface's buffalo_l: SCRFD finds faces, ArcFace embeds them.

Deng et al., "ArcFace" (CVPR 2019), a ResNet-50 trained on WebFace600K: 512 numbers from a face
aligned by five points to 112 × 112. The cosine to the reference person's embedding is the score
(the FramePack paper's "feature similarity"); the share of faces at or above 0.4 is VBench-2.0's
rule. Who is compared with whom is in `metrics.face_tracks`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

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
from metrics.forward import Forwards, Item, side_by_side

DETECTOR_SIDE = 640
DETECTOR_SCORE = 0.5
FACES_PER_FORWARD = 8

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
EXACT = {"use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT"}
"""Full float32, and no algorithm chosen by timing: what `exact_arithmetic` asks of torch."""

Detection = tuple[npt.NDArray[np.float64], Frames]
"""A face's box (left, top, right, bottom) and its aligned picture, uint8 [112, 112, 3], RGB."""

Detector = Callable[[Frames], list[Detection]]
Embedder = Callable[[Item], Item]
"""Aligned faces uint8 [n, 112, 112, 3], RGB, to embeddings [n, width] of any length."""

log = logging.getLogger(__name__)


def unit(vectors: Item) -> Item:
    """Rows scaled to length 1."""
    values: Item = np.asarray(vectors, dtype=np.float64)
    lengths: Item = np.linalg.norm(values, axis=-1, keepdims=True)
    scaled: Item = values / np.maximum(lengths, 1e-12)
    return scaled


class FollowedFaces(Measurement):
    """Keeps every face's box and embedding; pictures only until their group is full."""

    def __init__(
        self,
        detect: Detector,
        embed: Embedder,
        reference: Frames | None,
        devices: tuple[str, str] = ("cpu", "cpu"),
    ) -> None:
        """`devices` is where each of both networks runs."""
        self._detect = detect
        self._detector_device, device = devices
        self._boxes: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
        self._image = [] if reference is None else self._faces_alone(embed, reference)
        self._forwards: Forwards[tuple[int, int]] = Forwards(
            FACES_PER_FORWARD, lambda faces: unit(embed(faces)), device=device
        )
        self._frames: list[list[Face]] = []

    def _faces_alone(self, embed: Embedder, image: Frames) -> list[Face]:
        found = self._detect(image)
        forwards: Forwards[int] = Forwards(FACES_PER_FORWARD, lambda faces: unit(embed(faces)))
        answers = [
            answer
            for place, (_, picture) in enumerate(found)
            for answer in forwards.put(place, picture)
        ]
        answers += forwards.rest()
        return [Face(found[place][0], embedding) for place, embedding in answers]

    def update(self, chunk: Chunk) -> None:
        """Find the faces of every frame."""
        every = side_by_side(self._detect, chunk.frames, self._detector_device)
        for offset, found in enumerate(every):
            index = chunk.first + offset
            self._frames.append([])
            for place, (box, picture) in enumerate(found):
                self._boxes[index, place] = box
                self._take(self._forwards.put((index, place), picture))

    def _take(self, answers: Iterator[tuple[tuple[int, int], Item]]) -> None:
        for key, embedding in answers:
            self._frames[key[0]].append(Face(self._boxes.pop(key), embedding))

    def finish(self) -> Sequence[Reading]:
        """`identity` and `identity_rate`. Raises `Undefined` where no face can be compared."""
        self._take(self._forwards.rest())
        return identity_readings(self._frames, self._image)


class BuffaloL(Metric):
    """Likeness of faces to the reference face."""

    backend = "buffalo-l"
    metrics = ("identity", "identity_rate")
    protocol = 2
    uses = ("reference",)
    weights = ("scrfd-10g", "arcface-w600k-r50")
    modules = ("insightface", "onnxruntime")
    detect: Detector
    embed: Embedder
    devices: tuple[str, str] = ("cpu", "cpu")
    """Where the detector and the recogniser run: what onnxruntime has decides it."""

    def parameters(self) -> Mapping[str, Any]:
        """The detector's thresholds and the rate's."""
        return {
            "detector_side": DETECTOR_SIDE,
            "detector_score": DETECTOR_SCORE,
            "same_person": SAME_PERSON,
            "group": FACES_PER_FORWARD,
        }

    def load(self, device: str) -> None:
        """Open both ONNX files where asked, and say so where that is not possible."""
        detector, recogniser = (str(weights.get(name)) for name in self.weights)
        sessions = onnx_session(detector, device), onnx_session(recogniser, device)
        self.detect = scrfd(detector, sessions[0])
        self.embed = arcface(recogniser, sessions[1])
        at = ["cpu" if session.get_providers()[0] == CPU else device for session in sessions]
        self.devices = at[0], at[1]
        if "cpu" in at:
            self.ran_on = "cpu"

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A cosine per frame, −1..1."""
        return FollowedFaces(self.detect, self.embed, context.reference, self.devices)


def onnx_session(path: str, device: str) -> Any:
    """An ONNX file on the device. onnxruntime falls back to the CPU silently; here it is told."""
    import onnxruntime  # type: ignore[import-untyped]

    wanted: list[tuple[str, dict[str, Any]]] = [(CPU, {})]
    if device.startswith("cuda"):
        _, _, number = device.partition(":")
        wanted.insert(0, (CUDA, {"device_id": int(number or 0), **EXACT}))
    available = onnxruntime.get_available_providers()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # frames and groups of faces run side by side instead
    session = onnxruntime.InferenceSession(
        path, options, providers=[provider for provider in wanted if provider[0] in available]
    )
    if session.get_providers()[0] != wanted[0][0]:
        log.warning("identity runs on the CPU: onnxruntime has no %s here", wanted[0][0])
    return session


def scrfd(path: str, session: Any) -> Detector:
    """Faces of a frame with insightface's detector, aligned for ArcFace."""
    from insightface.model_zoo.scrfd import SCRFD  # type: ignore[import-untyped]
    from insightface.utils.face_align import norm_crop  # type: ignore[import-untyped]

    network = SCRFD(model_file=path, session=session)
    side = (DETECTOR_SIDE, DETECTOR_SIDE)

    def detect(frame: Frames) -> list[Detection]:
        bgr = np.ascontiguousarray(frame[..., ::-1])
        found, landmarks = network.detect(bgr, input_size=side, det_thresh=DETECTOR_SCORE)
        return [
            (face[:4].astype(np.float64), norm_crop(bgr, points)[..., ::-1])
            for face, points in zip(found, landmarks, strict=True)
        ]

    return detect


def arcface(path: str, session: Any) -> Embedder:
    """Embeddings of aligned faces with insightface's recogniser."""
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX  # type: ignore[import-untyped]

    network = ArcFaceONNX(model_file=path, session=session)

    def embed(faces: Item) -> Item:
        vectors: Item = network.get_feat([np.ascontiguousarray(face[..., ::-1]) for face in faces])
        return vectors

    return embed
