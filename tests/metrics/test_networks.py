"""Our networks give the reference implementations' outputs on the same drawn weights.

Golden outputs come from the published code, run outside this repository (golden/README.md).
"""

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.networks.abnormality import abnormality_classifier
from metrics.networks.abnormality import published_state as abnormality_state
from metrics.networks.amt import AMTSmall
from metrics.networks.rife import RIFE
from metrics.networks.rife import published_state as rife_state
from metrics.networks.viclip import Size, ViCLIP, tokenize

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
TINY_VICLIP = Size(
    resolution=28, vision_width=128, vision_layers=3, text_width=128, text_layers=2, embedding=64
)
RELATIVE = 1e-5

_spec = importlib.util.spec_from_file_location("drawn_weights", HERE / "drawn_weights.py")
assert _spec and _spec.loader
drawn = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(drawn)


@pytest.fixture(scope="module")
def golden():
    return np.load(GOLDEN / "networks.npz")


def relative_error(ours: torch.Tensor, reference: np.ndarray) -> float:
    return float(np.abs(ours.numpy() - reference).max() / np.abs(reference).max())


def with_drawn_weights(network, label, gain=1.0):
    network.load_state_dict(drawn.drawn_state(network.state_dict(), label, gain))
    return network.eval()


def layout(state):
    lines = "".join(f"{name} {'x'.join(map(str, state[name].shape))}\n" for name in sorted(state))
    return {"entries": len(state), "sha256": hashlib.sha256(lines.encode()).hexdigest()}


@pytest.mark.parametrize(
    ("name", "network"), [("amt-s", AMTSmall), ("rife", RIFE), ("viclip", ViCLIP)]
)
def test_state_dict_has_exactly_the_published_names_and_shapes(name, network):
    with torch.device("meta"):
        state = network().state_dict()
    assert layout(state) == json.loads((GOLDEN / "layouts.json").read_text())[name]


@torch.no_grad()
@pytest.mark.parametrize(("label", "gain"), [("amt-a", 0.6), ("amt-b", 0.8)])
def test_amt_equals_the_reference(golden, label, gain):
    network = with_drawn_weights(AMTSmall(), label, gain)
    pair = drawn.textured_pair(label, 128, 192)
    middle = network(pair[:1], pair[1:])
    assert relative_error(middle[0, :, ::8, ::8], golden[label]) < RELATIVE


@torch.no_grad()
@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize(("label", "gain"), [("rife-a", 0.6), ("rife-b", 1.0)])
def test_rife_equals_the_reference_also_where_large_motion_doubles_its_scales(
    golden, label, gain, refine
):
    # In double precision: flows of a hundred pixels make 1e-5 of float32's last bits, which differ
    # from processor to processor.
    network = with_drawn_weights(RIFE(), label, gain).double()
    pair = drawn.textured_pair(label, 128, 128).double()
    middle = network(pair[:1], pair[1:], refine=refine)
    entry = golden[f"{label}-refined" if refine else label]
    assert relative_error(middle[0, :, ::8, ::8], entry) < 1e-9
    if label == "rife-a":
        middle = network.float()(pair[:1].float(), pair[1:].float(), refine=refine)
        assert relative_error(middle[0, :, ::8, ::8], entry) < RELATIVE


@torch.no_grad()
def test_rife_decides_on_large_motion_for_every_pair_alone():
    network = with_drawn_weights(RIFE(), "rife-b", 1.0)
    far = drawn.textured_pair("rife-b", 128, 128)
    still = torch.zeros_like(far)
    reach = network._first_blocks(
        torch.stack((far[0], still[0])), torch.stack((far[1], still[1])), 0.5, 1
    )[1]
    assert (reach > 32).tolist() == [True, False]
    together = network(torch.stack((far[0], still[0])), torch.stack((far[1], still[1])))
    alone = torch.cat((network(far[:1], far[1:]), network(still[:1], still[1:])))
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)


def test_rife_file_entries_are_ours_except_for_the_training_time_teacher():
    state = RIFE().state_dict()
    file = {f"module.{name}": value for name, value in state.items()}
    file |= {"module.block_tea.conv0.0.0.weight": torch.zeros(1)}
    assert set(rife_state(file)) == set(state)


@torch.no_grad()
@pytest.mark.parametrize("label", ["viclip-a", "viclip-b"])
def test_viclip_encoders_equal_the_reference(golden, label):
    network = with_drawn_weights(ViCLIP(TINY_VICLIP), label)
    noise = drawn.generator(f"{label}|video").standard_normal((2, 8, 3, 28, 28))
    video = torch.from_numpy(noise).float()
    tokens = torch.from_numpy(golden["viclip-tokens"]).long()
    assert relative_error(network.vision_encoder(video), golden[f"{label}-video"]) < RELATIVE
    one = network.vision_encoder(video[:, :1])
    assert relative_error(one, golden[f"{label}-frame"]) < RELATIVE
    assert relative_error(network.text_encoder(tokens), golden[f"{label}-text"]) < RELATIVE


def test_viclip_tokens_equal_the_reference_also_for_long_accented_and_empty_prompts(golden):
    prompts = json.loads((GOLDEN / "prompts.json").read_text())
    np.testing.assert_array_equal(tokenize(prompts).numpy(), golden["viclip-tokens"])


@torch.no_grad()
@pytest.mark.parametrize("label", ["abnormality-a", "abnormality-b"])
def test_abnormality_classifier_equals_the_reference(golden, label):
    network = with_drawn_weights(abnormality_classifier(48, 16, 96, 3, 3), label)
    noise = drawn.generator(f"{label}|image").standard_normal((4, 3, 48, 48))
    assert relative_error(network(torch.from_numpy(noise).float()), golden[label]) < RELATIVE


def test_abnormality_classifier_takes_the_published_names():
    with torch.device("meta"):
        state = abnormality_classifier().state_dict()
    # The published file also holds each block's index table, 197x197, which timm computes.
    table = {f"blocks.{i}.attn.relative_position_index": torch.empty(197, 197) for i in range(12)}
    assert layout(state | table) == json.loads((GOLDEN / "layouts.json").read_text())["abnormality"]
    assert set(abnormality_state(state | table)) == set(state)
