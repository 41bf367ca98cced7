"""The paper set's metrics of frames and pairs equal VBench's, whatever the chunks.

Golden values come from VBench's own code on the same frames (golden/README.md). Networks are small
and random, or full and drawn; no weight file is needed.
"""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics import dynamic as dynamic_module
from metrics.aesthetic import LaionLinear, LaionMlp
from metrics.base import VideoInfo
from metrics.clarity import MusiqSpaq, musiq_input
from metrics.clip_frames import clip_input, image_features, load_clip
from metrics.consistency import ClipBackground, DinoSubject, dino_features, dino_input, likeness
from metrics.dynamic import MULTIPLE, RaftLarge, SampledPairs
from metrics.dynamic_degree import is_dynamic, pair_magnitude, threshold
from metrics.errors import Undefined
from metrics.forward import Forwards, centred_padding
from metrics.motion import AmtS, Rife, Triplets, smoothness
from metrics.networks.amt import AMTSmall
from metrics.networks.rife import RIFE
from metrics.networks.viclip import Size, ViCLIP
from metrics.semantic import ClipMean, ViClip, middle_frames

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
CLIPS = {"face": "single_face", "carphone": "carphone_pristine", "bikes": "bikes"}
PARITY = 1e-4


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawn = _beside("drawn_weights")
real_frames = _beside("real_frames").real_frames


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "preprocessing.npz")


@pytest.fixture(scope="module")
def rules():
    return np.load(GOLDEN / "rules.npz")


@pytest.fixture(scope="module")
def carphone(media):
    return real_frames(media / "carphone_pristine.mp4", 11)


def drawn_network(network, label, gain=1.0):
    network.load_state_dict(drawn.drawn_state(network.state_dict(), label, gain))
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def tiny_clip():
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    clip = CLIP(
        768,
        CLIPVisionCfg(layers=2, width=64, head_width=32, patch_size=32, image_size=224),
        CLIPTextCfg(width=64, heads=2, layers=2),
        quick_gelu=True,
    )
    return drawn_network(clip, "clip-tiny")


# --- what the networks are given ---------------------------------------------------------------


@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize(
    ("name", "prepare"),
    [
        ("clarity", musiq_input),
        ("clip", clip_input),
        ("viclip", lambda frame: clip_input(frame, rounded=True)),
        ("dino", dino_input),
    ],
)
def test_frames_are_prepared_as_vbench_prepares_them(media, golden, clip, name, prepare):
    frames = real_frames(media / f"{CLIPS[clip]}.mp4", 3, every=20)
    ours = np.stack([prepare(frame) for frame in frames])
    assert ours.shape[-2:] == tuple(golden[f"{clip}-{name}-size"])
    np.testing.assert_allclose(ours[:, :, ::16, ::16], golden[f"{clip}-{name}"], atol=PARITY)
    np.testing.assert_allclose(
        ours.astype(np.float64).mean((2, 3)), golden[f"{clip}-{name}-means"], atol=PARITY
    )


def test_bicubic_overshoot_survives_on_floats_and_not_on_bytes():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::8] = 255
    white = (1 - 0.48145466) / 0.26862954
    assert clip_input(stripes)[0].max() > white + 0.1
    assert clip_input(stripes, rounded=True)[0].max() == pytest.approx(white, abs=1e-5)


def test_small_frames_are_never_enlarged_for_clarity():
    assert musiq_input(np.zeros((30, 512, 3), np.uint8)).shape == (3, 30, 512)
    assert musiq_input(np.zeros((513, 30, 3), np.uint8)).shape == (3, 512, 29)


# --- subject and background consistency ---------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("source", [*CLIPS, "square"])
def test_dino_features_equal_the_reference_for_frames_of_any_shape(media, golden, source):
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(num_classes=0, embed_dim=96, depth=3, num_heads=3)
    network = drawn_network(network, "dino-a")
    if source == "square":
        noise = drawn.generator("dino-a|square").standard_normal((2, 3, 224, 224))
        images = torch.from_numpy(noise).float()
    else:
        frames = real_frames(media / f"{CLIPS[source]}.mp4", 3, every=20)
        images = torch.from_numpy(np.stack([dino_input(frame) for frame in frames]))
    reference = golden[f"{source}-dino-features"]
    error = np.abs(dino_features(network, images).numpy() - reference).max()
    assert error / np.abs(reference).max() < 1e-5


