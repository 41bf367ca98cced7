"""Image-to-video in a loop against diffusers' own pipelines, on tiny random checkpoints."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    HunyuanVideoImageToVideoPipeline,
    LTXConditionPipeline,
    WanImageToVideoPipeline,
)
from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image

from ablations.variant import parse
from bench import config, generators, sweep
from bench.errors import UserError
from bench.generators import piped
from bench.generators.base import Request
from bench.making import maker, shapes
from bench.plan import Plan
from bench.prompts import Prompt
from bench.rollout import NonFiniteLatents, Rollout, noise_seed, rollout
from tests.bench.tiny_checkpoint import picture
from tests.bench.tiny_clips import build_hunyuan, build_ltx, build_wan, build_wan22

ROOT = Path(__file__).parents[2]
PROMPT, NEGATIVE, CFG = "a person walks", "blurred", 2.0


@dataclass(frozen=True)
class Case:
    """One kind of generator, and diffusers called by hand."""

    kind: str
    variant: str
    size: tuple[int, int]
    temporal: int
    build: Callable[[Path], Path]
    pipeline: Any
    arguments: Callable[[list[Image.Image]], dict[str, Any]]
    """What the pipeline is given for the frames that a clip begins with."""


def ltx_arguments(frames: list[Image.Image]) -> dict[str, Any]:
    seen: dict[str, Any] = {"video": frames} if len(frames) > 1 else {"image": frames[0]}
    return {
        "conditions": LTXVideoCondition(**seen),
        "guidance_scale": CFG,
        "frame_rate": 24,
        "decode_timestep": 0.05,
        "decode_noise_scale": 0.025,
    }


CASES = {
    case.kind: case
    for case in (
        Case(
            "hunyuan_i2v",
            "td_f1k1_g2",
            (32, 48),
            4,
            build_hunyuan,
            HunyuanVideoImageToVideoPipeline,
            lambda frames: {
                "image": frames[-1],
                "guidance_scale": 6.0,
                "true_cfg_scale": CFG,
            },
        ),
        Case(
            "wan_i2v",
            "td_f1k1_g2",
            (16, 32),
            4,
            build_wan,
            WanImageToVideoPipeline,
            lambda frames: {"image": frames[-1], "guidance_scale": CFG},
        ),
        Case(
            "wan_flf2v",
            "td_f1k1_g2_x_f1k1",
            (16, 32),
            4,
            lambda folder: build_wan(folder, last=True),
            WanImageToVideoPipeline,
            lambda frames: {
                "image": frames[-1],
                "last_image": picture(),
                "guidance_scale": CFG,
            },
        ),
        Case("ltx", "td_f2k1_g2", (32, 64), 8, build_ltx, LTXConditionPipeline, ltx_arguments),
    )
}
KINDS = list(CASES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("clips")
    return {kind: case.build(place / kind) for kind, case in CASES.items()}


def options(kind: str, folder: Path, **more: Any) -> dict[str, Any]:
    asked = {"kind": kind, "checkpoint": str(folder), "device": "cpu", "steps": 2, "cfg": CFG}
    return asked | {"negative": NEGATIVE} | more


@pytest.fixture(scope="module")
def made(folders: dict[str, Path]) -> Callable[[str], Any]:
    """`made("ltx")`: the generator of a kind."""
    kept: dict[str, Any] = {}

    def get(kind: str) -> Any:
        if kind not in kept:
            kept[kind] = generators.build(options(kind, folders[kind]))
        return kept[kind]

    return get


def plan(kind: str, sections: int | None, name: str = "", **asked: Any) -> Plan:
    case = CASES[kind]
    height, width = case.size
    size = {"height": height, "width": width, "sections": sections}
    return generators.plan({"kind": kind}, parse(name or case.variant), **(size | asked))


def request(prompt_id: str = "p", seed: int = 5, **more: Any) -> Request:
    return Request(prompt_id, PROMPT, picture(), seed, **more)


def roll(generator: Any, kind: str, sections: int, *requests: Request, **hooks: Any) -> Any:
    asked = list(requests) or [request()]
    return rollout(generator, parse(CASES[kind].variant), plan(kind, sections), asked, **hooks)


def frames(result: Any) -> Any:
    assert isinstance(result, Rollout), result
    return np.concatenate(result.frames)


def by_hand(case: Case, folder: Path, begin: list[Image.Image], number: int, seen: int) -> Any:
    """One clip by diffusers alone, as bytes [T, H, W, 3]."""
    pipe: Any = case.pipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    height, width = case.size
    seed = noise_seed("p", 5, f"section {number}" if number else "")
    images = pipe(
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        height=height,
        width=width,
        num_frames=(seen + 2 - 1) * case.temporal + 1,
        num_inference_steps=2,
        generator=torch.Generator().manual_seed(seed),
        output_type="pil",
        **case.arguments(begin),
    ).frames[0]
    return np.stack([np.asarray(image) for image in images])


@pytest.mark.parametrize("kind", KINDS)
def test_sections_are_diffusers_called_again_on_the_last_frames_bit_for_bit(
    kind: str, folders: dict[str, Path], made: Callable[[str], Any]
) -> None:
    case = CASES[kind]
    seen = parse(case.variant).packing.history
    overlap = (seen - 1) * case.temporal + 1
    first = by_hand(case, folders[kind], [picture()], 0, seen=1)
    again = [Image.fromarray(frame) for frame in first[-overlap:]]
    second = by_hand(case, folders[kind], again, 1, seen)

    (one,) = roll(made(kind), kind, 1)
    assert np.array_equal(frames(one), first)
    (two,) = roll(made(kind), kind, 2)
    assert np.array_equal(frames(two), np.concatenate([first, second[overlap:]]))
    new = 2 * case.temporal
    assert len(frames(two)) == plan(kind, 2).frames == 1 + 2 * new
    assert plan(kind, 2).section_starts == two.record["section_starts"] == [1, 1 + new]


@pytest.mark.parametrize("kind", KINDS)
def test_the_plan_counts_the_tokens_that_the_model_has(
    kind: str, made: Callable[[str], Any]
) -> None:
    generator = made(kind)
    counted: list[int] = []
    blocks = generator.pipe.transformer.transformer_blocks if hasattr(
        generator.pipe.transformer, "transformer_blocks"
    ) else generator.pipe.transformer.blocks  # fmt: skip

    def count(block: Any, positional: Any, named: Any) -> None:
        hidden = named["hidden_states"] if "hidden_states" in named else positional[0]
        counted.append(hidden.shape[1])

    hook = blocks[0].register_forward_pre_hook(count, with_kwargs=True)
    try:
        (result,) = roll(generator, kind, 2)
    finally:
        hook.remove()
    per_section = len(counted) // 2
    assert counted[::per_section] == plan(kind, 2).tokens_per_section
    assert result.record["tokens_per_section"] == plan(kind, 2).tokens_per_section


@pytest.mark.parametrize("kind", KINDS)
def test_the_record_says_what_ran(
    kind: str, folders: dict[str, Path], made: Callable[[str], Any]
) -> None:
    (result,) = roll(made(kind), kind, 2)
    record, said = result.record, result.record["generator"]
    assert said["kind"] == kind
    assert said["checkpoint"] == str(folders[kind])
    assert len(said["weights_digest"]) == 16
    assert (said["steps"], said["cfg"], said["passed_on"]) == (2, CFG, "bytes")
    history = parse(CASES[kind].variant).packing.history
    assert said["overlap_frames"] == (history - 1) * CASES[kind].temporal + 1
    assert (record["batch_size"], record["device"], record["dtype"]) == (1, "cpu", "float32")
    assert record["untrained"] == []
    assert len(record["section_seconds"]) == 2
    assert record["seconds_decode"] > 0
    json.dumps(record)


def test_noise_is_of_prompt_and_seed_and_a_batch_changes_nothing(
    made: Callable[[str], Any],
) -> None:
    generator = made("wan_i2v")
    (alone,) = roll(generator, "wan_i2v", 2)
    together = roll(generator, "wan_i2v", 2, request("q"), request(), request(seed=6))
    assert np.array_equal(frames(alone), frames(together[1]))
    assert not np.array_equal(frames(together[0]), frames(together[1]))
    assert not np.array_equal(frames(together[1]), frames(together[2]))
    longer = parse("td_f1k1_g3")
    video = plan("wan_i2v", 1, "td_f1k1_g3")
    twice = [frames(rollout(generator, longer, video, [request()])[0]) for _ in range(2)]
    assert np.array_equal(*twice)


@pytest.mark.parametrize("kind", ["wan_i2v", "wan_flf2v"])
def test_weights_of_two_transformers_and_no_image_encoder_run_as_they_are(
    kind: str, tmp_path: Path
) -> None:
    folder = build_wan22(tmp_path / "wan22")
    types = {"vae": "float32", "image_encoder": "float32"}
    generator = generators.build(options(kind, folder, dtypes=types))
    (one,) = roll(generator, kind, 1)
    assert np.array_equal(frames(one), by_hand(CASES[kind], folder, [picture()], 0, seen=1))


def test_steps_and_sections_are_reported(made: Callable[[str], Any]) -> None:
    steps: list[tuple[int, int]] = []
    sections: list[tuple[int, int, int]] = []

    def on_section(number: int, total: int, so_far: Any = None) -> None:
        sections.append((number, total, len(so_far()[0])))

    (result,) = roll(
        made("ltx"),
        "ltx",
        2,
        on_step=lambda step, total: steps.append((step, total)),
        on_section=on_section,
    )
    assert steps == [(1, 2), (2, 2)] * 2
    assert sections == [(1, 2, 17), (2, 2, len(frames(result)))]


def test_an_end_image_is_where_every_section_of_first_last_frame_goes(
    made: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = made("wan_flf2v")
    led_to: list[Any] = []
    call = generator.call
    monkeypatch.setattr(generator, "call", lambda clip: led_to.append(clip.last) or call(clip))
    variant, end, begin = parse("td_f1k1_g2_x_f1k1"), picture(9), picture()
    asked = Request("p", PROMPT, begin, 5, last_image=end)
    rollout(generator, variant, plan("wan_flf2v", 2, end_image=True), [asked])
    rollout(generator, variant, plan("wan_flf2v", 2), [Request("p", PROMPT, begin, 5)])
    assert [image is end for image in led_to] == [True, True, False, False]
    assert [image is begin for image in led_to] == [False, False, True, True]
    with pytest.raises(UserError, match="the plan takes no end image, unlike prompt p"):
        rollout(generator, variant, plan("wan_flf2v", 1), [asked])


def test_a_prompts_end_image_goes_all_the_way(folders: dict[str, Path], tmp_path: Path) -> None:
    begin, end = picture(), picture(9)
    begin.save(tmp_path / "begin.png")
    end.save(tmp_path / "end.png")
    prompt = Prompt("p", PROMPT, tmp_path / "begin.png", end_image=tmp_path / "end.png")
    video = {"height": 16, "width": 32, "seconds": 1.0, "fps": 16.0}
    cfg: dict[str, Any] = {"video": video, "threads": None, "device": None, "offline": True}
    cfg["generator"] = options("wan_flf2v", folders["wan_flf2v"])
    variant = parse("td_f1k1_g2_x_f1k1")
    shape_of = shapes(video)
    assert shape_of(prompt) == (16, 32, True)
    by_study = maker(cfg, [variant], [prompt], shape_of)()
    (made,) = by_study.make(variant, [sweep.Request(prompt, 5)], lambda *progress: None)
    assert not isinstance(made, Exception)

    generator = generators.build(cfg["generator"] | {"offline": True})
    asked = [Request("p", PROMPT, begin, 5, last_image=end)]
    (direct,) = rollout(generator, variant, plan("wan_flf2v", 2, end_image=True), asked)
    assert np.array_equal(np.concatenate(list(made.frames)), frames(direct))

    with pytest.raises(UserError, match="td_f1k1_g2: generator wan_i2v takes no end image"):
        other = cfg | {"generator": {"kind": "wan_i2v"}}
        maker(other, [parse("td_f1k1_g2")], [prompt], shape_of)


def test_options_of_a_variant_reach_the_pipeline(made: Callable[[str], Any]) -> None:
    generator = made("wan_i2v")
    used = generator.use(parse("td_f1k1_g2+cfg-3+shift-5+steps-4"))
    assert used.values == {"steps": 4, "cfg": 3.0, "shift": "5"}
    assert generator.pipe.scheduler.config.flow_shift == 5.0
    assert generator.use(parse("td_f1k1_g30")).untrained == ("g30",)
    assert generator.pipe.scheduler.config.flow_shift == 3.0
    assert made("hunyuan_i2v").use(parse("td_f1k1_g2+guidance-4")).values["guidance"] == 4.0
    assert made("ltx").use(parse("td_f1k1_g2+noise-0")).values["noise"] == 0.0
    with pytest.raises(UserError, match="shift: 'released' is not a positive number"):
        generator.use(parse("td_f1k1_g2+shift-released"))


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        ("wan_i2v", "f1k1_x_g9_f1k1f2k2f16k4_td", "inverted sampling"),
        ("wan_i2v", "f1k1_x_td_f1k1_g9", "f1 sampling"),
        ("wan_i2v", "td_f16k4f2k2f1k1_g9", "packing f16k4f2k2f1k1"),
        ("wan_i2v", "td_f2k1_g9", "history f2k1"),
        ("wan_i2v", "ta_f1k1_g9", "tail ta"),
        ("wan_i2v", "td_f1k1_g9+D", r"\+D"),
        ("wan_i2v", "td_f1k1_g9+teacache-0.1", "option teacache"),
        ("wan_i2v", "td_f1k1_g9_x_f1k1", "anti_drifting sampling"),
        ("wan_flf2v", "td_f1k1_g9", "vanilla sampling"),
        ("wan_flf2v", "td_f1k1_g9_x_f2k1", "endpoint f2k1"),
        ("wan_flf2v", "td_f1k1_g9_x_f1k1_x_f1k1", "endpoints sampling"),
        ("hunyuan_i2v", "td_f1k1_g9+noise-0.1", "option noise"),
        ("ltx", "td_f13k1_g9", "history f13k1"),
        ("ltx", "td_f2k2_g9", "packing f2k2"),
        ("ltx", "td_f2k1_g9+method-repeat", "option method"),
    ],
)
def test_what_a_model_cannot_do_is_refused_in_one_line(kind: str, name: str, wrong: str) -> None:
    with pytest.raises(UserError, match=f"generator {kind} has no {wrong}; possible are") as error:
        plan(kind, 1, name)
    assert "\n" not in str(error.value)


def test_method_repeat_is_what_a_loop_does_anyway(made: Callable[[str], Any]) -> None:
    name = "td_f1k1_g2+method-repeat"
    video = plan("wan_i2v", 2, name)
    (said,) = rollout(made("wan_i2v"), parse(name), video, [request()])
    (plain,) = roll(made("wan_i2v"), "wan_i2v", 2)
    assert np.array_equal(frames(said), frames(plain))


@pytest.mark.parametrize(("kind", "side"), [("hunyuan_i2v", 16), ("wan_i2v", 16), ("ltx", 32)])
def test_sizes_are_whole_tokens(kind: str, side: int) -> None:
    with pytest.raises(UserError, match=f"video.width: {side + 8} is not a multiple of {side}"):
        plan(kind, 1, height=side, width=side + 8)


def test_length_follows_the_frame_rate_and_the_compression() -> None:
    assert plan("wan_i2v", None, "td_f1k1_g20", fps=16, seconds=5).frames == 81
    assert plan("hunyuan_i2v", None, "td_f1k1_g30", fps=24, seconds=5).frames == 121
    assert plan("ltx", None, "td_f3k1_g12", fps=24, seconds=5).frames == 97
    assert plan("ltx", None, "td_f3k1_g15", fps=24, seconds=5).frames == 121


def test_the_history_grows_until_it_is_full() -> None:
    video = plan("ltx", 4, "td_f4k1_g2")
    seen = [section.contexts[0].frames for section in video.sections]
    assert seen == [(0,), (0, 1, 2), (1, 2, 3, 4), (3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "/nowhere/at/all"}, "generator.checkpoint: /nowhere/at/all: no such"),
        ({"checkpoint": ""}, "generator.checkpoint: give a folder or a hub id"),
        ({"teacache": 0.1}, "generator.teacache: no such option; options are cfg"),
        ({"offload": "disk"}, "generator.offload: 'disk' is not one of none, model, sequential"),
        ({"dtype": "int8"}, "generator.dtype: 'int8' is not one of auto, float32"),
        ({"dtypes": {"vea": "float32"}}, "generator.dtypes.vea: no such component; there are"),
        ({"dtypes": {"vae": "half"}}, "generator.dtypes.vae: 'half' is not one of"),
    ],
)
def test_a_wrong_option_is_one_line(
    change: dict[str, Any], message: str, folders: dict[str, Path]
) -> None:
    with pytest.raises(UserError) as error:
        generators.build(options("wan_i2v", folders["wan_i2v"], **change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_package_or_component_and_anothers_checkpoint_are_named(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="its transformer is a LTXVideoTransformer3DModel; gener"):
        generators.build(options("wan_i2v", folders["ltx"]))

    folder = tmp_path / "wan"
    folder.mkdir()
    for part in folders["wan_i2v"].iterdir():
        if part.name != "image_encoder":
            (folder / part.name).symlink_to(part)
    with pytest.raises(UserError, match="component image_encoder is missing; needed are"):
        generators.build(options("wan_i2v", folder))

    with pytest.raises(UserError, match="image_condition_type is latent_concat"):
        old = build_hunyuan(tmp_path / "33ch", "latent_concat")
        generators.build(options("hunyuan_i2v", old))
    with pytest.raises(UserError, match="its scheduler shifts by the clip's size"):
        generators.build(options("ltx", build_ltx(tmp_path / "dynamic", dynamic=True)))

    monkeypatch.setattr(piped, "find_spec", lambda name: None if name == "ftfy" else True)
    with pytest.raises(UserError) as error:
        generators.build(options("wan_i2v", folders["wan_i2v"], steps=3))
    assert str(error.value) == (
        "generator wan_i2v needs the Python package ftfy, which is not installed: pip install ftfy"
    )


def test_a_video_that_breaks_fails_alone(
    made: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = made("wan_i2v")
    call = generator.call

    def broken(clip: Any) -> Any:
        found = call(clip)
        return found * np.nan if clip.text == "breaks" else found

    monkeypatch.setattr(generator, "call", broken)
    bad = Request("bad", "breaks", picture(), 1)
    failed, fine = roll(generator, "wan_i2v", 2, bad, request())
    assert isinstance(failed, NonFiniteLatents)
    assert "not finite after section 1 of 2 (prompt bad, seed 1)" in str(failed)
    assert len(frames(fine)) == 17


def test_generate_makes_a_cell(folders: dict[str, Path], tmp_path: Path) -> None:
    picture().save(tmp_path / "begin.png")
    (tmp_path / "prompts.csv").write_text(f"id,text,image\nwalk,{PROMPT},begin.png\n")
    command = [
        sys.executable,
        str(ROOT / "run_bench.py"),
        "study=study",
        "generator=wan_i2v",
        f"generator.checkpoint={folders['wan_i2v']}",
        "generator.dtype=float32",
        "generator.steps=1",
        "prompts=prompts.csv",
        "variant=td_f1k1_g2",
        "video.height=16",
        "video.width=32",
        "video.fps=16",
        "video.seconds=1",
        "device=cpu",
        "threads=1",
        "offline=true",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cell = json.loads((tmp_path / "study/cells/td_f1k1_g2/walk_0/cell.json").read_text())
    assert (cell["status"], cell["frames"], cell["section_starts"]) == ("done", 17, [1, 9])
    assert cell["generator"]["kind"] == "wan_i2v"

    refused = subprocess.run(
        [*command, "variant=f1k1_x_g9_f1k1f2k2f16k4_td"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "generator wan_i2v has no inverted sampling" in refused.stderr


@pytest.mark.parametrize("kind", KINDS)
def test_the_yaml_runs_as_it_is_but_for_the_weights(
    kind: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    config.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("config", [f"generator={kind}"])
    group: Any = OmegaConf.to_container(composed.generator)
    assert group["kind"] == kind
    weights = {"checkpoint": str(folders[kind]), "device": "cpu", "steps": 1}
    (result,) = roll(generators.build(group | weights), kind, 1)
    assert len(frames(result)) == plan(kind, 1).frames
    said = result.record["generator"]
    assert said["dtype"] == group["dtype"] != "float32"
    assert said["dtypes"] == group.get("dtypes", {})
    assert said["checkpoint"] == group["name"]
