"""SkyReels-V2 diffusion forcing against diffusers' own pipeline, on a tiny random checkpoint."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import SkyReelsV2DiffusionForcingImageToVideoPipeline, UniPCMultistepScheduler

from ablations.variant import parse
from bench import generators
from bench.errors import UserError
from bench.generators import skyreels_v2
from bench.generators.base import Request
from bench.plan import Plan
from bench.rollout import Rollout, noise_seed, rollout
from tests.bench.tiny_checkpoint import picture
from tests.bench.tiny_wan import build_helios, build_skyreels

HEIGHT, WIDTH = 16, 32
PROMPT = "a person walks"
ROOT = Path(__file__).parents[2]
STEPS, CFG = 2, 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_skyreels(tmp_path_factory.mktemp("skyreels") / "checkpoint")


@pytest.fixture(scope="module")
def generator(folder: Path) -> Any:
    options = {"checkpoint": str(folder), "device": "cpu", "steps": STEPS, "cfg": CFG}
    return skyreels_v2.build(options | {"negative": "blurred"})


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    """Diffusers' own pipeline on the same checkpoint."""
    make: Any = SkyReelsV2DiffusionForcingImageToVideoPipeline
    pipe = make.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def request(number: int = 1, seed: int = 7, **more: Any) -> Request:
    return Request(f"p{number}", PROMPT, picture(number), seed, **more)


def small(name: str, sections: int) -> Plan:
    return skyreels_v2.plan(parse(name), height=HEIGHT, width=WIDTH, sections=sections)


def made(generator: Any, name: str, sections: int, *requests: Request) -> list[Rollout]:
    results = rollout(generator, parse(name), small(name, sections), requests or [request()])
    assert all(isinstance(result, Rollout) for result in results), results
    return [result for result in results if isinstance(result, Rollout)]


def frames(result: Rollout) -> Any:
    return np.concatenate(result.frames)


def reference(pipe: Any, asked: Request, latents: int, **more: Any) -> Any:
    """The pipeline's frames of one request."""
    torch.manual_seed(noise_seed(asked.prompt_id, asked.seed, "history"))
    images = pipe(
        image=asked.image,
        prompt=asked.text,
        negative_prompt="blurred",
        height=HEIGHT,
        width=WIDTH,
        num_frames=4 * (latents - 1) + 1,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        generator=torch.Generator().manual_seed(noise_seed(asked.prompt_id, asked.seed)),
        output_type="pil",
        **more,
    ).frames[0]
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.parametrize(
    ("name", "sections", "arguments"),
    [
        ("td_f1k1_g2", 1, {"overlap_history": 1, "base_num_frames": 9}),
        ("td_f1k1_g2", 3, {"overlap_history": 1, "base_num_frames": 9}),
        ("td_f3k1_g2", 3, {"overlap_history": 9, "base_num_frames": 17}),
        (
            "td_f2k1_g2+noise-0.02",
            2,
            {"overlap_history": 5, "base_num_frames": 13, "addnoise_condition": 20},
        ),
        ("td_f2k1_g2+lag-1", 2, {"overlap_history": 5, "base_num_frames": 13, "ar_step": 1}),
    ],
)
def test_frames_equal_diffusers_bit_for_bit(
    generator: Any, pipeline: Any, name: str, sections: int, arguments: dict[str, int]
) -> None:
    (found,) = made(generator, name, sections)
    plan = small(name, sections)
    expected = reference(pipeline, request(), plan.latents, **arguments)
    assert frames(found).shape == expected.shape == (plan.frames, HEIGHT, WIDTH, 3)
    assert np.array_equal(frames(found), expected)


def test_flow_shift_equals_the_scheduler_s(generator: Any, pipeline: Any) -> None:
    (found,) = made(generator, "td_f1k1_g2+shift-3", 1)
    own = pipeline.scheduler
    pipeline.scheduler = UniPCMultistepScheduler.from_config(own.config, flow_shift=3.0)
    expected = reference(pipeline, request(), 3, base_num_frames=9, overlap_history=1)
    pipeline.scheduler = own
    assert np.array_equal(frames(found), expected)
    assert found.record["generator"]["shift"] == 3.0
    (plain,) = made(generator, "td_f1k1_g2", 1)
    assert not np.array_equal(frames(plain), expected)
    assert plain.record["generator"]["shift"] == 8.0


