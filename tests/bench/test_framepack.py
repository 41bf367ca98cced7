"""The generator against diffusers' own pipeline, bit for bit, on a tiny random checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import HunyuanVideoFramepackPipeline

from ablations.variant import parse
from bench.generators.base import Request
from bench.generators.flow import released_shift
from bench.plan import Plan
from bench.rollout import Rollout, noise_seed, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import picture

HEIGHT, WIDTH = 32, 48
PROMPT = "a person walks"
NAMES = {
    "inverted_anti_drifting": "f1k1_x_g{w}_f1k1f2k2f16k4_td",
    "vanilla": "f1k1_x_td_f16k4f2k2f1k1_g{w}",
}


@pytest.fixture(scope="module")
def pipeline(tiny: Path) -> Any:
    """Diffusers' own pipeline on the same checkpoint."""
    pipe = HunyuanVideoFramepackPipeline.from_pretrained(tiny, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def reference(pipe: Any, request: Request, w: int, sections: int, kind: str, **more: Any) -> Any:
    """The pipeline's frames of one request."""
    images = pipe(
        image=request.image,
        last_image=request.last_image,
        prompt=request.text,
        height=HEIGHT,
        width=WIDTH,
        num_frames=sections * (4 * w - 3),
        latent_window_size=w,
        num_inference_steps=2,
        guidance_scale=6.0,
        generator=torch.Generator().manual_seed(noise_seed(request.prompt_id, request.seed)),
        sampling_type=kind,
        output_type="pil",
        **more,
    ).frames[0]
    return np.stack([np.asarray(image) for image in images])


def small(name: str, sections: int, **more: Any) -> Plan:
    return plan(parse(name), height=HEIGHT, width=WIDTH, sections=sections, **more)


def frames(result: Rollout | Exception) -> Any:
    assert isinstance(result, Rollout), result
    return np.concatenate(result.frames)


def request(number: int = 1, seed: int = 7, **more: Any) -> Request:
    return Request(f"p{number}", more.pop("text", PROMPT), picture(number), seed, **more)


@pytest.mark.parametrize("sections", [1, 2, 5])
@pytest.mark.parametrize("w", [1, 3, 9])
@pytest.mark.parametrize("kind", NAMES)
def test_frames_equal_diffusers_bit_for_bit(
    pipeline: Any, tiny_generator: Callable[..., Any], kind: str, w: int, sections: int
) -> None:
    name = NAMES[kind].format(w=w)
    made = small(name, sections)
    (found,) = rollout(tiny_generator(), parse(name), made, [request()])
    expected = reference(pipeline, request(), w, sections, kind)
    assert frames(found).shape == expected.shape == (made.frames, HEIGHT, WIDTH, 3)
    assert np.array_equal(frames(found), expected)
    assert expected.std() > 5, "a grey video would prove nothing"


@pytest.mark.parametrize("sections", [1, 2, 5])
def test_frames_equal_diffusers_with_an_end_image(
    pipeline: Any, tiny_generator: Callable[..., Any], sections: int
) -> None:
    name = NAMES["inverted_anti_drifting"].format(w=3)
    asked = request(last_image=picture(9))
    made = small(name, sections, end_image=True)
    (found,) = rollout(tiny_generator(), parse(name), made, [asked])
    expected = reference(pipeline, asked, 3, sections, "inverted_anti_drifting")
    assert np.array_equal(frames(found), expected)
    (without,) = rollout(tiny_generator(), parse(name), small(name, sections), [request()])
    assert not np.array_equal(frames(found), frames(without))


@pytest.mark.parametrize("kind", NAMES)
def test_true_guidance_equals_diffusers(
    pipeline: Any, tiny_generator: Callable[..., Any], kind: str
) -> None:
    name = NAMES[kind].format(w=3)
    asked = request(negative="a red hat")
    (found,) = rollout(tiny_generator(cfg=2.5), parse(name), small(name, 2), [asked])
    more = {"true_cfg_scale": 2.5, "negative_prompt": "a red hat"}
    expected = reference(pipeline, asked, 3, 2, kind, **more)
    assert np.array_equal(frames(found), expected)
    (plain,) = rollout(tiny_generator(), parse(name), small(name, 2), [asked])
    assert not np.array_equal(frames(found), frames(plain))


def test_the_guidance_option_of_a_variant_is_the_configured_one(
    tiny_generator: Callable[..., Any],
) -> None:
    name = NAMES["vanilla"].format(w=1)
    (configured,) = rollout(tiny_generator(cfg=2.5), parse(name), small(name, 1), [request()])
    by_option = parse(name + "+cfg-2.5")
    (asked,) = rollout(tiny_generator(), by_option, small(by_option.name, 1), [request()])
    assert np.array_equal(frames(asked), frames(configured))


def test_the_published_flow_shift_follows_the_target_tokens() -> None:
    shifts = [round(released_shift(g * 1560), 2) for g in (1, 2, 3, 4, 5, 9)]
    assert shifts == [2.06, 2.68, 3.49, 4.54, 5.91, 7.0]
