"""Does each metric see the damage that it should? `make validity` asks, on real clips.

A ladder of rising damage is applied to a whole clip: the metric that should see it must move
monotonically (Spearman's ρ ≥ 0.9 between level and value, in the metric's bad direction). Then the
same ladder is applied to the last 15 % only: the end segment, and so the signed drift, must move as
monotonically, and the start segment must keep its value to the last bit. A level at which the
metric is undefined has no number, and its ladder does not hold. The tables and plots of
docs/metrics.md are written from this.

    python -m metrics.validity            all ladders
    python -m metrics.validity blur cast  these ladders only; the page keeps the others' rows
    python -m metrics.validity --clips walk.mp4 street.jpg
                                          on one's own clips and photographs
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from metrics import damage, weights
from metrics.base import Chunk, Frames, Metric, ScoringContext, VideoInfo
from metrics.catalogue import SPECS
from metrics.drift import FRACTION, segment_length
from metrics.errors import MetricError, Unavailable, UserError
from metrics.one_pass import MetricRun, run
from metrics.rows import Labels, measured_rows
from metrics.scorer import Scorer
from metrics.store import ScoreRow
from metrics.stream import Video

ROOT = Path(__file__).parents[1]
MEDIA = ROOT / "tests" / "media"
PAGE = ROOT / "docs" / "metrics.md"
IMAGES = ROOT / "docs" / "img"
BEGIN, END = "<!-- validity: begin -->", "<!-- validity: end -->"

MONOTONE = 0.9
"""The rank correlation that a ladder must reach."""

FRAMES = 32
"""Frames taken of a clip; a segment then has four."""

SIDE = 320
"""Pixels that a clip's longer side is reduced to: ladders are many, and the damages' levels are in
pixels of such a frame."""


STREET = "street"
"""The clip that is a pan over a part of the weight registry's `PHOTOGRAPH`: people on a street with
their hands in view, which no clip of the repository shows."""

PHOTOGRAPH = "street-photograph"

BOTH_HANDS = (205, 380, 505, 880)
"""That part: left, top, right, bottom in pixels, around the person both of whose hands show. The
others fold their arms or stand half outside, and a hand that is not in view cannot go missing."""

PAN_FPS = 8.0
PAN_WINDOW = 0.9
"""The share of a photograph's width and height that a pan shows at a time."""


@dataclass(frozen=True)
class Ladder:
    """A damage, its levels, and the metric that should see it."""

    name: str
    metric: str
    backend: str
    levels: tuple[float, ...]
    unit: str
    clips: tuple[str, ...] = ("single_face", "carphone_pristine", "bikes")
    uses_reference: bool = False
    """Whether the clean first frame is given as the input image."""
    frames: int = FRAMES


LADDERS = (
    Ladder("blur", "clarity", "classical", (0, 0.7, 1, 1.5, 2, 3, 5), "σ, pixels"),
    Ladder("motion blur", "clarity", "classical", (0, 3, 5, 9, 15, 25), "pixels"),
    Ladder("noise", "clarity", "classical", (0, 3, 6, 12, 20, 35), "σ, grey levels"),
    Ladder("JPEG", "clarity", "classical", (0, 30, 50, 70, 85, 94), "100 − quality"),
    Ladder(
        "colour cast",
        "colour",
        "lab-moments",
        (0, 4, 8, 16, 32, 48),
        "grey levels",
        uses_reference=True,
    ),
    Ladder("contrast loss", "contrast", "lab-moments", (0, 0.1, 0.2, 0.4, 0.6, 0.8), "share"),
    Ladder("frozen frames", "change", "frame-difference", (0, 0.25, 0.5, 0.75), "share"),
    Ladder(
        "frame shuffling",
        "motion",
        "rife",
        (0, 2, 4, 8, 16),
        "window, frames",
        clips=("carphone_pristine", "single_face"),
        frames=96,
    ),
    Ladder(
        "face swap",
        "identity",
        "mobilefacenet",
        (0, 0.25, 0.5, 0.75, 1),
        "opacity",
        clips=("single_face", "carphone_pristine"),
        uses_reference=True,
    ),
    Ladder(
        "missing hand",
        "anatomy",
        "blaze-landmarks",
        (0, 0.2, 0.4, 0.6, 0.8, 1),
        "size",
        clips=(STREET,),
        frames=16,
    ),
)

DAMAGES = {
    "blur": damage.blur,
    "motion blur": damage.motion_blur,
    "noise": damage.noise,
    "JPEG": damage.jpeg,
    "colour cast": damage.colour_cast,
    "contrast loss": damage.contrast_loss,
    "frozen frames": damage.freeze,
    "frame shuffling": damage.shuffle,
    "missing hand": damage.hide_hands,
}


