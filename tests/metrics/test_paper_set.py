"""The set `paper` end to end on a short real clip, its networks small and random."""

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from metrics import registry, sets
from metrics.anatomy import THRESHOLDS, VBench2Vit
from metrics.base import Chunk, ScoringContext, VideoInfo
from metrics.dynamic import RaftLarge
from metrics.forward import in_parallel
from metrics.score import Job, Scorer

HERE = Path(__file__).parent

_spec = importlib.util.spec_from_file_location("drawn_weights", HERE / "drawn_weights.py")
assert _spec and _spec.loader
drawn = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drawn)


def drawn_network(network, label, gain=1.0):
    state = drawn.drawn_state(network.state_dict(), label, gain)
    state |= {key: value.abs() + 0.5 for key, value in state.items() if "running_var" in key}
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def clip(media, tmp_path_factory):
    """14 frames of a real clip at 16 a second, 112×88."""
    path = tmp_path_factory.mktemp("clip") / "carphone.mp4"
    with av.open(str(media / "carphone_pristine.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=16)
        stream.width, stream.height, stream.bit_rate = 112, 88, 4_000_000
        for index, frame in enumerate(source.decode(video=0)):
            if index == 14:
                break
            small = frame.reformat(112, 88, "rgb24").to_ndarray()
            out.mux(stream.encode(av.VideoFrame.from_ndarray(small, "rgb24")))
        out.mux(stream.encode(None))
    return path


class OnePerson:
    """A detector that finds a person in the whole frame, with a face."""

    def prepare(self, image):
        return np.array(image.shape[:2], np.float32)

    def forward(self, images, queries):
        box = [0.0, 0.0, 0.7, 0.7, 0.9, 0.1]
        return np.repeat(np.array([[box[: 4 + len(queries)]]], np.float32), len(images), axis=0)


@pytest.fixture(scope="module")
def networks():
    """What every back-end's `load` would have put into the metric."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from pyiqa.archs.musiq_arch import MUSIQ
    from timm.models.vision_transformer import VisionTransformer
    from torchvision.models.optical_flow import raft_large

    from metrics.networks.amt import AMTSmall
    from metrics.networks.viclip import Size, ViCLIP

    vision = CLIPVisionCfg(layers=1, width=64, head_width=32, patch_size=32, image_size=224)
    clip = CLIP(768, vision, CLIPTextCfg(width=64, heads=2, layers=1), quick_gelu=True)
    clip = drawn_network(clip, "clip-tiny")
    viclip = Size(vision_width=64, vision_layers=1, text_width=64, text_layers=1, embedding=32)
    musiq = MUSIQ(hidden_size=48, mlp_dim=96, num_layers=1, pretrained=False)
    dino = VisionTransformer(num_classes=0, embed_dim=96, depth=1, num_heads=3)
    colours = drawn.generator("colours").standard_normal((3, 8))

    def detect(frame):
        picture = np.resize(frame, (112, 112, 3))
        return [(np.array([8.0, 8.0, 40.0, 40.0]), picture)]

    def embed(faces):
        return faces.reshape(len(faces), -1, 3).std(axis=1) @ colours

    def dark(squares):
        return (squares.mean((1, 2, 3)) < 0).astype(float) * 0.4

    return {
        "musiq-spaq": {"network": drawn_network(musiq, "musiq-tiny")},
        "laion-linear": {"clip": clip, "head": drawn_network(torch.nn.Linear(768, 1), "head")},
        "amt-s": {"network": drawn_network(AMTSmall(), "amt-a", 0.6)},
        "raft-large": {"network": drawn_network(raft_large(weights=None), "raft-tiny", 0.5)},
        "viclip": {"network": drawn_network(ViCLIP(viclip), "viclip-tiny")},
        "vbench2-vit": {"detector": OnePerson(), "judges": dict.fromkeys(THRESHOLDS, dark)},
        "buffalo-l": {"detect": detect, "embed": embed},
        "dino-b16": {"network": drawn_network(dino, "dino-tiny")},
        "clip-b32": {"clip": clip},
    }


@pytest.fixture
def loaded(networks, monkeypatch):
    """No weight file is asked for; `load` gives the small networks."""
    monkeypatch.setattr("metrics.dynamic.ITERATIONS", 2)
    monkeypatch.setattr("metrics.weights.get", lambda name, offline=None: Path("unused"))
    for backend in sets.load("paper").backends:
        kind = type(registry.build(backend))

        def load(self, device, given=networks[backend]):
            for name, value in given.items():
                setattr(self, name, value)

        monkeypatch.setattr(kind, "load", load)


def test_every_metric_of_the_set_scores_a_real_clip_and_no_bit_depends_on_the_chunk(loaded, clip):
    job = Job(clip, clip.parent, prompt="a man in a car", section_starts=(0, 8))
    tables = []
    for chunk in (5, 14):
        scores = Scorer("paper", device="cpu", chunk=chunk).score(job)
        rows = {(row.metric, row.segment, row.reading): row for row in scores.rows}
        tables.append({key: row.value for key, row in rows.items()})
        for metric in registry_metrics():
            row = scores.row(metric)
            assert (row.status, row.frames) == ("ok", 14), (metric, row.reason)
            assert row.value is not None
            assert len(scores.curves.query("metric == @metric"))
    assert tables[0] == tables[1]
    for metric in ("clarity", "motion", "semantic", "anatomy"):
        start, end = (scores.value(metric, part, "exact") for part in ("start", "end"))
        assert scores.value(metric, "drift", "exact") == pytest.approx(abs(start - end))


def test_raft_runs_beside_itself(networks, monkeypatch):
    monkeypatch.setattr("metrics.dynamic.ITERATIONS", 2)
    metric = RaftLarge()
    metric.network = networks["raft-large"]["network"]
    frames = drawn.generator("raft").integers(0, 256, (13, 64, 64, 3), dtype=np.uint8)
    video = VideoInfo(Path("clip"), len(frames), 8.0, 64, 64)

    def magnitudes():
        measurement = metric.begin(video, ScoringContext(device="cpu"))
        measurement.update(Chunk(frames, 0))
        return measurement.finish()[1].curve.values

    alone = magnitudes()
    with ThreadPoolExecutor(4) as workers:
        in_parallel(workers)
        together = magnitudes()
        in_parallel(None)
    np.testing.assert_array_equal(alone, together)


def registry_metrics():
    return [name for each in sets.load("paper").backends for name in registry.measures(each)]


def test_the_set_measures_the_papers_seven():
    from metrics.catalogue import PAPER

    assert set(PAPER) <= set(registry_metrics())


def test_missing_weights_are_told_metric_by_metric_and_nothing_crashes(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("FRAMEPACK_BENCH_WEIGHTS", raising=False)
    scores = Scorer("paper", device="cpu", offline=True).score(Job(clip, tmp_path, prompt="a car"))
    for metric in registry_metrics():
        row = scores.row(metric)
        assert (row.status, row.value) == ("unavailable", None)
        assert "python -m metrics.weights" in row.reason
    assert not scores.failed


def test_back_ends_declare_what_the_registry_says_of_them():
    for backend in [*sets.load("paper").backends, "laion-mlp", "rife", "clip-mean"]:
        metric = registry.build(backend)
        assert metric.backend == backend
        assert metric.metrics == registry.measures(backend)
        assert len(metric.fingerprint()) == 16


def test_a_video_in_which_the_detector_finds_nobody_has_no_anatomy(loaded, clip, monkeypatch):
    def nobody(self, images, queries):
        return np.zeros((len(images), 1, 4 + len(queries)), np.float32)

    monkeypatch.setattr(OnePerson, "forward", nobody)
    row = Scorer([VBench2Vit.backend], device="cpu").score(Job(clip, clip.parent)).row("anatomy")
    assert (row.status, row.value) == ("undefined", None)
    assert "nobody" in row.reason
