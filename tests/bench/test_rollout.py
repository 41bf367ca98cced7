"""Rollouts on the tiny checkpoint: every variant runs, noise is the cell's, failures stay alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ablations.variant import NAMED, TABLE_1, parse
from bench.errors import UserError
from bench.generators import build, framepack
from bench.generators.base import Request
from bench.history import Discrete, Noisy
from bench.rollout import NonFiniteLatents, Rollout, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import LATENT_CHANNELS, picture

Make = Callable[..., Any]


def drawn(*shape: int) -> torch.Tensor:
    """Normal numbers that do not depend on which tests ran before."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


FORWARD = "td_f16k4f2k2f1k1_g3"
OTHERS = (
    "td_f16k4f2k2f1k1_g3_x_f1k1",
    "td_f16k4f2k2f1k1_g3_x_f1k1_x_f1k1",
    "f1k1_x_td_f16k4f2k2f1k1_g3",
    "f1k1_x_g3_f1k1f2k2f16k4_td",
    "f1k1_x_g3_f1k1f2k2_ta",
    "ta_f2k2f1k1_g3",
    "tc_f2k2f1k1_g3",
    "tc_f8k8f4k4f2k2f1k1_g3",
    "td_f512k16f64k8f16k4f2k2f1k1_g3",
    "td_f1k1_g3",
    "td_f4k4_g3",
    "td_f9999k1_g3+missing-drop",
    "f1k1_x_td_f16k4f2k2f1k1_g3+padding-exact",
    "td_f16k4f2k2f1k1_g3+noise-0.1",
    "td_f4k4f2k2f1k1_g3+order-similarity",
    "f1k1_x_g3_f1k1f2k2f4k4_td+order-hybrid",
)


def make(generator: Any, name: str, requests: list[Request], sections: int = 2, **more: Any) -> Any:
    variant = parse(name)
    made = plan(variant, height=32, width=48, sections=sections, **more)
    return rollout(generator, variant, made, requests), made


def request(number: int = 1, seed: int = 7, text: str = "a person walks") -> Request:
    return Request(f"p{number}", text, picture(number), seed)


def frames(result: Any) -> Any:
    assert isinstance(result, Rollout), result
    return np.concatenate(result.frames)


@pytest.mark.parametrize("name", [n for n in (*TABLE_1, *NAMED) if "+D" not in n] + list(OTHERS))
def test_every_variant_runs_and_has_the_planned_tokens(tiny_generator: Make, name: str) -> None:
    sections = 4 if "g3" in name else 2
    (found,), made = make(tiny_generator(), name, [request()], sections)
    assert frames(found).shape == (made.frames, 32, 48, 3)
    assert found.record["tokens_per_section"] == made.tokens_per_section
    assert len(found.record["section_seconds"]) == sections
    json.dumps(found.record)


def test_an_order_that_the_checkpoint_was_not_trained_for_is_named(tiny_generator: Make) -> None:
    generator = tiny_generator(samplers=["inverted"])
    for name, untrained in (("f1k1_x_g3_f1k1f2k2f16k4_td", []), (FORWARD, ["vanilla"])):
        (found,), _ = make(generator, name, [request()], 1)
        assert found.record["untrained"] == untrained


def test_initialised_projections_are_marked_untrained(tiny_generator: Make) -> None:
    for name, untrained in (
        (FORWARD, []),
        ("td_f8k8f4k4f2k2f1k1_g3", ["k8"]),
        ("td_f16k16f8k8f1k1_g3", ["k8", "k16"]),
        ("layout_b_g1", ["k1x4x4", "k1x8x8"]),
    ):
        (found,), _ = make(tiny_generator(), name, [request()], 1)
        assert found.record["untrained"] == untrained


def test_an_initialised_projection_reads_a_flat_frame_as_k1_does(tiny_generator: Make) -> None:
    from bench.generators.projections import make_projections
    from bench.packing import KERNELS

    embedder = tiny_generator().pipe.transformer.clean_x_embedder.proj
    base = embedder.weight.detach(), embedder.bias.detach()
    flat = drawn(1, LATENT_CHANNELS, 1, 1, 1).expand(-1, -1, 16, 32, 32)
    expected = embedder(flat[:, :, :1, :2, :2]).flatten()
    projections, names = make_projections(KERNELS.values(), base, {})
    assert names == ("k8", "k16")
    for projection in projections.values():
        assert torch.allclose(projection(flat)[0, :, 0, 0, 0], expected, atol=1e-3)


