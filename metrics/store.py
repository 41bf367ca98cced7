"""What is written beside a video: scores.parquet and curves.parquet, in long form.

One row per metric, segment and reading. A score that does not exist is a row with a status and a
reason, never a number. Files are replaced whole (temporary name, flush, rename), so a reader sees
the old scores or the new ones and a crash loses neither.
"""

import contextlib
import glob
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa  # type: ignore[import-untyped]

Status = Literal["ok", "unavailable", "undefined", "failed"]
Segment = Literal["all", "start", "end", "drift", "drift_signed", "slope", "joint", "onset"]
How = Literal["exact", "curve", ""]

SCORES_FILE = "scores.parquet"
CURVES_FILE = "curves.parquet"
LOCK_FILE = ".scores.lock"


class ScoreRow(BaseModel):
    """One number about one video, or the reason why there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    """An id of `metrics.catalogue.SPECS`."""
    backend: str
    """What measured it: musiq-spaq, rife, ... Tables never mix two in one column."""
    fingerprint: str
    """16 hex digits: name, back-end, weights' digests, parameters, protocol version."""
    segment: Segment
    """`drift` is |start − end|, `drift_signed` end − start, `slope` per second, robustly fitted;
    `joint` and `onset` are defined in metrics/drift.py."""
    reading: How = ""
    """`exact`: as if the segment had been a video of its own. `curve`: a slice of the curve."""
    value: float | None = None
    """On the metric's own documented scale; null when there is none."""
    coverage: float = Field(default=0.0, ge=0.0, le=1.0)
    """The share of frames where the metric is defined."""
    status: Status = "ok"
    reason: str = ""
    """Why there is no value, or what the value suffers from (a truncated video)."""
    video_sha256: str = ""
    frames: int = 0
    """Frames that decoded."""
    fps: float = 0.0
    inputs: str = ""
    """16 hex digits of what else was asked: prompt, reference, section starts, fraction."""
    device: str = ""
    """Where networks ran; scores of cpu and cuda may differ in the last digits."""


def score_schema() -> "pa.Schema":
    """The columns of scores.parquet."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    return pa.schema(
        [
            ("metric", text),
            ("backend", text),
            ("fingerprint", text),
            ("segment", text),
            ("reading", text),
            ("value", number),
            ("coverage", number),
            ("status", text),
            ("reason", text),
            ("video_sha256", text),
            ("frames", pa.int64()),
            ("fps", number),
            ("inputs", text),
            ("device", text),
        ]
    )


def curve_schema() -> "pa.Schema":
    """The columns of curves.parquet: one row per item of a curve."""
    import pyarrow as pa

    return pa.schema(
        [
            ("metric", pa.string()),
            ("backend", pa.string()),
            ("fingerprint", pa.string()),
            ("frame", pa.int64()),
            ("span", pa.int64()),
            ("time", pa.float64()),
            ("value", pa.float64()),
        ]
    )


def scores_frame(rows: Iterable[ScoreRow]) -> "pd.DataFrame":
    """Rows as a DataFrame with exactly the columns of scores.parquet."""
    import pandas as pd

    names = score_schema().names
    frame = pd.DataFrame([row.model_dump() for row in rows], columns=names)
    return frame.astype({"value": "float64", "coverage": "float64", "fps": "float64"})


def write_table(frame: "pd.DataFrame", schema: "pa.Schema", path: Path) -> None:
    """Write a DataFrame as parquet, all of it or nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False)
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), buffer, compression="zstd")
    replace_file(path, buffer.getvalue())


STALE = 60.0
"""Seconds after which a temporary file is what a killed process left: writing one takes moments."""


def replace_file(path: Path, data: bytes) -> None:
    """Write a whole file or nothing, under a temporary name that is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        _sweep(path, os.fstat(handle).st_mtime - STALE)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _sweep(path: Path, before: float) -> None:
    """Delete temporary files of `path` that are older; `before` is by the file system's clock,
    which on a cluster is not this machine's."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):  # another process swept it
            if left.stat().st_mtime < before:
                left.unlink()


def read_table(path: Path, schema: "pa.Schema") -> "pd.DataFrame":
    """A table as written, or an empty one when the file does not exist or cannot be read.

    An unreadable file (a disk that was full) only costs the scores in it: they are made again.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # One file, not a data set: a folder called segment=all must not become a column.
        table = pq.ParquetFile(path).read(columns=schema.names).cast(schema)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        table = schema.empty_table()
    frame: pd.DataFrame = table.to_pandas()
    return frame


def read_scores(folder: Path) -> "pd.DataFrame":
    """The scores beside a video; empty when there are none."""
    return read_table(folder / SCORES_FILE, score_schema())


def read_curves(folder: Path) -> "pd.DataFrame":
    """The curves beside a video; empty when there are none."""
    return read_table(folder / CURVES_FILE, curve_schema())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder's scores are this process's alone: to read, change and write both files."""
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK_FILE):
        yield


def write_scores(folder: Path, scores: "pd.DataFrame", curves: "pd.DataFrame") -> None:
    """Replace both files. Scores go last: where they are new, their curves are there."""
    write_table(curves, curve_schema(), folder / CURVES_FILE)
    write_table(scores, score_schema(), folder / SCORES_FILE)
