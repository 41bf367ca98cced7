"""Scores for other programs: one CSV, or the JSON that VBench writes.

VBench's results file maps a dimension to [mean, [{video_path, video_results}, ...]]. Our metrics
stand under VBench's dimension names, on the scale that VBench's own evaluation prints (imaging
quality 0..100, the others 0..1); videos without a value are left out of mean and list, as the file
has no way to say why.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metrics import store

if TYPE_CHECKING:
    import pandas as pd

DIMENSIONS = {
    "clarity": ("imaging_quality", 100.0),
    "aesthetic": ("aesthetic_quality", 1.0),
    "motion": ("motion_smoothness", 1.0),
    "dynamic": ("dynamic_degree", 1.0),
    "semantic": ("overall_consistency", 1.0),
    "subject_consistency": ("subject_consistency", 1.0),
    "background_consistency": ("background_consistency", 1.0),
    "anatomy": ("human_anatomy", 1.0),
    "identity_rate": ("human_identity", 1.0),
}
"""Our metric → VBench's (or VBench-2.0's) dimension and how it scales a video's result.

VBench-2.0's Human Identity is a share of frames: Identity, a mean cosine, keeps its own name."""


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

    Where a metric was measured by several back-ends or settings, each fingerprint but the first
    gets a dimension of its own name with the back-end appended: VBench's layout must not mix them.
    """
    results: dict[str, Any] = {}
    whole = scores[(scores["segment"] == "all") & (scores["status"] == "ok")]
    for (metric, fingerprint), rows in whole.groupby(["metric", "fingerprint"], sort=False):
        dimension, scale = DIMENSIONS.get(str(metric), (str(metric), 1.0))
        if dimension in results:
            dimension = f"{dimension}.{rows['backend'].iloc[0]}.{fingerprint}"
        values = rows["value"] * scale
        results[dimension] = [
            float(rows["value"].mean()),
            [
                {"video_path": str(video), "video_results": float(value)}
                for video, value in zip(rows["video"], values, strict=True)
            ],
        ]
    return results


def to_vbench(scores: "pd.DataFrame", path: Path) -> None:
    """Write VBench's results file."""
    store.replace_file(path, json.dumps(vbench(scores), indent=2).encode())
