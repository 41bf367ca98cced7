"""Packing arithmetic against the published numbers and its own laws."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.variant import parse
from bench.errors import UserError
from bench.packing import (
    KERNELS,
    LAYOUTS,
    Kernel,
    Level,
    Packing,
    appended_tail_tokens,
    by_time,
    compressed_tail_tokens,
    context_length,
    context_limit,
    frame_length,
    frame_tokens,
    important_start,
    level_tokens,
    relative_cost,
    repeated_levels,
    symmetric,
    temporal_kernels,
)

BUCKETS = {  # pixels: L_f, f2k2, f16k4, f16k4f2k2f1k1, the same with the start frame, all with g9
    (480, 832): (1560, 390, 416, 2366, 3926, 17966),
    (640, 608): (1520, 380, 400, 2300, 3820, 17500),
    (544, 704): (1496, 374, 396, 2266, 3762, 17226),
    (480, 768): (1440, 360, 384, 2184, 3624, 16584),
}


@pytest.mark.parametrize("bucket", BUCKETS)
def test_token_counts_are_the_published_ones_with_padding(bucket: tuple[int, int]) -> None:
    height, width = bucket[0] // 8, bucket[1] // 8
    packing = parse("td_f16k4f2k2f1k1_g9").packing
    one, two, sixteen = packing.levels
    full = frame_tokens(height, width)
    history = packing.tokens(height, width)
    counts = (
        full,
        level_tokens([two], height, width),
        level_tokens([sixteen], height, width),
        history,
        history + level_tokens([one], height, width),
        history + full + 9 * full,
    )
    assert counts == BUCKETS[bucket]


@pytest.mark.parametrize(
    ("levels", "cost"),
    [
        ("f16k4f2k2f1k1", 1.5),
        ("f16k4f4k2f1k1", 1.75),
        ("f8k8f4k4f2k2f1k1", 1.328125),
        ("f4k4f2k2f1k1", 1.3125),
        ("f64k8f16k4f2k2f1k1", 1.625),
        ("f512k16f64k8f16k4f2k2f1k1", 1.75),
    ],
)
def test_relative_costs_are_the_published_ones(levels: str, cost: float) -> None:
    assert relative_cost(parse(f"td_{levels}_g9").packing.levels) == Fraction(cost)


def test_the_context_tends_to_its_limit_and_is_three_frames_for_one_target_at_rate_two() -> None:
    lengths = [context_length(1, history, 1560) for history in range(60)]
    assert lengths == sorted(lengths)
    assert context_limit(1, 1560) == 3 * 1560
    assert lengths[-1] == pytest.approx(3 * 1560)
    assert context_limit(9, 1560) == (9 + 2) * 1560


@given(st.integers(0, 40), st.integers(1, 33), st.floats(1.1, 8))
def test_the_closed_form_is_the_sum_of_the_frames(history: int, targets: int, rate: float) -> None:
    summed = targets * 100 + sum(frame_length(i, 100, rate) for i in range(history))
    assert context_length(targets, history, 100, rate) == pytest.approx(summed)


def test_a_rate_without_limit_is_refused() -> None:
    with pytest.raises(UserError, match="above 1"):
        context_limit(9, 1560, rate=1.0)


def test_kernels_have_the_published_rates() -> None:
    assert [kernel.rate for kernel in KERNELS.values()] == [1, 8, 64, 512, 4096]


@given(st.sampled_from(list(KERNELS.values())), st.integers(1, 64), st.integers(1, 128))
def test_padding_never_loses_a_position(kernel: Kernel, frames: int, side: int) -> None:
    tokens = kernel.tokens(frames, side, side)
    assert tokens * kernel.rate * 4 >= frames * side * side
    smaller = max(1, side - 2 * kernel.height) * max(1, side - 2 * kernel.width)
    assert tokens >= frames * smaller // (kernel.rate * 4)


def test_tails_append_or_compress() -> None:
    assert [appended_tail_tokens(n, 60, 104) for n in (0, 1, 5)] == [0, 8, 40]
    assert [compressed_tail_tokens(n) for n in (0, 1, 5)] == [0, 1, 1]


def test_importance_layouts_put_length_where_the_figure_does() -> None:
    rates = {name: [level.kernel.rate for level in make()] for name, make in LAYOUTS.items()}
    assert rates["a"] == [1, 4, 16, 64]
    assert rates["b"] == [1, 4, 16]
    assert [level.frames for level in repeated_levels()] == [3, 3, 3]
    assert rates["c"] == [1, 8, 64]
    assert rates["d"] == [*rates["c"], 1]
    assert rates["e"] == rates["c"] + rates["c"][::-1]
    assert all(level.frames == 1 for level in by_time())
    assert important_start(by_time())[-1].kernel.rate == 1
    assert symmetric(temporal_kernels()) == symmetric()


@pytest.mark.parametrize("frames", [0, -1, 2**18 + 1])
def test_a_level_has_frames_and_no_more_than_a_video(frames: int) -> None:
    with pytest.raises(UserError, match=f"f{frames}k1: the number of frames must be 1 to 262144"):
        Level(frames, KERNELS[1])


def test_a_packing_names_what_is_wrong_with_it() -> None:
    with pytest.raises(UserError, match="at least one history level"):
        Packing(())
    with pytest.raises(UserError, match="td, ta, tc"):
        Packing((Level(1, KERNELS[1]),), "tz")  # type: ignore[arg-type]
