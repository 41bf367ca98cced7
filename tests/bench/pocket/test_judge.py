"""The pocket judge: faults that were planted are found, and the metric says so."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.pocket import FPS, SIZE, judged, train_judge
from bench.pocket.render import render
from bench.pocket.world import Scene, sample_scene, truth, with_action
from metrics import sets
from metrics.base import Chunk, Reading, ScoringContext, VideoInfo
from metrics.judges import PocketCaption, PocketFrames, slots_of


def test_planted_faults_are_told_apart() -> None:
    judge = PocketFrames()
    judge.load("cpu")
    found = train_judge.measure(judge.network, clips=48)
    assert min(found["auc"].values()) > 0.93, found
    assert min(found["clarity_auc"].values()) > 0.93, found
    assert found["action_accuracy"] > 0.85


def test_the_judges_are_small_and_their_card_says_what_was_measured() -> None:
    assert train_judge.WEIGHTS.stat().st_size < 10e6
    card = train_judge.WEIGHTS.with_suffix(".md").read_text()
    measured = json.loads(train_judge.WEIGHTS.with_suffix(".json").read_text())
    for judge, value in measured["auc"].items():
        assert re.search(rf"\| {judge} \| .* \| {value:.3f} \|", card), judge
        assert value >= 0.95
    assert "Limits" in card


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


@pytest.mark.parametrize("kind", train_judge.DAMAGES)
def test_damage_grows_with_its_degree(kind: str) -> None:
    torch.manual_seed(0)
    frames = render(sample_scene(5), 1).float() / 255
    errors = [
        (train_judge.damage(frames, degree, kind) - frames).abs().mean() for degree in (0.2, 0.9)
    ]
    assert errors[0] < errors[1]


def person_mask(scene: Scene, count: int) -> torch.Tensor:
    true = truth(scene, count)
    rng = np.random.default_rng(0)
    return train_judge.region("person", true.parts, true.visible, rng)


def test_a_damaged_person_leaves_the_rest_as_it_was() -> None:
    scene = sample_scene(900_003)
    clean = render(scene, 12).float() / 255
    mask = person_mask(scene, 12)
    hurt = train_judge.damage_part(clean, 1.0, "blur", mask)
    outside = (mask == 0).expand_as(clean)
    assert 0.2 < float((mask > 0.5).float().mean()) < 0.8
    assert torch.equal(hurt[outside], clean[outside])
    assert not torch.equal(hurt, clean)


@pytest.mark.parametrize("kind", train_judge.DAMAGES)
def test_clarity_falls_where_the_person_alone_is_damaged(kind: str) -> None:
    torch.manual_seed(0)
    scene = sample_scene(900_004)
    clean = render(scene, 12)
    scores = []
    for degree in (0.0, 0.5, 1.0):
        part = train_judge.damage_part(clean / 255.0, degree, kind, person_mask(scene, 12))
        pixels = (255 * part).round().to(torch.uint8)
        scores.append(readings(PocketFrames(), pixels, "")[0].score())
    assert 1 >= scores[0] > scores[1] > scores[2] >= 0, scores
    assert scores[0] - scores[2] > 0.3, scores


def test_the_sheet_shows_what_the_metric_set_scores(tmp_path: Path) -> None:
    scene = with_action(sample_scene(900_005), "wave", "always")
    video = np.ascontiguousarray(render(scene, 60).permute(0, 2, 3, 1).numpy())
    found = judged.curves(judged.judges(), video, scene)
    assert set(found) == set(judged.ROWS)
    items = judged.candidates("clarity", found["clarity"], video, scene)
    at = [int(item.note.split()[1]) for item in items]
    assert at == list(range(6, 60, 6))
    assert [item.score for item in items] == found["clarity"].values[at].tolist()
    assert np.array_equal(items[0].picture, video[6])
    judged.sheet([video], [scene], tmp_path / "judges.png")
    assert Image.open(tmp_path / "judges.png").size[0] > 500
