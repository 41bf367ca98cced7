"""Each method's mechanism on hand-made latents, and the settings at which it is plain sampling.

A generator without a model makes latents whose value is their place in the video, so what a section
sees can be read off the contexts that it is given.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from ablations.variant import parse
from bench.errors import UserError
from bench.generators import framepack
from bench.generators.base import ContextFrames, Denoised, Request, Settings
from bench.history import Discrete, Noisy, Treatment, at_level, untouched
from bench.packing import KERNELS
from bench.plan import Plan
from bench.rollout import Rollout, rollout
from bench.samplers import plan
from bench.variant import DELTAS
from tests.bench.tiny_checkpoint import LATENT_CHANNELS, picture

Make = Callable[..., Any]

IMAGE = 100.0
"""The value of the given first frame's latents."""


class ByPlace:
    """Makes latents [1, 2, n, 4, 6] whose values are their places, or those of `frames`."""

    spatial, temporal, channels, decodes_alone = 8, 4, 2, False
    device, dtype = "cpu", "float32"

    def __init__(
        self,
        made: Plan,
        treatment: Treatment = untouched,
        frames: Callable[[int], tuple[float, float]] = lambda place: (place, place),
    ) -> None:
        self.plan, self.treatment, self.frames = made, treatment, frames
        self.calls: list[SimpleNamespace] = []
        self.images: list[Any] = []

    def identity(self) -> dict[str, Any]:
        return {}

    def use(self, variant: Any, kernels: Any) -> Settings:
        return Settings({})

    def history_treatment(self, variant: Any) -> Treatment:
        return self.treatment

    def condition(self, request: Request, height: int, width: int) -> None:
        self.images.append(np.asarray(request.image.resize((1, 1)))[0, 0, 0])

    def image_latents(self, condition: Any, rng: torch.Generator) -> tuple[torch.Tensor, None]:
        return torch.full((1, 2, 1, 4, 6), IMAGE), None

    def denoise(
        self,
        conditions: Sequence[Any],
        contexts: Sequence[ContextFrames],
        target_indices: Sequence[int],
        noise: torch.Tensor,
        on_step: Any = None,
        unguided: Sequence[ContextFrames] | None = None,
    ) -> Denoised:
        section = self.plan.sections[len(self.calls) % len(self.plan.sections)]
        self.calls.append(SimpleNamespace(contexts=contexts, unguided=unguided))
        values = torch.tensor([self.frames(place) for place in section.target])
        return Denoised(values.T[None, :, :, None, None].expand(1, -1, -1, 4, 6).clone(), 0)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        last = float(latents[0, 0, -1, 0, 0])
        return torch.full((len(latents), 3, 4 * latents.shape[2] - 3, 32, 48), last / 127.5 - 1)

    def peak_memory(self) -> None:
        return None

    def sees(self, call: int) -> dict[int, list[float]]:
        """Values of the frames that a section saw, by kernel."""
        return {
            context.kernel.time: context.latents[0, 0, :, 0, 0].tolist()
            for context in self.calls[call].contexts
        }


def run(name: str, sections: int = 3, **more: Any) -> ByPlace:
    variant = parse(name)
    made = plan(variant, height=32, width=48, sections=sections)
    generator = ByPlace(made, **more)
    (found,) = rollout(generator, variant, made, [Request("p", "a person", picture(), 0)])
    assert isinstance(found, Rollout), found
    return generator


def test_a_sliding_window_sees_the_newest_frames_at_full_length_and_no_others() -> None:
    generator = run("td_f4k1_g3+missing-drop")
    assert [generator.sees(call) for call in range(3)] == [
        {1: [IMAGE]},
        {1: [IMAGE, 1, 2, 3]},
        {1: [3, 4, 5, 6]},
    ]


def test_history_that_does_not_exist_is_zero_latents_as_published() -> None:
    assert run("td_f4k1_g3").sees(0) == {1: [0, 0, 0, IMAGE]}


def test_an_anchor_frame_stays_in_sight_of_every_section() -> None:
    generator = run("f1k1_x_td_f4k1_g3+missing-drop")
    assert generator.sees(2) == {1: [IMAGE, 3, 4, 5, 6]}


