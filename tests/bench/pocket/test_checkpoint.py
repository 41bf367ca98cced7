"""The committed checkpoint: complete, small, and loaded by diffusers' own pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import HunyuanVideoFramepackPipeline
from PIL import Image

from bench.generators.checkpoint import digest
from bench.pocket import CHECKPOINT, SIZE, card, components
from bench.pocket.autoencoder import PocketAutoencoder
from bench.pocket.latents import quiet_pipeline
from bench.pocket.render import render
from bench.pocket.train import save_autoencoder
from bench.pocket.world import sample_scene


@pytest.fixture(scope="module")
def pipeline() -> HunyuanVideoFramepackPipeline:
    return quiet_pipeline(CHECKPOINT)


def test_the_template_is_cropped_to_the_prompt(pipeline: HunyuanVideoFramepackPipeline) -> None:
    caption = sample_scene(1).caption
    template = components.DEFAULT_PROMPT_TEMPLATE
    ids = pipeline.tokenizer(template["template"].format(caption)).input_ids
    kept = pipeline.tokenizer.decode(ids[template["crop_start"] :])
    assert kept == f"{caption} <|eot_id|>"


def test_captions_have_no_unknown_words(pipeline: HunyuanVideoFramepackPipeline) -> None:
    for seed in range(30):
        assert components.UNKNOWN not in pipeline.tokenizer_2(sample_scene(seed).caption).input_ids


@pytest.mark.parametrize("sampling", ["vanilla", "inverted_anti_drifting"])
def test_diffusers_makes_a_video_of_it(
    pipeline: HunyuanVideoFramepackPipeline, sampling: str
) -> None:
    scene = sample_scene(2)
    image = Image.fromarray(np.asarray(render(scene, 1)[0].permute(1, 2, 0).contiguous()))
    made = pipeline(
        image=image, prompt=scene.caption, height=SIZE, width=SIZE, num_frames=33,
        num_inference_steps=2, sampling_type=sampling, output_type="np",
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    frames = made.frames[0]
    assert frames.shape == (37, SIZE, SIZE, 3)
    first = np.asarray(image) / 255
    assert np.abs(frames[0] - first).mean() < 0.05


def test_the_folder_is_small_and_has_a_card() -> None:
    files = [path for path in CHECKPOINT.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 40e6
    card = (CHECKPOINT / "README.md").read_text()
    assert "Limits" in card
    training = json.loads((CHECKPOINT / "training.json").read_text())
    assert training["log"]
    for config in CHECKPOINT.rglob("*.json"):
        assert "_name_or_path" not in config.read_text(), config


def test_a_card_is_no_part_of_the_model(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    (folder / "vae").mkdir(parents=True)
    for name in ("model_index.json", "vae/config.json", "README.md"):
        (folder / name).write_text(name)
    before = digest(folder)
    (folder / "README.md").write_text("another card")
    (folder / "picture.png").write_bytes(b"")
    assert digest(folder) == before
    for name in ("model_index.json", "vae/config.json"):
        (folder / name).write_text("something else")
        assert digest(folder) != before
        before = digest(folder)
    inside = digest(folder / "vae")
    (folder / "vae" / "more.safetensors").write_bytes(b"")
    assert digest(folder / "vae") != inside


def test_an_autoencoder_does_not_say_where_it_was_read_from(tmp_path: Path) -> None:
    model = PocketAutoencoder.from_pretrained(CHECKPOINT / "vae")
    save_autoencoder(model, tmp_path)
    assert str(CHECKPOINT) not in (tmp_path / "config.json").read_text()
    again = PocketAutoencoder.from_pretrained(tmp_path)
    assert again.config.fine_channels == model.config.fine_channels


def test_k8_has_trained_weights_beside_the_transformer() -> None:
    from safetensors.torch import load_file

    kernel = load_file(CHECKPOINT / "transformer" / "history_embedder_k8.safetensors")
    inner = components.TRANSFORMER["num_attention_heads"] * 64
    assert kernel["weight"].shape == (inner, components.LATENT_CHANNELS, 4, 8, 8)


def test_the_card_says_the_recipes_steps_not_the_last_logged_ones() -> None:
    training = json.loads((CHECKPOINT / "training.json").read_text())
    rows = [line.split(" | ") for line in card.recipe_text(**training).splitlines()[2:]]
    assert {row[0].removeprefix("| "): int(row[1]) for row in rows} == {
        part: recipe["steps"] for part, recipe in training["recipe"].items()
    }
    last = {r["part"]: r["step"] for r in training["log"] if "step" in r}
    assert last["decoder"] < training["recipe"]["decoder"]["steps"], "hence the recipe"
