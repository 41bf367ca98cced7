"""Order history by likeness instead of by time: which frames get the longest contexts.

sim_cos(F_i) is the cosine of two frames' latent pixels, summed over pixels (here the mean, so that
it does not depend on the size); sim_time(F_i) = exp(−Δt²); sim_hybrid = sim_cos + λ·sim_time. The
frame that all are compared with is the newest one. No torch.

Source: arXiv 2504.12626 v3, feature-similarity packing.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def cosine_similarity(frames: Array, newest: Array) -> NDArray[np.float64]:
    """sim_cos of every frame.

    Args:
        frames: latents [frames, C, h, w].
        newest: latents [C, h, w].

    Returns:
        [frames], −1..1; a pixel without any value counts as 0.
    """
    product = (frames * newest).sum(1)
    lengths = np.linalg.norm(frames, axis=1) * np.linalg.norm(newest, axis=0)
    cosines = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
    found: NDArray[np.float64] = cosines.mean((1, 2), dtype=np.float64)
    return found


def time_similarity(distances: Sequence[float]) -> NDArray[np.float64]:
    """sim_time = exp(−Δt²), Δt in latent frames from the newest one."""
    found: NDArray[np.float64] = np.exp(-np.square(np.asarray(distances, dtype=np.float64)))
    return found


def most_similar(frames: Array, distances: Sequence[float], time_weight: float = 0.0) -> list[int]:
    """Indices of the frames, most similar to the newest first; at a tie the nearer in time.

    Args:
        frames: latents [frames, C, h, w]; the newest is the one with the smallest distance.
        distances: latent frames between each frame and the newest.
        time_weight: λ of the hybrid; 0 is likeness alone.
    """
    newest = frames[int(np.argmin(distances))]
    score = cosine_similarity(frames, newest) + time_weight * time_similarity(distances)
    return [int(i) for i in np.lexsort((np.asarray(distances), -score))]
