"""What the pocket judges make of their network's answers; tests/bench asks the network itself."""

from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.base import ScoringContext, VideoInfo
from metrics.errors import Undefined
from metrics.judges import PocketCaption, PocketFrames
from metrics.networks.pocket_judge import FrameAnswers


@pytest.fixture
def judge(monkeypatch):
    """Sees a person in frames with green, whose identity is their red; else one without meaning."""

    def ask(frames):
        red, green = (torch.from_numpy(frames[:, k].mean((1, 2))).float() for k in (0, 1))
        fields = dict.fromkeys(FrameAnswers.__dataclass_fields__, torch.zeros(len(frames), 1))
        return FrameAnswers(
            **{
                **fields,
                "damage": torch.zeros(len(frames)),
                "present": torch.where(green > 0, 9.0, -9.0),
                "identity": (red / 100)[:, None],
            }
        )

    monkeypatch.setattr(PocketFrames, "answers", lambda self, device: ask)
    return PocketFrames()


def frames(*colours):
    """96 × 96 pixels each, of (red, green)."""
    made = np.zeros((len(colours), 96, 96, 3), np.uint8)
    made[..., :2] = np.array(colours)[:, None, None]
    return made


def test_without_an_input_image_identity_is_compared_with_the_first_person_seen(judge, measure):
    shown = frames((200, 0), (50, 255), (50, 255), (150, 255))
    found = measure(judge, shown)["identity"].curve.values
    np.testing.assert_allclose(found, [np.nan, np.nan, 1, np.exp(-0.5)], rtol=1e-6)
    found = measure(judge, shown, reference=frames((150, 255))[0])["identity"].curve.values
    np.testing.assert_allclose(found, [np.nan, np.exp(-0.5), np.exp(-0.5), 1], rtol=1e-6)


@pytest.mark.parametrize("size", [(640, 360), (96, 160)])
@pytest.mark.parametrize("judge", [PocketFrames, PocketCaption])
def test_frames_of_another_size_are_not_the_pocket_worlds(judge, size, monkeypatch):
    monkeypatch.setattr(judge, "answers", lambda self, device: None)
    video = VideoInfo(Path("clip.mp4"), 60, 16.0, *size)
    with pytest.raises(Undefined, match="96×96 frames: use metrics=lite or metrics=paper"):
        judge().begin(video, ScoringContext(prompt="a person in red walks"))
