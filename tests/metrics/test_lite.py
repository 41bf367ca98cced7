"""The lite set: each estimator against what is known, then real faces and bodies."""

from pathlib import Path

import numpy as np
import pytest

from metrics import anatomy_lite, clarity_classical, damage, registry, weights
from metrics.base import Chunk, ScoringContext, VideoInfo
from metrics.errors import Undefined
from metrics.stream import Video

GOLDEN = Path(__file__).parent / "golden" / "landmarks.npz"


@pytest.fixture(scope="session")
def first_frames(media):
    def take(clip, count):
        with Video(media / f"{clip}.mp4") as video:
            return next(video.chunks(count)).frames

    return take


def grey(frames):
    return frames[..., 1].astype(np.float32)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 15.0])
def test_noise_level_is_that_of_the_noise(first_frames, sigma):
    clean = first_frames("single_face", 1)[0]
    noisy = clean[..., 1] + np.random.default_rng(0).normal(0, sigma, clean.shape[:2])
    estimate = clarity_classical.noise_level(noisy.astype(np.float32))
    assert estimate == pytest.approx(sigma, rel=0.12)


def test_sharpness_ignores_contrast_and_hardly_sees_noise(first_frames):
    frame = grey(first_frames("carphone_pristine", 1)[0])
    ratio = clarity_classical.band_ratio(frame, 0.0)
    assert clarity_classical.band_ratio(frame * 0.5 + 30, 0.0) == pytest.approx(ratio, rel=0.02)
    noisy = frame + np.random.default_rng(0).normal(0, 8, frame.shape).astype(np.float32)
    assert clarity_classical.band_ratio(noisy, 8.0) == pytest.approx(ratio, rel=0.1)


def test_coherence_is_of_what_is_smeared_along_one_direction(first_frames):
    frame = grey(first_frames("carphone_pristine", 1)[0])
    stripes = np.broadcast_to(frame[:1], frame.shape)
    assert clarity_classical.coherence(stripes, 0.0) > 0.99
    assert clarity_classical.coherence(stripes.T, 0.0) > 0.99
    noise = np.random.default_rng(0).normal(0, 8, frame.shape).astype(np.float32)
    assert clarity_classical.coherence(noise + 128, 0.0) < 0.05
    both = clarity_classical.coherence(stripes + noise, 8.0)
    assert both > clarity_classical.coherence(stripes + noise, 0.0) + 0.1
    assert clarity_classical.coherence(np.full_like(frame, 128), 0.0) == 0


def test_block_steps_are_found_at_any_grid_position():
    dice = np.random.default_rng(0)
    smooth = np.cumsum(dice.normal(0, 1, (64, 160)), axis=1).astype(np.float32)
    blocks = smooth + np.repeat(dice.normal(0, 20, (8, 20)), 8, 0).repeat(8, 1).astype(np.float32)
    clean = clarity_classical.block_steps(smooth)
    assert clarity_classical.block_steps(blocks) > 10 * clean
    shifted = clarity_classical.block_steps(blocks[:, 3:])
    assert shifted == pytest.approx(clarity_classical.block_steps(blocks), rel=0.1)


@pytest.mark.parametrize("name", ["blur", "motion_blur", "noise", "jpeg"])
def test_clarity_falls_with_rising_damage(first_frames, name):
    frames = first_frames("carphone_pristine", 2)
    levels = {
        "blur": (0, 1, 2, 4),
        "motion_blur": (0, 3, 9, 25),
        "noise": (0, 5, 15, 40),
        "jpeg": (0, 50, 80, 95),
    }[name]
    apply = getattr(damage, name)
    values = [
        np.mean([clarity_classical.clarity(frame) for frame in apply(frames, level)])
        for level in levels
    ]
    assert values == sorted(values, reverse=True)


def test_fine_texture_is_no_noise():
    # Grass or a façade leaves little of a frame flat; taken for noise, blur would be a cleaning.
    import cv2

    leaves = np.random.default_rng(0).normal(0, 1, (160, 320)).astype(np.float32)
    texture = cv2.GaussianBlur(leaves, (0, 0), 0.8)
    frame = np.full((200, 320), 120, np.float32)
    frame[:160] += 30 * texture / texture.std()
    assert clarity_classical.noise_level(frame) < 1
    frames = np.repeat(frame.clip(0, 255).round().astype(np.uint8)[None, ..., None], 3, axis=3)
    values = [
        clarity_classical.clarity(damage.blur(frames, sigma)[0]) for sigma in (0, 0.7, 1, 1.5, 3)
    ]
    assert values == sorted(values, reverse=True)


