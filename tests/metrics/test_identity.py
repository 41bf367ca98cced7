"""Identity: people are followed, and compared with their reference."""

import threading
from pathlib import Path

import numpy as np
import pytest

from metrics import weights
from metrics.base import Chunk, ScoringContext, VideoInfo
from metrics.errors import Undefined
from metrics.face_tracks import Face, Person, assign, identity_readings, overlap, reference_frame
from metrics.identity import CPU, CUDA, BuffaloL, onnx_session, unit
from metrics.one_pass import MetricRun, run
from metrics.score import Job, Scorer

LEFT, RIGHT = np.array([10.0, 10, 50, 50]), np.array([110.0, 10, 150, 50])


def vector(angle):
    """A unit vector; the cosine of two is the cosine of their angles' difference."""
    return np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))])


def face(box, angle):
    return Face(box, vector(angle))


def cosine(degrees):
    return np.cos(np.deg2rad(degrees))


def values(readings):
    return {reading.metric: reading.curve.values for reading in readings}


def test_overlap_of_boxes():
    assert overlap(LEFT, LEFT) == 1
    assert overlap(LEFT, RIGHT) == 0
    assert overlap(LEFT, LEFT + np.array([20, 0, 20, 0])) == pytest.approx(1 / 3)
    assert overlap(np.zeros(4), np.zeros(4)) == 0


def test_reference_is_the_first_frame_with_exactly_one_face():
    one, two = [face(LEFT, 0)], [face(LEFT, 0), face(RIGHT, 90)]
    assert reference_frame([[], two, one, one]) == 2
    assert reference_frame([[], two, two]) == 1
    with pytest.raises(Undefined, match="no face"):
        reference_frame([[], []])


def test_one_person_is_compared_whatever_they_look_like():
    frames = [[face(LEFT, 0)], [face(LEFT, 60)], [face(RIGHT, 80)], [], [face(LEFT, 0)]]
    found = values(identity_readings(frames))
    expected = [np.nan, 0.5, cosine(80), np.nan, 1]
    np.testing.assert_allclose(found["identity"], expected, atol=1e-12)
    np.testing.assert_allclose(found["identity_rate"], [np.nan, 1, 0, np.nan, 1])


def test_the_reference_image_counts_from_the_first_frame_on():
    found = values(identity_readings([[face(RIGHT, 30)], [face(RIGHT, 0)]], [face(LEFT, 0)]))
    np.testing.assert_allclose(found["identity"], [cosine(30), 1])


def test_an_image_without_a_face_leaves_the_reference_to_the_video():
    found = values(identity_readings([[face(LEFT, 0)], [face(LEFT, 0)]], []))
    np.testing.assert_allclose(found["identity"], [np.nan, 1])


def test_two_people_are_followed_and_neither_dropped():
    start = [face(LEFT, 0), face(RIGHT, 90)]
    swapped_order = [face(RIGHT, 90), face(LEFT, 20)]
    found = values(identity_readings([start, swapped_order]))
    np.testing.assert_allclose(found["identity"][1], (cosine(20) + 1) / 2)


def test_a_stranger_beside_the_person_is_not_compared():
    frames = [[face(LEFT, 0)], [face(RIGHT, 90), face(LEFT, 5)], [face(RIGHT, 90), face(LEFT, 8)]]
    found = values(identity_readings(frames))
    np.testing.assert_allclose(found["identity"][1:], [cosine(5), cosine(8)])


def test_a_face_that_slowly_becomes_anothers_stays_the_same_track_and_falls():
    frames = [[face(LEFT, 0), face(RIGHT, 180)]]
    frames += [[face(RIGHT, 180), face(LEFT, angle)] for angle in range(10, 100, 10)]
    found = values(identity_readings(frames))["identity"][1:]
    expected = [(1 + cosine(angle)) / 2 for angle in range(10, 100, 10)]
    np.testing.assert_allclose(found, expected)


def test_people_who_cross_are_told_apart_by_their_faces():
    person, other = Person(face(LEFT, 0), placed=True), Person(face(RIGHT, 90), placed=True)
    pairs = assign([person, other], [face(LEFT, 90), face(RIGHT, 0)])
    assert [(who is person, pair.box is RIGHT) for who, pair in pairs] == [
        (True, True),
        (False, False),
    ]


def test_someone_who_left_and_comes_back_elsewhere_is_known_again():
    image = [face(LEFT, 0), face(RIGHT, 90)]
    frames = [image, [face(RIGHT, 90)], [face(RIGHT, 90), face(RIGHT + 200, 5)]]
    found = values(identity_readings(frames, image))["identity"]
    np.testing.assert_allclose(found, [1, 1, (1 + cosine(5)) / 2])


def test_a_video_whose_only_face_is_the_reference_has_no_score():
    with pytest.raises(Undefined, match="to compare"):
        identity_readings([[face(LEFT, 0)], []])


def test_unit_vectors_also_of_zero():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0, 0]])


# --- the metric ---------------------------------------------------------------------------------


