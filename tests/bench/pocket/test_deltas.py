"""Deltas: what their training sees, what two steps of it write, and how a generator reads that."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from ablations.variant import parse
from bench import variant as variants
from bench.errors import UserError
from bench.generators import framepack
from bench.generators.base import Request
from bench.generators.checkpoint import digest
from bench.pocket import CHECKPOINT, components
from bench.pocket.deltas import CLEARED, DELTAS, draw, noise_levels, seen
from bench.pocket.low_rank import adapt
from bench.pocket.train_delta import DeltaRecipe, Trainer, run
from bench.rollout import Rollout, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import picture

SMALL = DeltaRecipe(
    rank=2, steps=2, batch=2, section=2, warmup=1, clips=2, latents=8, held_out=2, codes=(4,)
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pocket") / "random"
    components.build_random(folder, num_attention_heads=1, num_layers=1, num_single_layers=1)
    proj = components.transformer(num_attention_heads=1).clean_x_embedder.proj_4x
    k8 = {"weight": proj.weight.detach().clone(), "bias": proj.bias.detach().clone()}
    save_file(k8, folder / "transformer" / "history_embedder_k8.safetensors")
    return folder


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where encoded clips are kept between the trainings of this module."""
    return tmp_path_factory.mktemp("latents")


@pytest.fixture(scope="module")
def codebook(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    path = tmp_path_factory.mktemp("codes") / "4.safetensors"
    rng = torch.Generator().manual_seed(0)
    save_file({"codes": torch.randn(4, components.LATENT_CHANNELS, generator=rng)}, path)
    return {4: path}


def test_every_delta_that_a_variant_can_name_has_a_recipe() -> None:
    assert set(DELTAS) == set(variants.DELTAS)


@pytest.mark.parametrize("name", [name for name, delta in DELTAS.items() if delta.drop])
def test_layouts_show_existing_history_only_and_the_same_to_all_of_a_batch(name: str) -> None:
    rng = np.random.default_rng(0)
    lengths = set()
    for _ in range(30):
        layout = draw(rng, DELTAS[name], 3, 50, 46, 9)
        (level,) = layout.levels
        assert level.kernel == 1
        assert level.places.min() >= 0
        assert (level.places == level.places[0]).all()
        assert level.places.shape[1] == len(level.indices) >= 1
        assert layout.target.shape == (3, 9)
        lengths.add(level.places.shape[1])
    assert 1 in lengths and max(lengths) >= 16, "the first section, and a full window"


def test_noise_on_history_is_drawn_as_the_setting_says() -> None:
    sigma, rng = torch.linspace(0.1, 1, 4000), torch.Generator().manual_seed(0)
    fixed = noise_levels(DELTAS["forcing-0.1"], sigma, rng)
    torch.testing.assert_close(fixed, 0.1 * sigma)
    ratio = noise_levels(DELTAS["forcing-random"], sigma, rng) / sigma
    assert ratio.min() >= 0 and ratio.max() <= 1
    assert abs(float(ratio.mean()) - 0.5) < 0.03
    cleared = noise_levels(DELTAS["window"], sigma, rng)
    assert set(cleared.tolist()) == {0.0, 1.0}
    assert abs(float(cleared.mean()) - CLEARED) < 0.03
    assert not noise_levels(DELTAS["causal"], sigma, rng).any()


def test_only_generated_frames_change() -> None:
    clean, rng = torch.ones(2, 3, 4, 2, 2), torch.Generator().manual_seed(0)
    places = np.array([[-1, 0, 1, 2], [-1, 0, 5, 6]])
    levels = torch.tensor([0.0, 1.0])
    found = seen(clean, places, levels, rng)
    assert torch.equal(found[0], clean[0]), "level 0"
    assert torch.equal(found[1, :, :2], clean[1, :, :2]), "missing, and the input image"
    assert not torch.isclose(found[1, :, 2:], clean[1, :, 2:]).any()
    codes = torch.tensor([[2.0, 2.0, 2.0], [9.0, 9.0, 9.0]])
    coded = seen(clean, places, torch.zeros(2), rng, codes)
    assert coded[:, 0, :, 0, 0].tolist() == [[1, 1, 2, 2]] * 2


def test_a_delta_begins_as_no_change() -> None:
    base = components.transformer(num_layers=1, num_single_layers=1)
    before = {name: weight.clone() for name, weight in base.named_parameters()}
    factors = adapt(base, 2, 0)
    assert "transformer_blocks.0.attn.to_q" in factors
    assert "single_transformer_blocks.0.proj_mlp" in factors
    assert "clean_x_embedder.proj_4x" in factors
    assert not any("norm" in name or name == "proj_out" for name in factors)
    for name in factors:
        module: Any = base.get_submodule(name)
        assert torch.equal(module.weight, before[f"{name}.weight"])


def test_the_causal_delta_trains_under_the_mask_of_sampling(
    checkpoint: Path, latents: Path
) -> None:
    trainer = Trainer("causal", SMALL, checkpoint, folder=latents)
    trainer.step(1)
    (mask,) = {id(processor.mask): processor.mask for processor in trainer.masked}.values()
    assert mask is not None
    (level,) = trainer.layout(1).levels
    tokens = (components_side() // 2) ** 2
    history, target = level.places.shape[1] * tokens, SMALL.section * tokens
    n = history + target
    assert not mask[0, 0, :tokens, tokens:n].any(), "the oldest frame reads no later one"
    assert mask[0, 0, history:n, :n].all(), "the target reads everything before it and itself"
    assert mask[0, 0, :, n:].all() and not mask[0, 0, n:, :n].any()


def components_side() -> int:
    from bench.pocket import SIZE

    return SIZE // 8


@pytest.mark.parametrize("name", list(DELTAS))
def test_two_steps_write_a_file_that_the_generator_merges_and_takes_out_again(
    name: str, checkpoint: Path, latents: Path, codebook: dict[int, Path], tmp_path: Path
) -> None:
    file = run(name, SMALL, checkpoint, tmp_path, folder=latents, codebooks=codebook)
    tensors = load_file(file)
    assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert any(tensor.any() for key, tensor in tensors.items() if key.endswith("lora_B.weight"))
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["recipe"]["steps"] == 2
    assert f"`{name}`" in (tmp_path / "README.md").read_text()

    body = "td_f2k2f1k1_g2+D4" if name == "discrete" else "td_f4k1_g2"
    method = {"causal": "+attention-causal", "window": "+history_guidance-1"}
    before = method.get(name, "") if name == "causal" else ""
    after = "+forcing-0.5" if "forcing" in name else method["window"] if name == "window" else ""
    asked = f"{body}{before}+delta-{name}{after}"
    options: dict[str, Any] = {"checkpoint": str(checkpoint), "device": "cpu", "steps": 1}
    options |= {"guidance": 1.0, "codebooks": {"4": str(codebook[4])}}
    generator = framepack.build(options | {"deltas": str(tmp_path)})
    embedder = generator.pipe.transformer.clean_x_embedder.proj.weight
    own = embedder.clone()
    record = sample(generator, asked)
    assert record["untrained"] == []
    assert record["generator"]["delta"].startswith(f"{name} ")
    down, up = (
        tensors[f"transformer.clean_x_embedder.proj.lora_{side}.weight"].float().flatten(1)
        for side in "AB"
    )
    merged = generator.pipe.transformer.clean_x_embedder.proj.weight
    torch.testing.assert_close(merged, own + (up @ down).view_as(own))
    sample(generator, "td_f4k1_g2")
    assert torch.equal(generator.pipe.transformer.clean_x_embedder.proj.weight, own)
    free = sample(framepack.build(options), asked)
    assert f"delta-{name}" in free["untrained"]
    assert set(DELTAS[name].trained) <= set(free["untrained"])
    assert "delta" not in free["generator"]


def sample(generator: Any, name: str) -> dict[str, Any]:
    variant = parse(name)
    made = plan(variant, height=32, width=32, sections=2)
    (found,) = rollout(generator, variant, made, [Request("p", "a person walks", picture(), 0)])
    assert isinstance(found, Rollout), found
    return found.record


def test_a_training_is_repeated_by_its_steps(
    checkpoint: Path, latents: Path, tmp_path: Path
) -> None:
    one, other = (
        load_file(run("forcing-0.1", SMALL, checkpoint, tmp_path / part, folder=latents))
        for part in ("one", "other")
    )
    for key, tensor in one.items():
        torch.testing.assert_close(other[key], tensor)


def test_minutes_choose_the_number_of_steps(
    checkpoint: Path, latents: Path, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(SMALL, steps=500)
    run("forcing-0.1", recipe, checkpoint, tmp_path, folder=latents, minutes=1e-6)
    record = json.loads((tmp_path / "forcing-0.1.json").read_text())
    assert record["recipe"]["steps"] == 6


def test_a_delta_of_other_weights_is_refused_in_one_line(checkpoint: Path, tmp_path: Path) -> None:
    file = tmp_path / "causal.safetensors"
    save_file({"transformer.proj_out.lora_A.weight": torch.zeros(1)}, file, {"base": "0" * 16})
    options = {"checkpoint": str(checkpoint), "device": "cpu", "steps": 1}
    generator = framepack.build(options | {"deltas": str(tmp_path)})
    with pytest.raises(UserError, match=r"belongs to other weights.*train_delta causal") as error:
        sample(generator, "td_f1k1_g2+attention-causal+delta-causal")
    assert "\n" not in str(error.value)


def test_the_committed_deltas_belong_to_the_committed_checkpoint() -> None:
    from safetensors import safe_open

    files = sorted((CHECKPOINT.parent / "deltas").glob("*.safetensors"))
    base = digest(CHECKPOINT / "transformer")
    for file in files:
        assert file.stat().st_size <= 10e6
        assert file.with_suffix(".json").is_file()
        assert file.stem in DELTAS
        with safe_open(file, "pt") as opened:
            assert opened.metadata()["base"] == base, f"python -m bench.pocket.train_delta {file}"
