"""What a study has to show: scenes, and for each the variants' videos as neutral copies.

The copies are made once, before anyone is served, into STUDY/.arena/clips: a missing or broken
video is found by whoever starts the arena and never by a rater. Files there are named by the
digest of what they were made of; what raters ask for is named by the pair they were given, so no
name leads from one to the other.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ablations.arena import neutral
from bench.cell import Cell
from bench.errors import UserError
from bench.files import sweep
from bench.study import Study

FORM = "1"
"""Version of how copies are made; a new one makes them again."""
WORKERS = 2
SHORTEST = 0.05
"""Seconds; below, a video is a picture, or its time stamps are broken."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Clip:
    """A neutral copy of one video."""

    path: Path
    seconds: float


@dataclass(frozen=True)
class Scene:
    """A prompt and a seed: what the two videos of a pair have in common."""

    prompt_id: str
    seed: int
    text: str
    image: Path | None


@dataclass(frozen=True)
class Gallery:
    """Everything that can be shown."""

    variants: tuple[str, ...]
    scenes: tuple[Scene, ...]
    clips: dict[tuple[str, int], Clip]
    """By variant and index into `scenes`."""
    damaged: dict[tuple[str, int], Clip]
    """Damaged copies for control pairs, by the same key."""
    left_out: tuple[str, ...] = ()
    """One line for every cell that cannot be shown."""

    def variants_of(self, scene: int) -> list[str]:
        """The variants that have a video of a scene."""
        return [name for name in self.variants if (name, scene) in self.clips]


