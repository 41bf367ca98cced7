"""The blind A/B arena: pairs of videos, raters, votes.

`serve(cfg)` is what `stage=arena` runs and `plan(cfg)` what `stage=arena plan=true` runs; votes
are read with `ablations.arena.votes.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["plan", "serve"]


def serve(cfg: Mapping[str, Any]) -> None:
    """Serve a study to raters until interrupted (or export, or import, and return).

    Args:
        cfg: the configuration, with `study` (a path) and the group `arena`.

    Raises:
        UserError: one line about the study or a key.
    """
    from ablations.arena.server import run

    run(cfg)


def plan(cfg: Mapping[str, Any]) -> str:
    """Say how many votes separate variants by a margin; prints the answer and returns it.

    Args:
        cfg: the configuration, with `study` (a path) and the group `arena`.
    """
    from ablations.arena.sizing import report

    text = report(cfg)
    print(text)
    return text