@dataclass(frozen=True)
class Climb:
    """What a metric read while one clip was damaged more and more."""

    ladder: Ladder
    clip: str
    whole: tuple[float, ...]
    """The score of the whole clip, all of it damaged, by level."""
    drift: tuple[float, ...]
    """Signed drift, end − start, only the last 15 % damaged, by level."""
    start: tuple[float, ...]
    """The start segment of the same."""
    coverage: tuple[float, ...]
    """The share, 0..1, of the whole clip's frames where the metric is defined, by level; where it
    is undefined on all of them the numbers above are NaN."""

    @property
    def direction(self) -> int:
        """+1 where damage must raise the number, −1 where it must lower it."""
        return -1 if SPECS[self.ladder.metric].higher_is_better else 1

    @property
    def rank(self) -> float:
        """Spearman's ρ of the whole clip's score, positive where it moves as it must; NaN where a
        level has no number."""
        return self.direction * spearman(self.ladder.levels, self.whole)

    @property
    def drift_rank(self) -> float:
        """The same for the signed drift."""
        return self.direction * spearman(self.ladder.levels, self.drift)

    @property
    def start_is_unchanged(self) -> bool:
        """Whether the start segment has a value and kept it to the last bit."""
        return bool(np.isfinite(self.start).all()) and len(set(self.start)) == 1

    @property
    def holds(self) -> bool:
        """Whether all three claims hold."""
        # NaN is not at least anything; `min` might leave it out.
        ranks = (self.rank, self.drift_rank)
        return all(rank >= MONOTONE for rank in ranks) and self.start_is_unchanged


def spearman(levels: Sequence[float], values: Sequence[float]) -> float:
    """Rank correlation, ties averaged; 0 where the values do not move at all, NaN where one is
    NaN: damage that leaves nothing to measure is not the worst value."""
    import pandas as pd

    if np.isnan(values).any():
        return float("nan")
    pair = pd.DataFrame({"level": levels, "value": values}).rank()
    if pair["value"].nunique() < 2:
        return 0.0
    return float(pair["level"].corr(pair["value"]))


@cache
def clip_frames(clip: str, count: int) -> tuple[Frames, float]:
    """The first frames of a clip and its frames per second.

    Args:
        clip: a name in tests/media, `STREET`, or a path; a photograph becomes a pan over it.
        count: frames.

    Raises:
        UserError: the file is not there, or cannot be read.
    """
    if clip == STREET:
        return pan(weights.get(PHOTOGRAPH), count, BOTH_HANDS), PAN_FPS
    path = Path(clip) if Path(clip).suffix else MEDIA / f"{clip}.mp4"
    try:
        return _read(path, count)
    except OSError as error:  # a photograph's
        raise UserError(f"--clips {clip}: {error.strerror or error}") from None
    except MetricError as error:
        raise UserError(f"--clips {clip}: {error}") from None


def _read(path: Path, count: int) -> tuple[Frames, float]:
    """The first frames of a video, or of a pan over a photograph."""
    if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
        return pan(path, count), PAN_FPS
    with Video(path) as video:
        frames = np.concatenate([chunk.frames for chunk in video.chunks(16)])[:count]
        fps = video.info.fps
    return np.stack([_reduced(frame) for frame in frames]), fps


def pan(photograph: Path, count: int, part: tuple[int, int, int, int] | None = None) -> Frames:
    """A window that moves over a photograph, or a part of it, from top left to bottom right."""
    from PIL import Image

    with Image.open(photograph) as image:
        picture = np.asarray(image.convert("RGB").crop(part), dtype=np.uint8)
    height, width = (round(side * PAN_WINDOW) for side in picture.shape[:2])
    ways = [(at / max(1, count - 1)) * (1 - PAN_WINDOW) for at in range(count)]
    corners = [(round(way * picture.shape[0]), round(way * picture.shape[1])) for way in ways]
    return np.stack(
        [_reduced(picture[top : top + height, left : left + width]) for top, left in corners]
    )


def _reduced(frame: Frames) -> Frames:
    """At most SIDE pixels wide or high, by area; even sides."""
    import cv2

    height, width = frame.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def climb(ladder: Ladder, clip: str, metric: Metric) -> Climb:
    """Damage one clip step by step and read the metric."""
    frames, fps = clip_frames(clip, ladder.frames)
    reference = frames[0] if ladder.uses_reference else None
    apply = _damage(ladder, clip)
    count, height, width, _ = frames.shape
    video = VideoInfo(Path("clip"), count, fps, width, height)
    length = segment_length(count, FRACTION, metric.frames_needed(video))
    whole, drifts, starts, coverage = [], [], [], []
    for level in ladder.levels:
        every = _scores(metric, ladder.metric, video, apply(frames, level), reference)
        whole.append(_number(every, "all"))
        coverage.append(every["all"].coverage if "all" in every else 0.0)
        tail = np.concatenate((frames[:-length], apply(frames[-length:], level)))
        found = _scores(metric, ladder.metric, video, tail, reference)
        starts.append(_number(found, "start"))
        drifts.append(_number(found, "end") - starts[-1])
    return Climb(ladder, clip, tuple(whole), tuple(drifts), tuple(starts), tuple(coverage))


