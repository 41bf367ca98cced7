"""The pocket model's classes behind the same generator: its own autoencoder, decoded once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import HunyuanVideoFramepackPipeline

from ablations.variant import parse
from bench.generators import framepack
from bench.generators.base import Request
from bench.pocket.components import build_random
from bench.rollout import Rollout, noise_seed, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    small: dict[str, Any] = {
        "num_attention_heads": 1,
        "num_layers": 1,
        "num_single_layers": 1,
    }
    return build_random(tmp_path_factory.mktemp("pocket"), **small)


@pytest.fixture(scope="module")
def generator(folder: Path) -> framepack.FramePack:
    return framepack.build(
        {"checkpoint": str(folder), "device": "cpu", "steps": 1, "guidance": 1.0}
    )


def frames(generator: framepack.FramePack, name: str, cells: int = 1) -> Any:
    variant = parse(name)
    made = plan(variant, height=32, width=48, sections=3)
    request = Request("p", "a person walks", picture(3, 32, 48), 5)
    found, *_ = rollout(generator, variant, made, [request] * cells)
    assert isinstance(found, Rollout), found
    return np.concatenate(found.frames)


@pytest.mark.parametrize(
    "name",
    [
        "f1k1_x_g3_f1k1f2k2f16k4_td",
        "f1k1_x_td_f16k4f2k2f1k1_g3",
        "td_f4k4f2k2f1k1_g2_x_f1k1",
        "td_f1k1_g1",
    ],
)
def test_batches_decode_latents_that_stand_alone_once(
    generator: framepack.FramePack, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert generator.decodes_alone
    decoded: list[int] = []
    decode = generator.decode
    monkeypatch.setattr(generator, "decode", lambda z: decoded.append(z.shape[2]) or decode(z))
    once = frames(generator, name, cells=2)
    total = sum(decoded)
    decoded.clear()
    twice = frames(generator, name)
    assert np.abs(once.astype(int) - twice).max() <= 1
    latents = 3 * parse(name).section + 1
    assert total == latents + 2, "all latents once, and one more at each of the two joints"
    assert sum(decoded) >= total


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("f1k1_x_g3_f1k1f2k2f16k4_td", "inverted_anti_drifting"),
        ("f1k1_x_td_f16k4f2k2f1k1_g3", "vanilla"),
    ],
)
def test_diffusers_makes_the_same_video_from_the_same_folder(
    folder: Path, generator: framepack.FramePack, name: str, kind: str
) -> None:
    pipe = HunyuanVideoFramepackPipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(
        image=picture(3, 32, 48),
        prompt="a person walks",
        height=32,
        width=48,
        num_frames=3 * 9,
        latent_window_size=3,
        num_inference_steps=1,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(noise_seed("p", 5)),
        sampling_type=kind,
        output_type="pil",
    ).frames[0]
    expected = np.stack([np.asarray(image) for image in images])
    assert np.array_equal(frames(generator, name), expected)


def test_the_first_frame_is_the_encoded_input_image(generator: framepack.FramePack) -> None:
    image = picture(3, 32, 48)
    pixels = generator.pipe.video_processor.preprocess(image, 32, 48)
    with torch.inference_mode():
        latents = generator.pipe.vae.encode(pixels[:, :, None]).latent_dist.mode()
        decoded = generator.pipe.vae.decode(latents).sample[0, :, 0]
    expected = ((decoded * 0.5 + 0.5).clamp(0, 1) * 255).round().permute(1, 2, 0).numpy()
    for name in ("f1k1_x_g3_f1k1f2k2f16k4_td", "td_f1k1_g3"):
        difference = frames(generator, name)[0].astype(float) - expected
        assert np.abs(difference).max() <= 1
