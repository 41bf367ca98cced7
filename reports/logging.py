"""The means of a report in TensorBoard or Weights & Biases, where those are installed.

Both are optional: `pip install tensorboard` or `wandb`. A variant is a run, a column a scalar.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UserError

if TYPE_CHECKING:
    from reports.analysis import Analysis
    from reports.report import Written


def means(analysis: Analysis) -> dict[str, dict[str, float]]:
    """For each variant its mean in every column that it has videos in, by column key."""
    found: dict[str, dict[str, float]] = {}
    for entrant in analysis.variants:
        values = {c.key: analysis.estimate(entrant, c).value for c in analysis.measured.columns}
        found[entrant.name] = {key: value for key, value in values.items() if np.isfinite(value)}
        rated = analysis.human.comparable(entrant.name) if analysis.human is not None else None
        if rated is not None:
            found[entrant.name]["elo"] = rated.elo
    return found


def log(written: Written, *, tensorboard: str | None = None, wandb: str | None = None) -> None:
    """Log a report's means.

    Args:
        written: the report.
        tensorboard: a folder for event files, one subfolder a variant.
        wandb: a project; one run a variant, the page as an artifact of none.

    Raises:
        UserError: the package is not installed.
    """
    found = means(written.analysis)
    if tensorboard:
        to_tensorboard(found, Path(tensorboard))
    if wandb:
        to_wandb(found, wandb)


def to_tensorboard(found: Mapping[str, Mapping[str, float]], folder: Path) -> None:
    """Write one event file a variant."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError(
            "report.tensorboard: tensorboard is not installed; pip install tensorboard"
        ) from None
    for variant, values in found.items():
        with SummaryWriter(str(folder / variant)) as writer:
            for key, value in values.items():
                writer.add_scalar(key, value, 0)


def to_wandb(found: Mapping[str, Mapping[str, float]], project: str) -> None:
    """Log one run a variant."""
    try:
        import wandb  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError("report.wandb: wandb is not installed; pip install wandb") from None
    for variant, values in found.items():
        run = wandb.init(project=project, name=variant, reinit=True)
        run.summary.update(dict(values))
        run.finish()