def test_endpoints_are_made_ahead_and_seen_nearest_first() -> None:
    generator = run("td_f2k1_g3_x_f1k1_x_f1k1", 4)
    assert [section.target[0] for section in generator.plan.sections] == [10, 4, 1, 7]
    assert generator.sees(2)[1][-2:] == [4, 10], "the first section is made towards both"


def test_inverted_sampling_sees_the_image_and_the_future_nearest_first() -> None:
    generator = run("f1k1_x_g3_f2k1_td")
    assert [generator.sees(call)[1] for call in range(3)] == [
        [IMAGE, 0, 0],
        [IMAGE, 7, 8],
        [IMAGE, 4, 5],
    ]


def turning(place: int) -> tuple[float, float]:
    """Frames 1, 2, 5 and 6 look one way, 3 and 4 across it."""
    return (1.0, 0.0) if place in (1, 2, 5, 6) else (0.0, 1.0)


def test_similarity_order_gives_near_places_to_frames_like_the_newest() -> None:
    by_time = run("td_f4k1_g3+missing-drop", frames=turning)
    by_likeness = run("td_f4k1_g3+missing-drop+order-similarity", frames=turning)
    hybrid = run("td_f4k1_g3+missing-drop+order-hybrid", frames=turning)
    assert by_time.sees(2) == {1: [0, 0, 1, 1]}, "places 3, 4, 5, 6"
    assert by_likeness.sees(2) == {1: [1, 1, 1, 1]}, "places 1, 2, 5, 6, all alike"
    assert hybrid.sees(2) == by_likeness.sees(2), "exp(−Δt²) moves only the nearest frame"


def leaning(place: int) -> tuple[float, float]:
    """Frame 5, the newest but one, leans from the newest (cosine 0.8); frame 4 is across it."""
    return {4: (0.0, 1.0), 5: (0.8, 0.6)}.get(place, (1.0, 0.0))


def test_the_hybrid_order_prefers_what_is_near_in_time_where_likeness_is_close() -> None:
    by_likeness = run("td_f4k1_g3+missing-drop+order-similarity", frames=leaning).sees(2)[1]
    hybrid = run("td_f4k1_g3+missing-drop+order-hybrid", frames=leaning).sees(2)[1]
    assert sorted(by_likeness) == [1, 1, 1, 1], "1, 2, 3 and 6"
    assert sorted(hybrid) == pytest.approx([0.8, 1, 1, 1]), "0.8 + exp(−1) is more than 1 + exp(−9)"


def test_repeating_image_to_video_passes_on_one_decoded_frame_and_no_latents() -> None:
    generator = run("td_f1k1_g3+method-repeat", 3)
    assert [int(value) for value in generator.images[1:]] == [3, 6], "each section's last latent"
    assert [generator.sees(call) for call in range(3)] == [{1: [IMAGE]}] * 3


# What is done to history


def hand_made() -> torch.Tensor:
    """[1, 2, 3, 1, 2]: six latent pixels of two channels."""
    pixels = [[1.0, 0], [9, 1], [0, 8], [5, 0], [-3, -3], [2, 9]]
    return torch.tensor(pixels).view(1, 3, 1, 2, 2).permute(0, 4, 1, 2, 3)


def test_discrete_history_consists_of_the_nearest_codes() -> None:
    codes = torch.tensor([[0.0, 0], [10, 0], [0, 10]])
    coded = Discrete(codes)(hand_made(), []).permute(0, 2, 3, 4, 1).reshape(-1, 2)
    expected = [[0.0, 0], [10, 0], [0, 10], [0, 0], [0, 0], [0, 10]]
    assert coded.tolist() == expected, "(5, 0) lies between two codes: the first is taken"


def test_noise_is_mixed_in_at_its_level() -> None:
    noise = torch.randn(2, 3, 1, 2, generator=torch.Generator().manual_seed(5))
    noisy = Noisy(0.3)(hand_made(), [torch.Generator().manual_seed(5)])
    torch.testing.assert_close(noisy, 0.7 * hand_made() + 0.3 * noise)


def test_treatments_spare_the_given_image() -> None:
    generator = run("td_f4k1_g3+missing-drop", treatment=Discrete(torch.tensor([[7.0, 7.0]])))
    assert generator.sees(1) == {1: [IMAGE, 7, 7, 7]}


