"""Scoring: rows, both readings, nothing twice, and no dependence on chunk, order or neighbours."""

import os
import time

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock, Timeout

from metrics import one_pass, registry, store, weights
from metrics.base import Curve, Measurement, Metric, PerFrame, Reading
from metrics.errors import UserError
from metrics.forward import FrameForwards
from metrics.score import Job, Scorer, Scores, parse_shard, score_many, score_video
from metrics.store import ScoreRow
from metrics.stream import Video
from metrics.weights import Url, Weight

LIGHT = ["classical", "dis", "lab-moments", "frame-difference"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory, write_clip, moving):
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mp4", moving(40, 64, 96))


def table(scores):
    return scores.scores.set_index(["metric", "segment", "reading"])


def test_every_metric_has_every_segment_in_both_readings(clip):
    rows = table(score_video(clip, LIGHT, section_starts=[0, 20], device="cpu"))
    for metric in ("clarity", "dynamic", "dynamic_magnitude", "colour", "contrast", "change"):
        for segment in ("start", "end", "drift", "drift_signed"):
            assert (metric, segment, "exact") in rows.index
            assert (metric, segment, "curve") in rows.index
        for segment in ("slope", "joint", "onset"):
            assert (metric, segment, "curve") in rows.index
        assert rows.loc[(metric, "all", "exact"), "status"] == "ok"
    assert set(rows["frames"]) == {40}


def test_drift_is_the_distance_of_start_and_end(clip):
    scores = score_video(clip, LIGHT, device="cpu")
    for metric in ("clarity", "contrast", "dynamic_magnitude"):
        start, end = scores.value(metric, "start"), scores.value(metric, "end")
        assert scores.value(metric, "drift") == abs(start - end)
        assert scores.value(metric, "drift_signed") == end - start


def test_dynamic_of_a_second_at_30_frames_has_a_drift(tmp_path, write_clip, moving):
    scores = score_video(write_clip(tmp_path / "a.mp4", moving(24)), ["dis"], device="cpu")
    for metric in ("dynamic", "dynamic_magnitude"):
        assert scores.value(metric, "drift", "exact") is not None
    short = score_video(write_clip(tmp_path / "b.mp4", moving(4)), ["dis"], device="cpu")
    assert short.row("dynamic").reason == "needs 5 frames, the video has 4"


def test_the_exact_reading_equals_scoring_the_cut_out_end(tmp_path, media, write_clip):
    with Video(media / "carphone_pristine.mp4") as video:
        frames = np.concatenate([chunk.frames for chunk in video.chunks(16)])[:97]
    lossless = {"codec": "ffv1", "pixels": "bgr0"}
    whole = write_clip(tmp_path / "whole.mkv", frames, **lossless)
    end = write_clip(tmp_path / "end.mkv", frames[-14:], **lossless)
    metrics = ["classical", "dis", "frame-difference"]
    scores, cut = (score_video(path, metrics, device="cpu") for path in (whole, end))
    for metric in ("clarity", "dynamic", "dynamic_magnitude", "change"):
        assert scores.value(metric, "end", "exact") == cut.value(metric)
    # 97 − 14 is no multiple of the flow's stride of 4: there the two readings differ.
    exact, curve = (scores.value("dynamic_magnitude", "end", how) for how in ("exact", "curve"))
    assert exact != curve


@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_scores_do_not_depend_on_the_chunk(clip, chunk):
    first = score_video(clip, LIGHT, device="cpu")
    other = score_video(clip, LIGHT, device="cpu", chunk=chunk)
    pd.testing.assert_frame_equal(first.scores, other.scores, check_exact=True)
    pd.testing.assert_frame_equal(first.curves, other.curves, check_exact=True)


