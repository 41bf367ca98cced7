"""Scores for other programs: one CSV, or the JSON that VBench writes.

VBench's results file maps a dimension to [mean, [{video_path, video_results}, ...]]. What
a back-end measures by VBench's own protocol stands under VBench's name for it, its values as VBench
writes them (imaging quality 0..100, dynamic degree true or false, the others 0..1). All else stands
under `metric.backend` on its own scale. Videos without a value are left out of mean and list, as
the file has no way to say why.

    python -m metrics.export studies/first --csv scores.csv --vbench vbench_results.json

`--wide FILE` writes one row per video instead (metrics/wide.py).
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from metrics import store, wide
from metrics.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dimension:
    """How VBench writes what one of our back-ends measures."""

    name: str
    result: Callable[[float], float | bool] = float
    """Our score of a video to VBench's `video_results`."""
    by_frame: bool = False
    """Whether the data set's mean is over all frames after the first, not over the videos."""


DIMENSIONS = {
    ("clarity", "musiq-spaq"): Dimension("imaging_quality", lambda score: 100 * score),
    ("aesthetic", "laion-linear"): Dimension("aesthetic_quality"),
    ("motion", "amt-s"): Dimension("motion_smoothness"),
    ("dynamic", "raft-large"): Dimension("dynamic_degree", bool),
    ("semantic", "viclip"): Dimension("overall_consistency"),
    ("subject_consistency", "dino-b16"): Dimension("subject_consistency", by_frame=True),
    ("background_consistency", "clip-b32"): Dimension("background_consistency", by_frame=True),
}
"""(metric, back-end) → VBench's dimension. VBench-2.0's human_anatomy and human_identity are not
among them: its detectors are others than ours, its Identity is −1 below 20 frames."""


def collect(scored: Iterable[tuple[str, Path]]) -> "pd.DataFrame":
    """All scores of many videos: the columns of scores.parquet after a column `video`.

    Args:
        scored: each video's name and the folder of its scores.
    """
    import pandas as pd

    tables = []
    for name, folder in scored:
        table = store.read_scores(folder)
        table.insert(0, "video", name)
        tables.append(table)
    if not tables:
        return pd.DataFrame(columns=["video", *store.score_schema().names])
    return pd.concat(tables, ignore_index=True)


def to_csv(scores: "pd.DataFrame", path: Path) -> None:
    """Write all rows, those without a value too: an empty value with its status and reason."""
    store.replace_file(path, scores.to_csv(index=False).encode())


def vbench(scores: "pd.DataFrame") -> dict[str, Any]:
    """VBench's results layout, from the rows of `collect`.

    Where a back-end measured with several settings, each fingerprint but the first is appended to
    the name: VBench's layout must not mix them.
    """
    results: dict[str, Any] = {}
    whole = scores[(scores["segment"] == "all") & (scores["status"] == "ok")]
    settings = whole.groupby(["metric", "backend", "fingerprint"], sort=False)
    for (metric, backend, fingerprint), rows in settings:
        dimension = DIMENSIONS.get((str(metric), str(backend)), Dimension(f"{metric}.{backend}"))
        name = dimension.name
        if name in results:
            name = f"{name}.{fingerprint}"
        weights = rows["frames"] - 1 if dimension.by_frame else None
        results[name] = [
            float(np.average(rows["value"], weights=weights)),
            [
                {"video_path": str(video), "video_results": dimension.result(value)}
                for video, value in zip(rows["video"], rows["value"], strict=True)
            ],
        ]
    return results


def to_vbench(scores: "pd.DataFrame", path: Path) -> None:
    """Write VBench's results file."""
    store.replace_file(path, json.dumps(vbench(scores), indent=2).encode())


def to_wide_csv(scores: "pd.DataFrame", path: Path) -> None:
    """Write one row per video."""
    to_csv(wide.wide(scores), path)


def scored_in(folder: Path) -> list[tuple[str, Path]]:
    """The name of every scored video of a study, or of any folder, and the folder of its scores.

    Raises:
        UserError: no such folder, or no scores in it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder")
    # A study's videos are named VARIANT/PROMPT_SEED, loose ones (videos=DIR) by their paths; what
    # lies loose in a study is none of its.
    there = (folder / name for name in ("cells", "scores"))
    root = next((path for path in there if path.is_dir()), folder)
    files = sorted(root.rglob(store.SCORES_FILE))
    found = [(str(file.parent.relative_to(root)), file.parent) for file in files]
    if not found:
        raise UserError(
            f"{folder} holds no scores ({store.SCORES_FILE}); score its videos first: stage=score"
        )
    return found


def main(words: list[str] | None = None) -> int:
    """The command line. Returns the exit status: 2 where something given is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m metrics.export",
        description="Write the scores of a study, or of loose videos (videos=DIR), as one file.",
        allow_abbrev=False,
    )
    parser.add_argument("folder", type=Path, help="the study's folder")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="all rows, as one table")
    parser.add_argument("--wide", type=Path, metavar="FILE", help="one row per video, as a table")
    parser.add_argument(
        "--vbench", type=Path, metavar="FILE", help="VBench's layout; a folder gets its usual name"
    )
    asked = parser.parse_args(words)
    try:
        if asked.csv is None and asked.wide is None and asked.vbench is None:
            raise UserError("nothing to write: give --csv FILE, --wide FILE, --vbench FILE or more")
        if asked.vbench is not None and asked.vbench.is_dir():
            asked.vbench /= "vbench_results.json"
        files = [(asked.csv, to_csv), (asked.wide, to_wide_csv), (asked.vbench, to_vbench)]
        for path, _ in files:
            if path is not None and (path.is_dir() or not path.parent.is_dir()):
                raise UserError(f"{path}: give a file in a folder that is there")
        videos = scored_in(asked.folder)
        scores = collect(videos)
        for path, write in files:
            if path is not None:
                write(scores, path)
                print(f"{path}: scores of {len(videos)} video{'s' * (len(videos) > 1)}")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
