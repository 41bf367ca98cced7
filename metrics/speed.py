"""What scoring costs: decodes, memory and time. The metrics' part of `make bench`.

    python -m metrics.speed                     the lite set
    python -m metrics.speed --backends dis classical --pairs 3
    python -m metrics.speed --set paper         its networks with random weights, memory only

- decodes per video, counted where decoding starts;
- peak memory of a fresh process that scores 60 s against one that scores 5 s, same resolution;
- time per video against the straightforward way (`metrics.straightforward`): same weights, same
  precision, all cores, plain networks. Measured in pairs, one after the other, so that a busy
  machine slows both. Both sides' processor time stands beside the time on the clock, and so does
  the ratio without the start and the end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from metrics.clock import Clock, Spent
from metrics.one_pass import usable_cores
from metrics.score import Job, Scorer
from metrics.sets import load
from metrics.stream import Video

SHORT, LONG = 5.0, 60.0
"""Seconds of video whose peak memory is compared."""

WARM = 0.5
"""Seconds of the video that networks run on before they are timed."""

LITE_MEMORY = (12.0, 320)
PAPER_MEMORY = (4.0, 160)
"""Frames a second and width of these videos: as many frames as the networks see in minutes."""

CLIP = Path(__file__).parents[1] / "tests" / "media" / "single_face.mp4"


def repeated_clip(
    path: Path, seconds: float, source: Path = CLIP, fps: float | None = None, width: int = 0
) -> None:
    """A video of that length: a real clip, forward and backward, again and again.

    `fps` and `width` (pixels; the height follows) replace the clip's own.
    """
    import av
    import cv2

    with Video(source) as video:
        frames = np.concatenate([chunk.frames for chunk in video.chunks(16)])
        rate = Fraction(fps or video.info.fps).limit_denominator(1001)
    if width:
        size = (width, round(width * frames.shape[1] / frames.shape[2] / 2) * 2)
        small = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames]
        frames = np.stack(small).astype(np.uint8)
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "20", "preset": "ultrafast"}
        for index in range(round(seconds * float(rate))):
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
    """Bytes that a fresh process needs at most to score a video; random weights where asked."""
    program = f"from metrics.speed import score_and_tell; score_and_tell({backends!r})"
    done = subprocess.run(
        [sys.executable, "-c", program, str(video)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[1],
        env={**os.environ},
    )
    if done.returncode:
        raise RuntimeError((done.stderr.splitlines() or ["the process ended"])[-1])
    return int(done.stdout.split()[-1])


def score_and_tell(backends: Sequence[str]) -> None:
    """The fresh process: score the video that the command line names, print the peak in bytes.

    Back-ends of the paper's set get small random networks where their files are missing.
    """
    from metrics import unweighted

    with (
        unweighted.networks(small=True) if set(backends) & set(unweighted.BACKENDS) else ExitStack()
    ):
        scores = Scorer(backends, device="cpu").score(
            Job(Path(sys.argv[1]), Path(sys.argv[1]).parent, prompt="a person speaks")
        )
    broken = [row.reason for row in scores.rows if row.status in ("failed", "unavailable")]
    if broken:
        raise SystemExit(f"not everything was measured: {broken[0]}")
    print(peak_of_this_process())


def peak_of_this_process() -> int:
    """Resident bytes at most, since the program began."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss begins with what the parent process had
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


@dataclass(frozen=True)
class Pair:
    """One video scored both ways, one after the other."""

    one_pass: Spent
    whole: Spent
    """Straightforward, the whole video."""
    parts: Spent
    """Straightforward, its start and its end."""

    @property
    def straightforward(self) -> Spent:
        """For the same numbers as one pass gives."""
        return self.whole + self.parts


def times(scorer: Scorer, video: Path, pairs: int, warm: Path) -> list[Pair]:
    """Time both ways, in turn, after each has loaded and run its networks on the video `warm`."""
    # Imported here: a process whose memory is measured must not have the plain networks, too.
    from metrics.straightforward import plain, straightforward

    beside = plain(scorer)
    scorer.score(Job(warm, warm.parent))
    straightforward(beside, warm)
    found = []
    for number in range(pairs):
        begun = Clock()
        scorer.score(Job(video, video.parent))
        one = begun.spent()
        found.append(Pair(one, *straightforward(beside, video)))
        print(f"  pair {number + 1}: {_line(found[-1:])}", flush=True)
    return found


