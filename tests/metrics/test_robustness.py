"""Broken and unusual files: a row with a status and a reason, never a crash."""

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metrics import stream
from metrics.flow_dis import DisFlow
from metrics.score import Job, Scorer, score_many

LIGHT = ["classical", "dis", "lab-moments", "frame-difference"]
METRICS = {"clarity", "dynamic", "dynamic_magnitude", "colour", "contrast", "cast", "change"}


@pytest.fixture(scope="module")
def scorer():
    return Scorer(LIGHT, device="cpu")


def whole(scores):
    """status and reason of every metric of the whole video."""
    return {row.metric: (row.status, row.reason) for row in scores.rows if row.segment == "all"}


def test_a_broken_file_gives_a_failed_row_for_every_metric(tmp_path, scorer):
    for name, content in (("zero.mp4", b""), ("text.mp4", b"hello\n" * 99), ("none.mp4", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        found = whole(scorer.score(Job(path, tmp_path)))
        assert set(found) == METRICS
        assert all(status == "failed" and reason for status, reason in found.values())


def test_one_frame_has_no_motion_and_the_rest_is_scored(tmp_path, scorer, write_clip, moving):
    found = whole(scorer.score(Job(write_clip(tmp_path / "1.mp4", moving(1)), tmp_path)))
    assert {metric for metric, (status, _) in found.items() if status == "ok"} == {
        "clarity",
        "colour",
        "contrast",
        "cast",
    }
    assert found["change"] == ("undefined", "needs 2 frames, the video has 1")


def test_two_frames_change_but_are_too_close_for_sampled_flow(tmp_path, scorer, write_clip, moving):
    found = whole(scorer.score(Job(write_clip(tmp_path / "2.mp4", moving(2)), tmp_path)))
    assert found["change"][0] == "ok"
    assert found["dynamic"] == ("undefined", "needs 5 frames, the video has 2")


@pytest.mark.parametrize("size", [(35, 51), (2, 2), (17, 400)])
def test_odd_and_tiny_sizes_never_fail(tmp_path, scorer, write_clip, moving, size):
    path = write_clip(tmp_path / "o.mkv", moving(9, *size), codec="ffv1", pixels="bgr0")
    found = whole(scorer.score(Job(path, tmp_path)))
    assert all(status != "failed" for status, _ in found.values()), found


def test_an_8k_frame_is_scored_or_refused_with_a_reason(tmp_path, write_clip):
    frames = np.zeros((2, 4320, 7680, 3), dtype=np.uint8)
    frames[:, ::7] = 200
    path = write_clip(tmp_path / "8k.mp4", frames, options={"crf": "30", "preset": "ultrafast"})
    scorer = Scorer(["lab-moments", "frame-difference"], device="cpu")
    found = whole(scorer.score(Job(path, tmp_path)))
    assert all(status == "ok" for status, _ in found.values())


def test_networks_refuse_frames_above_their_size(tmp_path, write_clip, moving, monkeypatch):
    monkeypatch.setattr(DisFlow, "max_pixels", 1000)
    scorer = Scorer(["dis", "frame-difference"], device="cpu")
    path = write_clip(tmp_path / "v.mp4", moving(9))
    found = whole(scorer.score(Job(path, tmp_path)))
    assert found["dynamic"][0] == "undefined" and "megapixels" in found["dynamic"][1]
    assert found["change"][0] == "ok"


def test_frames_too_large_are_looked_at_once_and_again_when_the_limit_moves(
    tmp_path, write_clip, moving, monkeypatch
):
    jobs = [Job(write_clip(tmp_path / "v.mp4", moving(9)), tmp_path / "out")]
    monkeypatch.setattr(DisFlow, "max_pixels", 1000)
    assert score_many(jobs, ["dis"], device="cpu").scored == 1
    assert score_many(jobs, ["dis"], device="cpu").kept == 1
    monkeypatch.setattr(DisFlow, "max_pixels", 10**6)
    assert score_many(jobs, ["dis"], device="cpu").scored == 1


def test_a_truncated_video_is_scored_with_a_note(tmp_path, scorer, write_clip, moving):
    path = write_clip(
        tmp_path / "t.mp4",
        moving(60),
        options={"crf": "4", "preset": "ultrafast", "g": "5"},
        container_options={"movflags": "faststart"},
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    row = scorer.score(Job(path, tmp_path)).row("contrast")
    assert row.status == "ok"
    assert 5 < row.frames < 60
    assert row.reason.startswith("truncated: the file promises 60 frames")


def test_a_flat_video_has_no_clarity(tmp_path, scorer, write_clip):
    path = write_clip(tmp_path / "f.mp4", np.full((9, 64, 64, 3), 90, dtype=np.uint8))
    found = whole(scorer.score(Job(path, tmp_path)))
    assert found["clarity"] == ("undefined", "the metric is defined for no frame")
    assert found["contrast"][0] == "ok"


def test_fuzzed_containers_never_crash(tmp_path, media, scorer):
    original = (media / "carphone_pristine.mp4").read_bytes()
    dice = random.Random(4)
    fast = Scorer(["frame-difference"], device="cpu")
    for number in range(12):
        data = bytearray(original)
        # The index is at the end or the start: damage it as often as the pictures.
        spans = [(0, 2000), (len(data) - 9000, len(data)), (0, len(data))]
        low, high = spans[number % 3]
        for _ in range(dice.choice([3, 30, 300])):
            data[dice.randrange(max(0, low), high)] = dice.randrange(256)
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(data)
        (row,) = [each for each in fast.score(Job(path, tmp_path)).rows if each.segment == "all"]
        assert row.status == "ok" or row.reason


def test_damaged_headers_give_rows_never_an_exception(tmp_path, write_clip, moving):
    fast, dice = Scorer(["frame-difference"], device="cpu"), random.Random(1)
    for name, mark in (("v.mp4", b"avcC"), ("v.mkv", b"Lavf"), ("v.avi", b"strf")):
        original = write_clip(tmp_path / name, moving(3))
        data = original.read_bytes()
        place = data.index(mark)
        for number in range(40):
            damaged = bytearray(data)
            for _ in range(1 + number % 3):
                damaged[place + dice.randrange(4, 200)] = dice.randrange(256)
            path = tmp_path / f"{number}-{name}"
            path.write_bytes(damaged)
            found = whole(fast.score(Job(path, tmp_path)))
            status, reason = found["change"]
            assert status == "ok" or reason


@pytest.mark.parametrize("error", [MemoryError(), TypeError("boom\nsecond line"), KeyError("k")])
def test_a_video_that_breaks_its_reader_fails_alone(
    tmp_path, write_clip, moving, monkeypatch, error
):
    good, bad = (write_clip(tmp_path / f"{name}.mp4", moving(9)) for name in ("good", "bad"))
    opened = stream._open

    def breaks(path):
        if path == bad:
            raise error
        return opened(path)

    monkeypatch.setattr(stream, "_open", breaks)
    jobs = [Job(path, tmp_path / "out" / path.stem, name=path.stem) for path in (bad, good)]
    tally = score_many(jobs, ["frame-difference"], device="cpu")
    assert tally.scored == 1
    assert list(tally.failed) == ["bad"]
    assert tally.failed["bad"].startswith(f"{type(error).__name__} on reading")
    assert "\n" not in tally.failed["bad"]


def test_a_run_says_which_videos_failed_and_scores_the_others(tmp_path, write_clip, moving):
    good = write_clip(tmp_path / "good.mp4", moving(9))
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"")
    jobs = [Job(path, tmp_path / "out" / path.name, name=path.name) for path in (bad, good)]
    tally = score_many(jobs, ["lab-moments"], device="cpu")
    assert tally.scored == 1 and not tally.ok
    assert tally.failed == {"bad.mp4": "the file is empty"}
    assert (tmp_path / "out" / "good.mp4" / "scores.parquet").exists()


def _no_image(path, monkeypatch):
    path.write_bytes(b"no image")


def _cut(path, monkeypatch):
    def ends_early(*_):
        return struct.unpack("<H", b"")

    _bomb(path, monkeypatch)
    monkeypatch.setattr(Image, "open", ends_early)


def _bomb(path, monkeypatch):
    Image.new("RGB", (64, 64)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)


def _forbidden(path, monkeypatch):
    Image.new("RGB", (64, 64)).save(path)
    opened = Path.open

    def refuse(self, *arguments, **options):
        if self == path:
            raise PermissionError(13, "Permission denied")
        return opened(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Image, "open", refuse.__get__(path))


@pytest.mark.parametrize("make", [_no_image, _bomb, _cut, _forbidden])
def test_a_bad_reference_image_fails_the_metrics_that_look_at_it(
    tmp_path, scorer, write_clip, moving, monkeypatch, make
):
    path = write_clip(tmp_path / "v.mp4", moving(9))
    make(tmp_path / "image.png", monkeypatch)
    found = whole(scorer.score(Job(path, tmp_path, reference=tmp_path / "image.png")))
    failed = {metric for metric, (status, _) in found.items() if status == "failed"}
    assert failed == {"colour", "contrast", "cast"}
    assert all("the reference image cannot be read" in found[metric][1] for metric in failed)
    assert {found[metric][0] for metric in METRICS - failed} == {"ok"}
