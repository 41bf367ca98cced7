"""The weight-free metrics see their damages; `make validity` asks all of them on all clips."""

import json
from dataclasses import replace

import numpy as np
import pytest

from metrics import registry, validity
from metrics.clarity_classical import ClassicalClarity

FREE = [ladder for ladder in validity.LADDERS if not registry.build(ladder.backend).weights]


@pytest.mark.parametrize("ladder", FREE, ids=lambda ladder: ladder.name)
def test_rising_damage_moves_the_metric_that_should_see_it(ladder):
    metric = registry.build(ladder.backend)
    metric.load("cpu")
    climb = validity.climb(replace(ladder, frames=27), "carphone_pristine", metric)
    assert climb.rank >= validity.MONOTONE
    assert climb.drift_rank >= validity.MONOTONE
    assert climb.start_is_unchanged


def test_a_metric_whose_start_sees_the_end_does_not_hold():
    class Forward(ClassicalClarity):
        """Says of every frame what the last one looks like."""

        def begin(self, video, context):
            measurement = super().begin(video, context)
            readings = measurement.finish
            measurement.finish = lambda: [
                replace(
                    one,
                    curve=replace(one.curve, values=np.full(len(one.curve), one.curve.values[-1])),
                )
                for one in readings()
            ]
            return measurement

    (blur,) = [ladder for ladder in FREE if ladder.name == "blur"]
    climb = validity.climb(replace(blur, frames=27), "carphone_pristine", Forward())
    assert not climb.start_is_unchanged and not climb.holds


def test_every_damage_of_the_page_was_climbed_and_holds():
    records = json.loads((validity.IMAGES / "validity.json").read_text(encoding="utf-8"))
    climbed = {(record["damage"], record["clip"]) for record in records}
    assert climbed == {(ladder.name, clip) for ladder in validity.LADDERS for clip in ladder.clips}
    assert all(climb.holds for climb in validity.merged([]))


def test_a_ladder_that_does_not_move_has_no_rank():
    assert validity.spearman((0, 1, 2), (0.5, 0.5, 0.5)) == 0.0
    assert validity.spearman((0, 1, 2), (0.1, 0.2, 0.9)) == 1.0