def test_trained_projections_beside_the_weights_are_used(tiny: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny, folder)
    file = folder / "transformer" / "history_embedder_k8.safetensors"
    save_file({"weight": drawn(24, LATENT_CHANNELS, 4, 8, 8), "bias": torch.zeros(24)}, file)
    options = {"device": "cpu", "steps": 2}
    ours = framepack.build({"checkpoint": str(folder), **options})
    (found,), _ = make(ours, "td_f8k8f1k1_g3", [request()])
    (plain,), _ = make(
        framepack.build({"checkpoint": str(tiny), **options}), "td_f8k8f1k1_g3", [request()]
    )
    assert found.record["untrained"] == []
    assert plain.record["untrained"] == ["k8"]
    assert not np.array_equal(frames(found), frames(plain))


def test_noise_is_the_cells_own_whatever_the_batch(tiny_generator: Make) -> None:
    asked = [
        request(1, 1),
        request(1, 2),
        request(2, 1, "a woman in a green shirt waves and then she walks"),
    ]
    together, _ = make(tiny_generator(), FORWARD, asked, 3)
    for one, found in zip(asked, together, strict=True):
        (alone,), _ = make(tiny_generator(), FORWARD, [one], 3)
        difference = np.abs(frames(alone).astype(int) - frames(found))
        assert difference.max() <= 1, "only the last bits of a batched sum may differ"
    assert not np.array_equal(frames(together[0]), frames(together[1]))


def test_a_run_is_repeated_bit_for_bit(tiny_generator: Make) -> None:
    name = "td_f16k4f2k2f1k1_g3+noise-0.2"
    (one,), _ = make(tiny_generator(), name, [request()])
    (other,), _ = make(tiny_generator(), name, [request()])
    assert np.array_equal(frames(one), frames(other))