def test_likeness_counts_opposite_features_as_zero():
    one, other = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert likeness(one, one, one) == 1
    assert likeness(one, other, one) == 0.5
    assert likeness(one, -one, -one) == 0


def test_consistency_of_a_still_video_is_one(tiny_clip, carphone, measure):
    metric = ClipBackground()
    metric.clip = tiny_clip
    still = np.repeat(carphone[:1], 5, axis=0)
    reading = measure(metric, still)["background_consistency"]
    assert len(reading.curve) == 4
    assert reading.score() == pytest.approx(1, abs=1e-6)


# --- motion and dynamic -------------------------------------------------------------------------


@pytest.mark.parametrize("count", [9, 8, 5])
def test_motion_equals_vbench_on_a_real_clip(carphone, rules, measure, count):
    metric = AmtS()
    metric.network = drawn_network(AMTSmall(), "amt-a", 0.6)
    reading = measure(metric, carphone[:count], chunk=3)["motion"]
    assert reading.score() == pytest.approx(float(rules[f"motion-{count}"]), abs=PARITY)
    assert reading.curve.frames.tolist() == list(range(0, count - 2, 2))


def test_smoothness_is_one_for_equal_frames_and_zero_for_opposite_ones():
    black, white = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)
    assert smoothness(white, white) == 1
    assert smoothness(black, white) == 0


def test_triplets_of_a_slice_are_the_videos_only_from_an_even_frame():
    assert AmtS().sliceable(4, None)
    assert not Rife().sliceable(5, None)


class FrameAverage(Rife):
    """The rule of Motion with the simplest interpolation there is."""

    def begin(self, video, context):
        def average(pairs):
            return pairs.mean(axis=1).astype(np.uint8)

        return Triplets(Forwards(4, average))


class MeanDifference(RaftLarge):
    """The rule of Dynamic with a pair's mean difference for its flow."""

    def begin(self, video, context):
        def difference(pairs):
            return np.abs(pairs[:, 0].astype(float) - pairs[:, 1]).mean(axis=(1, 2, 3))

        return SampledPairs(video, Forwards(4, difference))


@pytest.mark.parametrize(
    ("metric", "name", "phase"),
    [(FrameAverage(), "motion", 2), (MeanDifference(), "dynamic_magnitude", 3)],
)
def test_a_slice_of_the_curve_is_the_slices_curve_where_the_metric_says_so(
    carphone, measure, metric, name, phase
):
    frames = np.concatenate((carphone, carphone[::-1]))
    video = VideoInfo(Path("clip.mp4"), len(frames), 24.0, 176, 144)
    whole = measure(metric, frames, fps=24.0)[name].curve
    agreeing = []
    for first in range(8):
        alone = measure(metric, frames[first : first + 12], fps=24.0)[name].curve
        part = whole.between(first, first + 12)
        same = len(alone) == len(part) and np.array_equal(alone.values, part.values)
        assert same or not metric.sliceable(first, video)
        agreeing += [first] if same else []
    assert agreeing == list(range(0, 8, phase))


@pytest.mark.parametrize("size", [(48, 80), (113, 200), (144, 176), (129, 257)])
def test_padded_sides_suit_the_network_and_the_frame_is_in_the_middle(size):
    left, right, top, bottom = AmtS().padding(*size)
    height, width = size[0] + top + bottom, size[1] + left + right
    assert height % 16 == width % 16 == 0
    assert min(height, width) >= 128
    assert 0 <= right - left <= 1
    assert 0 <= bottom - top <= 1
    assert Rife().padding(*size)[0] == Rife().padding(*size)[2] == 0


def test_frames_smaller_than_the_reference_can_take_have_a_score(measure):
    metric = AmtS()
    metric.network = drawn_network(AMTSmall(), "amt-a", 0.6)
    pair = drawn.textured_pair("small", 40, 56)
    frames = (torch.cat((pair, pair, pair[:1])) * 255).byte().permute(0, 2, 3, 1).numpy()
    assert 0 < measure(metric, frames)["motion"].score() < 1


def test_dynamic_verdicts_equal_vbench_on_hand_made_cases(rules):
    for samples, short_side, above, verdict in rules["dynamic-cases"].tolist():
        limit = threshold(short_side + 16, short_side)
        magnitudes = np.where(np.arange(samples - 1) < above, 1.5, 0.5) * limit
        assert is_dynamic(magnitudes, limit) == bool(verdict), (samples, above)


