"""Which rows stand together: the paper's blocks, in its order."""

import pytest

from ablations.tables import BLOCKS, block_of, method_of, place_of
from ablations.variant import parse


def test_blocks_follow_the_sampler_and_the_discretised_history() -> None:
    assert block_of("vanilla", None, {}).id == "vanilla"
    assert block_of("vanilla", 256, {}).title == "Vanilla sampling, discretised history"
    assert block_of("inverted", None, {"steps": 10}).id == "inverted"


def test_other_methods_are_alternatives_and_stand_last() -> None:
    other = block_of("vanilla", None, {"method": "causal"})
    assert other.id == "alternative"
    unknown = block_of("spiral", None, {})
    assert unknown.title == "Spiral"
    order = sorted([other, unknown, *BLOCKS[:-1]], key=place_of)
    assert order[:-2] == list(BLOCKS[:-1])
    assert order[-2:] == [unknown, other]


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("td_f16k4f2k2f1k1_g9", ""),
        ("td_f1k1_g9", ""),
        ("f1k1_x_g9_f1k1f2k2f16k4_td+steps-4", ""),
        ("td_f16k4f2k2f1k1_g9+D256+delta-discrete", ""),
        ("td_f16k1_g9+delta-window+missing-drop", "Sliding window"),
        ("td_f9999k1_g9+missing-drop", "Full history"),
        ("f1k1_x_td_f16k1_g9+missing-drop", "Anchor frames"),
        ("td_f1k1_g9+method-repeat", "Repeating image-to-video"),
        ("td_f16k1_g9+attention-causal+delta-causal", "Causal attention"),
        ("td_f16k1_g9+delta-forcing-random+forcing-0.5", "DiffusionForcing (random, 0.5)"),
        ("td_f16k1_g9+delta-forcing-random", "DiffusionForcing (random, 0)"),
        ("td_f16k1_g9+delta-forcing-0.1+forcing-0.1", "DiffusionForcing (0.1, 0.1)"),
        ("td_f16k4f2k2f1k1_g9+forcing-0.1", "DiffusionForcing (none, 0.1)"),
        ("td_f16k4f2k2f1k1_g9+noise-0.1", "Noisy history, σ 0.1"),
        ("td_f16k1_g9+delta-window+history_guidance-1", "History guidance"),
    ],
)
def test_methods_are_told_by_what_a_variant_changes(name: str, title: str) -> None:
    variant = parse(name)
    packing = "".join(map(str, reversed(variant.packing.levels)))
    assert method_of(variant.sampler, packing, variant.options) == title
    block = block_of(variant.sampler, variant.discrete, variant.options, packing)
    assert (block.id == "alternative") == bool(title)


def test_videos_of_unknown_making_have_a_block_of_their_own() -> None:
    assert block_of("", None, {}).title == "Other videos"
