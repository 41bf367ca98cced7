"""Plans: the released section layout on indices, and what every sampler promises."""

import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.variant import TABLE_1, parse
from bench.drawing import draw, rows
from bench.errors import UserError
from bench.packing import KERNELS
from bench.plan import Context, Plan, Section
from bench.samplers import SAMPLERS, plan, section_count
from bench.samplers.endpoints import endpoint_sections
from bench.samplers.order import paddings

VANILLA = "td_f16k4f2k2f1k1_g9"
F1 = "f1k1_x_td_f16k4f2k2f1k1_g9"
INVERTED = "f1k1_x_g9_f1k1f2k2f16k4_td"
ANTI = "td_f16k4f2k2f1k1_g9_x_f1k1"
ENDPOINTS = "td_f16k4f2k2f1k1_g9_x_f1k1_x_f1k1"
ALL = (VANILLA, F1, INVERTED, ANTI, ENDPOINTS)


def make(name: str, sections: int = 5, **more: object) -> Plan:
    return plan(parse(name), height=480, width=832, sections=sections, **more)  # type: ignore[arg-type]


def level(section: Section, kernel: int) -> Context:
    (found,) = [c for c in section.contexts if c.kernel == KERNELS[kernel] and not c.pool]
    return found


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [0]),
        (2, [1, 0]),
        (4, [3, 2, 1, 0]),
        (5, [3, 2, 2, 1, 0]),
        (8, [3, 2, 2, 2, 2, 2, 1, 0]),
    ],
)
def test_the_padding_rule_is_the_released_one(count: int, expected: list[int]) -> None:
    assert paddings(count) == expected
    assert paddings(count, exact=True) == list(range(count))[::-1]


@pytest.mark.parametrize(
    ("seconds", "sections", "frames"), [(5, 4, 145), (30, 25, 901), (60, 50, 1801)]
)
def test_lengths_are_the_released_ones(seconds: int, sections: int, frames: int) -> None:
    made = plan(parse(INVERTED), height=480, width=832, seconds=seconds)
    assert len(made.sections) == sections == section_count(seconds, 9)
    assert made.frames == frames
    assert made.latents == sections * 9 + 1


@pytest.mark.parametrize("count", [1, 2, 5, 25])
@pytest.mark.parametrize("w", [1, 4, 9])
def test_inverted_sections_have_the_released_axis(count: int, w: int) -> None:
    made = make(f"f1k1_x_g{w}_f1k1f2k2f16k4_td", count)
    for step, (section, padding) in enumerate(zip(made.sections, paddings(count), strict=True)):
        blank = padding * w
        after = 1 + blank + w
        assert section.target_indices == tuple(range(1 + blank, after))
        assert level(section, 1).indices == (0, after)
        assert level(section, 2).indices == (after + 1, after + 2)
        assert level(section, 4).indices == tuple(range(after + 3, after + 19))
        assert [c.kernel for c in section.contexts] == [KERNELS[4], KERNELS[2], KERNELS[1]]
        first = 1 + (count - 1 - step) * w
        assert section.target == tuple(range(first, first + w))
        future = [p if p <= count * w else None for p in range(first + w, first + w + 19)]
        seen = (*level(section, 1).frames[1:], *level(section, 2).frames, *level(section, 4).frames)
        assert list(seen) == future
        assert level(section, 1).frames[0] == 0


@pytest.mark.parametrize("count", [1, 2, 5, 25])
def test_f1_sections_have_the_released_axis(count: int) -> None:
    for step, section in enumerate(make(F1, count).sections):
        assert level(section, 4).indices == tuple(range(1, 17))
        assert level(section, 2).indices == (17, 18)
        assert level(section, 1).indices == (0, 19)
        assert section.target_indices == tuple(range(20, 29))
        newest = step * 9
        assert level(section, 1).frames == (0, newest)
        past = [p if p >= 0 else None for p in range(newest - 18, newest)]
        assert [*level(section, 4).frames, *level(section, 2).frames] == past


