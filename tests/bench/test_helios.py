"""Helios against diffusers' own pipeline, on a tiny random checkpoint."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import HeliosPipeline, HeliosScheduler

from ablations.variant import parse
from bench import generators
from bench.errors import UserError
from bench.generators import helios
from bench.generators.base import Request
from bench.plan import Plan
from bench.rollout import Rollout, noise_seed, rollout
from tests.bench.tiny_checkpoint import picture
from tests.bench.tiny_wan import build_helios, build_skyreels

HEIGHT, WIDTH = 16, 32
PROMPT = "a person walks"
ROOT = Path(__file__).parents[2]
STEPS, CFG = 2, 3.0
SMALL = "f1k1_x_td_f4k4f2k2f1k1_g2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_helios(tmp_path_factory.mktemp("helios") / "checkpoint")


def build(folder: Path, **more: Any) -> Any:
    options = {"checkpoint": str(folder), "device": "cpu", "steps": STEPS, "cfg": CFG}
    return helios.build(options | {"negative": "blurred"} | more)


@pytest.fixture(scope="module")
def generator(folder: Path) -> Any:
    return build(folder)


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> Any:
    """Diffusers' own pipeline on the same checkpoint."""
    make: Any = HeliosPipeline
    pipe = make.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def request(number: int = 1, seed: int = 7, **more: Any) -> Request:
    return Request(f"p{number}", PROMPT, picture(number), seed, **more)


def small(name: str, sections: int) -> Plan:
    return helios.plan(parse(name), height=HEIGHT, width=WIDTH, sections=sections)


def made(generator: Any, name: str, sections: int, *requests: Request) -> list[Rollout]:
    results = rollout(generator, parse(name), small(name, sections), requests or [request()])
    assert all(isinstance(result, Rollout) for result in results), results
    return [result for result in results if isinstance(result, Rollout)]


def frames(result: Rollout) -> Any:
    return np.concatenate(result.frames)


def reference(pipe: Any, asked: Request, chunks: int, g: int, **more: Any) -> Any:
    """The pipeline's frames of one request."""
    images = pipe(
        image=asked.image,
        prompt=asked.text,
        negative_prompt="blurred",
        height=HEIGHT,
        width=WIDTH,
        num_frames=chunks * (4 * g - 3),
        num_latent_frames_per_chunk=g,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        generator=torch.Generator().manual_seed(noise_seed(asked.prompt_id, asked.seed)),
        output_type="pil",
        **more,
    ).frames[0]
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.parametrize(
    ("name", "chunks", "sizes"),
    [
        ("f1k1_x_td_f16k4f2k2f1k1_g9", 2, [16, 2, 1]),
        (SMALL, 1, [4, 2, 1]),
        (SMALL, 4, [4, 2, 1]),
        ("f1k1_x_td_f8k4f4k2f3k1_g1", 3, [8, 4, 3]),
    ],
)
def test_frames_equal_diffusers_bit_for_bit(
    generator: Any, pipeline: Any, name: str, chunks: int, sizes: list[int]
) -> None:
    (found,) = made(generator, name, chunks)
    plan = small(name, chunks)
    expected = reference(pipeline, request(), chunks, plan.section, history_sizes=sizes)
    assert frames(found).shape == expected.shape == (plan.frames, HEIGHT, WIDTH, 3)
    assert np.array_equal(frames(found), expected)


def test_a_longer_video_begins_as_the_shorter_one(generator: Any) -> None:
    short, long = (frames(made(generator, SMALL, chunks)[0]) for chunks in (1, 3))
    assert np.array_equal(long[: len(short)], short)


def test_history_sizes_matter_from_the_second_chunk_on(generator: Any) -> None:
    other = "f1k1_x_td_f4k4f2k2f2k1_g2"
    one, two = (frames(made(generator, name, 2)[0]) for name in (SMALL, other))
    assert not np.array_equal(one[5:], two[5:])