def test_faces_are_embedded_in_groups_and_scores_do_not_depend_on_chunks(measure):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((3 * 112 * 112, 8)).astype(np.float32)
    metric = BuffaloL()

    def detect(frame):
        count = int(frame[0, 0, 0]) % 4
        tile = np.resize(frame, (112, 112, 3))
        return [(LEFT + 60 * k, tile + np.uint8(k)) for k in range(count)]

    metric.detect = detect
    metric.embed = lambda faces: faces.reshape(len(faces), -1).astype(np.float32) @ weights
    frames = rng.integers(0, 255, (9, 24, 32, 3), np.uint8)
    frames[:, 0, 0, 0] = [0, 1, 2, 3, 1, 0, 3, 3, 1]
    for reference in (None, frames[1]):
        curves = [
            measure(metric, frames, chunk=size, reference=reference)["identity"].curve.values
            for size in (1, 4, 9)
        ]
        np.testing.assert_array_equal(curves[0], curves[1])
        np.testing.assert_array_equal(curves[0], curves[2])
        assert np.isnan(curves[0][5])


@pytest.fixture
def tiny_onnx(tmp_path: Path):
    """A detector that always finds one face, and a recogniser that averages pixels."""
    from onnx import TensorProto, helper, numpy_helper, save

    def network(name, shape, nodes, outputs, constants=()):
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(o, TensorProto.FLOAT, s) for o, s in outputs],
            [numpy_helper.from_array(value, key) for key, value in constants],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
        model.ir_version = 8
        save(model, tmp_path / f"{name}.onnx")
        return str(tmp_path / f"{name}.onnx")

    nodes, outputs, constants = [], [], []
    for part, width in (("score", 1), ("box", 4), ("landmarks", 10)):
        for stride in (8, 16, 32):
            anchors = (640 // stride) ** 2 * 2
            value = np.zeros((anchors, width), np.float32)
            if stride == 32:  # the anchor at (320, 320)
                at = 2 * (10 * 20 + 10)
                points = [-1, -1, 1, -1, 0, 0, -1, 1, 1, 1]
                value[at] = {"score": [0.9], "box": [2, 2, 2, 2], "landmarks": points}[part]
            constants.append((f"{part}{stride}_value", value))
            nodes.append(
                helper.make_node("Identity", [f"{part}{stride}_value"], [f"{part}{stride}"])
            )
            outputs.append((f"{part}{stride}", [anchors, width]))
    detector = network("detector", [1, 3, "h", "w"], nodes, outputs, constants)
    pool = helper.make_node("GlobalAveragePool", ["input"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["embedding"], axis=1)
    recogniser = network("recogniser", ["n", 3, 112, 112], [pool, flat], [("embedding", ["n", 3])])
    return detector, recogniser


@pytest.fixture
def tiny_files(tiny_onnx, monkeypatch):
    """The tiny networks stand where the published ones are looked for."""
    files = dict(zip(BuffaloL.weights, tiny_onnx, strict=True))
    monkeypatch.setattr(weights, "get", lambda name, **_: files[name])


def test_insightface_runs_both_networks_and_is_given_bgr(tiny_files, measure):
    metric = BuffaloL()
    metric.load("cpu")
    red = np.zeros((320, 320, 3), np.uint8)
    red[..., 0] = 255
    box, picture = metric.detect(red)[0]
    # 320 pixels are shown to the detector at 640
    np.testing.assert_allclose(box, (128, 128, 192, 192), atol=1e-3)
    assert picture.shape == (112, 112, 3)
    assert picture[56, 56].tolist() == [255, 0, 0]
    # the recogniser is given RGB: insightface swaps the BGR that it expects
    np.testing.assert_allclose(metric.embed(picture[None])[0], [1, -1, -1], atol=0.01)
    grey = np.full_like(red, 100)
    readings = measure(metric, np.stack([red, red, grey]))
    found = readings["identity"].curve.values
    assert found[1] == pytest.approx(1)
    assert found[2] < 1


def test_rows_say_cpu_where_onnxruntime_has_no_cuda(tiny_files, media, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    clip = media / "carphone_pristine.mp4"
    scores = Scorer(["buffalo-l"], device="cuda").score(Job(clip, media))
    assert scores.rows
    assert {row.device for row in scores.rows} == {"cpu"}


def test_on_a_gpu_machine_without_cuda_for_onnxruntime_faces_are_found_side_by_side(
    tiny_files, monkeypatch
):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    monkeypatch.setattr("metrics.one_pass.usable_cores", lambda: 2)
    metric = BuffaloL()
    metric.load("cuda:0")

    def in_twos(work):
        """Nobody passes who is alone."""
        both = threading.Barrier(2, timeout=120)
        return lambda item: (both.wait(), work(item))[1]

    metric.detect, metric.embed = in_twos(metric.detect), in_twos(metric.embed)
    video = VideoInfo(Path("clip.mp4"), 16, 30.0, 320, 320)
    one = MetricRun(metric, video, ScoringContext(device="cuda:0"), 0.15)
    frames = np.random.default_rng(0).integers(0, 255, (16, 320, 320, 3), np.uint8)
    run([one], [Chunk(frames, 0)], device="cuda:0")
    assert len(one.finish()[0]["identity"].curve) == 16


def test_cuda_is_asked_for_exact_arithmetic_on_the_gpu_of_that_number(monkeypatch):
    import onnxruntime

    class Session:
        def __init__(self, path, options, providers):
            self.providers = providers

        def get_providers(self):
            return [name for name, _ in self.providers]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    exact = {"use_tf32": 0, "cudnn_conv_algo_search": "DEFAULT"}
    for device, number in (("cuda", 0), ("cuda:0", 0), ("cuda:1", 1)):
        assert onnx_session("a.onnx", device).providers == [
            ("CUDAExecutionProvider", {"device_id": number, **exact}),
            ("CPUExecutionProvider", {}),
        ]