def test_decodes_are_the_released_ones() -> None:
    def frames(name: str) -> list[tuple[int, int]]:
        return [(4 * (d.count - 1) + 1, d.overlap) for d in make(name).decodes]

    assert frames(INVERTED) == [(33, 0), (69, 33), (69, 33), (69, 33), (73, 33)]
    assert frames(F1) == [(37, 0), (69, 33), (69, 33), (69, 33), (69, 33)]


@given(
    st.sampled_from(["vanilla", "f1", "anti", "endpoints", "inverted"]),
    st.integers(1, 33),
    st.integers(1, 12),
    st.sampled_from(["td", "ta", "tc"]),
)
@settings(max_examples=60, deadline=None)
def test_every_latent_is_made_once_from_what_exists_and_decoded_into_one_video(
    sampler: str, w: int, count: int, tail: str
) -> None:
    history = "f16k4f2k2f1k1"
    name = {
        "vanilla": f"{tail}_{history}_g{w}",
        "f1": f"f1k1_x_{tail}_{history}_g{w}",
        "anti": f"{tail}_{history}_g{w}_x_f1k1",
        "endpoints": f"{tail}_{history}_g{w}_x_f1k1_x_f1k1",
        "inverted": f"f1k1_x_g{w}_f1k1f2k2f16k4_{tail}",
    }[sampler]
    made = make(name, count)
    exists = {0}
    for section in made.sections:
        for context in section.contexts:
            assert all(frame is None or frame in exists for frame in context.frames)
            assert list(context.indices) == sorted(set(context.indices))
        assert not exists & set(section.target)
        exists.update(section.target)
        used = [i for c in section.contexts for i in c.indices] + list(section.target_indices)
        assert len(used) == len(set(used)), "two frames stand on one index"
    assert exists == set(range(made.latents))
    total = 0
    for decode in made.decodes:
        decoded = set(range(decode.first, decode.first + decode.count))
        ready = {0}.union(*(s.target for s in made.sections[: decode.after + 1]))
        assert decoded <= ready
        total += 4 * (decode.count - 1) + 1 - decode.overlap
    assert total == made.frames == 4 * w * count + 1
    assert made.section_starts == [1 + 4 * w * i for i in range(count)]


@pytest.mark.parametrize("name", ALL)
def test_a_packed_context_does_not_grow_with_the_video(name: str) -> None:
    def longest(sections: int) -> int:
        return max(make(name, sections).tokens_per_section)

    assert longest(50) == longest(6)


def test_full_history_and_appended_tails_grow_with_the_video() -> None:
    for name in ("td_f9999k1_g9+missing-drop", "ta_f16k4f2k2f1k1_g9"):
        tokens = make(name, 12).tokens_per_section
        assert tokens == sorted(tokens)
        assert tokens[-1] > tokens[2]
    assert make("td_f9999k1_g9+missing-drop", 3).sections[2].context_tokens == 19 * 1560


@pytest.mark.parametrize("name", [VANILLA, ENDPOINTS, INVERTED])
@pytest.mark.parametrize("work", [make, lambda *asked: draw(make(*asked))], ids=["plan", "drawing"])
def test_a_plan_of_a_packed_history_takes_time_in_proportion_to_the_video(
    name: str, work: Callable[[str, int], object]
) -> None:
    def seconds(sections: int) -> float:
        begun = time.process_time()
        work(name, sections)
        return time.process_time() - begun

    short = min(seconds(250) for _ in range(5))
    assert min(seconds(2500) for _ in range(2)) < 25 * short  # 10 times as long; its square is 100


def test_compressed_tails_cost_one_token() -> None:
    deleted = make(VANILLA).tokens_per_section
    compressed = make(VANILLA.replace("td", "tc")).tokens_per_section
    assert [c - d for c, d in zip(compressed, deleted, strict=True)] == [0, 0, 0, 1, 1]