def _scores(
    metric: Metric, name: str, video: VideoInfo, frames: Frames, reference: Frames | None
) -> dict[str, ScoreRow]:
    """What scoring reads of a clip by segment, exactly; nothing where it reads nothing."""
    one = MetricRun(metric, video, ScoringContext(reference=reference), FRACTION)
    run([one], (Chunk(frames[first : first + 16], first) for first in range(0, len(frames), 16)))
    try:
        readings, alone = one.finish()
    except MetricError:
        return {}
    labels = Labels(name, metric.backend, "", "", "", len(frames), video.fps, "cpu")
    rows = measured_rows(labels, readings[name], one.slices, alone[name], (), FRACTION)
    return {row.segment: row for row in rows if row.reading == "exact"}


def _number(rows: Mapping[str, ScoreRow], segment: str) -> float:
    """A segment's score; NaN where damage left nothing to measure (no face to be found)."""
    value = rows[segment].value if segment in rows else None
    return float("nan") if value is None else value


def _damage(ladder: Ladder, clip: str) -> damage.Damage:
    if ladder.name == "face swap":
        other = "carphone_pristine" if clip == "single_face" else "single_face"
        return damage.swap_face(clip_frames(other, FRAMES)[0][0])
    return DAMAGES[ladder.name]


def climbs(ladders: Sequence[Ladder]) -> tuple[list[Climb], list[str]]:
    """All ladders on all their clips, told as they are done.

    Besides: a line for every metric that cannot be measured here, with the command that gets what
    it lacks. Its ladders are left out.

    Raises:
        UserError: a clip cannot be read.
    """
    found = []
    metrics: dict[str, Metric] = {}
    lacking: dict[str, str] = {}
    for ladder in ladders:
        if ladder.backend not in metrics | lacking:
            try:
                metrics[ladder.backend] = _loaded(ladder)
            except MetricError as error:
                lacking[ladder.backend] = f"{ladder.metric} ({ladder.backend}): {error}"
                print(lacking[ladder.backend], file=sys.stderr, flush=True)
        if ladder.backend in lacking:
            continue
        for clip in ladder.clips:
            one = climb(ladder, clip, metrics[ladder.backend])
            found.append(one)
            print(
                f"{'holds' if one.holds else 'FAILS'}  {ladder.name:16} {clip:18} "
                f"{ladder.metric:9} ρ {one.rank:+.2f}  drift ρ {one.drift_rank:+.2f}  "
                f"{' '.join(f'{value:.3f}' for value in one.whole)}  "
                f"covered {one.coverage[0]:.2f} → {one.coverage[-1]:.2f}",
                flush=True,
            )
    return found, list(lacking.values())


def _loaded(ladder: Ladder) -> Metric:
    """A ladder's metric, its weights and the ladder's photograph fetched.

    Raises:
        MetricError: why it cannot be measured here, and the command that gets what it lacks.
    """
    scorer = Scorer([ladder.backend], device="cpu")
    (metric,) = scorer.metrics
    photographs = [PHOTOGRAPH] * (STREET in ladder.clips)
    try:
        problem = scorer.load(metric)
        for name in [] if problem else photographs:
            weights.get(name)
    except (UserError, Unavailable) as error:
        problem = Unavailable(str(error))
    except OSError as error:  # a cache that cannot be written to, or a full disk
        problem = Unavailable(f"{error.strerror or error} at {error.filename}")
    if problem is None:
        return metric
    missing = [name for name in (*metric.weights, *photographs) if weights.find(name) is None]
    command = f"python -m metrics.weights {' '.join(missing)}"
    if missing and not str(problem).endswith(command):
        raise Unavailable(f"{problem}; get all that it needs with: {command}")
    raise problem


