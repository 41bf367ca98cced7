"""What scoring costs: decodes, memory and time. The metrics' part of `make bench`.

    python -m metrics.speed                     the lite set
    python -m metrics.speed --backends dis classical --pairs 3

- decodes per video, counted where decoding starts;
- peak memory of a fresh process that scores 60 s against one that scores 5 s, same resolution;
- time per video against the straightforward way: every metric decodes the video for itself, gives
  its network one frame (pair, crop) at a time, and is run three times, on the video and on its
  start and end cut out. Measured in pairs, one after the other, so that a busy machine slows both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from unittest import mock

import numpy as np

from metrics.base import Chunk, Groups, ScoringContext
from metrics.drift import segment_length
from metrics.errors import MetricError
from metrics.score import Job, Scorer
from metrics.sets import load
from metrics.stream import Video

SHORT, LONG = 5.0, 60.0
"""Seconds of video whose peak memory is compared."""

CLIP = Path(__file__).parents[1] / "tests" / "media" / "single_face.mp4"


def repeated_clip(path: Path, seconds: float, source: Path = CLIP) -> None:
    """A video of that length: a real clip, forward and backward, again and again."""
    import av

    with Video(source) as video:
        frames = np.concatenate([chunk.frames for chunk in video.chunks(16)])
        fps = Fraction(video.info.fps).limit_denominator(1001)
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "ultrafast"}
        for index in range(round(seconds * float(fps))):
            picture = frames[there_and_back[index % len(there_and_back)]]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def decodes(scorer: Scorer, video: Path) -> int:
    """Times that scoring one video starts a decoder."""
    before = Video.decodes
    scorer.score(Job(video, video.parent))
    return Video.decodes - before


def peak_memory(video: Path, backends: Sequence[str]) -> int:
    """Bytes that a fresh process needs at most to score a video."""
    program = (
        "import resource, sys; from metrics.score import score_video; "
        "score_video(sys.argv[1], sys.argv[2:], device='cpu'); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(video), *backends],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ},
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout.split()[-1]) * unit


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Networks get one item a forward."""
    original = Groups.__init__

    def single(self: Groups, size: int) -> None:
        original(self, 1)

    with mock.patch.object(Groups, "__init__", single):
        yield


def straightforward(scorer: Scorer, video: Path) -> None:
    """Every metric by itself: a decode, batch 1, and again on the start and the end cut out."""
    with one_at_a_time():
        for metric in scorer.metrics:
            with Video(video) as opened:
                info = opened.info
                frames = np.concatenate([chunk.frames for chunk in opened.chunks(1)])
            length = segment_length(len(frames), scorer.fraction, metric.min_frames)
            for part in (frames, frames[:length], frames[-length:]):
                context = ScoringContext(device=scorer.device)
                try:
                    measurement = metric.begin(replace(info, frames=len(part)), context)
                    for index in range(len(part)):
                        measurement.update(Chunk(part[index : index + 1], index))
                    measurement.finish()
                except MetricError:
                    continue


@dataclass(frozen=True)
class Times:
    """Seconds per video, by pairs."""

    one_pass: tuple[float, ...]
    straightforward: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median over pairs of one pass ÷ straightforward."""
        pairs = zip(self.one_pass, self.straightforward, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)


def times(scorer: Scorer, video: Path, pairs: int) -> Times:
    """Time both ways, in turn, after one untimed run that loads what is loaded once."""
    scorer.score(Job(video, video.parent))
    ours, theirs = [], []
    for _ in range(pairs):
        begun = time.perf_counter()
        scorer.score(Job(video, video.parent))
        between = time.perf_counter()
        straightforward(scorer, video)
        ours.append(between - begun)
        theirs.append(time.perf_counter() - between)
    return Times(tuple(ours), tuple(theirs))


def main(arguments: list[str]) -> int:
    """Measure and print; the exit status says whether the promised bounds hold."""
    parser = argparse.ArgumentParser(prog="python -m metrics.speed")
    parser.add_argument("--backends", nargs="*", default=list(load("lite").backends))
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=SHORT, help="of the timed video")
    parser.add_argument("--no-memory", action="store_true")
    chosen = parser.parse_args(arguments)
    scorer = Scorer(chosen.backends)
    held = True
    with tempfile.TemporaryDirectory() as folder:
        timed, short, long = (Path(folder) / f"{name}.mp4" for name in ("timed", "short", "long"))
        repeated_clip(timed, chosen.seconds)
        count = decodes(scorer, timed)
        print(f"decodes per video: {count} (promised: 1)")
        held &= count == 1
        if not chosen.no_memory:
            repeated_clip(short, SHORT)
            repeated_clip(long, LONG)
            peaks = [peak_memory(path, chosen.backends) for path in (short, long)]
            ratio = peaks[1] / peaks[0]
            print(
                f"peak memory: {peaks[0] / 2**20:.0f} MiB for {SHORT:g} s, "
                f"{peaks[1] / 2**20:.0f} MiB for {LONG:g} s: {ratio:.3f} (promised: at most 1.1)"
            )
            held &= ratio <= 1.1
        if chosen.pairs:
            measured = times(scorer, timed, chosen.pairs)
            print(
                f"time per video of {chosen.seconds:g} s, {chosen.pairs} pairs: "
                f"{statistics.median(measured.one_pass):.1f} s in one pass, "
                f"{statistics.median(measured.straightforward):.1f} s straightforward: "
                f"{measured.ratio:.2f} (promised: at most 0.5)"
            )
            held &= measured.ratio <= 0.5
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
