"""The plain networks that `make bench` measures against give the numbers of the real ones."""

import numpy as np
import pytest
import torch

from metrics import registry
from metrics.networks.landmark_graph import LandmarkGraph
from metrics.networks.rife import LARGE_MOTION, RIFE
from metrics.networks.yunet import YuNet
from metrics.straightforward import PlainLandmarkGraph, PlainRIFE, PlainYuNet, plain_networks
from metrics.stream import Video


def _loaded(backend):
    metric = registry.build(backend)
    metric.load("cpu")
    return metric


@pytest.fixture
def frames(media):
    """Three frames of each of two clips with a face."""
    found = []
    for clip in ("single_face", "carphone_pristine"):
        with Video(media / f"{clip}.mp4") as video:
            found += list(next(iter(video.chunks(16))).frames[::6])
    return found


@pytest.fixture
def both(carried):
    """`both(backend)`: a metric with its networks, and one with plain ones."""

    def load(backend):
        carried(*registry.build(backend).weights)
        with plain_networks():
            plain = _loaded(backend)
        return _loaded(backend), plain

    return load


@torch.no_grad()
@pytest.mark.parametrize("gain", [1, 500])
def test_rife_gives_the_bits_of_the_plain_network_whether_motion_is_small_or_large(gain):
    torch.manual_seed(0)
    network, plain = RIFE().eval(), PlainRIFE().eval()
    network.block1.lastconv.weight.mul_(gain)
    plain.load_state_dict(network.state_dict())
    pair = torch.rand(2, 1, 3, 128, 256)
    reach = network._first_blocks(*pair, 0.5, 1)[1]
    assert bool(reach > LARGE_MOTION) == (gain == 500)
    assert torch.equal(network(*pair), plain(*pair))


def test_the_rife_back_end_gets_the_plain_network(both):
    ours, theirs = (metric.network for metric in both("rife"))
    assert (type(ours), type(theirs)) == (RIFE, PlainRIFE)


def test_yunet_finds_the_faces_that_opencv_finds(both, frames):
    ours, theirs = (metric.detector for metric in both("mobilefacenet"))
    assert (type(ours._network), type(theirs._network)) == (YuNet, PlainYuNet)
    for frame in frames:
        expected = theirs(frame)
        assert len(expected) == 1
        np.testing.assert_allclose(ours(frame), expected, atol=1e-3)
    frame = frames[0]
    ten = np.concatenate([np.concatenate([frame[::2, ::2]] * 5, 1)] * 2)
    assert len(ours(ten)) == len(theirs(ten)) > 5
    assert ours(np.zeros_like(frame)).shape == theirs(np.zeros_like(frame)).shape == (0, 15)


@torch.no_grad()
def test_the_folded_face_network_embeds_as_the_plain_one(both):
    ours, theirs = (metric.network for metric in both("mobilefacenet"))
    normalisations = [
        sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
        for network in (ours, theirs)
    ]
    assert normalisations == [0, 51]
    faces = torch.randn(3, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    expected = theirs(faces)
    assert (ours(faces) - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_landmark_models_answer_as_the_plain_ones(both):
    ours, theirs = (metric.models for metric in both("blaze-landmarks"))
    generator = torch.Generator().manual_seed(0)
    for part, model in ours.items():
        assert (type(model), type(theirs[part])) == (LandmarkGraph, PlainLandmarkGraph)
        images = torch.rand(2, *model.input_size, 3, generator=generator)
        for found, expected in zip(model(images), theirs[part](images), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
