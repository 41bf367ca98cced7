"""K = 1 leaves one colour of history, K → ∞ changes none of it."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ablations.variant import parse
from bench.codebook import k_means
from bench.distortion import Watched, psnr
from bench.generators import framepack
from bench.generators.base import Request
from bench.history import Discrete, Noisy, untouched
from bench.rollout import Rollout, rollout
from bench.samplers import plan
from tests.bench.tiny_checkpoint import LATENT_CHANNELS, picture


def history() -> torch.Tensor:
    """[2, 3, 2, 4, 5]: two cells."""
    return torch.randn(2, 3, 2, 4, 5, generator=torch.Generator().manual_seed(0))


def told(k: int | None) -> dict[str, float]:
    pixels = history().movedim(1, -1).flatten(0, -2)
    codes = pixels if k is None else k_means(pixels, k)
    watched = Watched(Discrete(codes), 2)
    watched(history(), [])
    found = watched.told(0)
    assert found is not None
    return found


def test_one_code_leaves_one_colour_and_all_codes_change_nothing() -> None:
    one, every = told(1), told(None)
    assert one["colours"] == 1
    assert every["colours"] == 40, "as many as there are pixels in the cell"
    assert every["mse"] == 0 and math.isinf(psnr(every["mse"], every["peak"]))
    assert one["peak"] == every["peak"] == float(history()[0].max() - history()[0].min())


def test_between_the_limits_more_codes_change_less() -> None:
    found = [told(k) for k in (1, 4, 16, 64)]
    levels = [psnr(one["mse"], one["peak"]) for one in found]
    assert levels == sorted(levels) and len(set(levels)) == 4
    assert [one["colours"] for one in found] == sorted(one["colours"] for one in found)


def test_what_is_told_is_of_all_history_so_far_and_of_one_cell_alone() -> None:
    codes = torch.tensor([[0.0, 0, 0], [5, 5, 5]])
    watched = Watched(Discrete(codes), 2)
    first, second = torch.zeros(2, 3, 1, 2, 2), torch.zeros(2, 3, 1, 2, 2)
    second[0] += 4.0
    watched(first, [])
    watched(second, [])
    assert watched.told(0) == {"mse": pytest.approx(0.5), "peak": 4.0, "colours": 2}
    assert watched.told(1) == {"mse": 0.0, "peak": 0.0, "colours": 1}


def test_noise_has_a_distortion_and_no_colours() -> None:
    watched = Watched(Noisy(0.5), 2)
    watched(history(), [torch.Generator().manual_seed(i) for i in range(2)])
    found = watched.told(1)
    assert found is not None and set(found) == {"mse", "peak"}
    assert Watched(untouched, 1).told(0) is None, "nothing was treated"


def test_psnr_is_the_definition() -> None:
    assert psnr(0.01, 1.0) == pytest.approx(20)
    assert psnr(0.25, 2.0) == pytest.approx(10 * math.log10(16))
    assert psnr(0.0, 2.0) == math.inf


def test_records_tell_it_of_variants_that_treat_history(tiny: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": str(tiny), "device": "cpu", "steps": 1}
    rng = torch.Generator().manual_seed(0)
    for k in (1, 8):
        codes = torch.randn(k, LATENT_CHANNELS, generator=rng)
        save_file({"codes": codes}, tmp_path / f"{k}.safetensors")
    books = {str(k): str(tmp_path / f"{k}.safetensors") for k in (1, 8)}
    generator = framepack.build(options | {"codebooks": books})

    def record(name: str) -> Any:
        variant = parse(name)
        made = plan(variant, height=32, width=48, sections=2)
        (found,) = rollout(generator, variant, made, [Request("p", "a person", picture(), 0)])
        assert isinstance(found, Rollout)
        return found.record["history"]

    assert record("td_f4k4f2k2f1k1_g3") is None
    one, eight = record("td_f4k4f2k2f1k1_g3+D1"), record("td_f4k4f2k2f1k1_g3+D8")
    assert one["colours"] == 1
    assert 1 < eight["colours"] <= 8
    assert eight["mse"] < one["mse"]