def test_scores_do_not_depend_on_order_threads_or_other_videos(clip, media):
    first = table(score_video(clip, LIGHT, device="cpu"))
    scorer = Scorer(LIGHT[::-1], device="cpu", threads=1)
    scorer.score(Job(media / "carphone_pristine.mp4", media))
    again = table(scorer.score(Job(clip, clip.parent)))
    pd.testing.assert_frame_equal(first.sort_index(), again.sort_index(), check_exact=True)


class Sum(Metric):
    """A network whose last bits depend on how many cores share it."""

    backend = "sum-for-tests"
    metrics = ("contrast",)

    def begin(self, video, context):
        waves = torch.arange(1 << 20, dtype=torch.float32)

        def network(frames):
            shares.add(torch.get_num_threads())
            return np.array([torch.sin(waves * float(one.mean())).sum() for one in frames])

        shares = self.shares = set()
        network(np.zeros((1, 4, 4, 3)))  # as an input image goes before the first frame
        return FrameForwards("contrast", lambda frame: frame, network, 2)


@pytest.fixture
def four_threads():
    """torch and OpenCV are set up as on a machine with four cores."""
    before, before_cv2 = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(4)
    cv2.setNumThreads(4)
    yield
    torch.set_num_threads(before)
    cv2.setNumThreads(before_cv2)


def test_scores_do_not_depend_on_the_cores_nor_on_how_many_metrics_are_stale(
    clip, monkeypatch, four_threads
):
    metric, curves = Sum(), []
    monkeypatch.setitem(registry.BACKENDS, "sum-for-tests", (("contrast",), lambda: metric))
    for cores in (1, 2, 4, 16):
        for backends in (["sum-for-tests"], ["sum-for-tests", "frame-difference"]):
            monkeypatch.setattr(one_pass, "usable_cores", lambda cores=cores: cores)
            curve = score_video(clip, backends, device="cpu").curves
            curves.append(curve[curve["metric"] == "contrast"]["value"].to_numpy())
            assert metric.shares == {1}
    assert all(np.array_equal(curve, curves[0]) for curve in curves)


def test_all_metrics_share_one_decode(clip):
    before = Video.decodes
    score_video(clip, LIGHT, device="cpu")
    assert Video.decodes == before + 1


def test_a_second_run_measures_nothing(tmp_path, clip):
    jobs = [Job(clip, tmp_path / "a")]
    assert score_many(jobs, LIGHT, device="cpu").scored == 1
    written = store.read_scores(tmp_path / "a")
    before = Video.decodes
    tally = score_many(jobs, LIGHT, device="cpu")
    assert (tally.scored, tally.kept, Video.decodes) == (0, 1, before)
    pd.testing.assert_frame_equal(written, store.read_scores(tmp_path / "a"))


def test_only_what_changed_is_measured_again(tmp_path, clip):
    folder = tmp_path / "a"
    score_many([Job(clip, folder)], ["lab-moments", "dis"], device="cpu")
    before = store.read_scores(folder).set_index("metric")
    changed = {
        "name": "mine",
        "backends": ["lab-moments", "dis"],
        "options": {"dis": {"preset": "fast"}},
    }
    seen = []
    score_many(
        [Job(clip, folder)], changed, device="cpu", on_job=lambda *each: seen.append(each[1])
    )
    assert {row.metric for row in seen[0].rows} == {"dynamic", "dynamic_magnitude"}
    after = store.read_scores(folder).set_index("metric")
    assert before.loc["colour"].equals(after.loc["colour"])
    assert after.loc["dynamic", "fingerprint"].nunique() == 1
    assert set(before.loc["dynamic", "fingerprint"]) != set(after.loc["dynamic", "fingerprint"])
    curves = store.read_curves(folder)
    assert set(curves["fingerprint"]) == set(after["fingerprint"])


def test_forcing_a_set_measures_it_again_and_keeps_other_backends(tmp_path, clip):
    jobs = [Job(clip, tmp_path / "a")]
    score_many(jobs, ["lab-moments"], device="cpu")
    score_many(jobs, ["frame-difference"], device="cpu")
    before = Video.decodes
    assert score_many(jobs, ["frame-difference"], device="cpu", force=True).scored == 1
    assert Video.decodes == before + 1
    both = {"lab-moments", "frame-difference"}
    assert set(store.read_scores(tmp_path / "a")["backend"]) == both
    assert set(store.read_curves(tmp_path / "a")["backend"]) == both


