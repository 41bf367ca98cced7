"""The votes that a plan asks for do find the margin it promises."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from ablations import arena
from ablations.arena.settings import Settings, Sizing
from ablations.arena.sizing import information, needed, separable, win_rate
from tests.ablations.arena import studies


def one_pair(**sizing: float) -> Settings:
    return Settings(
        controls_per_rater=0,
        repeats_per_rater=0,
        sizing=Sizing(familywise=False, rater_correlation=0, **sizing),
    )


@pytest.mark.parametrize(("margin", "tie_rate"), [(60.0, 0.0), (60.0, 0.3), (200.0, 0.0)])
def test_two_variants_with_the_votes_planned_are_separated_as_often_as_promised(
    margin: float, tie_rate: float
) -> None:
    settings = one_pair(tie_rate=tie_rate, power=0.8)
    votes = needed(margin, 2, settings).total
    win = (1 - tie_rate) * win_rate(margin)
    loss = (1 - tie_rate) - win
    counts = np.random.default_rng(0).multinomial(votes, [win, loss, tie_rate], size=20_000)
    score = (counts[:, 0] - counts[:, 1]) / 2
    spread = np.sqrt((counts[:, 0] + counts[:, 1]) / 4)
    found = np.abs(score) / np.maximum(spread, 1e-9) > 1.959964
    # At large margins and few votes this test is a little sharper than the formula.
    assert 0.77 < found.mean() < (0.83 if margin < 100 else 0.88)


def test_information_of_equals_is_a_quarter_of_the_slope_squared() -> None:
    assert information(0, 0) == pytest.approx((math.log(10) / 400) ** 2 / 4)
    assert information(0, 0.5) == pytest.approx(information(0, 0) / 2)


def test_the_variance_of_a_difference_is_that_of_the_complete_graphs_laplacian() -> None:
    variants, votes = 6, 100
    weight = votes / (variants - 1) * information(0, 0.2)
    laplacian = weight * (variants * np.eye(variants) - np.ones((variants, variants)))
    inverse = np.linalg.pinv(laplacian)
    variance = inverse[0, 0] + inverse[1, 1] - 2 * inverse[0, 1]
    assert variance == pytest.approx(2 * (variants - 1) / (variants * votes * information(0, 0.2)))


def test_more_is_needed_for_less_margin_more_variants_and_raters_who_repeat_themselves() -> None:
    plain = one_pair()
    assert needed(25, 6, plain).per_variant > 3.5 * needed(50, 6, plain).per_variant
    familywise = Settings(sizing=Sizing(rater_correlation=0))
    assert needed(50, 6, familywise).per_variant > needed(50, 6, plain).per_variant
    clustered = Settings(sizing=Sizing(rater_correlation=0.1))
    assert needed(50, 6, clustered).per_variant > 3 * needed(50, 6, familywise).per_variant


def test_the_least_margin_found_and_the_votes_needed_are_inverse() -> None:
    settings = Settings(votes_per_variant=400)
    margin = separable(6, settings)
    assert needed(margin * 1.001, 6, settings).per_variant <= 400
    assert needed(margin * 0.99, 6, settings).per_variant > 400


def test_plan_prints_the_answer_for_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.study import Study

    study = Study.create(tmp_path / "study")
    study.ask(studies.NAMES, ["p-1", "p-2"], [7])
    text = arena.plan({"study": tmp_path / "study", "arena": {"sizing": {"margin": 80}}})
    assert capsys.readouterr().out.strip() == text.strip()
    assert "6 variants, 2 scenes: 30 different pairs" in text
    assert [line.split()[0] for line in text.splitlines()[4:9]] == ["25", "50", "80", "100", "200"]
    assert "votes_per_variant=100 separates variants" in text
