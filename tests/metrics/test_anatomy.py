"""Human anatomy: VBench-2.0's squares, classifiers' input and rule; people found by OWLv2."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.anatomy import (
    THRESHOLDS,
    VBench2Vit,
    anatomy_reading,
    classifier_input,
    is_abnormal,
    judge,
    square_around,
)
from metrics.errors import Undefined
from metrics.networks.abnormality import abnormality_classifier
from metrics.open_vocabulary import OpenVocabularyDetector, boxes, tokenize

HERE = Path(__file__).parent


def _beside(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


drawn = _beside("drawn_weights")
real_frames = _beside("real_frames").real_frames


@pytest.fixture(scope="module")
def golden():
    return np.load(HERE / "golden" / "anatomy.npz")


@pytest.fixture(scope="module")
def carphone(media):
    return real_frames(media / "carphone_pristine.mp4", 5)


# --- the rule -----------------------------------------------------------------------------------


def test_squares_around_boxes_equal_vbench2(golden):
    for *box, left, top, right, bottom in golden["squares"].tolist():
        expected = None if left < 0 else (int(left), int(top), int(right), int(bottom))
        assert square_around(tuple(box), 90, 160) == expected, box


@pytest.mark.parametrize(
    ("name", "box"),
    [("large", (10, 5, 140, 135)), ("small", (60, 40, 91, 70)), ("odd", (20, 20, 84, 83))],
)
def test_classifiers_see_squares_as_vbench2_shows_them_blue_first(golden, carphone, name, box):
    left, top, right, bottom = box
    ours = classifier_input(carphone[0][top:bottom, left:right])
    np.testing.assert_allclose(ours[:, ::16, ::16], golden[f"classifier-{name}"], atol=1e-4)


def test_blue_comes_first():
    blue = np.zeros((32, 32, 3), np.uint8)
    blue[..., 2] = 255
    values = classifier_input(blue).mean((1, 2))
    assert values[0] > 1
    assert values[2] < -1


def test_a_person_is_abnormal_if_any_square_exceeds_its_parts_threshold():
    assert not is_abnormal([])
    assert not is_abnormal([("human", 0.4545), ("face", 0.3030), ("hand", 0.3232)])
    assert is_abnormal([("human", 0.4546)])
    assert is_abnormal([("human", 0.0), ("face", 0.3031)])
    assert is_abnormal([("human", 0.0), ("face", 0.0), ("hand", 0.1), ("hand", 0.33)])


def test_the_score_counts_people_over_all_frames_not_frames():
    # frame 0: 3 people, 1 abnormal; frame 1: nobody; frame 2: 1 person, abnormal
    reading = anatomy_reading(3, {0: 3, 2: 1}, {(0, 1), (2, 0)})
    assert reading.score() == pytest.approx(1 - 2 / 4)
    assert reading.covered() == pytest.approx(2 / 3)
    np.testing.assert_allclose(reading.curve.values, [2 / 3, np.nan, 0])


def test_a_video_without_people_has_no_score():
    with pytest.raises(Undefined, match="nobody"):
        anatomy_reading(4, {}, set())


# --- finding people -----------------------------------------------------------------------------


def test_boxes_are_thresholded_clipped_merged_and_in_pixels():
    candidates = np.array(
        [
            [0.1, 0.1, 0.3, 0.5, 0.9, 0.0],
            [0.1, 0.1, 0.3, 0.49, 0.8, 0.0],  # the same thing again
            [0.1, 0.1, 0.3, 0.5, 0.0, 0.7],  # another query: kept
            [0.5, 0.4, 1.2, 0.9, 0.6, 0.0],  # reaches out of the frame
            [0.6, 0.6, 0.9, 0.9, 0.1, 0.05],  # not above the threshold
            [0.2, 0.95, 0.4, 1.0, 0.5, 0.0],  # in the padding below the frame
        ],
        np.float32,
    )
    found = boxes(candidates, height=60, width=100, score=0.1, same=0.5)
    assert [query for _, query in found] == [0, 1, 0]
    np.testing.assert_allclose(found[0][0], (10, 10, 30, 50), rtol=1e-5)
    np.testing.assert_allclose(found[2][0], (50, 40, 100, 60), rtol=1e-5)


@pytest.fixture(scope="module")
def tiny_owl():
    from transformers import Owlv2Config, Owlv2ForObjectDetection

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Owlv2Config(
        text_config=small | {"intermediate_size": 64},
        vision_config=small | {"intermediate_size": 64, "image_size": 64},
        projection_dim=32,
    )
    network = Owlv2ForObjectDetection(config).eval()
    network.load_state_dict(drawn.drawn_state(network.state_dict(), "owl-tiny"))
    return OpenVocabularyDetector(network, "cpu", side=64)


def test_detector_fits_frames_into_a_grey_square(tiny_owl):
    wide = tiny_owl.prepare(np.full((20, 80, 3), 255, np.uint8))
    white, grey = (1 - 0.48145466) / 0.26862954, (0.5 - 0.48145466) / 0.26862954
    np.testing.assert_allclose(wide[0, :16], white, rtol=1e-4)
    np.testing.assert_allclose(wide[0, 16:], grey, rtol=1e-4)


def test_detector_gives_boxes_and_a_probability_per_query(tiny_owl, carphone):
    images = np.stack([tiny_owl.prepare(frame) for frame in carphone[:2]])
    out = tiny_owl.forward(images, ("face", "hand"))
    assert out.shape == (2, 16, 6)
    assert (out[..., 2:4] >= out[..., :2]).all()
    assert ((out[..., 4:] >= 0) & (out[..., 4:] <= 1)).all()


def test_queries_are_tokenized_as_transformers_does():
    assert tokenize(["human"])[0].tolist()[:7] == [49406, 320, 1125, 539, 320, 2751, 49407]
    assert tokenize(["face", "hand"]).shape == (2, 16)


# --- end to end ---------------------------------------------------------------------------------


class TwoPeople:
    """Finds a left person with a face everywhere, and a right one in bright frames."""

    def prepare(self, image):
        return np.array([image.mean(), *image.shape[:2]], np.float32)

    def forward(self, images, queries):
        nothing = [0.0] * (4 + len(queries))
        out = []
        for mean, height, width in images:
            longest = max(height, width)
            if queries == ("human",):
                left = [0.0, 0.0, 80 / longest, 100 / longest, 0.9]
                right = [90 / longest, 0.0, 170 / longest, 100 / longest, 0.8]
                out.append([left, right if mean > 100 else nothing])
            else:
                out.append([[0.1, 0.1, 0.4, 0.4, 0.7, 0.0], nothing])
        return np.array(out, np.float32)


@pytest.fixture
def hand_made():
    metric = VBench2Vit()
    metric.detector = TwoPeople()
    metric.judges = {
        "human": lambda squares: np.zeros(len(squares)),
        # Faces of bright squares look wrong.
        "face": lambda squares: (squares.mean((1, 2, 3)) > 1).astype(float),
        "hand": lambda squares: np.ones(len(squares)),
    }
    return metric


def test_people_are_counted_and_judged_frame_by_frame(hand_made, measure):
    dark, bright = np.full((120, 180, 3), 20, np.uint8), np.full((120, 180, 3), 240, np.uint8)
    frames = np.stack([dark, bright, dark, dark, bright])
    reading = measure(hand_made, frames, chunk=2)["anatomy"]
    # one person in dark frames, fine; two in bright ones, both with a wrong face
    assert reading.curve.weights.tolist() == [1, 2, 1, 1, 2]
    assert reading.curve.values.tolist() == [1, 0, 1, 1, 0]
    assert reading.score() == pytest.approx(1 - 4 / 7)


def test_random_networks_give_the_same_bits_whatever_the_chunks(
    tiny_owl, carphone, measure, monkeypatch
):
    monkeypatch.setattr("metrics.anatomy.SCORE", 0.55)  # random boxes are many
    metric = VBench2Vit()
    metric.detector = tiny_owl
    network = abnormality_classifier(224, 16, 24, 1, 2)
    network.load_state_dict(drawn.drawn_state(network.state_dict(), "abnormality-tiny"))
    metric.judges = dict.fromkeys(THRESHOLDS, judge(network.eval(), "cpu"))
    frames = carphone[:2]
    curves = [measure(metric, frames, chunk=size)["anatomy"].curve for size in (1, 2)]
    for curve in curves[1:]:
        np.testing.assert_array_equal(curve.values, curves[0].values)
        np.testing.assert_array_equal(curve.weights, curves[0].weights)
    assert curves[0].weights.sum() > 0


def test_probability_is_that_of_the_first_class():
    with torch.no_grad():
        network = torch.nn.Linear(2, 2)
        network.weight.copy_(torch.eye(2))
        network.bias.zero_()
    assert judge(network, "cpu")(np.array([[9.0, -9.0]], np.float32))[0] > 0.99
