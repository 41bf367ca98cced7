"""Existing videos as cells: `generator=folder` scores and votes on what anybody has made.

The folder holds VARIANT/PROMPT.mp4, or VARIANT/PROMPT_SEED.mp4 where there are several seeds.
Names of prompts are those of the suite, where one is given, so that prompt text and first frame
are known to the metrics that need them. The videos are taken as they are, byte for byte.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import files
from bench.cell import Cell, CellError, CellRecord, Key
from bench.errors import UserError
from bench.prompts import Prompt, reference
from bench.study import SAFE, SAFE_WORDS, Study
from bench.video import sha256
from metrics.jobs import SUFFIXES

SHOWN = 20
"""Wrong names that are listed; a reader sees by then what is wrong with the others."""


@dataclass(frozen=True)
class Existing:
    """One video of the folder and the cell that it becomes."""

    key: Key
    video: Path


def find(path: Path) -> list[Existing]:
    """The videos of a folder.

    Raises:
        UserError: no such folder, no videos, a name that cannot name a cell, or two videos for
            one cell.
    """
    if not path.is_dir():
        raise UserError(f"generator.path={path}: no such folder")
    videos = [file for file in sorted(path.glob("*/*")) if file.suffix.lower() in SUFFIXES]
    if wrong := dict.fromkeys(name for video in videos for name in _unsafe(video)):
        shown = ", ".join(repr(name) for name in list(wrong)[:SHOWN])
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(f"generator.path={path}: rename {shown}{more}: a name must be {SAFE_WORDS}")
    found: dict[Key, Existing] = {}
    for video in videos:
        key = _key(video)
        if key in found:
            raise UserError(f"{video}: {found[key].video.name} is the same cell, {key.path}")
        found[key] = Existing(key, video)
    if not found:
        raise UserError(
            f"generator.path={path}: no videos; give VARIANT/PROMPT.mp4 or VARIANT/PROMPT_SEED.mp4"
        )
    return list(found.values())


def present(
    study: Study, existing: list[Existing], prompts: Mapping[str, Prompt]
) -> Iterator[tuple[Cell, CellError | None]]:
    """Put the videos into the study; gives each new cell, with its error where it has one.

    Args:
        study: the study.
        existing: from `find`.
        prompts: by id; a video without a prompt has no text and no first frame.
    """
    for item in existing:
        cell = study.cell(*item.key)
        if cell.status == "done":
            continue
        prompt = prompts.get(item.key.prompt_id)
        record, error = _record(item, prompt)
        if error is None:
            with files.replacing(cell.video) as temporary:
                temporary.write_bytes(item.video.read_bytes())
        cell.write(record)
        yield cell, error


def replaced(study: Study, existing: list[Existing]) -> list[str]:
    """A line for every video that is another one than was taken over under its name.

    The study keeps the one that its scores and votes are about.
    """
    lines = []
    for item in existing:
        cell = study.cell(*item.key)
        record = cell.record()
        if record is None or record.status != "done":
            continue
        same = item.video.stat().st_size == record.bytes
        if not same or sha256(item.video) != record.video_sha256:
            lines.append(
                f"{item.key.variant}/{item.video.name} differs from the one taken over: "
                f"give it to another study, or delete {cell.folder} and run this again"
            )
    return lines


def _key(video: Path) -> Key:
    """The cell that a file's name says; a name without a seed has seed 0."""
    parts = re.fullmatch(r"(?P<prompt>.+)_(?P<seed>\d+)", video.stem)
    prompt, seed = (parts["prompt"], int(parts["seed"])) if parts else (video.stem, 0)
    return Key(video.parent.name, prompt, seed)


def _unsafe(video: Path) -> list[str]:
    """Of a video's folder and file, those whose names cannot name a cell, as they are listed."""
    variant, prompt, _ = _key(video)
    names = {f"{variant}/": variant, f"{variant}/{video.name}": prompt}
    return [shown for shown, name in names.items() if not SAFE.issuperset(name) or name[0] in ".-"]


def _record(item: Existing, prompt: Prompt | None) -> tuple[CellRecord, CellError | None]:
    """The record of one video, and what is wrong with it."""
    fields: dict[str, Any] = {
        "variant": item.key.variant,
        "prompt_id": item.key.prompt_id,
        "seed": item.key.seed,
        "generator": {"kind": "folder", "file": item.video.name},
    }
    if prompt is not None:
        fields |= {
            "prompt_text": prompt.text,
            "prompt_tags": list(prompt.tags),
            "reference_image": reference(prompt) if prompt.has_image else None,
        }
    try:
        fields |= _facts(item.video)
    except Exception as error:  # FFmpeg's many ways to say that this is no video
        # FFmpeg's own numbers mean nothing to anybody; its words are in `strerror`.
        said = getattr(error, "strerror", None) or str(error)
        message = f"not a video ({' '.join(said.split()) or type(error).__name__})"
        cause = CellError(kind="UnreadableVideo", message=f"{item.video.name}: {message}")
        return CellRecord(status="failed", error=cause, **fields), cause
    return CellRecord(status="done", **fields), None


def _facts(path: Path) -> dict[str, Any]:
    """Frames, rate, size and digest of a video; it is decoded once to count its frames."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError("no video stream")
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        if not frames:
            raise ValueError("no frames")
        return {
            "frames": frames,
            "fps": float(stream.average_rate or 0),
            "width": stream.codec_context.width,
            "height": stream.codec_context.height,
            "bytes": path.stat().st_size,
            "video_sha256": sha256(path),
        }