def by_hand(pipe: Any, asked: Request, latents: int, block: int, lag: int) -> Any:
    """One window in causal blocks: the image is kept, each block lags the one before it."""
    device = torch.device("cpu")
    pipe.transformer._set_ar_attention(block)
    with torch.inference_mode():
        texts = pipe.encode_prompt(asked.text, "blurred", max_sequence_length=512, device=device)
        shape = (1, pipe.transformer.config.in_channels, latents, HEIGHT // 8, WIDTH // 8)
        rng = torch.Generator().manual_seed(noise_seed(asked.prompt_id, asked.seed))
        video = torch.randn(shape, generator=rng)
        mean, std = (
            torch.tensor(pipe.vae.config[key]).view(1, -1, 1, 1, 1)
            for key in ("latents_mean", "latents_std")
        )
        pixels = pipe.video_processor.preprocess(asked.image, HEIGHT, WIDTH).unsqueeze(2)
        video[:, :, :1] = (pipe.vae.encode(pixels).latent_dist.mode() - mean) * (1.0 / std)
        schedulers = []
        for _ in range(latents):
            schedulers.append(UniPCMultistepScheduler.from_config(pipe.scheduler.config))
            schedulers[-1].set_timesteps(STEPS)
        times = schedulers[0].timesteps
        blocks = latents // block
        for round_ in range(STEPS + lag * (blocks - 1)):
            done = [min(max(round_ - lag * b, 0), STEPS) for b in range(blocks)]
            now = [
                999 if round_ < lag * b else 0 if done[b] == STEPS else int(times[done[b]])
                for b in range(blocks)
            ]
            timestep = torch.tensor([[t for t in now for _ in range(block)]])
            timestep[:, 0] = 0
            sides = [
                pipe.transformer(
                    video, timestep, text, enable_diffusion_forcing=True, fps=[1], return_dict=False
                )[0]
                for text in texts
            ]
            velocity = sides[1] + CFG * (sides[0] - sides[1])
            for frame in range(1, latents):
                b = frame // block
                if round_ >= lag * b and done[b] < STEPS:
                    video[:, :, frame] = schedulers[frame].step(
                        velocity[:, :, frame], times[done[b]], video[:, :, frame], return_dict=False
                    )[0]
        decoded = pipe.vae.decode(video / (1.0 / std) + mean, return_dict=False)[0]
        images = pipe.video_processor.postprocess_video(decoded, output_type="np")[0]
    pipe.transformer._set_ar_attention(1)
    return (images * 255).round().astype(np.uint8)


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_causal_blocks_equal_the_schedule_by_hand(generator: Any, pipeline: Any, lag: int) -> None:
    (found,) = made(generator, f"td_f2k1_g2+block-2{f'+lag-{lag}' * bool(lag)}", 1)
    assert np.array_equal(frames(found), by_hand(pipeline, request(), 4, 2, lag))


def test_causal_blocks_keep_the_input_image_which_diffusers_loses(
    generator: Any, pipeline: Any
) -> None:
    plain, blocks = (made(generator, f"td_f2k1_g2{x}", 2)[0] for x in ("", "+block-2"))
    assert np.array_equal(frames(plain)[0], frames(blocks)[0])
    window = {"overlap_history": 5, "base_num_frames": 13, "causal_block_size": 2}
    theirs = reference(pipeline, request(), 6, **window)
    pipeline.transformer._set_ar_attention(1)
    assert not np.array_equal(frames(plain)[0], theirs[0])


def test_a_window_sees_nothing_before_its_overlap(generator: Any) -> None:
    short, long = (frames(made(generator, f"td_f{n}k1_g2", 2)[0]) for n in (1, 2))
    assert len(long) == len(short) + 4
    assert not np.array_equal(short[9:], long[9 : len(short)])


def test_records_say_what_ran(generator: Any) -> None:
    (found,) = made(generator, "td_f2k1_g2+block-2+lag-1+noise-0.02", 3)
    record = found.record
    assert record["section_starts"] == [1, 13, 21]
    assert record["latents"] == 8
    assert len(frames(found)) == 29
    assert record["tokens_per_section"] == small("td_f2k1_g2", 3).tokens_per_section == [8, 8, 8]
    assert len(record["section_seconds"]) == 3
    assert record["seconds_decode"] > 0
    ran = record["generator"]
    assert ran["kind"] == "skyreels_v2"
    assert ran["dtype"] == "float32"
    assert len(ran["weights_digest"]) == 16
    assert {key: ran[key] for key in skyreels_v2.PASSED_ON} == {
        "fps": 24,
        "overlap_history": 5,
        "base_num_frames": 13,
        "addnoise_condition": 20,
        "causal_block_size": 2,
        "ar_step": 1,
    }


def test_noise_depends_on_prompt_and_seed_alone(generator: Any) -> None:
    name = "td_f2k1_g2+noise-0.02"
    before = torch.random.get_rng_state()
    alone = [frames(made(generator, name, 2, request(n, seed))[0]) for n, seed in [(1, 7), (2, 7)]]
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(99)
    together = made(generator, name, 2, request(1, 7), request(2, 7), request(1, 8))
    assert all(np.array_equal(frames(x), y) for x, y in zip(together, alone, strict=False))
    assert not np.array_equal(frames(together[2]), alone[0])


def test_sections_are_reported_as_they_end(generator: Any) -> None:
    seen: list[tuple[int, int]] = []
    steps: list[tuple[int, int]] = []

    def on_section(number: int, sections: int, frames: Any = None) -> None:
        seen.append((number, sections))

    name = "td_f1k1_g2"
    rollout(
        generator,
        parse(name),
        small(name, 2),
        [request(1), request(2)],
        on_section=on_section,
        on_step=lambda step, of: steps.append((step, of)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps == [(1, 2), (2, 2)] * 4


def test_latents_that_are_not_finite_fail_their_own_cell(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = UniPCMultistepScheduler.step
    count = 0

    def broken(self: Any, velocity: Any, *more: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return step(self, velocity * (float("nan") if count < 5 else 1.0), *more, **options)

    monkeypatch.setattr(UniPCMultistepScheduler, "step", broken)
    name = "td_f1k1_g2"
    bad, good = rollout(generator, parse(name), small(name, 1), [request(1), request(2)])
    assert "not finite after section 1 of 1 (prompt p1, seed 7)" in str(bad)
    assert isinstance(good, Rollout)


@pytest.mark.parametrize(
    ("seconds", "name", "sections", "count"),
    [(4, "td_f5k1_g20", 1, 97), (30, "td_f5k1_g20", 9, 737), (30, "td_f10k1_g15", 11, 697)],
)
def test_the_published_windows(seconds: float, name: str, sections: int, count: int) -> None:
    plan = skyreels_v2.plan(parse(name), height=544, width=960, seconds=seconds, fps=24)
    assert (len(plan.sections), plan.frames) == (sections, count)
    assert plan.section_starts[:2] == [1, 97][:sections]
    window = 25 * 34 * 60
    assert plan.tokens_per_section == [window] * sections


def test_windows_longer_than_any_published_one_are_untrained() -> None:
    assert skyreels_v2.CLIPS.untrained(parse("td_f5k1_g26")) == ()
    assert skyreels_v2.CLIPS.untrained(parse("td_f5k1_g27")) == ("g27",)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("f1k1_x_td_f5k1_g20", "f1 sampling"),
        ("f1k1_x_g9_f1k1f2k2f16k4_td", "inverted sampling"),
        ("td_f16k4f2k2f1k1_g9", "packing f16k4f2k2f1k1"),
        ("ta_f5k1_g20", "tail ta"),
        ("td_f5k1_g20+D", "+D"),
        ("td_f5k1_g20+teacache-0.1", "option teacache"),
        ("td_f1k1_g20+method-repeat", "option method"),
        ("td_f5k1_g21+block-5", "g21 is not a whole number of causal blocks of 5"),
        ("td_f4k1_g20+block-5", "f4 is not a whole number of causal blocks of 5"),
        ("td_f5k1_g20+noise-0.0205", "thousandths"),
        ("td_f5k1_g20+noise-2", "option noise is 0 to 1, not 2"),
    ],
)
def test_what_it_cannot_do_is_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        generators.plan({"kind": "skyreels_v2"}, parse(name), height=64, width=64, sections=1)
    assert said in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 0)])
