"""The paper's claims on simulated studies: verdicts right where effects were planted, and none
where there is no effect."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from reports.claims import QUESTIONS, Asked, Claim, _effect, claims
from reports.contrasts import (
    Gap,
    _spread,
    cells,
    contrast,
    gap_difference,
    matched,
    rated,
    squared_gap,
    within,
)
from reports.statistics.clusters import t_quantile
from reports.verdicts import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    UNMATCHED,
    Effect,
    Question,
    settle,
)
from tests.reports.claim_studies import Kind, analysis_of

OTHER = "f8k8f4k4f2k2f1k1"
"""A second packing, so that packings can be told from samplers."""

Shifts = Mapping[str, float]
NONE: Shifts = {}


def kinds(
    vanilla: Shifts = NONE,
    discrete: Shifts = NONE,
    inverted: Shifts = NONE,
    packing: Shifts = NONE,
    tail: Shifts = NONE,
    teacache: Shifts = NONE,
    skills: tuple[float, float, float] = (0.0, 0.0, 0.0),
    short: float = 0.0,
    tokens: tuple[int, ...] = (1000,) * 6,
) -> list[object]:
    """All variants that the claims speak of; skills are those of vanilla, vanilla+D, inverted."""
    made = []
    for base, shifts, skill, other in (
        ({"sampler": "vanilla"}, vanilla, skills[0], ""),
        ({"sampler": "vanilla", "discrete": 128}, discrete, skills[1], "+D"),
        ({"sampler": "inverted"}, inverted, skills[2], "i"),
    ):
        made.append(Kind(f"v{other}", **base, shifts=shifts, skill=skill, tokens=tokens))
        both = {**shifts, **packing}
        made.append(Kind(f"w{other}", **base, packing=OTHER, shifts=both, skill=skill))
    for section in (4, 1):
        made.append(Kind(f"g{section}", section=section, shifts=vanilla, skill=skills[0] + short))
    made.append(Kind("ta", tail="ta", shifts={**vanilla, **tail}, tokens=range(1000, 1060, 10)))
    made.append(Kind("tc", tail="tc", shifts=vanilla))
    made.append(Kind("tea", options={"teacache": 0.15}, shifts={**vanilla, **teacache}))
    return made


def verdicts(number: int, studies_made: int, **planted: object) -> Counter[str]:
    """Verdicts on one claim over simulated studies."""
    sizes = {name: planted.pop(name) for name in ("prompts", "votes") if name in planted}
    found: Counter[str] = Counter()
    for seed in range(studies_made):
        analysis = analysis_of(kinds(**planted), seed, **sizes)  # type: ignore[arg-type]
        _, test = QUESTIONS[number - 1]
        found[settle(test(Asked.of(analysis)))[0]] += 1
    return found


PLANTED: list[tuple[int, str, dict[str, object]]] = [
    (2, SUPPORTED, {"inverted": {"drift": -1.5, "dynamic": -1.5}}),
    (2, CONTRADICTED, {"inverted": {"clarity.drift": 1.5}}),
    (3, SUPPORTED, {"vanilla": {"dynamic": 1.5}}),
    (3, CONTRADICTED, {"discrete": {"dynamic": 1.5}}),
    (5, SUPPORTED, {"inverted": {"all": 1.0, "drift": -1.0}}),
    (5, CONTRADICTED, {"packing": {"all": 1.0, "drift": 1.0}}),
    (7, SUPPORTED, {"prompts": 150}),
    (7, CONTRADICTED, {"tail": {"all": 1.0}}),
    (8, SUPPORTED, {"teacache": {"all": -0.8}}),
    (8, CONTRADICTED, {"teacache": {"all": 0.8}}),
]


@pytest.mark.parametrize(("number", "verdict", "planted"), PLANTED)
def test_planted_effects_get_the_right_verdict(
    number: int, verdict: str, planted: dict[str, object]
) -> None:
    found = verdicts(number, 20, **{"prompts": 40, **planted})
    assert found[verdict] >= 19, found


PEOPLE: list[tuple[int, str, dict[str, object]]] = [
    (4, SUPPORTED, {"discrete": {"dynamic": 1.5}, "skills": (-0.6, 0.2, 0.0)}),
    (4, CONTRADICTED, {"discrete": {"dynamic": 1.5}, "skills": (0.0, -1.2, 0.0)}),
    (6, SUPPORTED, {"short": -1.2}),
    (6, CONTRADICTED, {"short": 1.2}),
]


@pytest.mark.parametrize(("number", "verdict", "planted"), PEOPLE)
def test_planted_preferences_get_the_right_verdict(
    number: int, verdict: str, planted: dict[str, object]
) -> None:
    found = verdicts(number, 3, **{"prompts": 40, "votes": 4000, **planted})
    assert found[verdict] == 3, found


def test_without_effects_nothing_is_decided() -> None:
    """Claims about differences; that tails hardly differ, and costs are bounded, is then true."""
    undecided: Counter[int] = Counter()
    for seed in range(40):
        for claim in claims(analysis_of(kinds(), seed)):
            undecided[claim.number] += claim.verdict == UNDECIDED
    # Of 40 studies at 95 %, fewer than 34 are undecided once in a hundred times.
    assert all(undecided[number] >= 34 for number in (2, 3, 4, 5, 6, 8)), undecided


def test_equal_ratings_are_not_decided() -> None:
    found = verdicts(6, 8, votes=1000)
    assert found[UNDECIDED] >= 6, found


def claim(number: int, **planted: object) -> Claim:
    return claims(analysis_of(kinds(**planted), 1, prompts=12))[number - 1]  # type: ignore[arg-type]


def test_bounded_cost_is_read_off_token_counts() -> None:
    assert claim(1).verdict == SUPPORTED
    assert claim(1, tokens=(900, 950, 1000, 1000, 1000, 1000)).verdict == SUPPORTED
    grown = claim(1, tokens=(1000, 1000, 1000, 1000, 1100, 1200))
    assert grown.verdict == CONTRADICTED
    assert grown.parts[0].effect == pytest.approx(20.0)


def test_videos_of_a_batch_share_one_clock() -> None:
    """Here all videos of a variant took the same seconds: two measurements, not 48."""
    made = [Kind("v"), Kind("w", packing=OTHER)]
    tokens, time = claims(analysis_of(made, 0, prompts=24))[0].parts
    assert tokens.counted == 48
    assert time.rests_on is not None and time.rests_on.units == 2


def test_an_appended_tail_may_grow() -> None:
    """`ta` keeps older frames in a growing tail by definition; the claim is not about it."""
    assert claim(1).parts[0].effect == pytest.approx(0.0)


def test_short_videos_do_not_tell_whether_cost_is_bounded() -> None:
    short = claims(analysis_of([Kind("v", tokens=(500, 800, 1000))], 0))[0]
    assert short.verdict == UNDECIDED
    assert "two sections after the packed history is full" in short.because


def test_what_a_study_lacks_is_said() -> None:
    lone = claims(analysis_of([Kind("v")], 0))
    assert [one.number for one in lone] == list(range(1, 9))
    assert all(one.verdict == UNDECIDED for one in lone[1:])
    assert all(one.because.startswith("this study lacks") for one in lone[1:])
    assert "votes that compare them" in claim(6).because


def test_a_sweep_over_codes_does_not_speak_for_discretised_history() -> None:
    """One colour of history is no +D: verdicts stay as they are without the sweep."""
    planted = {"discrete": {"dynamic": 1.5}, "inverted": {"all": 1.0, "drift": -1.0}}
    bad = {"all": -5.0, "drift": 5.0, "dynamic": -5.0}
    sweep = [Kind(f"vd{k}", discrete=k, shifts=bad) for k in (1, 16, 256)]
    alone = claims(analysis_of(kinds(**planted), 0, prompts=40))
    swept = claims(analysis_of([*kinds(**planted), *sweep], 0, prompts=40))
    for one, other in zip(alone, swept, strict=True):
        assert one.verdict == other.verdict
        assert [p.hypothesis for p in one.parts] == [p.hypothesis for p in other.parts]
        np.testing.assert_allclose(
            [p.effect for p in one.parts], [p.effect for p in other.parts], atol=1.0
        )


def test_weights_trained_for_codes_are_what_discretised_history_means() -> None:
    trained = {"delta": "discrete"}
    made = [
        Kind("v"),
        Kind("d", discrete=128, shifts={"dynamic": -5.0}),
        Kind("t", discrete=128, options=trained, shifts={"dynamic": 5.0}),
        Kind("m", options={"delta": "window"}, shifts={"dynamic": 9.0}),
    ]
    asked = Asked.of(analysis_of(made, 0))
    assert [e.name for e in asked.plain] == ["v", "t"]
    assert matched(asked.block("vanilla+D"), asked.block("vanilla"), ("sampler", "discrete"))
    found = claims(analysis_of(made, 0))[2]
    assert found.verdict == CONTRADICTED


def test_tails_need_all_three_and_one_that_differs_contradicts() -> None:
    two = [Kind("v"), Kind("ta", tail="ta")]
    found = claims(analysis_of(two, 0, prompts=150))[6]
    assert found.verdict == UNDECIDED
    assert "tails td and tc" in found.because
    odd = [*two, Kind("tc", tail="tc", shifts={"all": 1.0, "drift": 1.0})]
    found = claims(analysis_of(odd, 0, prompts=60))[6]
    assert found.verdict == CONTRADICTED
    assert found.because.startswith(("td and tc", "ta and tc"))


def test_an_undecided_claim_says_how_many_videos_would_decide() -> None:
    weak = claim(8, teacache={"all": -0.15})
    assert weak.verdict == UNDECIDED
    assert "videos" in weak.because and "would decide it" in weak.because
    votes = claims(analysis_of(kinds(short=-0.1), 3, votes=300))[5]
    assert votes.verdict == UNDECIDED
    assert "votes would decide it" in votes.because


def test_where_only_a_floor_is_known_it_is_not_said_to_decide() -> None:
    weak = claims(analysis_of(kinds(), 0, prompts=1))[1]
    assert weak.verdict == UNDECIDED
    needs = "needs at least two prompts on which all that is compared has scores"
    assert weak.because.endswith(f"{needs} before anything can be said")
    assert "would decide" not in weak.because


def test_two_prompts_are_not_asked_for_where_there_are_two() -> None:
    found = claims(analysis_of(kinds(), 0, prompts=2))
    for number in (5, 7):
        because = found[number - 1].because
        assert "needs at least three prompts" in because
    assert not any("at least two prompts" in one.because for one in found)


# Verdicts


def effect(value: float, error: float = 1.0, p: float = np.nan) -> Effect:
    return Effect(value, error, 200, 201, 2.0, "points", p=p)


def verdict(*values: float) -> str:
    return settle([Question("", effect(value), above=0.0) for value in values])[0]


def test_a_conjunction_needs_every_part_and_falls_with_one() -> None:
    assert verdict(3.0, 2.1) == SUPPORTED
    assert verdict(3.0, 1.8) == UNDECIDED
    assert verdict(3.0, -4.0) == CONTRADICTED


def test_one_of_many_parts_contradicts_only_beyond_the_correction() -> None:
    assert verdict(-2.1) == CONTRADICTED
    assert verdict(*[-2.1, *[3.0] * 9]) == UNDECIDED
    assert verdict(*[-3.2, *[3.0] * 9]) == CONTRADICTED


def test_an_exact_test_must_agree() -> None:
    assert settle([Question("", effect(2.1, p=0.03), above=0.0)])[0] == SUPPORTED
    assert settle([Question("", effect(2.1, p=0.06), above=0.0)])[0] == UNDECIDED


def test_told_parts_decide_nothing() -> None:
    tests = [
        Question("", effect(3.0), above=0.0),
        Question("", effect(-9.0), above=0.0, optional=True),
    ]
    found, parts = settle(tests)
    assert found == SUPPORTED
    assert [part.verdict for part in parts] == [SUPPORTED, CONTRADICTED]


def test_a_part_that_cannot_be_tested_leaves_the_claim_open() -> None:
    tests = [Question("", effect(3.0), above=0.0), Question("", None, lacking="votes")]
    assert settle(tests)[0] == UNDECIDED


def test_an_effect_that_is_undefined_is_told_as_lacking_not_as_a_number() -> None:
    undefined = Effect(np.nan, np.nan, 1, 2, 4.0, "SD²")
    verdict, (part,) = settle([Question("it differs", undefined, above=0.0)])
    assert verdict == UNDECIDED
    assert part.rests_on is None
    assert "undefined" in part.lacking


def test_as_many_videos_as_said_would_decide_in_four_of_five_studies() -> None:
    rng = np.random.default_rng(0)
    one = Effect(0.5, 2.0 / np.sqrt(40), 39, 40, 2.0, "points")
    (part,) = settle([Question("", one, above=0.0)])[1]
    prompts = int(part.needs.words.split("(")[1].split()[0])
    found = 0
    for _ in range(400):
        sample = rng.normal(0.5, 2.0, prompts)
        error = sample.std(ddof=1) / np.sqrt(prompts)
        again = Effect(sample.mean(), error, prompts - 1, prompts, 2.0, "points")
        found += settle([Question("", again, above=0.0)])[0] == SUPPORTED
    assert 0.74 < found / 400 < 0.86


def test_no_fewer_prompts_are_named_than_the_exact_test_takes() -> None:
    """Four prompts give a sign-flip test no p below 1/8; 13 parts ask for 0.05/13 to contradict."""
    clear = Effect(3.0, 0.2, 3, 4, 1.0, "points", p=0.125)
    (part,) = settle([Question("", clear, above=0.0)])[1]
    assert "(6 prompts)" in part.needs.words  # 2⁻⁵ < 0.05 < 2⁻⁴
    many = [Question("", clear, below=0.0)] * 13
    parts = settle(many)[1]
    assert "(10 prompts)" in parts[0].needs.words  # 2⁻⁹ < 0.05/13 < 2⁻⁸


# Contrasts


def test_variants_are_matched_in_all_but_what_is_compared() -> None:
    analysis = analysis_of(kinds(), 0)
    by_name = {entrant.name: entrant for entrant in analysis.variants}
    inverted = [by_name["vi"], by_name["wi"]]
    vanilla = [by_name[name] for name in ("v", "w", "g4", "ta")]
    pairs = matched(inverted, vanilla, ("sampler", "discrete"))
    assert [(one.name, other.name) for one, other in pairs] == [("vi", "v"), ("wi", "w")]
    assert {(a.name, b.name) for a, b in within(analysis.variants, "tail")} == {
        ("v", "ta"),
        ("v", "tc"),
        ("ta", "tc"),
    }


def test_a_contrast_is_the_mean_difference_on_shared_cells() -> None:
    analysis = analysis_of(kinds(), 0, prompts=9)
    column = analysis.paper[0]
    one, other = analysis.variants[0], analysis.variants[4]
    analysis.measured.values[one.rows[2], 0] = np.nan
    found = contrast(cells(analysis, [column]), [one], [other], ("sampler",))
    values = analysis.measured.of(column)
    assert found is not None and found.matched
    assert found.difference.value == pytest.approx(
        np.nanmean(values[one.rows] - values[other.rows])
    )
    assert found.difference.pairs == 8


def test_unmatched_groups_are_compared_by_their_means_and_it_is_said() -> None:
    analysis = analysis_of([Kind("a"), Kind("b", sampler="inverted", packing=OTHER)], 0)
    one, other = analysis.variants
    found = contrast(cells(analysis, [analysis.paper[0]]), [one], [other], ("sampler",))
    assert found is not None and not found.matched
    _, parts = settle([Question("b drifts less", _effect(Asked.of(analysis), found, "SD"))])
    assert parts[0].said == f"b drifts less ({UNMATCHED})"


def test_unmatched_groups_of_ratings_are_said_to_be() -> None:
    kinds = [Kind("a"), Kind("b", sampler="inverted", packing=OTHER)]
    verdicts = claims(analysis_of(kinds, 0, votes=400))
    said = [part.said for claim in verdicts for part in claim.parts if part.unit == "ELO"]
    assert said == [f"ELO is lower with vanilla than with inverted sampling ({UNMATCHED})"]


def test_every_vote_on_what_is_compared_is_counted_once() -> None:
    kinds = [Kind("a"), Kind("b", sampler="inverted"), Kind("c", tail="tc")]
    analysis = analysis_of(kinds, 0, votes=600)
    assert analysis.human is not None
    one, other, _ = analysis.variants
    found = rated(analysis, [one], [other], ("sampler",))
    votes = analysis.human.votes
    used = votes[(votes["answer"] != "both_bad") & (votes["kind"] == "normal")]
    shown = used["left"].isin(["a", "b"]) | used["right"].isin(["a", "b"])
    assert found is not None and found.matched
    assert found.votes == shown.sum() <= 600


def test_a_variant_without_values_takes_no_degree_of_freedom() -> None:
    rng = np.random.default_rng(0)
    values, variant = rng.normal(size=(60, 1)), np.repeat(np.arange(12), 5)
    values[variant > 1] = np.nan
    left = values[variant < 2, 0].reshape(2, 5)
    expected = np.sqrt(((left - left.mean(axis=1, keepdims=True)) ** 2).sum() / (10 - 2))
    assert _spread(values, variant) == pytest.approx([expected])


def test_prompts_without_values_are_no_part_of_a_gaps_sample() -> None:
    pair = [Kind("a"), Kind("b", tail="tc", shifts={"all": 1.0})]
    analysis = analysis_of(pair, 0, prompts=30)
    values = analysis.measured.values
    values[analysis.prompt >= 6] = np.nan
    table = cells(analysis, analysis.paper, standard=True)
    gap = squared_gap(table, within(analysis.variants, "tail"))
    assert gap is not None and sorted(gap.without) == list(range(6))
    alone = analysis_of(pair, 0, prompts=6)
    few = gap_difference(gap)
    assert few.prompts == alone.prompt.max() + 1
    half = t_quantile(0.975, 5) * few.error
    assert few.high - few.value == pytest.approx(half)
    # A prompt of one gap alone is left out of that one only.
    other = Gap(1.0, {9: 0.9}, 1, 2)
    assert gap_difference(gap, other).prompts == 7


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_squared_gaps_are_unbiased_and_their_intervals_honest(shift: float) -> None:
    found, covered = [], 0
    pair = [Kind("a"), Kind("b", tail="tc", shifts={"all": shift, "drift": shift})]
    for seed in range(120):
        analysis = analysis_of(pair, seed, prompts=30, interaction=0.0)
        gap = squared_gap(
            cells(analysis, analysis.paper, standard=True), within(analysis.variants, "tail")
        )
        assert gap is not None
        one = gap_difference(gap)
        found.append(one.value)
        # Standardised by the spread between videos, prompts included: √(1 + 1).
        covered += one.low <= shift**2 / 2 <= one.high
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - shift**2 / 2) < 4 * error + 0.01
    assert covered / 120 > 0.9