def test_one_sample_is_never_dynamic_two_always_and_three_by_one_pair():
    assert not is_dynamic(np.array([]), 6.0)
    assert is_dynamic(np.array([0.0]), 6.0)
    assert not is_dynamic(np.array([0.0, 6.0]), 6.0)
    assert is_dynamic(np.array([0.0, 6.1]), 6.0)


def test_pair_magnitude_is_the_mean_of_the_fastest_twentieth(rules):
    rng = drawn.generator("dynamic|cases")
    for samples in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 16, 20, 33):
        for _ in range(6):  # the draws that came before the flow
            rng.integers(64, 720)
            rng.uniform(size=samples - 1)
    flow = rng.standard_normal((1, 2, 72, 96)).astype(np.float32)[0].transpose(1, 2, 0) * 4
    assert pair_magnitude(flow) == pytest.approx(float(rules["dynamic-magnitude"]), rel=1e-6)


def test_raft_pads_to_multiples_of_eight_half_on_each_side():
    assert centred_padding(360, 640, MULTIPLE) == (0, 0, 0, 0)
    assert centred_padding(139, 145, MULTIPLE) == (3, 4, 2, 3)
    assert centred_padding(64, 128, MULTIPLE) == (0, 0, 32, 32)


# --- semantic -----------------------------------------------------------------------------------


def test_the_eight_frames_are_those_that_vbench_chooses(golden):
    for frames in (1, 2, 3, 7, 8, 9, 15, 16, 17, 29, 72, 120, 250, 1000, 3600):
        assert middle_frames(frames) == golden[f"middle-{frames}"].tolist()


@pytest.fixture(scope="module")
def tiny_viclip():
    size = Size(vision_width=64, vision_layers=1, text_width=64, text_layers=1, embedding=32)
    return drawn_network(ViCLIP(size), "viclip-tiny")


@torch.no_grad()
def test_viclip_scores_eight_frames_and_gives_a_curve_by_seconds(tiny_viclip, carphone, measure):
    from metrics.networks.viclip import tokenize

    metric = ViClip()
    metric.network = tiny_viclip
    frames = np.concatenate((carphone, carphone[::-1]))  # 22 frames at 9 a second
    reading = measure(metric, frames, fps=9.0, prompt="a man drives")["semantic"]
    text = tiny_viclip.encode_text(tokenize(["a man drives"]))[0]

    def cosine(indices):
        clip = np.stack([clip_input(frames[i], rounded=True) for i in indices])
        return float(tiny_viclip.encode_video(torch.from_numpy(clip)[None])[0] @ text)

    assert reading.score() == pytest.approx(cosine(middle_frames(22)), abs=1e-5)
    assert reading.curve.frames.tolist() == [0, 9]
    seconds = [cosine([start + i for i in middle_frames(9)]) for start in (0, 9)]
    np.testing.assert_allclose(reading.curve.values, seconds, atol=1e-5)


# --- clarity and aesthetic ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_musiq():
    from pyiqa.archs.musiq_arch import MUSIQ

    network = MUSIQ(hidden_size=48, mlp_dim=96, num_layers=2, pretrained=False)
    return drawn_network(network, "musiq-tiny")


@torch.no_grad()
def test_clarity_equals_musiq_frame_by_frame(tiny_musiq, carphone, measure):
    metric = MusiqSpaq()
    metric.network = tiny_musiq
    curve = measure(metric, carphone)["clarity"].curve
    alone = [float(tiny_musiq(torch.from_numpy(musiq_input(f))[None])) / 100 for f in carphone]
    np.testing.assert_allclose(curve.values, alone, rtol=PARITY)


def test_the_published_linear_head_is_read_checked_and_applied(
    tiny_clip, carphone, measure, monkeypatch, tmp_path
):
    shutil.copy(GOLDEN / "sa_0_4_vit_l_14_linear.pth", tmp_path)
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("metrics.aesthetic.load_clip", lambda name, device: tiny_clip)
    metric = LaionLinear()
    metric.load("cpu")
    head = torch.load(GOLDEN / "sa_0_4_vit_l_14_linear.pth", weights_only=True)
    with torch.no_grad():
        images = torch.from_numpy(np.stack([clip_input(frame) for frame in carphone]))
        features = torch.nn.functional.normalize(tiny_clip.encode_image(images), dim=-1)
        expected = (features @ head["weight"].T + head["bias"]).squeeze(-1) / 10
    curve = measure(metric, carphone)["aesthetic"].curve
    np.testing.assert_allclose(curve.values, expected.numpy(), rtol=PARITY)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore")
