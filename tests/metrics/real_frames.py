"""Frames of the real clips, the same bits on every machine.

H.264 decodes to the same YUV everywhere; the conversion to RGB that a video library makes may not
(it has another path per processor). Here the planes are converted by a formula: BT.601, video
range, chroma repeated, rounded.
"""

from pathlib import Path

import av
import numpy as np


def rgb(yuv: np.ndarray, height: int, width: int) -> np.ndarray:
    """One frame of planar 4:2:0 [height · 3/2, width] to uint8 [height, width, 3]."""
    flat = yuv.reshape(-1)
    luma = flat[: height * width].reshape(height, width).astype(np.float64)
    chroma = flat[height * width :].reshape(2, height // 2, width // 2).astype(np.float64)
    blue, red = chroma.repeat(2, axis=1).repeat(2, axis=2) - 128
    light = 1.164383 * (luma - 16)
    channels = (
        light + 1.596027 * red,
        light - 0.391762 * blue - 0.812968 * red,
        light + 2.017232 * blue,
    )
    return np.stack(channels, axis=-1).round().clip(0, 255).astype(np.uint8)


def real_frames(path: Path, count: int, every: int = 1) -> np.ndarray:
    """The first `count` frames, every `every`-th: uint8 [count, height, width, 3]."""
    frames = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index % every == 0:
                planes = frame.to_ndarray(format="yuv420p")
                frames.append(rgb(planes, frame.height, frame.width))
            if len(frames) == count:
                break
    return np.stack(frames)