def test_fully_noised_contexts_have_the_image_and_no_other_frame() -> None:
    generator = run("td_f4k1_g3+history_guidance-1+missing-drop")
    (clean,), (noised,) = generator.calls[1].contexts, generator.calls[1].unguided
    assert clean.indices == noised.indices
    assert clean.latents[0, 0, :, 0, 0].tolist() == [IMAGE, 1, 2, 3]
    assert torch.equal(noised.latents[:, :, 0], clean.latents[:, :, 0])
    history = noised.latents[:, :, 1:]
    assert abs(float(history.mean())) < 0.5 and 0.7 < float(history.std()) < 1.3


def test_levels_between_clean_and_noise_lie_on_one_line() -> None:
    clean = ContextFrames(KERNELS[1], torch.tensor([IMAGE, 1.0]).view(1, 1, 2, 1, 1), (0, 1))
    noised = ContextFrames(KERNELS[1], torch.tensor([IMAGE, -3.0]).view(1, 1, 2, 1, 1), (0, 1))
    for level, expected in ((0.0, 1.0), (0.25, 0.0), (1.0, -3.0)):
        (found,) = at_level([clean], [noised], level)
        assert found.latents.flatten().tolist() == [IMAGE, expected]


# On a model


FORWARD = "td_f16k4f2k2f1k1_g3"


def make(generator: Any, name: str, sections: int = 3) -> Any:
    variant = parse(name)
    made = plan(variant, height=32, width=48, sections=sections)
    (found,) = rollout(generator, variant, made, [Request("p1", "a person walks", picture(1), 7)])
    assert isinstance(found, Rollout), found
    return np.concatenate(found.frames), found.record


@pytest.fixture(scope="module")
def plain(tiny_generator: Make) -> Any:
    return make(tiny_generator(), FORWARD)[0]


@pytest.mark.parametrize(
    "option",
    [
        "noise-0",
        "forcing-0",
        "history_guidance-0",
        "teacache-0",
        "cfg-1",
        "attention-full",
        "order-time",
        "missing-zeros",
        "padding-released",
        "method-packed",
        "delta-window",
    ],
)
def test_a_degenerate_setting_is_plain_sampling_to_the_last_bit(
    tiny_generator: Make, plain: Any, option: str
) -> None:
    found, record = make(tiny_generator(), f"{FORWARD}+{option}")
    assert np.array_equal(found, plain)
    # Without such a file a variant runs training-free, and its record says so.
    assert record["untrained"] == (["delta-window"] if option == "delta-window" else [])


def test_a_codebook_of_all_that_is_said_is_plain_sampling_to_the_last_bit(
    tiny: Path, tmp_path: Path, plain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"checkpoint": str(tiny), "device": "cpu", "steps": 2}
    generator = framepack.build(options | {"guidance": 6.0})
    said: list[torch.Tensor] = []
    denoise = generator.denoise

    def listening(*arguments: Any, **more: Any) -> Denoised:
        done = denoise(*arguments, **more)
        said.append(done.latents.movedim(1, -1).flatten(0, -2))
        return done

    monkeypatch.setattr(generator, "denoise", listening)
    make(generator, FORWARD)
    every = torch.cat(said)
    save_file({"codes": every}, tmp_path / "all.safetensors")
    books = {str(len(every)): str(tmp_path / "all.safetensors")}
    lossless = framepack.build(options | {"guidance": 6.0, "codebooks": books})
    assert np.array_equal(make(lossless, FORWARD + "+D")[0], plain)