def test_a_changed_video_or_fraction_is_measured_again(tmp_path, clip, write_clip, moving):
    video = tmp_path / "v.mp4"
    video.write_bytes(clip.read_bytes())
    jobs = [Job(video, tmp_path / "out")]
    score_many(jobs, ["lab-moments"], device="cpu")
    assert score_many(jobs, ["lab-moments"], device="cpu", fraction=0.3).scored == 1
    write_clip(video, moving(30, seed=1))
    assert score_many(jobs, ["lab-moments"], device="cpu", fraction=0.3).scored == 1
    assert set(store.read_scores(tmp_path / "out")["frames"]) == {30}


def test_shards_are_disjoint_and_cover_all(tmp_path, clip):
    jobs = [Job(clip, tmp_path / str(index)) for index in range(5)]
    for part in (1, 2):
        score_many(jobs, ["lab-moments"], shard=f"{part}/2", device="cpu")
        count = sum((tmp_path / str(index) / "scores.parquet").exists() for index in range(5))
        assert count == (3 if part == 1 else 5)


@pytest.mark.parametrize(
    ("backend", "told"),
    [
        ("dis", "metrics.options.dis.prest: no such option; there are preset"),
        ("lab-moments", "metrics.options.lab-moments.prest: no such option; lab-moments has none"),
    ],
)
def test_an_option_that_a_back_end_does_not_have_is_named(backend, told):
    chosen = {"name": "own", "backends": [backend], "options": {backend: {"prest": "fast"}}}
    with pytest.raises(UserError) as error:
        Scorer(chosen)
    assert str(error.value) == told


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "cuda:x"])
def test_a_device_that_is_not_there_is_told_before_any_video_fails_by_it(device):
    with pytest.raises(UserError, match=f"device.*{device}"):
        Scorer(["lab-moments"], device=device)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "2", "a/b", "1/0"])
def test_a_wrong_shard_is_told(shard):
    with pytest.raises(UserError, match="shard"):
        parse_shard(shard)


class Broken(Metric):
    backend = "broken-for-tests"
    metrics = ("contrast",)

    def __init__(self, at="update"):
        self.error, self.at = RuntimeError("boom\nsecond line"), at

    def begin(self, video, context):
        class Measuring(Measurement):
            def update(measuring, chunk):
                if self.at == "update" and chunk.first >= 4:
                    raise self.error

            def finish(measuring):
                if self.at == "finish":
                    raise self.error
                return [Reading("contrast", Curve(np.arange(0), np.zeros(0)))]

        return Measuring()


@pytest.mark.parametrize("at", ["update", "finish"])
def test_a_metric_that_fails_leaves_the_others_scored(clip, at):
    registry.BACKENDS["broken-for-tests"] = (("contrast",), lambda: Broken(at=at))
    try:
        scores = score_video(clip, ["broken-for-tests", "frame-difference"], device="cpu", chunk=4)
    finally:
        del registry.BACKENDS["broken-for-tests"]
    assert scores.row("contrast").status == "failed"
    assert scores.row("contrast").reason == "RuntimeError: boom"
    assert scores.row("change").status == "ok"


def test_what_a_metric_needs_and_the_video_lacks_is_unavailable(clip):
    class Needy(Metric):
        backend = "needy-for-tests"
        metrics = ("semantic",)
        needs = ("prompt",)

        def begin(self, video, context):
            return PerFrame("semantic", lambda frame: 0.5)

    registry.BACKENDS["needy-for-tests"] = (("semantic",), Needy)
    try:
        without = score_video(clip, ["needy-for-tests"], device="cpu")
        given = score_video(clip, ["needy-for-tests"], prompt="a square", device="cpu")
    finally:
        del registry.BACKENDS["needy-for-tests"]
    assert without.row("semantic").status == "unavailable"
    assert "prompt" in without.row("semantic").reason
    assert given.value("semantic") == 0.5


