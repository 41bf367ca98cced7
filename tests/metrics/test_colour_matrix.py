"""Frames become RGB by the matrix that the file names, which PyAV before 17 did not do."""

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from metrics.stream import Video

# Kr and Kb of ITU-R BT.601 and BT.709: the luma of red and of blue.
WEIGHTS = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}
TAGS = {"601": Colorspace.SMPTE170M, "709": Colorspace.ITU709}
RED = np.array([200.0, 30.0, 40.0])


def coded(rgb, standard):
    """RGB 0..255 to Y, Cb, Cr of limited range."""
    kr, kb = WEIGHTS[standard]
    red, green, blue = rgb / 255
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    blueness, redness = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    return np.array([16 + 219 * luma, 128 + 224 * blueness, 128 + 224 * redness])


def read(ycc, standard):
    """Y, Cb, Cr of limited range to RGB 0..255."""
    kr, kb = WEIGHTS[standard]
    luma, blueness, redness = (ycc - [16, 128, 128]) / [219, 224, 224]
    red, blue = luma + 2 * (1 - kr) * redness, luma + 2 * (1 - kb) * blueness
    green = (luma - kr * red - kb * blue) / (1 - kr - kb)
    return 255 * np.array([red, green, blue])


@pytest.mark.parametrize(("tagged", "other"), [("709", "601"), ("601", "709")])
def test_a_saturated_red_is_read_by_the_tagged_matrix(tmp_path, tagged, other):
    ycc = np.round(coded(RED, tagged))
    assert np.abs(read(ycc, tagged) - RED).max() < 2
    assert np.abs(read(ycc, other) - RED).max() > 12
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace = int(TAGS[tagged])
        planes = [np.full((48, 64), ycc[0])] + [np.full((12, 64), value) for value in ycc[1:]]
        for _ in range(2):
            stored = np.concatenate(planes).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(stored, format="yuv420p")
            frame.colorspace = int(TAGS[tagged])
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with Video(path) as video:
        (chunk,) = video.chunks(4)
    assert np.abs(chunk.frames - RED).max() < 4
