"""Videos outside a study: any folder, any names, prompts and input images from a CSV.

The CSV has the columns `video` (a path relative to the folder, or a file name that occurs once in
it) and any of `prompt`, `reference` (an image, relative to the CSV) and `section_starts`
(space-separated frame numbers). Names are never taken apart: two videos whose names differ stay two
videos.
"""

import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metrics.errors import UserError
from metrics.score import Job, Scores, score_many

SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"}
)
TOLD = 5
"""Files that were left out and are named."""
COLUMNS = ("video", "prompt", "reference", "section_starts")


def jobs_from_folder(videos: Path, out: Path, prompts: Path | None = None) -> list[Job]:
    """A job for every video under a folder, sorted by path; scores go to `out`/PATH/.

    Args:
        videos: the folder, searched through its subfolders (hidden ones left out).
        out: PATH is the video's path in `videos`, suffix included.
        prompts: the CSV; every video it names must exist. Videos that it does not name have no
            prompt.

    Raises:
        UserError: no such folder, no video in it, or a CSV that does not fit it.
    """
    if not videos.is_dir():
        raise UserError(f"videos={videos} is not a folder")
    found = [path for path in _files(videos) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f"videos={videos} has no video ({', '.join(sorted(SUFFIXES))})")
    rows = {} if prompts is None else _rows(prompts, found)
    jobs = []
    for path in found:
        row = rows.get(path, {})
        reference = row.get("reference", "")
        jobs.append(
            Job(
                video=videos / path,
                folder=out / path,
                prompt=row.get("prompt") or None,
                reference=prompts.parent / reference if prompts and reference else None,
                section_starts=_numbers(row.get("section_starts", ""), prompts),
                name=str(path),
            )
        )
    return jobs


def _files(videos: Path) -> list[Path]:
    """What lies in a folder and its subfolders, hidden ones left out; relative to it, sorted."""
    return sorted(
        path.relative_to(videos)
        for path in videos.rglob("*")
        # Scores of walk.mp4 lie in a folder of that name, perhaps in this one.
        if not path.is_dir()
        and not any(part.startswith(".") for part in path.relative_to(videos).parts)
    )


def _left_out(videos: Path, out: Path, prompts: Path | None) -> list[str]:
    """Files of a folder that are no videos by their names, nor the suite's own."""
    videos, out = videos.resolve(), out.resolve()
    suite = None if prompts is None else prompts.resolve()
    return [
        str(path)
        for path in _files(videos)
        if path.suffix.lower() not in SUFFIXES
        and videos / path != suite
        and out not in (videos / path).parents
    ]


def _rows(prompts: Path, found: list[Path]) -> dict[Path, dict[str, str]]:
    """The CSV's rows by the video that they mean."""
    try:
        with prompts.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [{key: value or "" for key, value in row.items() if key} for row in reader]
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"prompts={prompts} cannot be read: {error}") from None
    unknown = [name for name in columns if name not in COLUMNS]
    if "video" not in columns or unknown:
        raise UserError(
            f"prompts={prompts} has the columns {', '.join(columns) or 'none'}; "
            f"needed is video, known are {', '.join(COLUMNS)}"
        )
    names = Counter(path.name for path in found)
    by_name = {path.name: path for path in found if names[path.name] == 1}
    known = set(found)
    result: dict[Path, dict[str, str]] = {}
    for number, row in enumerate(rows, start=2):
        path = Path(row["video"])
        meant = path if path in known else by_name.get(row["video"])
        if meant is None:
            several = names[row["video"]] > 1
            reason = "is the name of several videos" if several else "is no video of the folder"
            raise UserError(f"{prompts}, line {number}: {row['video']!r} {reason}")
        if meant in result:
            raise UserError(f"{prompts}, line {number}: {row['video']!r} occurs twice")
        result[meant] = row
    return result


def _numbers(text: str, prompts: Path | None) -> tuple[int, ...]:
    try:
        starts = tuple(int(word) for word in text.split())
    except ValueError:
        raise UserError(f"{prompts}: section_starts {text!r} are not frame numbers") from None
    if list(starts) != sorted({start for start in starts if start >= 0}):
        raise UserError(
            f"{prompts}: section_starts {text!r} are not each section's first frame, rising from "
            "the first section's (0, or 1 after an input image)"
        )
    return starts


def score_folder(
    videos: Path,
    out: Path,
    metrics: str | Mapping[str, Any],
    *,
    prompts: Path | None = None,
    shard: str = "1/1",
    **options: Any,
) -> int:
    """The body of `stage=score videos=DIR`: score a folder, export, say what came of it.

    `out`/scores/VIDEO/ gets each video's scores and curves; `out`/scores.csv, `out`/scores_wide.csv
    and `out`/vbench_results.json hold what is scored of all so far, by this process or others.

    Returns:
        The exit status: 0 when every video was scored, 1 when one failed or a metric broke.

    Raises:
        UserError: a wrong folder, CSV, set, option or shard; `out` is a study.
    """
    from metrics import export, wide

    if (out / "study.yaml").exists():
        raise UserError(
            f"study={out} is a study, and scores of loose videos (videos=DIR) are none of its: "
            "name another folder for them"
        )
    jobs = jobs_from_folder(videos, out / "scores", prompts)
    if others := _left_out(videos, out, prompts):
        more = f" and {len(others) - TOLD} more" if len(others) > TOLD else ""
        print(f"left out, as their names are no video's: {', '.join(others[:TOLD])}{more}")

    reported: set[str] = set()

    def told(job: Job, scores: Scores | None, number: int, total: int) -> None:
        failed = scores.failure if scores is not None else ""
        if failed:
            reported.add(job.title)
        what = f"failed: {failed}" if failed else "kept" if scores is None else "scored"
        print(f"[{number}] {job.title}: {what}", flush=True)

    tally = score_many(jobs, metrics, shard=shard, on_job=told, **options)
    table = export.collect((job.name, job.folder) for job in jobs)
    export.to_csv(table, out / "scores.csv")
    export.to_wide_csv(table, out / "scores_wide.csv")
    export.to_vbench(table, out / "vbench_results.json")
    print("", *wide.lines(wide.wide(table)), "", sep="\n")
    for line in tally.gaps():
        print(line)
    for title, reason in sorted(tally.failed.items()):
        if title not in reported:
            print(f"failed: {title}: {reason}")
    print(
        f"{tally.scored} scored, {tally.kept} kept, {len(tally.failed)} failed; "
        f"see {out / 'scores_wide.csv'}, and scores.csv beside it for all rows",
        flush=True,
    )
    return 0 if tally.ok else 1