def markdown(found: Sequence[Climb]) -> str:
    """The table of docs/metrics.md."""
    lines = [
        "| damage | levels | metric (back-end) | clip | none → most | ρ | end: none → most | ρ | "
        "start unchanged | coverage: none → most |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in found:
        ladder = one.ladder
        levels = ", ".join(f"{level:g}" for level in ladder.levels)
        lines.append(
            f"| {ladder.name} | {levels} ({ladder.unit}) | {SPECS[ladder.metric].title} "
            f"({ladder.backend}) | {one.clip} | {one.whole[0]:.3f} → {one.whole[-1]:.3f} | "
            f"{one.rank:.2f} | {one.drift[0]:+.3f} → {one.drift[-1]:+.3f} | "
            f"{one.drift_rank:.2f} | {'yes' if one.start_is_unchanged else '**no**'} | "
            f"{one.coverage[0]:.2f} → {one.coverage[-1]:.2f} |"
        )
    return "\n".join(lines)


def plot(found: Sequence[Climb], path: Path) -> None:
    """One panel per damage: the whole clip damaged (solid) and the last 15 % (dashed)."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(one.ladder.name for one in found))
    columns = 3
    rows = len(names) // columns + 1  # there is always a place for the legend
    figure, axes = pyplot.subplots(rows, columns, figsize=(10, 2.6 * rows), squeeze=False)
    colours = {clip: f"C{i}" for i, clip in enumerate(dict.fromkeys(one.clip for one in found))}
    for axis, name in zip(axes.flat, names, strict=False):
        for one in found:
            if one.ladder.name == name:
                colour = colours[one.clip]
                axis.plot(one.ladder.levels, one.whole, "o-", color=colour, ms=3, label=one.clip)
                end = np.add(one.drift, one.start)
                axis.plot(one.ladder.levels, end, "s--", color=colour, ms=2, lw=0.8)
                title, unit = SPECS[one.ladder.metric].title, one.ladder.unit
        axis.set_title(f"{name} → {title}", fontsize=9)
        axis.set_xlabel(unit, fontsize=8)
        axis.tick_params(labelsize=7)
    free = list(axes.flat)[len(names) :]
    for axis in free:
        axis.axis("off")
    lines: dict[str, dict[str, Any]] = {
        clip: {"color": colour, "marker": "o"} for clip, colour in colours.items()
    }
    lines["all of the clip is damaged"] = {"color": "grey", "marker": "o"}
    lines["its end only, read at the end"] = {"color": "grey", "marker": "s", "ls": "--", "lw": 0.8}
    for label, line in lines.items():
        free[0].plot([], [], ms=3, label=label, **line)
    free[0].legend(fontsize=9, loc="center left", frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def merged(found: Sequence[Climb]) -> list[Climb]:
    """These climbs and, of what was measured before, those that they do not replace."""
    stored = IMAGES / "validity.json"
    records = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else []
    ladders = {ladder.name: ladder for ladder in LADDERS}
    every = {
        (record["damage"], record["clip"]): Climb(
            ladders[record["damage"]],
            record["clip"],
            *(tuple(record[key]) for key in ("whole", "drift", "start", "coverage")),
        )
        for record in records
        if record["damage"] in ladders
        and record["levels"] == list(ladders[record["damage"]].levels)
    }
    every |= {(one.ladder.name, one.clip): one for one in found if one.ladder.name in ladders}
    order = [(ladder.name, clip) for ladder in LADDERS for clip in ladder.clips]
    return [every[key] for key in order if key in every]


def write(found: Sequence[Climb]) -> None:
    """Put the table between the page's markers, plot and numbers beside it."""
    found = merged(found)
    plot(found, IMAGES / "validity.png")
    records = [
        {
            "damage": one.ladder.name,
            "clip": one.clip,
            "levels": one.ladder.levels,
            "whole": one.whole,
            "drift": one.drift,
            "start": one.start,
            "coverage": one.coverage,
        }
        for one in found
    ]
    text = ",\n".join(json.dumps(record) for record in records)
    (IMAGES / "validity.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n{markdown(found)}\n{END}{tail}", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Climb the ladders. The exit status is 0 where all of them hold, 1 where one does not, 2 where
    one could not be climbed."""
    parser = argparse.ArgumentParser(prog="python -m metrics.validity")
    parser.add_argument("ladders", nargs="*", help="names, or parts of names; all without")
    parser.add_argument(
        "--clips", nargs="+", help="videos and photographs instead of the page's clips"
    )
    chosen = parser.parse_args(arguments)
    ladders = [
        ladder if chosen.clips is None else replace(ladder, clips=tuple(chosen.clips))
        for ladder in LADDERS
        if not chosen.ladders or any(word in ladder.name for word in chosen.ladders)
    ]
    try:
        for word in chosen.ladders:
            if not any(word in ladder.name for ladder in LADDERS):
                known = ", ".join(ladder.name for ladder in LADDERS)
                raise UserError(f"no ladder is named {word!r} (there are: {known})")
        found, lacking = climbs(ladders)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if found and chosen.clips is None:
        write(found)
    if lacking:
        return 2
    return 0 if all(one.holds for one in found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
