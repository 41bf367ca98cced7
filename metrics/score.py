"""Scoring: one video, or many.

    from metrics import score_video
    scores = score_video("walk.mp4", "lite", prompt="a person walks")
    scores.value("clarity"), scores.value("motion", "drift")

`score_many` is the body of `stage=score`: it takes jobs (from a study's cells, or from
`jobs_from_folder` for any folder of videos), measures what is not measured yet, and writes
scores.parquet and curves.parquet into each job's folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from metrics.errors import UserError
from metrics.many import Tally, parse_shard, score_many
from metrics.scorer import Scorer, sha256_or_empty
from metrics.scores import Job, Scores
from metrics.sets import MetricSet

__all__ = ["Job", "Scorer", "Scores", "Tally", "parse_shard", "score_many", "score_video"]


def score_video(
    path: str | Path,
    metrics: str | Sequence[str] | Mapping[str, Any] | MetricSet = "lite",
    *,
    prompt: str | None = None,
    reference: str | Path | None = None,
    section_starts: Sequence[int] | None = None,
    device: str | None = None,
    chunk: int | None = None,
    fraction: float | None = None,
    offline: bool | None = None,
) -> Scores:
    """Score one video in one pass.

    Args:
        path: any file that FFmpeg can decode.
        metrics: a set's name (`lite`, `paper`, `pocket`), or back-ends' names.
        prompt: for Semantic.
        reference: the input image, for Identity and colour.
        section_starts: the first frame of every section, for the section-boundary jump.
        device: "cpu" or "cuda"; by default cuda when there is one.
        chunk: frames decoded at a time; no score depends on it.
        fraction: the start's and the end's share of the frames.
        offline: never touch the network.

    Raises:
        UserError: no such file, an unknown set, back-end or option, or a weight file with wrong
            bytes. A broken video raises nothing: its rows say what is wrong with it.
    """
    for name, file in (("path", path), ("reference", reference)):
        if file is not None and not Path(file).is_file():
            raise UserError(f"{name}={file}: there is no such file")
    scorer = Scorer(metrics, device=device, chunk=chunk, fraction=fraction, offline=offline)
    job = Job(
        Path(path),
        Path(path).parent,
        prompt,
        None if reference is None else Path(reference),
        tuple(section_starts or ()),
    )
    scores = scorer.score(job)
    rows = (*scores.rows, *scorer.missing(sha256_or_empty(job.video)))
    return replace(scores, rows=rows)


if __name__ == "__main__":
    # On the command line scoring is a stage of run_bench.py.
    print("To score: python run_bench.py stage=score study=STUDY, or videos=DIR study=OUT")
    print("From Python: from metrics import score_video")