def _line(pairs: Sequence[Pair]) -> str:
    def middle(value: Callable[[Pair], float]) -> float:
        return statistics.median(value(pair) for pair in pairs)

    return (
        f"{middle(lambda p: p.one_pass.clock):.1f} s in one pass, "
        f"{middle(lambda p: p.straightforward.clock):.1f} s straightforward "
        f"(processor {middle(lambda p: p.one_pass.processor):.1f} s, "
        f"{middle(lambda p: p.straightforward.processor):.1f} s; "
        f"without start and end {middle(lambda p: p.whole.clock):.1f} s)"
    )


def machine() -> str:
    """What measured, and how busy it was."""
    import torch

    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return f"{usable_cores()} cores, torch {torch.get_num_threads()} threads, load {load}"


def memory_claim(backends: Sequence[str], fps: float, width: int, folder: Path) -> bool:
    """Print the peaks of a short and of a long video; whether the bound holds."""
    peaks = []
    for seconds in (SHORT, LONG):
        path = folder / f"{seconds:g}.mp4"
        repeated_clip(path, seconds, fps=fps, width=width)
        peaks.append(peak_memory(path, backends))
    ratio = peaks[1] / peaks[0]
    with Video(path) as video:
        frame = video.info.width * video.info.height * 3
    more = (peaks[1] - peaks[0]) / ((LONG - SHORT) * fps)
    print(
        f"peak memory at {width} pixels, {fps:g} frames a second ({', '.join(backends)}): "
        f"{peaks[0] / 2**20:.0f} MiB for {SHORT:g} s, {peaks[1] / 2**20:.0f} MiB for {LONG:g} s: "
        f"{ratio:.3f} (promised: at most 1.1); {more / 1024:+.1f} KiB a frame "
        f"(of {frame / 1024:.0f} KiB)",
        flush=True,
    )
    return ratio <= 1.1


def main(arguments: list[str]) -> int:
    """Measure and print; the exit status says whether the promised bounds hold."""
    from metrics import unweighted

    parser = argparse.ArgumentParser(prog="python -m metrics.speed")
    parser.add_argument("--set", default="lite", choices=("lite", "paper"))
    parser.add_argument("--backends", nargs="*", help="these alone, instead of the set's")
    parser.add_argument("--pairs", type=int, help="default: 3; 0 for the paper's set")
    parser.add_argument("--seconds", type=float, default=SHORT, help="of the timed video")
    parser.add_argument("--width", type=int, default=0, help="of the timed video, pixels")
    parser.add_argument("--no-memory", action="store_true")
    chosen = parser.parse_args(arguments)
    paper = chosen.set == "paper"
    backends = list(chosen.backends or (unweighted.BACKENDS if paper else load("lite").backends))
    pairs = (0 if paper else 3) if chosen.pairs is None else chosen.pairs
    held = True
    print(f"set {chosen.set}: {', '.join(backends)}\n{machine()}", flush=True)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        if not chosen.no_memory:
            fps, width = PAPER_MEMORY if paper else LITE_MEMORY
            held &= memory_claim(backends, fps, width, folder)
        if paper:
            stack.enter_context(unweighted.networks())
        if pairs:
            held &= time_claim(Scorer(backends), chosen.seconds, chosen.width, pairs, folder)
    return 0 if held else 1


def time_claim(scorer: Scorer, seconds: float, width: int, pairs: int, folder: Path) -> bool:
    """Print decodes and both ways' times; whether the bounds hold."""
    video = folder / "timed.mp4"
    repeated_clip(video, seconds, width=width)
    count = decodes(scorer, video)
    print(f"decodes per video: {count} (promised: 1)", flush=True)
    warm = folder / "warm.mp4"
    repeated_clip(warm, WARM, width=width)
    found = times(scorer, video, pairs, warm)
    ratio = statistics.median(pair.one_pass.clock / pair.straightforward.clock for pair in found)
    work = statistics.median(
        pair.one_pass.processor / pair.straightforward.processor for pair in found
    )
    alone = statistics.median(pair.one_pass.clock / pair.whole.clock for pair in found)
    with Video(video) as opened:
        size = f"{opened.info.width}×{opened.info.height}, {opened.info.fps:g} frames a second"
    print(
        f"time per video of {seconds:g} s, {size}, {pairs} pairs: {_line(found)}: ratio "
        f"{ratio:.2f} (promised: at most 0.5); of processor time {work:.2f}, "
        f"to the whole video alone {alone:.2f}; {machine()}",
        flush=True,
    )
    return count == 1 and ratio <= 0.5


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
