"""The pocket world: deterministic, captioned, neutral at first, and worth remembering."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.pocket import FPS, SIZE
from bench.pocket.captions import ACTIONS, words
from bench.pocket.render import render
from bench.pocket.world import PARTS, lights, sample_scene, sway, truth, with_action


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60))
def test_a_scene_and_its_frames_depend_on_the_seed_only(seed: int, first: int) -> None:
    scene = sample_scene(seed)
    assert scene == sample_scene(seed)
    assert torch.equal(render(scene, 5, first), render(scene, 90)[first : first + 5])


def test_scenes_differ() -> None:
    frames = [render(sample_scene(seed), 1) for seed in range(8)]
    assert all(not torch.equal(frames[0], other) for other in frames[1:])


def test_captions_have_one_length_and_a_closed_vocabulary() -> None:
    captions = [sample_scene(seed).caption.split() for seed in range(200)]
    assert {len(caption) for caption in captions} == {13}
    assert {word for caption in captions for word in caption} <= set(words())


def test_the_first_frame_does_not_give_the_action_away() -> None:
    scene = sample_scene(3)
    firsts = [render(with_action(scene, action), 1) for action in ACTIONS]
    assert all(torch.equal(firsts[0], other) for other in firsts[1:])


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_shows_within_a_second_and_a_half(action: str) -> None:
    scene = with_action(sample_scene(4), action, "always")
    moved = np.ptp(truth(scene, int(1.5 * FPS)).parts, axis=0).max()
    assert moved > 3


def test_actions_are_far_apart() -> None:
    scene = sample_scene(5)
    clips = [render(with_action(scene, a, "always"), 48).float() for a in ACTIONS]
    for i, one in enumerate(clips):
        for other in clips[:i]:
            assert (one - other).abs().mean() > 1


def test_counted_actions_end() -> None:
    scene = with_action(sample_scene(6), "jump", "twice")
    found = truth(scene, 10 * FPS)
    assert found.phase.max() == 2
    assert not found.active[-1]
    assert np.allclose(found.parts[-1], truth(scene, 1, first=12 * FPS).parts[0], atol=1)


def test_a_person_who_leaves_is_gone_and_comes_back() -> None:
    visible = truth(with_action(sample_scene(7), "leave", "always"), 4 * FPS).visible[:, 0]
    assert visible[0] and visible[-1] and not visible.all()


def test_truth_says_where_the_hands_are() -> None:
    scene = with_action(sample_scene(8), "wave", "always")
    found = truth(scene, 40)
    drawn = render(scene, 40)
    without = render(scene, 40, hidden=frozenset({"right hand"}))
    changed = (drawn != without).any(1)[30].nonzero().float().mean(0).flip(0)
    place = torch.from_numpy(found.parts[30, PARTS.index("right hand")])
    assert (changed - place).norm() < 6
    assert found.identity.shape == (18,)


def test_what_comes_next_in_the_lights_was_seen_before() -> None:
    scenes = [sample_scene(seed) for seed in range(40)]
    cycling = [scene for scene in scenes if len(scene.lamp) == 3]
    assert len(cycling) > 20
    for scene in cycling:
        shown = lights(scene, 1, 200)
        period = 3 * 4 * scene.lamp_hold
        for slow in (shown.lamp, shown.lantern):
            assert np.array_equal(slow[period:], slow[:-period])
        assert len(scene.sign) == 1 or np.array_equal(shown.sign[12:], shown.sign[:-12])
    assert max(np.abs(sway(scene, 0, 160)).max() for scene in scenes) > 25


def test_panes_fill_latent_cells_and_plain_ones_are_alike() -> None:
    scene, plain = sample_scene(12), sample_scene(12, plain=True)
    assert replace(scene, lamp_panes=(), sign_panes=()) == replace(
        plain, lamp_panes=(), sign_panes=()
    )
    assert all(len(set(panes)) == 1 for panes in (*plain.lamp_panes, *plain.sign_panes))
    cell = SIZE // 12
    frame = render(scene, 1, hidden=frozenset({"person"}))[0, :, : 4 * cell, : 4 * cell]
    panes = frame[:, cell:, cell:].unfold(1, cell, cell).unfold(2, cell, cell).flatten(3)
    assert (panes == panes[..., :1]).all()
    drawn = (255 * torch.tensor(scene.lamp_panes[0])).round().T.view(3, 3, 3)
    assert (panes[..., 0].float() - drawn).abs().max() <= 1


def test_frames_are_bytes_of_the_documented_size() -> None:
    frames = render(sample_scene(9), 3)
    assert frames.shape == (3, 3, SIZE, SIZE)
    assert frames.dtype == torch.uint8
