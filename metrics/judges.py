"""Judges of the pocket world: clarity, anatomy, identity and caption of its cartoon people.

Networks for photographs find no faces and no hands there. These judges are one small network
(`metrics/networks/pocket_judge.py`) trained on the world's ground truth; its weights come with the
suite. They know the pocket world only: on any other video their numbers mean nothing.

- clarity: 1 − the degree of damage (blur, smear, noise, coarse blocks, double contours) where the
  frame is worst, per frame;
- anatomy: the probability that no part of the person is missing, per frame with a person;
- identity: exp(−|a − b|²/2) of identity vectors, each frame's against the input image's, or the
  first person's that is seen;
- semantic: the geometric mean of the probabilities of the caption's words for action, shirt, hair
  and hair length, per window of twelve frames three apart (2.1 s at 16 frames per second).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from metrics.base import (
    Chunk,
    Curve,
    Frames,
    Measurement,
    Metric,
    Reading,
    ScoringContext,
    VideoInfo,
)
from metrics.errors import Undefined
from metrics.forward import Forwards, Item, ready

if TYPE_CHECKING:
    from metrics.networks.pocket_judge import PocketJudge

FILE = Path(__file__).parent / "networks" / "pocket_judge.safetensors"
FRAMES_PER_FORWARD = 16
THERE = 0.5
"""A person is in the frame from this probability on."""

VERBS = ("walks", "waves", "jumps", "nods", "turns", "leaves", "bows", "raises")
WORDS: dict[str, tuple[str, ...]] = {
    "length": ("short", "long"),
    "hair": ("black", "brown", "blonde", "ginger", "grey"),
    "shirt": ("red", "green", "blue", "yellow", "purple", "orange", "white", "teal"),
}
"""The caption's words, in the order of the network's answers."""

Values = npt.NDArray[np.float64]


class _Judge(Metric):
    """What both judges share: the network and what identifies it."""

    network: PocketJudge

    def parameters(self) -> Mapping[str, Any]:
        """The weights' digest stands for everything that was trained."""
        digest = hashlib.sha256(FILE.read_bytes()).hexdigest() if FILE.is_file() else ""
        return {"weights": digest, "group": FRAMES_PER_FORWARD}

    def load(self, device: str) -> None:
        """Read the weights that lie beside the network."""
        from safetensors.torch import load_file

        from metrics.networks.pocket_judge import PocketJudge

        network = PocketJudge()
        network.load_state_dict(load_file(FILE))
        ready(network, device)
        self.network = network

    def answers(self, device: str) -> Any:
        """A function of frames uint8 [n, 3, H, W] to `FrameAnswers`."""
        import torch

        def ask(frames: Item) -> Any:
            with torch.inference_mode():
                return self.network.frames(torch.from_numpy(frames).to(device).float() / 255)

        return ask


