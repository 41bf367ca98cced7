"""Which rows stand together: the paper's blocks, in its order."""

from ablations.tables import BLOCKS, block_of, place_of


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


def test_videos_of_unknown_making_have_a_block_of_their_own() -> None:
    assert block_of("", None, {}).title == "Other videos"