@dataclass
class _Found:
    scenes: dict[tuple[str, int], Scene] = field(default_factory=dict)
    cells: dict[tuple[str, int], list[tuple[Cell, str]]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def inside(study: Path, name: str) -> Path | None:
    """The file `name` of a study; None when it is missing or anywhere else."""
    path = (study / name).resolve()
    return path if path.is_relative_to(study.resolve()) and path.is_file() else None


def prepare(
    study: Path, *, control_videos: int = 0, seed: int = 0, say: Say = lambda line: None
) -> Gallery:
    """Find a study's finished videos and make the copies that are missing.

    Args:
        study: the study's folder.
        control_videos: how many videos get a damaged copy.
        seed: of the choice of those.
        say: hears about progress, one line at a time.

    Raises:
        UserError: there is no study, or nothing in it to compare.
    """
    opened = Study.open(study)
    found = _find(opened)
    folder = study / ".arena" / "clips"
    for place in (folder, study / ".arena" / "images"):
        sweep(place)  # what a killed arena was copying
    keys = sorted(found.scenes)
    jobs = [(scene, cell, digest) for scene in keys for cell, digest in found.cells[scene]]
    if jobs:
        say(f"preparing {len(jobs)} videos")
    clips: dict[tuple[str, tuple[str, int]], Clip] = {}
    with ThreadPoolExecutor(WORKERS) as pool:
        made = pool.map(lambda job: _copy(job[1].video, folder, job[2], neutral.neutral), jobs)
        for number, ((scene, cell, _), clip) in enumerate(zip(jobs, made, strict=True), start=1):
            if isinstance(clip, Clip):
                clips[cell.variant, scene] = clip
            else:
                found.left_out.append(f"{cell.key.path}: {clip}")
            if number % 200 == 0:
                say(f"prepared {number} of {len(jobs)}")
    for line in found.left_out:
        say(f"left out {line}")

    # A scene with a single video has nothing to be compared with.
    shown = [key for key in keys if sum(scene == key for _, scene in clips) > 1]
    index = {key: number for number, key in enumerate(shown)}
    gallery = Gallery(
        variants=tuple(sorted({name for name, scene in clips if scene in index})),
        scenes=tuple(found.scenes[key] for key in shown),
        clips={(name, index[key]): clip for (name, key), clip in clips.items() if key in index},
        damaged={},
        left_out=tuple(found.left_out),
    )
    _comparable(study, gallery, sorted({name for name, _ in clips}))
    _damage(gallery, folder, control_videos, seed, say)
    return gallery


def _find(study: Study) -> _Found:
    found = _Found()
    texts = study.prompts()
    for cell in study.cells():
        try:
            record = cell.record()
        except UserError as error:
            found.left_out.append(str(error))
            continue
        if record is None or record.status != "done":
            continue
        if inside(study.path, f"cells/{cell.key.path}/cell.json") is None:
            found.left_out.append(f"{cell.key.path}: it lies outside the study")
            continue
        if not cell.video.is_file():
            found.left_out.append(f"{cell.key.path}: its video.mp4 is missing")
            continue
        key = (cell.prompt_id, cell.seed)
        prompt = texts.get(cell.prompt_id, {})
        name = record.reference_image or prompt.get("image")
        text = record.prompt_text or str(prompt.get("text") or "")
        image = _image(study.path, name) if name else None
        found.scenes.setdefault(key, Scene(cell.prompt_id, cell.seed, text, image))
        digest = record.video_sha256 or hashlib.sha256(cell.video.read_bytes()).hexdigest()
        found.cells.setdefault(key, []).append((cell, digest))
    return found


def _image(study: Path, name: str) -> Path | None:
    source = inside(study, name)
    if source is None:
        return None
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    target = study / ".arena" / "images" / f"{digest[:32]}.png"
    try:
        if not target.exists():
            neutral.still(source, target)
    except (OSError, ValueError, SyntaxError):  # what Pillow raises on broken images
        return None
    return target


def _copy(
    source: Path, folder: Path, digest: str, make: Callable[[Path, Path], None]
) -> Clip | neutral.Unshowable:
    name = hashlib.sha256(f"{FORM}:{make.__name__}:{digest}".encode()).hexdigest()[:32]
    target = folder / f"{name}.mp4"
    try:
        if not target.exists():
            make(source, target)
        seconds = neutral.seconds_of(target)
    except neutral.Unshowable as error:
        return error
    if seconds < SHORTEST:
        return neutral.Unshowable(f"it lasts {seconds:g} s")
    return Clip(target, seconds)


def _comparable(study: Path, gallery: Gallery, all_variants: Sequence[str]) -> None:
    """Refuse what no vote could rank: fewer than two variants, or groups that never meet."""
    if len(gallery.variants) < 2:
        had = ", ".join(all_variants) or "none"
        raise UserError(
            f"study={study}: an arena compares two variants or more on the same prompt and seed; "
            f"finished videos are there of {len(all_variants)} ({had})"
        )
    groups = _groups(gallery)
    if len(groups) > 1:
        raise UserError(
            f"study={study}: {groups[0][0]} and {groups[1][0]} share no prompt and seed, not even "
            "through other variants; generate the missing videos first"
        )


def _groups(gallery: Gallery) -> list[list[str]]:
    """The variants, grouped by what shared scenes connect."""
    leader = {name: name for name in gallery.variants}

    def find(name: str) -> str:
        while leader[name] != name:
            name = leader[name]
        return name

    for scene in range(len(gallery.scenes)):
        first, *others = gallery.variants_of(scene)
        for other in others:
            leader[find(other)] = find(first)
    groups: dict[str, list[str]] = {}
    for name in gallery.variants:
        groups.setdefault(find(name), []).append(name)
    return list(groups.values())


def _damage(gallery: Gallery, folder: Path, count: int, seed: int, say: Say) -> None:
    """Make damaged copies of `count` videos, spread over variants and scenes."""
    keys = sorted(gallery.clips)
    random.Random(seed).shuffle(keys)
    by_variant: dict[str, list[tuple[str, int]]] = {}
    for key in keys:
        by_variant.setdefault(key[0], []).append(key)
    chosen: list[tuple[str, int]] = []
    while len(chosen) < count and any(by_variant.values()):
        for queue in by_variant.values():
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    if chosen:
        say(f"preparing {len(chosen)} damaged copies for control pairs")
    for key in chosen:
        clip = gallery.clips[key]
        copy = _copy(clip.path, folder, clip.path.stem, neutral.damaged)
        if isinstance(copy, Clip):
            gallery.damaged[key] = copy