def channels_first(frame: Frames) -> Item:
    """Uint8 [H, W, 3] to [3, H, W]."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1))


def of_the_pocket_world(video: VideoInfo) -> None:
    """Raises `Undefined` for frames of a size that the judges were not trained on."""
    from metrics.networks.pocket_judge import SIDE

    if (video.width, video.height) != (SIDE, SIDE):
        raise Undefined(
            f"a judge of the pocket world's {SIDE}×{SIDE} frames: use metrics=lite or metrics=paper"
        )


class PocketFrames(_Judge):
    """Clarity, anatomy and identity, one item per frame."""

    backend = "pocket-judge"
    metrics = ("clarity", "anatomy", "identity")
    protocol = 3
    uses = ("reference",)

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """Identity is compared with the reference image; without one, with the first frame that
        shows a person, which itself has none then."""
        of_the_pocket_world(video)
        return _FrameJudgement(self.answers(context.device), context.reference)


class _FrameJudgement(Measurement):
    def __init__(self, ask: Any, reference: Frames | None) -> None:
        self._reference: Item | None = None
        if reference is not None:
            group = np.stack([channels_first(reference)] * FRAMES_PER_FORWARD)
            self._reference = ask(group).identity[0].cpu().numpy()
        self._forwards: Forwards[int] = Forwards(FRAMES_PER_FORWARD, lambda x: _rows(ask(x)))
        self._rows: list[Item] = []

    def update(self, chunk: Chunk) -> None:
        for offset, frame in enumerate(chunk.frames):
            for _, row in self._forwards.put(chunk.first + offset, channels_first(frame)):
                self._rows.append(row)

    def finish(self) -> Sequence[Reading]:
        self._rows += [row for _, row in self._forwards.rest()]
        rows = np.stack(self._rows).astype(np.float64)
        clarity, whole, there, vectors = rows[:, 0], rows[:, 1], rows[:, 2], rows[:, 3:]
        seen = there >= THERE
        compared, own = seen.copy(), self._reference
        if own is None:
            first = int(seen.argmax())
            compared[first], own = False, vectors[first]
        identity = np.exp(-np.square(vectors - own).sum(1) / 2)
        at = np.arange(len(rows))
        return [
            Reading("clarity", Curve(at, clarity)),
            Reading("anatomy", Curve(at, np.where(seen, whole, np.nan))),
            Reading("identity", Curve(at, np.where(compared, identity, np.nan))),
        ]


def _rows(answers: Any) -> Item:
    """Per frame: clarity, P(no part missing), P(somebody there), the identity vector."""
    import torch

    whole = (1 - answers.missing.sigmoid()).prod(1)
    columns = [1 - answers.damage[:, None], whole[:, None], answers.present.sigmoid()[:, None]]
    rows: Item = torch.cat([*columns, answers.identity], 1).cpu().numpy()
    return rows


def slots_of(prompt: str) -> dict[str, int]:
    """The caption's words as the network's classes; a slot that the prompt does not name is out.

    Example:
        >>> slots_of("a person with short black hair in red jumps up and down always")
        {'length': 0, 'hair': 0, 'shirt': 0, 'action': 2}
    """
    found = {}
    for word in prompt.lower().split():
        if word in VERBS:
            found["action"] = VERBS.index(word)
        for slot, names in WORDS.items():
            if word in names:
                found[slot] = names.index(word)
    return found


class PocketCaption(_Judge):
    """Semantic: how probable the caption's words are, given what is seen."""

    backend = "pocket-caption"
    metrics = ("semantic",)
    needs = ("prompt",)
    uses = ("prompt",)
    span = 34
    min_frames = 34

    def begin(self, video: VideoInfo, context: ScoringContext) -> Measurement:
        """A window begins every twelve frames."""
        of_the_pocket_world(video)
        slots = slots_of(context.prompt or "")
        if not slots:
            raise Undefined("the prompt has no word of the pocket world")
        return _CaptionJudgement(self, context.device, slots)

    def sliceable(self, first: int, video: VideoInfo) -> bool:
        """Windows start anew in a slice that does not begin with one."""
        return first % 12 == 0


class _CaptionJudgement(Measurement):
    def __init__(self, judge: PocketCaption, device: str, slots: dict[str, int]) -> None:
        self._judge, self._device, self._slots = judge, device, slots
        ask = judge.answers(device)
        self._forwards: Forwards[int] = Forwards(
            FRAMES_PER_FORWARD, lambda x: _log_odds(ask(x), slots)
        )
        self._rows: list[Item] = []

    def update(self, chunk: Chunk) -> None:
        for offset, frame in enumerate(chunk.frames):
            index = chunk.first + offset
            if index % 3 == 0:
                for _, row in self._forwards.put(index, channels_first(frame)):
                    self._rows.append(row)

    def finish(self) -> Sequence[Reading]:
        import torch

        self._rows += [row for _, row in self._forwards.rest()]
        rows = np.stack(self._rows)
        starts = list(range(0, len(rows) - 11, 4))
        values = []
        for start in starts:
            part = rows[start : start + 12]
            there, names, features = part[:, 0], part[:, 1], part[:, 2:]
            parts = []
            if "action" in self._slots:
                window = torch.from_numpy(features)[None].to(self._device)
                with torch.inference_mode():
                    odds = self.network_odds(window)
                parts.append(float(odds[self._slots["action"]]))
            count = len(self._slots) - len(parts)
            if count:
                weight = there / max(float(there.sum()), 1e-6)
                parts += [float((weight * names).sum())] * count
            seen = float(there.max()) >= THERE
            values.append(float(np.exp(np.mean(parts))) if seen else np.nan)
        at = 3 * np.asarray(starts, np.int64)
        return [Reading("semantic", Curve(at, np.asarray(values, np.float64), 34))]

    def network_odds(self, window: Any) -> Any:
        """Log-probabilities [8] of the actions in a window of features [1, 12, 96]."""
        return self._judge.network.actions(window).log_softmax(1)[0].cpu()


def _log_odds(answers: Any, slots: dict[str, int]) -> Item:
    """Per frame: P(somebody there), mean log-probability of the named slots, the features."""
    import torch

    named = [
        answers.slots[slot].log_softmax(1)[:, word] for slot, word in slots.items() if slot in WORDS
    ]
    there = answers.present.sigmoid()
    names = torch.stack(named).mean(0) if named else torch.zeros_like(there)
    rows: Item = torch.cat([there[:, None], names[:, None], answers.features], 1).cpu().numpy()
    return rows
