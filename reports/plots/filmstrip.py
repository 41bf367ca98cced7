"""Filmstrips: five frames of one scene, one row a variant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.errors import UserError
from reports.analysis import Analysis, Entrant
from reports.plots.figure import Plot
from reports.plots.looks import MOST_VARIANTS, chosen
from reports.plots.style import FAINT, MONO

Frame = NDArray[np.uint8]

MOMENTS = (("start", 0.0), ("quarter", 0.25), ("half", 0.5), ("three quarters", 0.75), ("end", 1.0))
WIDTH = 240
"""Pixels of a frame; larger videos are scaled down to it."""


@dataclass(frozen=True)
class Strip:
    """One variant's row: its frames, or why there are none."""

    variant: str
    frames: tuple[Frame, ...]
    missing: str = ""


@dataclass(frozen=True)
class Filmstrip:
    """One scene over the variants."""

    prompt_id: str
    seed: int
    text: str
    strips: tuple[Strip, ...]

    @property
    def name(self) -> str:
        """The files' name."""
        return f"filmstrip_{self.prompt_id}_{self.seed}"


def filmstrips(
    analysis: Analysis, number: int = 3, scenes: Sequence[str] = (), seed: int = 0
) -> list[Filmstrip]:
    """Filmstrips of chosen scenes, or of random ones among those that most variants made.

    Args:
        analysis: the study.
        number: how many are drawn.
        scenes: `PROMPT_SEED` names to show instead.
        seed: of the draw.

    Raises:
        UserError: a scene that the study does not have.
    """
    shown = chosen(analysis)
    if not shown:
        return []
    cells = analysis.cells
    name = cells["prompt_id"].astype(str) + "_" + cells["seed"].astype(str)
    done = (cells["state"] == "done") & cells["variant"].isin([entrant.name for entrant in shown])
    counts = name[done].value_counts()
    if scenes:
        if unknown := [scene for scene in scenes if scene not in set(name)]:
            raise UserError(
                f"report.scenes: no cell {unknown[0]!r} in this study; scenes are PROMPT_SEED"
            )
        picked = list(scenes)
    else:
        best = sorted(counts.index[counts == counts.max()]) if len(counts) else []
        order = [best[place] for place in np.random.default_rng(seed).permutation(len(best))]
        # Another prompt says more than another seed.
        first = {scene.rpartition("_")[0]: scene for scene in reversed(order)}
        picked = sorted(list(dict.fromkeys([*reversed(first.values()), *order]))[:number])
    return [_filmstrip(analysis, shown, name == scene) for scene in picked]


def _filmstrip(analysis: Analysis, shown: Sequence[Entrant], rows: object) -> Filmstrip:
    part = analysis.cells[rows]
    first = part.iloc[0]
    strips = []
    for entrant in shown:
        own = part[part["variant"] == entrant.name]
        if own.empty:
            strips.append(Strip(entrant.name, (), "not asked for"))
            continue
        cell = own.iloc[0]
        if cell["state"] != "done":
            reason = cell["error_message"] or cell["state"]
            strips.append(Strip(entrant.name, (), f"{cell['state']}: {reason}"))
            continue
        try:
            frames = frames_of(Path(cell["folder"]) / "video.mp4")
            strips.append(Strip(entrant.name, frames))
        except UserError as error:
            strips.append(Strip(entrant.name, (), str(error)))
    return Filmstrip(
        str(first["prompt_id"]), int(first["seed"]), str(first["prompt_text"]), tuple(strips)
    )


def frames_of(video: Path, width: int = WIDTH) -> tuple[Frame, ...]:
    """The frames at `MOMENTS` of a video, `[H, W, 3]`, at most `width` wide.

    Only the stretch before each frame is decoded, from its key frame on.

    Raises:
        UserError: the video is not there or cannot be decoded.
    """
    import av

    try:
        with av.open(str(video)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # as metrics.stream: the same frames of a truncated file
            count = stream.frames or sum(1 for _ in container.decode(stream))
            found: dict[int, Frame] = {}
            wanted = [round(share * (count - 1)) for _, share in MOMENTS]
            rate, base = stream.average_rate, stream.time_base
            if rate is None or base is None or not count:
                raise UserError(f"{video.name}: no frames")
            begin = stream.start_time or 0
            for index in dict.fromkeys(wanted):
                target = begin + round(index / rate / base)
                container.seek(max(0, target), stream=stream, backward=True)
                last = None
                for frame in container.decode(stream):
                    last = frame
                    if frame.pts is not None and frame.pts >= target:
                        break
                if last is None:
                    raise UserError(f"{video.name}: frame {index} cannot be decoded")
                wide = min(width, last.width)
                high = max(1, round(last.height * wide / last.width))
                scaled = last.reformat(width=wide, height=high, format="rgb24")
                found[index] = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
            return tuple(found[index] for index in wanted)
    except (av.FFmpegError, IndexError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{video.name} cannot be read: {reason}") from None


def draw(filmstrip: Filmstrip) -> Plot:
    """A filmstrip as a plot."""
    strips = filmstrip.strips
    sizes = [strip.frames[0].shape for strip in strips if strip.frames]
    aspect = sizes[0][0] / sizes[0][1] if sizes else 0.6
    # In inches: a layout that makes room for long names would push the first column away.
    across, down = len(MOMENTS), len(strips)
    width, left, between, below, top = 10.5, 0.03, 0.06, 0.27, 0.45
    wide = (width - left - (across - 1) * between) / across
    high = wide * aspect
    height = top + down * high + (down - 1) * below
    figure = Figure(figsize=(width, height))
    spaces = {"wspace": between / wide, "hspace": below / high}
    edges = {"left": left / width, "right": 1.0, "bottom": 0.0, "top": 1 - top / height}
    grid = figure.subplots(down, across, squeeze=False, gridspec_kw={**edges, **spaces})
    for row, strip in enumerate(strips):
        for place, (title, _) in enumerate(MOMENTS):
            panel = grid[row, place]
            panel.set_axis_off()
            if strip.frames:
                panel.imshow(strip.frames[place])
            if row == 0:
                # Above the first name, which may be as long as the row.
                _above(panel, title, 17, fontsize=8, color=FAINT)
        missing = f"  ({strip.missing[:90]})" if strip.missing else ""
        _above(grid[row, 0], strip.variant + missing, 4, fontfamily=MONO, fontsize=7.5)
    cut = f" At most {MOST_VARIANTS} variants are shown." if len(strips) == MOST_VARIANTS else ""
    return Plot(
        filmstrip.name,
        f"{filmstrip.prompt_id}, seed {filmstrip.seed}",
        f"{filmstrip.text}{cut}",
        figure,
    )


def _above(panel: Axes, text: str, points: int, **style: Any) -> None:
    """Words so many points above a frame, from its left edge on."""
    panel.annotate(
        text, (0, 1), (0, points), xycoords="axes fraction", textcoords="offset points", **style
    )