def test_unknown_sets_backends_and_options_are_told_in_one_line():
    for metrics, says in (
        ("leit", "known: .*lite"),
        (["dsi"], "did you mean 'dis'"),
        ({"name": "x", "backends": ["dis"], "options": {"dis": {"speed": 1}}}, "dis.*speed"),
        ({"name": "x", "backends": ["dis"], "options": {"rife": {}}}, "rife"),
        ({"name": "x", "backends": ["dis"], "colour": 1}, "no key 'colour'"),
        ({"name": "x", "backends": ["dis"], "fraction": 0.8}, "fraction"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            Scorer(metrics, device="cpu")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{"fraction": 0.7}, {"fraction": 0.0}, {"chunk": 0}])
def test_what_is_given_is_checked_as_a_sets_own_values_are(given):
    with pytest.raises(UserError, match=f"{next(iter(given))} is"):
        Scorer(["dis"], device="cpu", **given)


def test_fingerprints_change_with_parameters_and_protocol_only():
    first, same = registry.build("dis"), registry.build("dis")
    assert first.fingerprint() == same.fingerprint() and len(first.fingerprint()) == 16
    assert registry.build("dis", preset="fast").fingerprint() != first.fingerprint()
    same.protocol = 99
    assert same.fingerprint() != first.fingerprint()


def test_an_unreadable_store_only_costs_its_scores(tmp_path, clip):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / store.SCORES_FILE).write_bytes(b"PAR1 half a file")
    assert score_many([Job(clip, folder)], ["lab-moments"], device="cpu").scored == 1
    assert len(store.read_scores(folder)) > 0


def test_what_a_killed_process_was_writing_is_swept(tmp_path):
    left, recent, other = (
        tmp_path / name for name in (".scores.csv.a.tmp", ".scores.csv.b.tmp", ".other.csv.a.tmp")
    )
    for path in (left, recent, other):
        path.touch()
    for path in (left, other):
        os.utime(path, (time.time() - 100,) * 2)
    store.replace_file(tmp_path / "scores.csv", b"new")
    assert (tmp_path / "scores.csv").read_bytes() == b"new"
    assert not left.exists() and recent.exists() and other.exists()


def test_wrong_weights_stop_the_run(clip, tmp_path, monkeypatch):
    (tmp_path / "rife_hdv3_flownet.pkl").write_bytes(bytes(1000))
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match=r"only zeros.*expected b234ad8d"):
        score_video(clip, ["rife", "frame-difference"], device="cpu", offline=True)


def test_missing_weights_offline_are_unavailable_and_the_rest_is_scored(
    clip, tmp_path, monkeypatch
):
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path))
    scores = score_video(clip, ["rife", "frame-difference"], device="cpu", offline=True)
    assert scores.row("motion").status == "unavailable"
    assert "python -m metrics.weights rife" in scores.row("motion").reason
    assert scores.row("change").status == "ok"


def test_what_is_still_missing_is_not_tried_again(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path / "cache"))
    jobs = [Job(clip, tmp_path / "out")]
    metrics = ["rife", "frame-difference"]
    assert score_many(jobs, metrics, device="cpu", offline=True).scored == 1
    before = Video.decodes
    tally = score_many(jobs, metrics, device="cpu", offline=True)
    assert (tally.kept, Video.decodes) == (1, before)
    assert "rife" in tally.absent["motion"]


class Weighed(Metric):
    """A metric whose file has no published digest."""

    backend = "weighed-for-tests"
    metrics = ("contrast",)
    weights = ("weight-for-tests",)

    def begin(self, video, context):
        return PerFrame("contrast", lambda frame: float(frame.mean()))


