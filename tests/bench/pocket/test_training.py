"""Training the pocket model: reproducible, resumable, and equal to diffusers' forward."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench.pocket import (
    CHECKPOINT,
    components,
    layouts,
    train,
    train_autoencoder,
    train_transformer,
)
from bench.pocket.autoencoder import PocketAutoencoder
from bench.pocket.history import Context, PackedTransformer
from bench.pocket.latents import HELD_OUT, LatentStore
from bench.pocket.recipe import AutoencoderRecipe, Recipe, TransformerRecipe, rate

SMALL_AE = AutoencoderRecipe(clips=4, batch=2, steps=6, decay=3, warmup=2)
SMALL = TransformerRecipe(
    clips=3, latents=12, steps=4, decay=2, warmup=2, sections=((2, 2, 0.5), (1, 2, 0.5))
)


@pytest.fixture(scope="module")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return components.build_random(tmp_path_factory.mktemp("pocket") / "random")


def test_the_training_forward_equals_diffusers_forward() -> None:
    torch.manual_seed(0)
    base = components.transformer()
    for parameter in base.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.02)
    model = PackedTransformer(base)
    z = {n: torch.randn(2, 32, n, 8, 8) for n in (1, 2, 3, 16)}
    text, pooled, image = torch.randn(2, 14, 64), torch.randn(2, 64), torch.randn(2, 1, 64)
    sigma, i = torch.rand(2), torch.arange
    ours = model(
        z[3], sigma, text, pooled, image, i(20, 23),
        [Context(4, z[16], i(1, 17)), Context(2, z[2], i(17, 19)), Context(1, z[1], i(19, 20))],
    )  # fmt: skip
    theirs = base(
        z[3], sigma * 1000, text, torch.ones(2, 14), pooled, image, i(20, 23), None,
        z[1], i(19, 20), z[2], i(17, 19), z[16], i(1, 17), return_dict=False,
    )[0]  # fmt: skip
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    model.use_plain_attention()
    plain = model(
        z[3], sigma, text, pooled, image, i(20, 23),
        [Context(4, z[16], i(1, 17)), Context(2, z[2], i(17, 19)), Context(1, z[1], i(19, 20))],
    )  # fmt: skip
    torch.testing.assert_close(plain, theirs, atol=1e-5, rtol=1e-4)


def test_unshifted_attention_has_the_gradients_of_softmax_attention() -> None:
    from bench.pocket.history import UnshiftedAttention

    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    ours = torch.autograd.grad(UnshiftedAttention.apply(q, k, v).square().sum(), (q, k, v))
    reference = torch.softmax(q @ k.transpose(1, 2), -1) @ v
    for a, b in zip(ours, torch.autograd.grad(reference.square().sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_the_autoencoder_takes_1_plus_4k_frames_and_decodes_any_chunk_exactly() -> None:
    torch.manual_seed(0)
    model = PocketAutoencoder(fine_channels=16, coarse_channels=16).eval()
    video = torch.rand(1, 3, 17, 32, 32) * 2 - 1
    with torch.no_grad():
        z = model.encode(video).latent_dist.sample()
        assert z.shape == (1, 32, 5, 4, 4)
        whole = model.decode(z).sample
        assert whole.shape == video.shape
        torch.testing.assert_close(model.decode(z[:, :, 2:]).sample, whole[:, :, 8:])
    with pytest.raises(ValueError, match="1\\+4k"):
        model.encode(video[:, :, :16])


def test_sampling_the_latents_draws_no_random_numbers() -> None:
    model = PocketAutoencoder(fine_channels=16, coarse_channels=16)
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    model.encode(torch.zeros(1, 3, 1, 16, 16)).latent_dist.sample(generator=generator)
    assert torch.equal(before, generator.get_state())


@pytest.mark.parametrize("order", ["vanilla", "f1", "end", "inverted"])
def test_layouts_index_like_the_clip_they_come_from(order: str) -> None:
    rng = np.random.default_rng(0)
    for g in (9, 4, 1):
        for _ in range(20):
            layout = layouts.make(rng, order, "f16k4f2k2f1k1", g, 6, 10, 46)
            assert layout.target.min() >= 1
            assert layout.target.max() < 46
            frames = sum(level.places.shape[1] for level in layout.levels)
            assert frames == {"vanilla": 19, "f1": 20, "end": 20, "inverted": 20}[order]
            indices = np.concatenate([level.indices for level in layout.levels])
            assert len(set(indices.tolist()) & set(layout.target_indices.tolist())) == 0
            nearest = next(level for level in layout.levels if level.kernel == 1)
            history = nearest.places[:, 1] if order in ("f1", "inverted") else nearest.places[:, 0]
            beside = layout.target[:, -1] + 1 if order == "inverted" else layout.target[:, 0] - 1
            assert ((history == beside) | (history == layouts.ZERO)).all()
            if order == "f1":
                assert (nearest.places[:, 0] == 0).all()


def test_published_paddings() -> None:
    n = 8
    found = [layouts.padding(k, n - 1 - k, published=True) for k in reversed(range(n))]
    assert found == [3, 2, 2, 2, 2, 2, 1, 0]
    assert [layouts.padding(k, 3 - k, published=False) for k in reversed(range(4))] == [3, 2, 1, 0]


def test_held_out_noise_levels_are_those_that_training_draws() -> None:
    recipe = TransformerRecipe()
    torch.manual_seed(0)
    drawn = torch.sigmoid(recipe.sigma_mean + recipe.sigma_spread * torch.randn(200_000))
    levels = train_transformer.trained_levels(32)
    assert (levels.diff() > 0).all()
    shares = torch.stack([(drawn < level).float().mean() for level in levels])
    torch.testing.assert_close(shares, (torch.arange(32) + 0.5) / 32, atol=0.005, rtol=0)


@pytest.mark.parametrize("order", ["vanilla", "inverted"])
def test_the_shipped_model_uses_its_memory(order: str) -> None:
    model = train_transformer.restore(CHECKPOINT)
    store = LatentStore(
        CHECKPOINT, train_transformer.HELD_OUT_CLIPS, TransformerRecipe().latents, HELD_OUT
    )
    full, *zeroed = (
        train_transformer.held_out_losses(
            model, store, order, 9, 1, frozenset({kernel}),
            least=2, levels=train_transformer.trained_levels,
        ).mean()
        for kernel in (0, 2, 4)
    )  # fmt: skip
    assert all(loss / full > 1.02 for loss in zeroed)


def test_the_learning_rate_ends_at_zero() -> None:
    factors = [rate(step, 100, 10, 40) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[20:60] == [1.0] * 40
    assert factors[-1] == pytest.approx(1 / 40)


def losses(log: list[dict[str, Any]]) -> list[float]:
    return [record["loss"] for record in log if record["part"] in ("autoencoder", "transformer")]


def test_autoencoder_training_resumes_with_the_same_losses(tmp_path: Path) -> None:
    whole: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    train_autoencoder.train(SMALL_AE, tmp_path / "a", log=whole.append, stop_after=4, fast=False)
    train_autoencoder.train(SMALL_AE, tmp_path / "b", log=parts.append, stop_after=2, fast=False)
    train_autoencoder.train(SMALL_AE, tmp_path / "b", log=parts.append, stop_after=4, fast=False)
    assert losses(whole) == pytest.approx(losses(parts), rel=1e-4)


def test_a_checkpoint_records_the_steps_that_each_part_was_trained_for(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"part": "autoencoder", "step": 7}\n')
    recipe = Recipe()
    fewer = replace(recipe, autoencoder=replace(recipe.autoencoder, steps=7))
    train.record(fewer, ("autoencoder",), tmp_path, tmp_path)
    train.record(recipe, ("decoder",), tmp_path, tmp_path)
    training = json.loads((tmp_path / "training.json").read_text())
    assert training["recipe"]["autoencoder"]["steps"] == 7
    assert training["recipe"]["decoder"]["steps"] == recipe.decoder.steps
    assert training["log"] == [{"part": "autoencoder", "step": 7}]


def test_transformer_training_resumes_with_the_same_losses(
    tmp_path: Path, random_checkpoint: Path
) -> None:
    logs: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
    for name, stops in (("a", (4,)), ("b", (2, 4))):
        (tmp_path / name).mkdir()
        for stop in stops:
            train_transformer.train(
                SMALL, random_checkpoint, tmp_path / name, log=logs[name].append,
                stop_after=stop, fast=False, check_every=1e9,
            )  # fmt: skip
    assert len(losses(logs["a"])) == 4
    assert losses(logs["a"]) == pytest.approx(losses(logs["b"]), rel=1e-3)


@pytest.mark.parametrize("part", ["autoencoder", "transformer"])
def test_the_committed_recipe_reproduces_the_logged_first_losses(part: str, tmp_path: Path) -> None:
    training = json.loads((CHECKPOINT / "training.json").read_text())
    expected = [r["loss"] for r in training["log"] if r["part"] == part and "loss" in r][:2]
    log: list[dict[str, Any]] = []
    if part == "autoencoder":
        train_autoencoder.train(
            AutoencoderRecipe(), tmp_path, log=log.append, stop_after=2, fast=False
        )
    else:
        train_transformer.train(
            TransformerRecipe(), CHECKPOINT, tmp_path, log=log.append, stop_after=2, fast=False,
            check_every=1e9,
        )  # fmt: skip
    assert losses(log) == pytest.approx(expected, rel=0.02)