def test_a_few_wrong_pixels_are_noise(first_frames):
    frame = first_frames("single_face", 1)[0]
    places = np.random.default_rng(0).random(frame.shape[:2])
    values = []
    for share in (0, 0.001, 0.003, 0.01, 0.03):
        salted = frame.copy()
        salted[places < share / 2] = 0
        salted[places > 1 - share / 2] = 255
        values.append(clarity_classical.clarity(salted))
    assert values == sorted(values, reverse=True)


def test_flow_finds_a_known_shift(measure):
    dice = np.random.default_rng(0)
    import cv2

    ground = cv2.resize(dice.integers(0, 255, (40, 60, 3), dtype=np.uint8), (480, 320))
    frames = np.stack([ground[20:220, 20 + 6 * i : 320 + 6 * i] for i in range(6)])
    found = measure(registry.build("dis"), frames, fps=8.0)
    assert found["dynamic_magnitude"].score() == pytest.approx(6.0, abs=0.5)
    assert found["dynamic"].score() == 1.0
    still = measure(registry.build("dis"), np.repeat(frames[:1], 6, axis=0), fps=8.0)
    assert still["dynamic"].score() == 0.0


@pytest.mark.parametrize(("fps", "needed"), [(30.0, 5), (24.0, 4), (16.0, 3), (8.0, 2)])
def test_dynamic_needs_two_samples_of_the_videos_own_rate(fps, needed):
    video = VideoInfo(Path("clip.mp4"), 9, fps, 96, 64)
    assert registry.build("dis").frames_needed(video) == needed
    assert registry.build("raft-large").frames_needed(video) == needed


def test_a_cast_lowers_colour_against_the_input_image_only(measure, first_frames):
    frames = first_frames("carphone_pristine", 6)
    cast = damage.colour_cast(frames, 30)
    metric = registry.build("lab-moments")
    assert measure(metric, cast, reference=frames[0])["colour"].score() < 0.85
    assert measure(metric, cast)["colour"].score() > 0.97
    assert measure(metric, cast)["cast"].score() > measure(metric, frames)["cast"].score() + 5


def test_frozen_frames_are_seen_and_sensor_noise_is_not_frozen(measure, first_frames):
    frames = first_frames("single_face", 24)
    metric = registry.build("frame-difference")
    assert measure(metric, frames)["change"].score() == 1.0
    # Of every four frames two repeat: of 23 pairs 11 remain that change.
    assert measure(metric, damage.freeze(frames, 0.5))["change"].score() == 11 / 23


def test_natural_scene_models_read_their_published_parameters(carried, first_frames, measure):
    carried("brisque-svm")
    frames = first_frames("carphone_pristine", 1)
    metric = registry.build("brisque")
    metric.load("cpu")
    clean = measure(metric, frames)["clarity"].score()
    blurred = measure(metric, damage.blur(frames, 3))["clarity"].score()
    assert 0.6 < clean < 0.95 and blurred < clean - 0.3


