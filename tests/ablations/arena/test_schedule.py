"""Pairs are balanced over variants, pairs, prompts and sides, and nobody sees one twice."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ablations.arena.schedule import REPEAT_GAP, Pair, Schedule

NAMES = [f"variant-{letter}" for letter in "abcdef"]


def run(
    schedule: Schedule, raters: int, *, lost: float = 0.0, seed: int = 0
) -> dict[str, list[Pair]]:
    """Let raters answer in random order until nothing is left; some pairs are never answered."""
    dice = random.Random(seed)
    active = [f"rater-{number}" for number in range(raters)]
    answered: dict[str, list[Pair]] = {name: [] for name in active}
    while active:
        name = dice.choice(active)
        pair = schedule.next(name)
        if pair is None:
            active.remove(name)
        elif dice.random() < lost:
            schedule.give_back(name, pair)
        else:
            schedule.answer(pair)
            answered[name].append(pair)
    return answered


def test_every_variant_reaches_its_target_and_none_goes_beyond() -> None:
    schedule = Schedule([NAMES] * 20, target=100, length=30)
    run(schedule, 40)
    assert set(schedule.answered.values()) == {100}
    assert schedule.complete


def test_an_odd_number_of_votes_is_rounded_up_by_one() -> None:
    schedule = Schedule([NAMES[:3]] * 20, target=33, length=30)
    run(schedule, 40)
    assert sorted(schedule.answered.values()) == [33, 33, 34]


@settings(max_examples=20, deadline=None)
@given(
    variants=st.integers(2, 7),
    scenes=st.integers(1, 12),
    raters=st.integers(1, 12),
    lost=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 10_000),
)
def test_votes_of_any_two_variants_differ_by_two_at_most_while_pairs_are_left(
    variants: int, scenes: int, raters: int, lost: float, seed: int
) -> None:
    names = NAMES[:variants] if variants <= 6 else [*NAMES, "variant-g"]
    # As many screens as never exhaust a rater's pairs: beyond that, what is left decides.
    length = max(1, variants * (variants - 1) // 2 * scenes // 3)
    schedule = Schedule([names] * scenes, target=10_000, length=length, seed=seed)
    run(schedule, raters, lost=lost, seed=seed)
    loads = [schedule.load[name] for name in names]
    if scenes >= 4:
        assert max(loads) - min(loads) <= 2
    assert schedule.load == schedule.answered


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), lost=st.sampled_from([0.0, 0.3]))
def test_no_rater_sees_a_pair_twice_except_as_a_repeat(seed: int, lost: float) -> None:
    schedule = Schedule(
        [NAMES] * 4,
        target=10_000,
        length=40,
        controls=[(NAMES[0], 1), (NAMES[3], 2)],
        control_screens=2,
        repeat_screens=3,
        seed=seed,
    )
    for pairs in run(schedule, 5, lost=lost, seed=seed).values():
        ordinary = [pair.key for pair in pairs if pair.kind == "normal"]
        assert len(ordinary) == len(set(ordinary))
        repeats = [pair.key for pair in pairs if pair.kind == "repeat"]
        assert len(repeats) == len(set(repeats))
        assert set(repeats) <= set(ordinary)


def test_a_rater_gets_the_controls_and_repeats_that_were_asked_for() -> None:
    schedule = Schedule(
        [NAMES] * 10,
        target=10_000,
        length=30,
        controls=[(NAMES[0], 1), (NAMES[3], 2), (NAMES[4], 5)],
        control_screens=2,
        repeat_screens=2,
    )
    answered = run(schedule, 30)
    for pairs in answered.values():
        assert Counter(pair.kind for pair in pairs) == {"normal": 26, "control": 2, "repeat": 2}
        for place, pair in enumerate(pairs):
            if pair.kind == "repeat":
                first = next(i for i, p in enumerate(pairs) if p.key == pair.key)
                assert place - first >= REPEAT_GAP
                assert (pairs[first].left, pairs[first].right) == (pair.right, pair.left)
            if pair.kind == "control":
                assert pair.left == pair.right
                assert pair.control_side in ("left", "right")
    damaged = Counter(
        pair.control_side for pairs in answered.values() for pair in pairs if pair.control_side
    )
    assert abs(damaged["left"] - damaged["right"]) <= 1


def test_sides_are_balanced_for_every_variant_and_for_every_rater() -> None:
    schedule = Schedule([NAMES] * 20, target=10_000, length=30)
    answered = run(schedule, 50)
    overall: Counter[str] = Counter()
    for pairs in answered.values():
        own: Counter[str] = Counter()
        for pair in pairs:
            own.update({pair.left: 1, pair.right: -1})
        assert max(abs(lean) for lean in own.values()) <= 4  # of ten appearances
        overall.update(own)
    assert max(abs(lean) for lean in overall.values()) <= 4  # of five hundred


def test_pairs_and_prompts_are_spread() -> None:
    schedule = Schedule([NAMES] * 20, target=500, length=30)
    answered = run(schedule, 60)
    pairs = [pair for own in answered.values() for pair in own]
    meetings = Counter(pair.variants for pair in pairs)
    assert len(meetings) == 15
    assert max(meetings.values()) - min(meetings.values()) <= 3
    scenes = Counter(pair.scene for pair in pairs)
    assert max(scenes.values()) - min(scenes.values()) <= 12  # of 75 each
    for own in answered.values():
        if len(own) >= 20:
            assert len({pair.scene for pair in own[:20]}) == 20


def test_a_scene_without_a_variants_video_is_never_used_for_it() -> None:
    clips = [NAMES, NAMES[:2], NAMES[2:], NAMES[:3]]
    schedule = Schedule(clips, target=50, length=20)
    for pairs in run(schedule, 30).values():
        for pair in pairs:
            assert {pair.left, pair.right} <= set(clips[pair.scene])


def test_what_is_handed_out_counts_so_that_a_crowd_cannot_overshoot() -> None:
    schedule = Schedule([NAMES] * 20, target=10, length=30)
    held = [schedule.next(f"rater-{number}") for number in range(200)]
    assert sum(pair is not None for pair in held) == 30
    lost = next(pair for pair in held if pair is not None)
    schedule.give_back("rater-0", lost)
    assert schedule.open_slots == 1
    assert schedule.next("rater-199") is not None
    assert schedule.next("rater-198") is None


def test_a_withdrawn_video_is_shown_no_more() -> None:
    schedule = Schedule([NAMES] * 2, target=10_000, length=25)
    schedule.withdraw(NAMES[0], 1)
    for pairs in run(schedule, 4).values():
        assert not any(pair.scene == 1 and NAMES[0] in pair.variants for pair in pairs)


def test_the_same_seed_gives_the_same_pairs() -> None:
    def pairs() -> list[Pair | None]:
        schedule = Schedule([NAMES] * 5, target=100, length=30, seed=3)
        return [schedule.next(f"rater-{number % 7}") for number in range(100)]

    assert pairs() == pairs()


@pytest.mark.parametrize("scenes", [3, 12, 20, 40])
def test_a_rater_is_told_as_many_screens_as_there_are(scenes: int) -> None:
    schedule = Schedule([NAMES[:2]] * scenes, target=10_000, length=30, repeat_screens=2)
    told = schedule.screens("rater-0")
    assert told == len(run(schedule, 1)["rater-0"])
    assert told <= min(scenes + 2, 30)


def test_all_raters_get_as_many_screens_where_pairs_are_few() -> None:
    schedule = Schedule(
        [NAMES[:4]] * 2,
        target=10_000,
        length=30,
        controls=[(NAMES[0], 0), (NAMES[1], 1), (NAMES[2], 1)],
        control_screens=2,
        repeat_screens=2,
    )
    raters = [f"rater-{number}" for number in range(40)]
    assert {schedule.screens(rater) for rater in raters} == {12 + 2 + 2}
    for pairs in run(schedule, 10).values():
        assert Counter(pair.kind for pair in pairs) == {"normal": 12, "control": 2, "repeat": 2}


def test_a_rater_is_told_no_controls_that_there_are_no_videos_for() -> None:
    schedule = Schedule(
        [NAMES[:2]] * 8, target=10_000, length=30, controls=[(NAMES[0], 1)], control_screens=2
    )
    assert schedule.screens("rater-0") == len(run(schedule, 1)["rater-0"]) == 8 + 1
