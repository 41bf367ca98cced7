"""The pocket judge: faults that were planted are found, and the metric says so."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.pocket import FPS, SIZE, train_judge
from bench.pocket.render import render
from bench.pocket.world import sample_scene, with_action
from metrics import sets
from metrics.base import Chunk, Reading, ScoringContext, VideoInfo
from metrics.judges import PocketCaption, PocketFrames, slots_of


def test_planted_faults_are_told_apart() -> None:
    judge = PocketFrames()
    judge.load("cpu")
    found = train_judge.measure(judge.network, clips=48)
    assert min(found["auc"].values()) > 0.93, found
    assert found["action_accuracy"] > 0.85


def readings(
    metric: PocketFrames | PocketCaption, frames: torch.Tensor, prompt: str
) -> list[Reading]:
    pixels = np.ascontiguousarray(frames.permute(0, 2, 3, 1).numpy())
    info = VideoInfo(Path("clip.mp4"), len(pixels), FPS, SIZE, SIZE)
    metric.load("cpu")
    measurement = metric.begin(info, ScoringContext(prompt=prompt))
    for first in range(0, len(pixels), 20):
        measurement.update(Chunk(pixels[first : first + 20], first))
    return list(measurement.finish())


def test_the_right_caption_scores_above_a_wrong_one() -> None:
    scene = with_action(sample_scene(900_001), "jump", "always")
    other = with_action(scene, "nod")
    frames = render(scene, 60)
    right, wrong = (readings(PocketCaption(), frames, s.caption)[0].score() for s in (scene, other))
    assert right > 2 * wrong


def test_a_clean_clip_is_clear_whole_and_one_person() -> None:
    found = readings(PocketFrames(), render(sample_scene(900_002), 40), "")
    assert [reading.metric for reading in found] == ["clarity", "anatomy", "identity"]
    assert all(len(reading.curve) == 40 for reading in found)
    assert found[0].score() > 0.8
    assert found[1].score() > 0.6
    assert found[2].score() > 0.6


def test_a_caption_names_slots() -> None:
    assert slots_of("a person with long grey hair in teal bows down very low twice") == {
        "length": 1, "hair": 4, "shirt": 7, "action": 6,
    }  # fmt: skip
    assert slots_of("nothing of this world") == {}


def test_the_set_has_a_judge_for_what_the_paper_asks_of_people() -> None:
    chosen = sets.load("pocket")
    assert {"pocket-judge", "pocket-caption"} <= set(chosen.backends)
    assert list(chosen.unavailable) == ["aesthetic"]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_damage_grows_with_its_degree(kind: int) -> None:
    torch.manual_seed(0)
    frames = render(sample_scene(5), 1).float() / 255
    errors = [
        (train_judge.damage(frames, degree, kind) - frames).abs().mean() for degree in (0.2, 0.9)
    ]
    assert errors[0] < errors[1]