def test_every_row_of_table_2_is_made_and_says_what_was_never_trained(
    tiny: Path, tmp_path: Path
) -> None:
    preset = Path(__file__).parents[2] / "conf" / "ablation" / "alternatives.yaml"
    asked = yaml.safe_load(preset.read_text(encoding="utf-8"))["variant"]
    names = [name.replace("g9", "g2") for name in asked]  # shorter, as fast as a test must be
    codes = torch.randn(256, LATENT_CHANNELS, generator=torch.Generator().manual_seed(0))
    save_file({"codes": codes}, tmp_path / "256.safetensors")
    options: dict[str, Any] = {"checkpoint": str(tiny), "device": "cpu", "steps": 1}
    books = {"256": str(tmp_path / "256.safetensors")}
    generator = framepack.build(options | {"codebooks": books})
    videos, untrained = {}, {}
    for name in names:
        videos[name], record = make(generator, name, 2)
        untrained[name] = set(record["untrained"])
    same: dict[bytes, list[str]] = {}
    for name, video in videos.items():
        same.setdefault(video.tobytes(), []).append(name.split("+delta-")[-1])
    # Without their deltas, settings that differ in training alone are one.
    assert [group for group in same.values() if len(group) > 1] == [
        ["window+missing-drop", "forcing-random+missing-drop"],
        ["forcing-random+forcing-0.1+missing-drop", "forcing-0.1+forcing-0.1+missing-drop"],
    ]
    assert all(
        (f"delta-{delta}" in untrained[name]) == (f"+delta-{delta}+" in f"{name}+")
        for name in names
        for delta in DELTAS
    )
    for word, what in (
        ("attention-causal", "causal"),
        ("+forcing", "forcing"),
        ("history_guidance", "guidance"),
        ("+D256", "+D"),
    ):
        assert all((what in untrained[name]) == (word in name) for name in names)
    assert not untrained["td_f16k4f2k2f1k1_g2"]


def test_forcing_ties_historys_noise_to_the_diffusion_step(
    tiny_generator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = tiny_generator(steps=3)
    seen: list[tuple[float, torch.Tensor]] = []
    given: list[Any] = []
    denoise, forward = generator.denoise, generator.pipe.transformer.forward

    def listening(conditions: Any, contexts: Any, *arguments: Any, **more: Any) -> Any:
        given.append((contexts[-1].latents, arguments[-1][-1].latents))
        return denoise(conditions, contexts, *arguments, **more)

    def watching(
        noisy: Any, timestep: Any, texts: Any, guidance: Any, state: Any, *more: Any
    ) -> Any:
        seen.append((float(timestep[0]) / 1000, state.contexts[-1].latents))
        return forward(noisy, timestep, texts, guidance, state, *more)

    monkeypatch.setattr(generator, "denoise", listening)
    monkeypatch.setattr(generator.pipe.transformer, "forward", watching)
    make(generator, FORWARD + "+forcing-0.5", 2)
    x, noise = given[1]
    last = seen[3:]
    assert [t for t, _ in last] == sorted((t for t, _ in last), reverse=True)
    assert last[0][0] == 1.0
    for t, history in last:
        torch.testing.assert_close(history, (1 - 0.5 * t) * x + 0.5 * t * noise)


def test_forcing_changes_the_video_is_repeated_and_needs_a_level_of_at_most_one(
    tiny_generator: Make, plain: Any
) -> None:
    found, record = make(tiny_generator(), FORWARD + "+forcing-0.5")
    again, _ = make(tiny_generator(), FORWARD + "+forcing-0.5")
    assert np.array_equal(found, again)
    assert not np.array_equal(found, plain)
    assert record["untrained"] == ["forcing"]
    with pytest.raises(UserError, match="option forcing is 0 to 1, not 2"):
        make(tiny_generator(), FORWARD + "+forcing-2")
    with pytest.raises(UserError, match="either noise or forcing, not both"):
        make(tiny_generator(), FORWARD + "+forcing-0.5+noise-0.5")


def test_history_guidance_steers_away_from_fully_noised_history(
    tiny_generator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v + w·(v − v′); in one step from noise to latents that is linear in the latents."""
    generator = tiny_generator(steps=1)
    calls: list[tuple[Any, ...]] = []
    denoise = generator.denoise

    def listening(*arguments: Any) -> Any:
        calls.append(arguments)
        return denoise(*arguments)

    monkeypatch.setattr(generator, "denoise", listening)
    make(generator, FORWARD + "+history_guidance-2", 2)
    conditions, clean, indices, noise, on_step, noised = calls[-1]
    with torch.inference_mode():
        guided = denoise(conditions, clean, indices, noise, on_step, noised).latents
        v, away = (
            denoise(conditions, contexts, indices, noise, on_step).latents
            for contexts in (clean, noised)
        )
    torch.testing.assert_close(guided, v + 2 * (v - away), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(guided, v, atol=1e-4)