def test_the_plan_has_the_contexts_of_the_pipeline(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels, RoPE indices and frames of every chunk, as the transformer is given them."""
    calls: list[dict[str, Any]] = []
    forward = type(generator.pipe.transformer).forward

    def watched(self: Any, *arguments: Any, **options: Any) -> Any:
        calls.append(options)
        return forward(self, *arguments, **options)

    monkeypatch.setattr(type(generator.pipe.transformer), "forward", watched)
    chunks = 3
    made(generator, SMALL, chunks)
    plan = small(SMALL, chunks)
    assert len(calls) == chunks * STEPS * 2
    for chunk, section in zip(calls[:: STEPS * 2], plan.sections, strict=True):
        contexts = {context.kernel.name: context for context in section.contexts}
        for name, kernel in (("long", "k4"), ("mid", "k2"), ("short", "k1")):
            given = chunk[f"latents_history_{name}"][0]
            empty = [not given[:, frame].any() for frame in range(given.shape[1])]
            assert empty == [frame is None for frame in contexts[kernel].frames]
            indices = chunk[f"indices_latents_history_{name}"][0].tolist()
            assert indices == list(contexts[kernel].indices)
        assert chunk["indices_hidden_states"][0].tolist() == list(section.target_indices)


def test_records_say_what_ran(generator: Any) -> None:
    (found,) = made(generator, SMALL, 3)
    record = found.record
    assert record["section_starts"] == [0, 5, 10]
    assert len(frames(found)) == 13
    assert record["tokens_per_section"] == small(SMALL, 3).tokens_per_section
    assert len(record["section_seconds"]) == 3
    assert record["seconds_decode"] > 0
    assert record["untrained"] == ["f4k4f2k2f1k1", "g2"]
    ran = record["generator"]
    assert (ran["kind"], ran["dtype"], len(ran["weights_digest"])) == ("helios", "float32", 16)
    assert ran["history_sizes"] == [4, 2, 1]
    assert ran["num_latent_frames_per_chunk"] == 2
    assert ran["image_noise"] is True


def test_the_published_sizes_are_trained() -> None:
    assert helios.untrained(parse("f1k1_x_td_f16k4f2k2f1k1_g9")) == ()


def test_noise_on_the_image_can_be_left_out(folder: Path, pipeline: Any) -> None:
    (found,) = made(build(folder, image_noise=False), SMALL, 1)
    expected = reference(
        pipeline, request(), 1, 2, history_sizes=[4, 2, 1], add_noise_to_image_latents=False
    )
    assert np.array_equal(frames(found), expected)
    assert found.record["generator"]["image_noise"] is False


def test_noise_depends_on_prompt_and_seed_alone(generator: Any) -> None:
    alone = [frames(made(generator, SMALL, 2, request(n, 7))[0]) for n in (1, 2)]
    torch.manual_seed(99)
    together = made(generator, SMALL, 2, request(1, 7), request(2, 7), request(1, 8))
    assert all(np.array_equal(frames(x), y) for x, y in zip(together, alone, strict=False))
    assert not np.array_equal(frames(together[2]), alone[0])


def test_sections_are_reported_as_they_end(generator: Any) -> None:
    seen: list[tuple[int, int]] = []
    steps: list[tuple[int, int]] = []

    def on_section(number: int, sections: int, frames: Any = None) -> None:
        seen.append((number, sections))

    rollout(
        generator,
        parse(SMALL),
        small(SMALL, 2),
        [request(1), request(2)],
        on_section=on_section,
        on_step=lambda step, of: steps.append((step, of)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert steps == [(1, 2), (2, 2)] * 4


def test_latents_that_are_not_finite_fail_their_own_cell(
    generator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = HeliosScheduler.step
    count = 0

    def broken(self: Any, velocity: Any, *more: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        return step(self, velocity * (float("nan") if count < 3 else 1.0), *more, **options)

    monkeypatch.setattr(HeliosScheduler, "step", broken)
    bad, good = rollout(generator, parse(SMALL), small(SMALL, 2), [request(1), request(2)])
    assert "not finite after section 1 of 2 (prompt p1, seed 7)" in str(bad)
    assert isinstance(good, Rollout)


@pytest.mark.parametrize(("seconds", "chunks", "count"), [(1, 1, 33), (5.5, 4, 129), (30, 22, 725)])
def test_the_published_chunks(seconds: float, chunks: int, count: int) -> None:
    variant = parse("f1k1_x_td_f16k4f2k2f1k1_g9")
    plan = helios.plan(variant, height=384, width=640, seconds=seconds, fps=24)
    assert (len(plan.sections), plan.frames) == (chunks, count)
    assert plan.section_starts == [33 * number for number in range(chunks)]
    # 48 × 80 latents: 960 tokens a frame, k2 240 for two, k4 60 for four; start and newest.
    assert plan.tokens_per_section == [9 * 960 + 2 * 960 + 240 + 4 * 60] * chunks


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("td_f16k4f2k2f1k1_g9", "vanilla sampling"),
        ("f1k1_x_g9_f1k1f2k2f16k4_td", "inverted sampling"),
        ("f2k1_x_td_f16k4f2k2f1k1_g9", "anchor f2k1"),
        ("f1k1_x_td_f2k2f1k1_g9", "packing f2k2f1k1"),
        ("f1k1_x_td_f8k8f16k4f2k2f1k1_g9", "packing f8k8f16k4f2k2f1k1"),
        ("f1k1_x_td_f4k4f8k2f1k1_g9", "packing f4k4f8k2f1k1"),
        ("f1k1_x_tc_f16k4f2k2f1k1_g9", "tail tc"),
        ("f1k1_x_td_f16k4f2k2f1k1_g9+D", "+D"),
        ("f1k1_x_td_f16k4f2k2f1k1_g9+noise-0.1", "option noise"),
    ],
)
def test_what_it_cannot_do_is_one_line(name: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        generators.plan({"kind": "helios"}, parse(name), height=64, width=64, sections=1)
    assert said in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_size_that_does_not_divide_is_one_line() -> None:
    with pytest.raises(UserError, match=r"video\.height: 40 is not a multiple of 16"):
        helios.plan(parse(SMALL), height=40, width=64, sections=1)


def test_an_end_image_is_one_line() -> None:
    asked: dict[str, Any] = {"height": 16, "width": 32, "sections": 1, "end_image": True}
    with pytest.raises(UserError, match="helios takes no end image; leave prompts with one out"):
        helios.plan(parse(SMALL), **asked)


def test_a_missing_package_is_named_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., Any] = importlib.util.find_spec
    monkeypatch.setattr(
        "bench.generators.piped.find_spec", lambda name: None if name == "ftfy" else find(name)
    )
    with pytest.raises(UserError, match="helios needs the Python package ftfy"):
        build(folder)


def test_another_model_s_checkpoint_is_one_line(tmp_path: Path) -> None:
    other = build_skyreels(tmp_path / "skyreels")
    with pytest.raises(UserError, match=r"SkyReelsV2Transformer3DModel.*HeliosTransformer3DModel"):
        build(other)


def test_a_pyramid_checkpoint_is_one_line(folder: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "mid"
    shutil.copytree(folder, other)
    HeliosScheduler(stages=3).save_pretrained(other / "scheduler")
    with pytest.raises(UserError, match=r"a pyramid of 3 stages.*possible is Helios-Base"):
        build(other)


def test_the_yaml_composes_and_its_generator_is_built(folder: Path) -> None:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from bench import config

    config.register()
    asked = ["generator=helios", f"generator.checkpoint={folder}", "generator.dtype=float32"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", [*asked, "generator.offload=none"])
    group: Any = OmegaConf.to_container(composed.generator)
    built = generators.build(group | {"device": "cpu", "steps": 1, "offline": True})
    assert generators.build(group | {"device": "cpu", "steps": 1, "offline": True}) is built
    variant = parse(SMALL)
    made_plan = generators.plan(group, variant, height=16, width=32, sections=2)
    (found,) = rollout(built, variant, made_plan, [request()])
    assert isinstance(found, Rollout)
    assert found.record["section_starts"] == [0, 5]
    assert len(frames(found)) == 9
    assert found.record["generator"]["checkpoint"] == group["name"]
