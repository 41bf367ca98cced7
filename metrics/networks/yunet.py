"""YuNet (Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", 2023), by onnxruntime.

The published file has a fixed input of 640×640; here its sides are left open. OpenCV's
`FaceDetectorYN` finds the same faces, later.
"""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime  # type: ignore[import-untyped]

from metrics.base import Frames

STRIDES = (8, 16, 32)
"""Pixels between the cells of each of its three maps."""

MULTIPLE = 32
"""Image sides must be multiples of this."""

OVERLAP = 0.3
"""Of two boxes that overlap more than this (intersection over union) the better is kept."""

Rows = npt.NDArray[np.float32]
"""Detections [n, 15]: x, y, width, height, five points (x, y), score; in pixels."""


class YuNet:
    """`detect(image)` gives the faces of an image; from any number of threads at once."""

    def __init__(self, path: Path) -> None:
        """Read the published ONNX file."""
        model = onnx.load(path)
        for axis, name in ((2, "height"), (3, "width")):
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
        for output in model.graph.output:
            output.type.tensor_type.shape.dim[1].dim_param = f"cells of {output.name}"
        del model.graph.value_info[:]  # sizes of what lies between, for that input
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in model.graph.output]

    def detect(self, image: Frames, least: float) -> Rows:
        """Faces of a BGR image uint8 [height, width, 3] whose score is above `least`."""
        planes = np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32)
        found = dict(zip(self._names, self._session.run(None, {"input": planes}), strict=True))
        rows = np.concatenate(
            [
                _decoded(
                    found[f"cls_{stride}"][0, :, 0],
                    found[f"obj_{stride}"][0, :, 0],
                    found[f"bbox_{stride}"][0],
                    found[f"kps_{stride}"][0],
                    stride,
                    image.shape[1] // stride,
                    least,
                )
                for stride in STRIDES
            ]
        )
        # Whole pixels, as OpenCV compares them.
        boxes, scores = rows[:, :4].astype(int).tolist(), rows[:, 14].tolist()
        kept = cv2.dnn.NMSBoxes(boxes, scores, least, OVERLAP)
        return rows[np.asarray(kept, dtype=np.int64)]


def _decoded(
    face: npt.NDArray[np.float32],
    thing: npt.NDArray[np.float32],
    box: npt.NDArray[np.float32],
    points: npt.NDArray[np.float32],
    stride: int,
    columns: int,
    least: float,
) -> Rows:
    """A map's rows that score enough.

    With c, r a cell's column and row: score = √(face · thing); centre = (c + dx, r + dy) · stride,
    size = exp(dw, dh) · stride; a point = (c + dx, r + dy) · stride.

    Args:
        face: [cells], how much it is a face.
        thing: [cells], how much there is anything.
        box: [cells, 4], dx, dy, dw, dh.
        points: [cells, 10], five times dx, dy.
        stride: pixels between cells.
        columns: cells in a row.
        least: scores must be above it.
    """
    score = np.sqrt(np.clip(face, 0, 1) * np.clip(thing, 0, 1))
    chosen = np.flatnonzero(score > least)
    cell = np.stack((chosen % columns, chosen // columns), axis=1).astype(np.float32)
    size = np.exp(box[chosen, 2:]) * stride
    corner = (cell + box[chosen, :2]) * stride - size / 2
    places = (points[chosen].reshape(-1, 5, 2) + cell[:, None]) * stride
    return np.concatenate((corner, size, places.reshape(-1, 10), score[chosen, None]), axis=1)