def test_a_prompt_is_encoded_once_for_all_variants_and_seeds(
    tiny_generator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = tiny_generator(steps=1)
    calls: list[str] = []
    for component in ("text_encoder", "text_encoder_2", "image_encoder", "vae.encoder"):
        module = generator.pipe.vae.encoder if "vae" in component else None
        module = module or getattr(generator.pipe, component)
        module.register_forward_hook(lambda *_, name=component: calls.append(name))
    one = Request("q1", "a man jumps", picture(5), 1)
    for seed in (1, 2):
        for name in (FORWARD, "td_f1k1_g3"):
            make(generator, name, [Request("q1", one.text, one.image, seed)], 1)
    assert sorted(calls) == ["image_encoder", "text_encoder", "text_encoder_2", "vae.encoder"]


def test_progress_gives_steps_sections_and_the_video_so_far(tiny_generator: Make) -> None:
    seen: list[tuple[int, int, int]] = []
    steps: list[tuple[int, int]] = []
    variant = parse("f1k1_x_g3_f1k1f2k2f16k4_td")
    made = plan(variant, height=32, width=48, sections=3)

    def on_section(number: int, sections: int, so_far: Any = None) -> None:
        seen.append((number, sections, so_far()[0].shape[0]))

    (found,) = rollout(
        tiny_generator(),
        variant,
        made,
        [request()],
        on_section=on_section,
        on_step=lambda step, total: steps.append((step, total)),
    )
    assert seen == [(1, 3, 9), (2, 3, 21), (3, 3, 37)]
    assert steps == [(1, 2), (2, 2)] * 3
    assert frames(found).shape[0] == 37


def test_a_cell_with_nan_fails_alone(tiny_generator: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = tiny_generator()
    denoise = generator.denoise

    def broken(conditions: Any, *arguments: Any, **more: Any) -> Any:
        done = denoise(conditions, *arguments, **more)
        done.latents[1] = float("nan")
        return done

    monkeypatch.setattr(generator, "denoise", broken)
    (good, bad, other), _ = make(generator, FORWARD, [request(1), request(2), request(3)])
    assert isinstance(bad, NonFiniteLatents)
    assert "section 1 of 2 (prompt p2, seed 7)" in str(bad)
    monkeypatch.undo()
    expected, _ = make(generator, FORWARD, [request(1), request(2), request(3)])
    assert np.array_equal(frames(good), frames(expected[0]))
    assert np.array_equal(frames(other), frames(expected[2]))


def test_teacache_computes_first_and_last_step_and_is_off_at_zero(tiny_generator: Make) -> None:
    from bench.generators.teacache import TeaCache

    cache = TeaCache(1e9, steps=5, curve=(1.0, 0.0))
    hidden = torch.zeros(2, 3, 4)
    for step in range(5):
        cache.apply(torch.ones(2, 3, 4) + step, hidden, lambda cells: hidden + 1)
    assert cache.computed == [2, 0, 0, 0, 2]
    (plain,), _ = make(tiny_generator(steps=6), FORWARD, [request()])
    (zero,), _ = make(tiny_generator(steps=6), FORWARD + "+teacache-0", [request()])
    (tight,), _ = make(tiny_generator(steps=6), FORWARD + "+teacache-1e-09", [request()])
    (loose,), _ = make(tiny_generator(steps=6), FORWARD + "+teacache-100000", [request()])
    assert np.array_equal(frames(plain), frames(zero))
    assert np.array_equal(frames(plain), frames(tight)), "what is computed at every step is exact"
    assert not np.array_equal(frames(plain), frames(loose))


def test_cells_decide_for_themselves_when_teacache_skips() -> None:
    from bench.generators.teacache import TeaCache

    cache = TeaCache(0.5, steps=9, curve=(1.0, 0.0))
    hidden = torch.zeros(2, 1, 1)
    ran: list[Any] = []

    def run(cells: list[int] | None) -> torch.Tensor:
        ran.append(cells)
        return torch.full((2 if cells is None else len(cells), 1, 1), float(len(ran)))

    inputs = [[1.0, 1.0], [1.1, 2.0], [1.2, 2.1]]
    outputs = [cache.apply(torch.tensor(i).view(2, 1, 1), hidden, run) for i in inputs]
    assert ran == [None, [1]]
    assert outputs[1].flatten().tolist() == [1.0, 2.0]
    assert outputs[2].flatten().tolist() == [1.0, 2.0]


def test_a_lora_changes_the_video_and_leaves_no_trace(
    tiny: Path, tmp_path: Path, tiny_generator: Make
) -> None:
    generator = tiny_generator()
    weight = generator.pipe.transformer.proj_out.weight
    rank = 2
    state = {
        "transformer.proj_out.lora_A.weight": drawn(rank, weight.shape[1]),
        "transformer.proj_out.lora_B.weight": drawn(weight.shape[0], rank),
    }
    save_file(state, tmp_path / "lora.safetensors")
    ours = framepack.build(
        {
            "checkpoint": str(tiny),
            "device": "cpu",
            "steps": 2,
            "loras": {"mine": str(tmp_path / "lora.safetensors")},
        }
    )
    before = ours.pipe.transformer.proj_out.weight.clone()
    (plain,), _ = make(ours, FORWARD, [request()])
    (tuned,), _ = make(ours, FORWARD + "+lora-mine", [request()])
    merged = ours.pipe.transformer.proj_out.weight.clone()
    (again,), _ = make(ours, FORWARD, [request()])
    up, down = (state[f"transformer.proj_out.lora_{side}.weight"] for side in "BA")
    assert torch.allclose(merged, before + up @ down, atol=1e-6)
    assert torch.equal(ours.pipe.transformer.proj_out.weight, before)
    assert not np.array_equal(frames(plain), frames(tuned))
    assert np.array_equal(frames(plain), frames(again))
    assert tuned.record["generator"]["lora"] == "mine"


def test_fine_tuned_weights_are_loaded_per_variant(tiny: Path, tmp_path: Path) -> None:
    from tests.bench.tiny_checkpoint import build_tiny

    other = build_tiny(tmp_path / "other", seed=5)
    ours = framepack.build(
        {
            "checkpoint": str(tiny),
            "device": "cpu",
            "steps": 2,
            "transformers": {"tuned": str(other)},
        }
    )
    (plain,), _ = make(ours, FORWARD, [request()])
    (tuned,), _ = make(ours, FORWARD + "+weights-tuned", [request()])
    (again,), _ = make(ours, FORWARD, [request()])
    assert not np.array_equal(frames(plain), frames(tuned))
    assert np.array_equal(frames(plain), frames(again))


def test_weights_that_cannot_be_loaded_fail_their_own_variant_only(
    tiny: Path, tmp_path: Path
) -> None:
    wrong = {"transformers": {"wrong": str(tmp_path / "nowhere")}}
    ours = framepack.build({"checkpoint": str(tiny), "device": "cpu", "steps": 2, **wrong})
    (plain,), _ = make(ours, FORWARD, [request()])
    for _ in range(2):
        with pytest.raises(UserError, match=r"^generator\.transformers\.wrong: .*nowhere cannot"):
            make(ours, FORWARD + "+weights-wrong", [request()])
    (again,), _ = make(ours, FORWARD, [request()])
    assert np.array_equal(frames(plain), frames(again))


def test_discrete_history_needs_a_codebook_and_uses_it(tiny: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": str(tiny), "device": "cpu", "steps": 2}
    with pytest.raises(UserError, match=r"\+D needs a codebook.*none are configured"):
        make(framepack.build(options), FORWARD + "+D128", [request()])
    save_file({"codes": drawn(16, LATENT_CHANNELS)}, tmp_path / "16.safetensors")
    generator = framepack.build(options | {"codebooks": {"16": str(tmp_path / "16.safetensors")}})
    (plain,), _ = make(generator, FORWARD, [request()])
    (coded,), _ = make(generator, FORWARD + "+D16", [request()])
    (default,), _ = make(generator, FORWARD + "+D", [request()])
    assert np.array_equal(frames(coded), frames(default))
    assert not np.array_equal(frames(plain), frames(coded))
    with pytest.raises(UserError, match=r"codebooks.128.*there are 16"):
        make(generator, FORWARD + "+D128", [request()])


def test_treatments_recover_plain_sampling_at_their_degenerate_settings() -> None:
    latents = drawn(2, 3, 4, 5, 6)
    rngs = [torch.Generator().manual_seed(i) for i in range(2)]
    assert torch.equal(Noisy(0.0)(latents, rngs), latents)
    every_pixel = latents.movedim(1, -1).reshape(-1, 3)
    assert torch.equal(Discrete(every_pixel)(latents, rngs), latents)
    one = Discrete(torch.tensor([[1.0, 2.0, 3.0]]))(latents, rngs)
    assert torch.equal(one, torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1).expand_as(latents))
    noisy = Noisy(1.0)(latents, [torch.Generator().manual_seed(i) for i in range(2)])
    alone = Noisy(1.0)(latents[1:], [torch.Generator().manual_seed(1)])
    assert torch.equal(noisy[1:], alone)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"checkpoint": None}, "generator.checkpoint: give a folder"),
        ({"checkpoint": "./nowhere"}, "generator.checkpoint: ./nowhere: no such folder"),
        ({"speed": 3}, "generator.speed: no such option"),
        ({"offload": "disk"}, "generator.offload: 'disk' is not one of none, model, sequential"),
        ({"dtype": "int8"}, "generator.dtype: 'int8' is not one of auto, float32"),
        ({"device": "cuda:9"}, "there is no CUDA device"),
    ],
)
def test_wrong_options_are_named(tiny: Path, options: dict[str, Any], words: str) -> None:
    if "CUDA" in words and torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(UserError) as error:
        framepack.build({"checkpoint": str(tiny), "device": "cpu"} | options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("component", ["transformer", "vae", "tokenizer_2", "image_encoder"])
def test_a_missing_component_is_named(tiny: Path, tmp_path: Path, component: str) -> None:
    import shutil

    folder = tmp_path / "checkpoint"
    shutil.copytree(tiny, folder)
    shutil.rmtree(folder / component)
    with pytest.raises(UserError, match=f"component {component} is missing"):
        framepack.build({"checkpoint": str(folder)})


def test_an_unknown_kind_or_option_of_a_variant_is_named(
    tiny_generator: Make, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"generator.kind: 'sora' is not one of framepack"):
        build({"kind": "sora"})
    with pytest.raises(UserError, match=r"generator\.loras has none"):
        make(tiny_generator(), FORWARD + "+lora-mine", [request()])
    with pytest.raises(UserError, match=r"generator\.transformers has none"):
        make(tiny_generator(), FORWARD + "+weights-mine", [request()])
    (tmp_path / "causal.safetensors").touch()
    with pytest.raises(UserError, match=r"generator\.transformers has none"):
        generator = tiny_generator(deltas=str(tmp_path))
        make(generator, FORWARD + "+delta-causal+weights-mine", [request()])
    with pytest.raises(UserError, match="neither `released` nor a positive number"):
        make(tiny_generator(), FORWARD + "+shift-fast", [request()])


def test_requests_must_agree_with_the_plan_about_the_end_image(tiny_generator: Make) -> None:
    with pytest.raises(UserError, match="the plan needs an end image, unlike prompt p1"):
        make(tiny_generator(), "f1k1_x_g3_f1k1f2k2f16k4_td", [request()], end_image=True)


def test_the_flow_shift_option_changes_the_schedule(tiny_generator: Make) -> None:
    generator = tiny_generator()
    (plain,), _ = make(generator, FORWARD, [request()])
    (released,), _ = make(generator, FORWARD + "+shift-released", [request()])
    (strong,), _ = make(generator, FORWARD + "+shift-7", [request()])
    # The tiny checkpoint shifts dynamically, by the published rule without its cap.
    assert np.abs(frames(plain).astype(int) - frames(released)).max() <= 1
    assert not np.array_equal(frames(plain), frames(strong))


def test_one_configuration_is_loaded_once(tiny: Path) -> None:
    config = {"kind": "framepack", "checkpoint": str(tiny), "device": "cpu"}
    assert build(config) is build(dict(config))


def test_history_guidance_is_two_passes_and_nothing_at_weight_zero(
    tiny_generator: Make,
) -> None:
    generator = tiny_generator()
    (plain,), _ = make(generator, FORWARD, [request()])
    (zero,), _ = make(generator, FORWARD + "+history_guidance-0", [request()])
    (guided,), _ = make(generator, FORWARD + "+history_guidance-2", [request()])
    assert np.array_equal(frames(plain), frames(zero))
    assert not np.array_equal(frames(plain), frames(guided))
    assert "guidance" in guided.record["untrained"]
    calls: list[int] = []
    hook = generator.pipe.transformer.register_forward_hook(lambda *_: calls.append(1))
    make(generator, FORWARD + "+history_guidance-2", [request()], 1)
    hook.remove()
    assert len(calls) == 2 * 2, "two steps, two passes"


def test_causal_attention_hides_later_frames_and_nothing_else() -> None:
    from bench.generators.base import ContextFrames
    from bench.generators.transformer import causal_mask, token_times
    from bench.packing import KERNELS

    def context(kernel: int, *indices: int) -> ContextFrames:
        return ContextFrames(KERNELS[kernel], torch.zeros(1, 1, len(indices), 4, 4), indices)

    contexts = [context(2, 0, 1), context(1, 2, 3)]
    times = token_times(contexts, [4, 5], 2, 2)
    assert times.tolist() == [1] + [2] * 4 + [3] * 4 + [5] * 8
    mask = causal_mask(times, text=3)[0, 0]
    assert mask[:17, :17].tolist() == (times[:, None] >= times[None, :]).tolist()
    assert mask[:, 17:].all(), "all read text"
    assert not mask[17:, :17].any(), "text reads no frames"
    assert mask[9:17, 9:17].all(), "target frames read each other"


def test_causal_attention_changes_the_video_and_needs_a_forward_sampler(
    tiny_generator: Make,
) -> None:
    asked = [request(1), request(2, text="a woman in a green shirt waves and then she walks")]
    plain, _ = make(tiny_generator(), FORWARD, asked)
    causal, _ = make(tiny_generator(), FORWARD + "+attention-causal", asked)
    for one, other in zip(plain, causal, strict=True):
        assert not np.array_equal(frames(one), frames(other))
    with pytest.raises(UserError, match="causal attention needs a sampler"):
        make(tiny_generator(), "f1k1_x_g3_f1k1f2k2f16k4_td+attention-causal", asked)


def test_repeating_image_to_video_begins_again_at_each_last_frame(tiny_generator: Make) -> None:
    generator = tiny_generator()
    (found,), made = make(generator, "td_f1k1_g3+method-repeat", [request()], 3)
    assert frames(found).shape == (made.frames, 32, 48, 3)
    assert found.record["tokens_per_section"] == made.tokens_per_section
    (first,), _ = make(generator, "td_f1k1_g3", [request()], 1)
    assert np.array_equal(frames(found)[:13], frames(first))
    with pytest.raises(UserError, match="method-repeat needs a vanilla name"):
        make(generator, "f1k1_x_td_f1k1_g3+method-repeat", [request()])
