"""The naming grammar: every name of the paper is read, written back, and refused where broken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablations.variant import NAMED, TABLE_1, format, parse
from bench.errors import UserError
from bench.packing import KERNELS, Level, Packing
from bench.variant import Variant

LEVELS = st.lists(
    st.builds(
        lambda k, n: Level(k * n, KERNELS[k]), st.sampled_from(list(KERNELS)), st.integers(1, 600)
    ),
    min_size=1,
    max_size=6,
).map(tuple)
OPTION_SETS = st.fixed_dictionaries(
    {},
    optional={
        "steps": st.integers(1, 100),
        "teacache": st.sampled_from([0.0, 0.1, 0.15, 1e-5]),
        "padding": st.sampled_from(["released", "exact"]),
        "lora": st.sampled_from(["mine", "v2.1"]),
    },
)


@st.composite
def variants(draw: st.DrawFn) -> Variant:
    sampler = draw(st.sampled_from(["vanilla", "f1", "anti_drifting", "inverted", "endpoints"]))
    start = draw(LEVELS) if sampler in ("f1", "inverted") else ()
    count = {"anti_drifting": 1, "endpoints": draw(st.integers(2, 4))}.get(sampler, 0)
    ends = tuple(draw(LEVELS) for _ in range(count))
    packing = Packing(draw(LEVELS), draw(st.sampled_from(["td", "ta", "tc"])), start, ends)
    discrete = draw(st.sampled_from([None, 0, 1, 128]))
    unnamed = Variant(sampler, packing, draw(st.integers(1, 33)), "", discrete, draw(OPTION_SETS))
    return Variant(sampler, packing, unnamed.section, format(unnamed), discrete, unnamed.options)


@given(variants())
def test_a_variant_survives_its_name(variant: Variant) -> None:
    assert parse(variant.name) == variant
    assert format(parse(variant.name)) == variant.name
    assert hash(parse(variant.name)) == hash(variant)


@pytest.mark.parametrize("name", [*TABLE_1, *NAMED, "td_f16k4f2k2f1k1_g9+D128+steps-10"])
def test_every_known_name_is_read_and_written_back(name: str) -> None:
    assert format(parse(name)) == name
    assert parse(name).name == name


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        ("td_f16k4f2k2f1k1_g9", "vanilla"),
        ("f1k1_x_td_f16k4f2k2f1k1_g9", "f1"),
        ("td_f16k4f2k2f1k1_g9_x_f1k1", "anti_drifting"),
        ("f1k1_x_td_f16k4f2k2f1k1_g9_x_f1k1", "anti_drifting"),
        ("td_f16k4f2k2f1k1_g9_x_f1k1_x_f1k1", "endpoints"),
        ("f1k1_x_g9_f1k1f2k2f16k4_td", "inverted"),
    ],
)
def test_the_order_of_tokens_says_the_sampler(name: str, sampler: str) -> None:
    assert parse(name).sampler == sampler


def test_levels_are_kept_nearest_first_whatever_the_direction() -> None:
    forward = parse("td_f16k4f2k2f1k1_g9").packing.levels
    backward = parse("f1k1_x_g9_f1k1f2k2f16k4_td").packing.levels
    assert forward == backward == tuple(Level(n, KERNELS[k]) for n, k in ((1, 1), (2, 2), (16, 4)))


@pytest.mark.parametrize(
    ("name", "place", "expected"),
    [
        ("", "character 1 (the end)", "td"),
        ("tx_f1k1_g9", "character 1 (tx)", "one of td, ta, tc"),
        ("td-f1k1_g9", "character 3 (-f1k1)", "expected _"),
        ("td_f16k3f1k1_g9", "character 8 (3f1k1)", "one of 1, 2, 4, 8, 16"),
        ("td_f16q4_g9", "character 7 (q4)", "k and the kernel"),
        ("td_f0k1_g9", "character 5 (0k1)", "N of fNkM"),
        ("td_f1k1", "character 8 (the end)", "expected _"),
        ("td_f1k1_9", "character 9 (9)", "a section such as g9"),
        ("td_f1k1_g34", "character 10 (34)", "1 to 33"),
        ("td_f1k1_g9_x", "character 11 (_x)", "expected _x_"),
        ("td_f1k1_g9_x_", "character 14 (the end)", "a level such as f16k4"),
        ("td_f1k1_g9+E", "character 12 (E)", "an option: steps"),
        ("td_f1k1_g9+speed-3", "character 12 (speed-3)", "an option: steps"),
        ("f1k1_x_g9_f1k1", "character 15 (the end)", "expected _"),
        ("f1k1_x_f1k1_g9", "character 8 (f1k1)", "td, ta, tc, a section"),
        ("f1k1_g9_f1k1_td", "character 5 (_g)", "expected _x_"),
    ],
)
def test_a_broken_name_says_where_and_what_could_stand_there(
    name: str, place: str, expected: str
) -> None:
    with pytest.raises(UserError) as error:
        parse(name)
    message = str(error.value)
    assert place in message
    assert expected in message
    assert "\n" not in message


def test_a_kernel_that_does_not_divide_its_frames_is_named() -> None:
    with pytest.raises(UserError, match=r"f3k2.*multiple of 2"):
        parse("td_f3k2f1k1_g9")


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("td_f1k1_g9+teacache-0.150", "td_f1k1_g9+teacache-0.15"),
        ("td_f1k1_g9+teacache-0.1+steps-8", "td_f1k1_g9+steps-8+teacache-0.1"),
    ],
)
def test_one_variant_has_one_name(name: str, canonical: str) -> None:
    with pytest.raises(UserError, match="write it as") as error:
        parse(name)
    assert str(error.value).endswith(canonical)


@pytest.mark.parametrize("option", ["steps-many", "padding-none", "steps-0", "teacache--1"])
def test_option_values_are_checked(option: str) -> None:
    with pytest.raises(UserError, match=option.split("-")[0]):
        parse(f"td_f1k1_g9+{option}")
