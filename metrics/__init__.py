"""Measuring one video; usable alone, knows nothing of studies.

from metrics import score_video
score_video("walk.mp4", "lite").scores
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metrics.score import Job, Scorer, Scores, score_many, score_video

__all__ = ["Job", "Scorer", "Scores", "score_many", "score_video"]


def __getattr__(name: str) -> Any:
    """Import scoring when it is asked for: reports read the catalogue without it."""
    if name in __all__:
        from metrics import score

        return getattr(score, name)
    raise AttributeError(f"module 'metrics' has no attribute {name!r}")