def test_a_size_that_does_not_divide_is_one_line(height: int, width: int) -> None:
    with pytest.raises(UserError, match="not a multiple of 16"):
        skyreels_v2.plan(parse("td_f1k1_g2"), height=height, width=width, sections=1)


def test_causal_blocks_are_no_option_of_framepack() -> None:
    with pytest.raises(UserError, match="option block"):
        generators.plan(
            {"kind": "framepack"}, parse("td_f1k1_g9+block-3"), height=64, width=64, sections=1
        )


def test_an_end_image_is_one_line() -> None:
    asked: dict[str, Any] = {"height": 16, "width": 32, "sections": 1, "end_image": True}
    with pytest.raises(
        UserError, match="skyreels_v2 takes no end image; leave prompts with one out"
    ):
        skyreels_v2.plan(parse("td_f1k1_g2"), **asked)


def test_a_missing_package_is_named_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        "bench.generators.piped.find_spec", lambda name: None if name == "ftfy" else find(name)
    )
    with pytest.raises(UserError, match="skyreels_v2 needs the Python package ftfy"):
        skyreels_v2.build({"checkpoint": str(folder)})


def test_another_model_s_checkpoint_is_one_line(tmp_path: Path) -> None:
    helios = build_helios(tmp_path / "helios")
    with pytest.raises(UserError, match=r"HeliosTransformer3DModel.*SkyReelsV2Transformer3DModel"):
        skyreels_v2.build({"checkpoint": str(helios)})


@pytest.mark.parametrize(
    "options", [{"causal": 5}, {"offload": "half"}, {"checkpoint": "./nowhere"}]
)
def test_wrong_options_are_one_line(folder: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        skyreels_v2.build({"checkpoint": str(folder)} | options)
    assert f"generator.{next(iter(options))}" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_yaml_composes_and_its_generator_is_built(folder: Path) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from bench import config

    config.register()
    asked = ["generator=skyreels_v2", f"generator.checkpoint={folder}", "generator.dtype=float32"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", [*asked, "generator.offload=none"])
    group: Any = OmegaConf.to_container(composed.generator)
    built = generators.build(group | {"device": "cpu", "steps": 1, "offline": True})
    assert generators.build(group | {"device": "cpu", "steps": 1, "offline": True}) is built
    variant = parse("td_f1k1_g2")
    made_plan = generators.plan(group, variant, height=16, width=32, sections=2)
    (found,) = rollout(built, variant, made_plan, [request()])
    assert isinstance(found, Rollout)
    assert found.record["section_starts"] == [1, 9]
    assert len(frames(found)) == 17
    assert found.record["generator"]["checkpoint"] == group["name"]
