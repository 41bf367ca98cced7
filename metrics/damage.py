"""Known damages to real clips, from none to severe: what a valid metric must see.

Every damage maps frames uint8 [n, height, width, 3] and a level to damaged frames; level 0 changes
nothing. Randomness has a fixed seed, so a ladder is the same on every run.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from metrics.base import Frames

Damage = Callable[[Frames, float], Frames]

FREEZE_PERIOD = 4
"""Frames; in each period the last share stands still."""

CAST = np.array([1.0, -0.4, -1.0])
"""Direction in RGB of a warm cast; level is its strength in grey levels."""


def blur(frames: Frames, sigma: float) -> Frames:
    """Gaussian blur of `sigma` pixels."""
    import cv2

    if sigma == 0:
        return frames
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames]).astype(np.uint8)


def motion_blur(frames: Frames, length: float) -> Frames:
    """Every pixel smeared evenly over `length` pixels (odd) along x, as a fast pan does."""
    import cv2

    if length == 0:
        return frames
    size = (round(length), 1)
    return np.stack([cv2.blur(frame, size) for frame in frames]).astype(np.uint8)


def noise(frames: Frames, sigma: float) -> Frames:
    """Additive white noise of `sigma` grey levels, independent per channel."""
    if sigma == 0:
        return frames
    dice = np.random.default_rng(0)
    return _pixels(frames + dice.normal(0, sigma, frames.shape))


def jpeg(frames: Frames, level: float) -> Frames:
    """JPEG compression; quality is 100 − level."""
    import cv2

    if level == 0:
        return frames
    options = [cv2.IMWRITE_JPEG_QUALITY, round(100 - level)]
    coded = [cv2.imencode(".jpg", frame, options)[1] for frame in frames]
    decoded = [np.asarray(cv2.imdecode(each, cv2.IMREAD_COLOR)) for each in coded]
    return np.stack(decoded).astype(np.uint8)


def colour_cast(frames: Frames, strength: float) -> Frames:
    """A warm cast: red up, green a little and blue as much down."""
    return _pixels(frames + strength * CAST)


def contrast_loss(frames: Frames, share: float) -> Frames:
    """Each frame's distance to its own mean grey, less by a share."""
    grey = frames.mean(axis=(1, 2, 3), keepdims=True)
    return _pixels(grey + (frames - grey) * (1 - share))


def _pixels(values: npt.NDArray[np.float64]) -> Frames:
    """Rounded to grey levels, cut to 0..255."""
    pixels: Frames = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return pixels


def freeze(frames: Frames, share: float) -> Frames:
    """The last `share` of every 4 frames repeat the frame before them."""
    keep = FREEZE_PERIOD - round(FREEZE_PERIOD * share)
    index = np.arange(len(frames))
    start = index - index % FREEZE_PERIOD
    frozen: Frames = frames[start + np.minimum(index % FREEZE_PERIOD, max(keep - 1, 0))]
    return frozen


def shuffle(frames: Frames, window: float) -> Frames:
    """Windows of that many frames, each with its second half riffled into its first.

    Like cards: 0 1 2 3 becomes 2 0 3 1. Neighbours in the result were half a window apart. 0 and 1
    leave the order.
    """
    size = max(1, int(window))
    order: list[int] = []
    for start in range(0, len(frames), size):
        part = list(range(start, min(start + size, len(frames))))
        half = len(part) // 2
        for index in range(half):
            order += [part[half + index], part[index]]
        order += part[2 * half :]
    return frames[order]


def swap_face(other: Frames) -> Damage:
    """A damage that blends another person's face over every face found; level is its opacity.

    Args:
        other: a frame uint8 [height, width, 3] with a face.
    """
    import cv2

    from metrics.faces_lite import FaceDetector, similarity

    detector = FaceDetector()
    source = detector(other)[0]
    points = source[4:14].reshape(5, 2).astype(np.float64)
    mask = np.zeros(other.shape[:2], dtype=np.float32)
    middle, size = source[:2] + source[2:4] / 2, source[2:4]
    cv2.ellipse(
        mask,
        (int(middle[0]), int(middle[1])),
        (int(size[0] * 0.5), int(size[1] * 0.55)),
        0,
        0,
        360,
        1.0,
        -1,
    )

    def apply(frames: Frames, opacity: float) -> Frames:
        damaged = frames.copy()
        if opacity == 0:
            return damaged
        for frame in damaged:
            height, width = frame.shape[:2]
            for row in detector(frame):
                turn = similarity(points, row[4:14].reshape(5, 2).astype(np.float64))
                face = cv2.warpAffine(other, turn, (width, height), flags=cv2.INTER_AREA)
                share = opacity * cv2.warpAffine(mask, turn, (width, height))[..., None]
                frame[:] = np.round(frame * (1 - share) + face * share)
        return damaged

    return apply


def hide_hands(frames: Frames, share: float) -> Frames:
    """A flat disc over every hand that the anatomy metric expects; level is its relative size."""
    import cv2

    from metrics.anatomy_lite import BlazeLandmarks, expected_hands

    damaged = frames.copy()
    if share == 0:
        return damaged
    metric = BlazeLandmarks()
    metric.load("cpu")
    for frame in damaged:
        for region in expected_hands(metric, frame):
            radius = int(region.side / 2 * share)
            cv2.circle(frame, (int(region.x), int(region.y)), radius, (90, 90, 90), -1)
    return damaged