def test_anti_drifting_makes_the_end_first_and_shows_it_to_all_others() -> None:
    end, *others = make(ANTI).sections
    assert end == make(INVERTED).sections[0]
    assert [section.target[0] for section in others] == [1, 10, 19, 28]
    assert all(level(section, 1).frames[-1] == end.target[0] for section in others)
    gaps = [level(s, 1).indices[-1] - s.target_indices[-1] - 1 for s in others]
    assert gaps == [27, 18, 9, 0]
    exact = make(ANTI + "+padding-exact", 9).sections[1]
    assert level(exact, 1).indices[-1] - exact.target_indices[-1] - 1 == 7 * 9


def test_endpoints_are_spread_evenly_and_the_nearest_are_seen() -> None:
    assert endpoint_sections(9, 3) == [2, 5, 8]
    assert endpoint_sections(1, 3) == [0]
    made = make(ENDPOINTS, 6)
    assert [s.target[0] for s in made.sections] == [46, 19, 1, 10, 28, 37]
    assert level(made.sections[2], 1).frames == (0, 19, 46)
    assert level(made.sections[4], 1).frames == (27, 46)


def test_exact_padding_keeps_true_distances() -> None:
    far = make(F1 + "+padding-exact", 5).sections[-1]
    assert level(far, 1).indices[-1] == level(far, 1).frames[-1]
    first = make(INVERTED + "+padding-exact", 8).sections[0]
    assert first.target_indices == first.target


def test_an_end_image_is_the_first_future_frame_and_no_section_is_made_for_it() -> None:
    inverted = make(INVERTED, 3, end_image=True)
    assert level(inverted.sections[0], 1).frames == (0, 28)
    assert 28 not in level(inverted.sections[1], 1).frames
    assert [s.target[0] for s in make(ANTI, 3, end_image=True).sections] == [1, 10, 19]
    with pytest.raises(UserError, match="anti_drifting, endpoints, inverted"):
        make(VANILLA, 3, end_image=True)


def test_missing_history_can_be_left_out() -> None:
    first, second, *_ = make(VANILLA + "+missing-drop").sections
    assert [c.frames for c in first.contexts] == [(0,)]
    assert second.contexts[0].frames == tuple(range(7))
    assert second.contexts[0].tokens == 2 * 104


def test_released_history_costs_what_the_paper_says() -> None:
    assert set(make(INVERTED).tokens_per_section) == {17966}
    assert set(make(F1).tokens_per_section) == {17966}
    assert make(INVERTED).sections[0].context_tokens == 3926


def test_a_plan_is_plain_data_with_a_stable_digest() -> None:
    one, again, other = make(INVERTED), make(INVERTED), make(INVERTED, 4)
    assert one.digest == again.digest != other.digest
    assert json.loads(json.dumps(one.to_json()))["frames"] == 181


def test_a_plan_can_be_read_by_people() -> None:
    made = make(INVERTED)
    assert draw(made).splitlines()[0] == f"  1 1{'·' * 36}█████████ 17966"
    assert rows(made)[0]["context"] == "k4[∅×16]@40-55  k2[∅×2]@38-39  k1[0,∅×1]@0,37"
    assert all(len(line) < 120 for line in draw(make(VANILLA, 50)).splitlines())


@pytest.mark.parametrize("name", [*TABLE_1, *ALL, "layout_a_g9", "layout_b_g4"])
def test_every_named_variant_can_be_planned(name: str) -> None:
    assert make(name, 2).latents == 2 * parse(name).section + 1
    assert parse(name).sampler in SAMPLERS


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 481}, "video.height: 481 is not a multiple of 16"),
        ({"width": 8}, "video.width"),
        ({"sections": None}, "either seconds or sections"),
        ({"seconds": 5.0}, "either seconds or sections"),
        ({"sections": 0}, "at least 1"),
    ],
)
def test_wrong_sizes_are_named(change: dict[str, object], words: str) -> None:
    arguments: dict[str, object] = {"height": 480, "width": 832, "sections": 3} | change
    with pytest.raises(UserError, match=words):
        plan(parse(VANILLA), **arguments)  # type: ignore[arg-type]