@pytest.fixture
def weighed(tmp_path, monkeypatch):
    """Registers `Weighed`; gives its file, which is not there yet, in this machine's folder."""
    monkeypatch.setenv("FRAMEPACK_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FRAMEPACK_BENCH_WEIGHTS", str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    made = Weight("weight-for-tests", "w.bin", Url("http://127.0.0.1:9/w.bin"), "MIT")
    monkeypatch.setitem(weights.REGISTRY, made.name, made)
    monkeypatch.setitem(registry.BACKENDS, Weighed.backend, (Weighed.metrics, Weighed))
    return tmp_path / "weights" / "w.bin"


@pytest.mark.parametrize("force", [False, True])
def test_scores_stay_where_the_weights_that_made_them_are_missing(tmp_path, clip, weighed, force):
    jobs = [Job(clip, tmp_path / "out")]
    metrics = [Weighed.backend, "frame-difference"]
    weighed.write_bytes(b"weights")
    score_many(jobs, metrics, device="cpu", offline=True)
    scores, curves = store.read_scores(jobs[0].folder), store.read_curves(jobs[0].folder)
    weighed.unlink()
    tally = score_many(jobs, metrics, device="cpu", offline=True, force=force)
    assert (tally.scored, tally.kept, tally.ok) == (int(force), int(not force), True)
    assert "w.bin is missing" in tally.absent["contrast"]
    assert tally.absent["contrast"].endswith("scores from before are kept")
    for before, after in (
        (scores, store.read_scores(jobs[0].folder)),
        (curves, store.read_curves(jobs[0].folder)),
    ):
        mine = before[before["backend"] == Weighed.backend].reset_index(drop=True)
        still = after[after["backend"] == Weighed.backend].reset_index(drop=True)
        assert len(mine) > 3
        pd.testing.assert_frame_equal(mine, still, check_exact=True)
    weighed.write_bytes(b"weights")
    assert score_many(jobs, metrics, device="cpu", offline=True).kept == 1


def test_scores_for_another_prompt_do_not_stay_where_weights_are_missing(tmp_path, clip, weighed):
    weighed.write_bytes(b"weights")
    out = tmp_path / "out"
    score_many([Job(clip, out, "a walk")], [Weighed.backend], device="cpu", offline=True)
    weighed.unlink()
    score_many([Job(clip, out, "a run")], [Weighed.backend], device="cpu", offline=True)
    assert list(store.read_scores(out)["status"]) == ["unavailable"]


def test_weights_that_are_fetched_again_cost_no_measurement(tmp_path, clip, weighed, monkeypatch):
    def fetch(weight):
        weighed.write_bytes(b"weights")
        return weighed

    monkeypatch.setattr(weights, "fetch", fetch)
    jobs = [Job(clip, tmp_path / "out")]
    assert score_many(jobs, [Weighed.backend], device="cpu").scored == 1
    weighed.unlink()
    before = Video.decodes
    assert score_many(jobs, [Weighed.backend], device="cpu").kept == 1
    assert Video.decodes == before


def test_two_sets_scored_at_once_in_one_folder_both_keep_their_scores(tmp_path, clip, monkeypatch):
    jobs, measure = [Job(clip, tmp_path / "out")], Scorer.score

    def meanwhile(self, job, metrics=None):
        monkeypatch.setattr(Scorer, "score", measure)
        score_many(jobs, ["lab-moments"], device="cpu")
        return measure(self, job, metrics)

    monkeypatch.setattr(Scorer, "score", meanwhile)
    score_many(jobs, ["frame-difference"], device="cpu")
    both = {"lab-moments", "frame-difference"}
    assert set(store.read_scores(tmp_path / "out")["backend"]) == both
    assert set(store.read_curves(tmp_path / "out")["backend"]) == both


@pytest.mark.parametrize("claimed", [False, True])
def test_a_folder_is_locked_while_its_scores_are_written_unless_it_is_claimed(
    tmp_path, clip, monkeypatch, claimed
):
    write, lock = store.write_scores, tmp_path / "out" / ".scores.lock"

    def locked(folder, scores, curves):
        if not claimed:
            with pytest.raises(Timeout):
                FileLock(lock).acquire(timeout=0)
        write(folder, scores, curves)

    monkeypatch.setattr(store, "write_scores", locked)
    score_many([Job(clip, tmp_path / "out", claimed=claimed)], ["lab-moments"], device="cpu")
    assert len(store.read_scores(tmp_path / "out"))
    assert lock.exists() != claimed


def test_scores_whose_curves_are_another_sets_are_measured_again(tmp_path, clip):
    jobs = [Job(clip, tmp_path / name) for name in ("a", "b")]
    score_many(jobs[:1], ["lab-moments"], device="cpu")
    score_many(jobs[1:], ["frame-difference"], device="cpu")
    (tmp_path / "b" / store.CURVES_FILE).replace(tmp_path / "a" / store.CURVES_FILE)
    assert score_many(jobs[:1], ["lab-moments"], device="cpu").scored == 1
    assert set(store.read_curves(tmp_path / "a")["backend"]) == {"lab-moments"}
    assert score_many(jobs[:1], ["lab-moments"], device="cpu").kept == 1


def test_the_same_run_again_counts_the_same(tmp_path, clip, monkeypatch):
    monkeypatch.setitem(registry.BACKENDS, "broken-for-tests", (("contrast",), Broken))
    jobs = [Job(clip, tmp_path / "out")]
    assert not score_many(jobs, ["broken-for-tests"], device="cpu").ok
    mine = {
        "name": "mine",
        "backends": ["frame-difference"],
        "unavailable": {"semantic": "no back-end"},
    }
    first = score_many(jobs, mine, device="cpu")
    second = score_many(jobs, mine, device="cpu")
    assert (first.scored, second.kept) == (1, 1)
    assert first.ok and second.ok
    assert first.absent == second.absent == {"semantic": "no back-end"}
    assert not score_many(jobs, ["broken-for-tests", "frame-difference"], device="cpu").ok


def test_scores_print_a_line_per_metric(tmp_path, write_clip, moving):
    clip = write_clip(tmp_path / "walk.mp4", moving(9))
    scores = score_video(clip, ["lab-moments", "viclip"], device="cpu", offline=True)
    first, *lines = str(scores).splitlines()
    assert first == f"{clip}: 9 frames"
    metrics = ["colour", "contrast", "cast", "semantic"]
    assert [line.split()[0] for line in lines] == metrics
    value, drift = scores.value("contrast"), scores.value("contrast", "drift")
    assert lines[1] == f"contrast  {value:.3f}  Δ {drift:.3f}"
    assert lines[3].startswith("semantic  unavailable: ")
    assert max(map(len, lines)) <= 80


def test_wrong_names_of_scores_are_told_and_not_taken_for_unmeasured_ones(tmp_path):
    row = ScoreRow(
        metric="colour", backend="lab-moments", fingerprint="f", segment="all", status="undefined"
    )
    scores = Scores((row,), pd.DataFrame())
    assert scores.value("colour") is None
    assert scores.value("colour", "drift") is None
    with pytest.raises(UserError, match=r"metric 'color' is not .*there are: colour"):
        scores.value("color")
    with pytest.raises(UserError, match=r"segment 'drif' is not .*start, end, drift, "):
        scores.value("colour", "drif")
    with pytest.raises(UserError, match=r"reading 'exactly' is not .*exact, curve\)"):
        scores.value("colour", "all", "exactly")


def test_a_video_or_image_that_is_not_there_is_told(clip):
    with pytest.raises(UserError, match=r"path=nope\.mp4: there is no such file"):
        score_video("nope.mp4", ["lab-moments"], device="cpu")
    with pytest.raises(UserError, match=r"reference=nope\.png: there is no such file"):
        score_video(clip, ["lab-moments"], reference="nope.png", device="cpu")
