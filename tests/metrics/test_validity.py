"""Metrics see their damages, on short ladders; `make validity` climbs long ones on all clips."""

import json
import subprocess
import sys
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


@pytest.mark.parametrize(
    ("name", "clip", "levels", "frames"),
    [
        ("frame shuffling", "carphone_pristine", (0, 4, 16), 54),
        ("face swap", "carphone_pristine", (0, 0.5, 1), 27),
        ("missing hand", validity.STREET, (0, 0.2, 0.4), 16),
    ],
)
def test_rising_damage_moves_the_networks_that_should_see_it(carried, name, clip, levels, frames):
    (ladder,) = [ladder for ladder in validity.LADDERS if ladder.name == name]
    metric = registry.build(ladder.backend)
    carried(*metric.weights, "yunet", *[validity.PHOTOGRAPH] * (clip == validity.STREET))
    metric.load("cpu")
    climb = validity.climb(replace(ladder, levels=levels, frames=frames), clip, metric)
    assert climb.holds, climb


class Changed(ClassicalClarity):
    """Clarity whose curve is changed before it is read."""

    def __init__(self, change):
        self.change = change

    def begin(self, video, context):
        measurement = super().begin(video, context)
        readings = measurement.finish
        measurement.finish = lambda: [
            replace(one, curve=replace(one.curve, values=self.change(one.curve.values)))
            for one in readings()
        ]
        return measurement


def blurred(change):
    (blur,) = [ladder for ladder in FREE if ladder.name == "blur"]
    short = replace(blur, levels=(0, 1, 3), frames=27)
    return validity.climb(short, "carphone_pristine", Changed(change))


def test_damage_that_makes_a_metric_undefined_is_not_its_worst_value():
    climb = blurred(lambda values: np.where(values < 0.25, np.nan, values))
    assert climb.coverage == (1.0, 1.0, 0.0)
    assert np.isnan(climb.rank) and np.isnan(climb.drift_rank)
    assert not climb.holds


def test_a_start_that_is_never_defined_is_not_unchanged():
    climb = blurred(lambda values: np.where(np.arange(len(values)) < 9, np.nan, values))
    assert climb.rank == 1.0
    assert not climb.start_is_unchanged and not climb.holds


def test_a_metric_whose_start_sees_the_end_does_not_hold():
    climb = blurred(lambda values: np.full(len(values), values[-1]))
    assert not climb.start_is_unchanged and not climb.holds


def test_every_damage_of_the_page_was_climbed_and_holds():
    records = json.loads((validity.IMAGES / "validity.json").read_text(encoding="utf-8"))
    climbed = {(record["damage"], record["clip"]) for record in records}
    assert climbed == {(ladder.name, clip) for ladder in validity.LADDERS for clip in ladder.clips}
    assert all(climb.holds for climb in validity.merged([]))


def test_a_ladder_that_does_not_move_has_no_rank():
    assert validity.spearman((0, 1, 2), (0.5, 0.5, 0.5)) == 0.0
    assert validity.spearman((0, 1, 2), (0.1, 0.2, 0.9)) == 1.0
    assert np.isnan(validity.spearman((0, 1, 2), (0.1, 0.2, np.nan)))


@pytest.mark.parametrize(
    ("clip", "why"),
    [("none.mp4", "the file does not exist"), ("none.png", "No such file or directory")],
)
def test_a_clip_that_is_not_there_is_one_line(clip, why, capsys):
    assert validity.main(["blur", "--clips", clip]) == 2
    assert capsys.readouterr().err == f"error: --clips {clip}: {why}\n"


@pytest.fixture
def nothing_fetched(tmp_path, monkeypatch):
    """An empty cache that nothing may be fetched into, and a page and plots of its own."""
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("FRAMEPACK_BENCH_OFFLINE", "1")
    monkeypatch.delenv("FRAMEPACK_BENCH_WEIGHTS", raising=False)
    short = replace(FREE[0], levels=(0, 1, 3), clips=("carphone_pristine",), frames=27)
    others = [ladder for ladder in validity.LADDERS if ladder not in FREE]
    monkeypatch.setattr(validity, "LADDERS", (short, *others))
    written = []
    monkeypatch.setattr(validity, "write", written.append)
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder, written


def test_metrics_without_weights_are_a_line_each_and_the_others_are_climbed(
    nothing_fetched, capsys
):
    _, written = nothing_fetched
    assert validity.main([]) == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "motion (rife)",
        "identity (mobilefacenet)",
        "anatomy (blaze-landmarks)",
    ]
    assert lines[0].endswith("; get it with: python -m metrics.weights rife")
    assert lines[1].endswith(" needs with: python -m metrics.weights yunet mobilefacenet")
    assert lines[2].endswith(" street-photograph")
    assert said.out.startswith("holds  blur")
    (found,) = written
    assert [one.ladder.name for one in found] == ["blur"]


def test_a_wrong_weight_file_is_one_line(nothing_fetched, capsys):
    folder, written = nothing_fetched
    (folder / "rife_hdv3_flownet.pkl").write_bytes(b"something else")
    assert validity.main(["shuffling"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("motion (rife): ") and "is not rife: SHA-256 is" in line
    assert line.endswith("run: python -m metrics.weights rife")
    assert not written


def test_the_command_that_gets_the_photograph_knows_it():
    code = f"from metrics import weights; print(weights.lookup({validity.PHOTOGRAPH!r}).file)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "street_photograph.jpg\n"


def test_a_ladder_that_there_is_not_is_one_line(capsys):
    assert validity.main(["blurr"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("error: no ladder is named 'blurr' (there are: blur, motion blur,")