@pytest.mark.parametrize(
    ("name", "golden", "worst"),
    [
        ("blaze-pose-detector", "pose_detection", 1e-4),
        ("blaze-pose-landmarks", "pose_landmark_full", 1e-3),
        ("blaze-hand-landmarks", "hand_landmark_full", 1e-4),
        ("blaze-face-landmarks", "face_landmark", 1e-4),
    ],
)
def test_landmark_models_in_torch_equal_litert(carried, name, golden, worst):
    import torch

    from metrics.networks.landmark_graph import LandmarkGraph

    (path,) = carried(name)
    graph = LandmarkGraph(path)
    size = graph.input_size[0]
    y, x = np.mgrid[0:size, 0:size] / size
    image = np.stack([np.sin(7 * x + 3 * y), np.cos(5 * y - 2 * x), np.sin(11 * x * y)], -1)
    answers = graph(torch.from_numpy(image[None].astype(np.float32) * 0.5 + 0.5))
    with np.load(GOLDEN) as expected:
        for position, answer in enumerate(answers):
            wanted = expected[f"{golden}.{position}"]
            flat = answer.reshape(-1).numpy()
            found = flat[:: max(1, len(flat) // 150)]
            assert np.abs(found - wanted).max() <= worst * max(1.0, np.abs(wanted).max())


def test_faces_of_one_person_are_alike_and_of_two_are_not(carried, first_frames, measure):
    carried("yunet", "mobilefacenet")
    metric = registry.build("mobilefacenet")
    metric.load("cpu")
    first, second = first_frames("single_face", 6), first_frames("carphone_pristine", 6)
    same = measure(metric, first, reference=first[0])
    assert same["identity"].score() > 0.8 and same["identity_rate"].score() == 1.0
    swapped = damage.swap_face(second[0])(first, 1.0)
    other = measure(metric, swapped, reference=first[0])
    assert other["identity"].score() < 0.5 and other["identity_rate"].score() < 0.5
    ten = np.concatenate([np.concatenate([first[:2, 40:340:2, 170:430:2]] * 5, axis=2)] * 2, axis=1)
    assert measure(metric, ten)["identity"].score() > 0.8
    with pytest.raises(Undefined, match="no face"):
        measure(metric, np.full((4, 96, 96, 3), 120, np.uint8))


def test_a_whole_person_has_a_whole_anatomy_and_no_people_leave_it_undefined(
    carried, first_frames, measure
):
    metric = registry.build("blaze-landmarks")
    carried(*metric.weights)
    metric.load("cpu")
    whole = measure(metric, first_frames("carphone_pristine", 5))["anatomy"]
    assert whole.score() > 0.95 and whole.covered() == 1.0
    with pytest.raises(Undefined, match="no people"):
        measure(metric, np.full((4, 96, 96, 3), 120, np.uint8))


def test_the_landmark_models_ask_for_exact_arithmetic_without_other_networks(monkeypatch):
    import torch

    from metrics.networks import landmark_graph

    monkeypatch.setattr(weights, "get", lambda name: Path(name))
    monkeypatch.setattr(landmark_graph, "LandmarkGraph", lambda *arguments: None)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.deterministic = False
    anatomy_lite.BlazeLandmarks().load("cuda")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.deterministic


def test_a_turned_region_cuts_what_it_names():
    frame = np.zeros((100, 120, 3), dtype=np.uint8)
    frame[40:60, 70:74] = 255  # a bar to the right of the centre
    region = anatomy_lite.Region(60.0, 50.0, 40.0, up=(1.0, 0.0))
    crop = region.cut(frame, 80)
    assert crop[20:24].mean() > 5 * crop[50:].mean() + 0.1  # right became up
    points = np.array([[0.0, 0.0], [80.0, 13.0], [40.0, 40.0]])
    matrix = region.matrix(80)
    assert np.allclose(region.back(points, 80) @ matrix[:, :2].T + matrix[:, 2], points)
    assert np.allclose(region.back(points[2:], 80), [[60, 50]])


def test_limbs_of_very_different_length_are_not_plausible():
    world = np.zeros((33, 3))
    world[[13, 14], 1] = 0.3
    in_view = np.zeros(33, dtype=bool)
    in_view[[11, 12, 13, 14]] = True
    assert anatomy_lite.plausible(world, in_view)
    world[14, 1] = 0.7
    assert not anatomy_lite.plausible(world, in_view)
    in_view[14] = False
    assert anatomy_lite.plausible(world, in_view)


@pytest.mark.parametrize("backend", ["mobilefacenet", "blaze-landmarks", "rife"])
def test_networks_give_the_same_bits_in_any_chunk(carried, first_frames, backend):
    metric = registry.build(backend)
    carried(*metric.weights)
    metric.load("cpu")
    frames = first_frames("carphone_pristine", 13)
    video = VideoInfo(Path("clip.mp4"), len(frames), 30.0, frames.shape[2], frames.shape[1])
    found = []
    for chunk in (13, 3):
        measurement = metric.begin(video, ScoringContext())
        for first in range(0, len(frames), chunk):
            measurement.update(Chunk(frames[first : first + chunk], first))
        found.append(measurement.finish()[0].curve.values)
    assert np.array_equal(*found, equal_nan=True)