def test_openais_archive_is_read_in_float32_with_quick_gelu(tmp_path, monkeypatch):
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    vision = CLIPVisionCfg(layers=1, width=64, head_width=64, patch_size=32, image_size=224)
    clip = CLIP(32, vision, CLIPTextCfg(width=64, heads=1, layers=1), quick_gelu=True)
    clip = drawn_network(clip, "clip-archive")
    clip = drawn_half(clip)
    mask = clip.attn_mask  # no buffer in OpenAI's archive
    del clip.attn_mask
    clip.attn_mask = mask
    images = torch.from_numpy(drawn.generator("archive").standard_normal((1, 3, 224, 224))).float()
    torch.jit.trace_module(clip, {"encode_image": images}).save(tmp_path / "ViT.pt")
    monkeypatch.setattr("metrics.weights.get", lambda name: tmp_path / "ViT.pt")
    loaded = load_clip("any", "cpu")
    expected = torch.nn.functional.normalize(clip.encode_image(images), dim=-1)
    torch.testing.assert_close(image_features(loaded, images.numpy(), "cpu"), expected)


def drawn_half(network):
    """Values that float16 holds, as OpenAI's files have them."""
    state = {name: value.half().to(value.dtype) for name, value in network.state_dict().items()}
    network.load_state_dict(state)
    return network


def test_the_two_aesthetic_heads_never_share_a_column():
    assert LaionLinear().fingerprint() != LaionMlp().fingerprint()
    assert set(LaionMlp().build_head().state_dict()) == {
        f"layers.{i}.{part}" for i in (0, 2, 4, 6, 7) for part in ("weight", "bias")
    }


# --- batches ------------------------------------------------------------------------------------


@pytest.fixture
def metric_with_network(request, tiny_clip, tiny_musiq, tiny_viclip, monkeypatch):
    def raft():
        from torchvision.models.optical_flow import raft_large

        monkeypatch.setattr(dynamic_module, "ITERATIONS", 2)
        network = raft_large(weights=None)
        state = drawn.drawn_state(network.state_dict(), "raft-tiny", 0.5)
        state |= {key: value.abs() + 0.5 for key, value in state.items() if "running_var" in key}
        network.load_state_dict(state)
        metric = RaftLarge()
        metric.network = network.eval()
        return metric

    def dino():
        from timm.models.vision_transformer import VisionTransformer

        metric = DinoSubject()
        network = VisionTransformer(num_classes=0, embed_dim=96, depth=2, num_heads=3)
        metric.network = drawn_network(network, "dino-tiny")
        return metric

    def given(metric, **networks):
        for name, network in networks.items():
            setattr(metric, name, network)
        return metric

    head = torch.nn.Linear(768, 1)
    makers = {
        "clarity": lambda: given(MusiqSpaq(), network=tiny_musiq),
        "aesthetic": lambda: given(LaionLinear(), clip=tiny_clip, head=drawn_network(head, "h")),
        "rife": lambda: given(Rife(), network=drawn_network(RIFE(), "rife-a", 0.6)),
        "viclip": lambda: given(ViClip(), network=tiny_viclip),
        "clip-mean": lambda: given(ClipMean(), clip=tiny_clip),
        "background": lambda: given(ClipBackground(), clip=tiny_clip),
        "dino": dino,
        "raft": raft,
    }
    return makers[request.param]()


@pytest.mark.parametrize(
    "metric_with_network",
    ["clarity", "aesthetic", "rife", "viclip", "clip-mean", "background", "dino", "raft"],
    indirect=True,
)
def test_scores_are_the_same_bits_whatever_the_chunks(metric_with_network, carphone, measure):
    frames = carphone[:7]
    readings = [
        measure(metric_with_network, frames, chunk=size, fps=16.0, prompt="a car")
        for size in (2, 7)
    ]
    for other in readings[1:]:
        for name, reading in readings[0].items():
            assert reading.score() == other[name].score()
            np.testing.assert_array_equal(reading.curve.values, other[name].curve.values)


def test_dynamic_of_a_single_sample_is_undefined_not_zero(measure):
    metric = RaftLarge()
    metric.network = None
    with pytest.raises(Undefined, match="two sampled frames"):
        measure(metric, np.zeros((3, 16, 16, 3), np.uint8), fps=24.0)
