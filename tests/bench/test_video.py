"""Videos: the same bytes for the same frames, the right speed, any size."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from bench.video import exact_rate, write_video


def moving(frames: int, height: int = 64, width: int = 96) -> np.ndarray:
    y, x, t = np.ogrid[:height, :width, :frames]
    red = 128 + 100 * np.sin(x / 9 + t / 4)
    green, blue = 128 + 100 * np.cos(y / 7 - t / 5), 60 + x + 0 * y + t
    return np.stack(np.broadcast_arrays(red, green, blue), -1).transpose(2, 0, 1, 3).astype("uint8")


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_the_same_frames_give_the_same_bytes_however_they_are_chunked(tmp_path: Path) -> None:
    frames = moving(33)
    whole = write_video(tmp_path / "whole.mp4", [frames], 16)
    single = write_video(tmp_path / "single.mp4", list(frames), 16)
    assert whole == single
    assert (tmp_path / "whole.mp4").read_bytes() == (tmp_path / "single.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["single.mp4", "whole.mp4"]


def test_thirty_encodings_have_the_same_bytes(tmp_path: Path) -> None:
    frames, rng, digests = moving(33), np.random.default_rng(0), set()
    for _ in range(30):
        clutter = [rng.bytes(int(size)) for size in rng.integers(1, 100_000, 50)]
        digests.add(write_video(tmp_path / "a.mp4", [frames], 16).sha256)
        del clutter  # so that the encoder's memory is never twice the same
    assert len(digests) == 1


def test_what_is_read_back_is_what_was_written(tmp_path: Path) -> None:
    frames = moving(20)
    write_video(tmp_path / "a.mp4", [frames], 30, crf=4)
    error = decoded(tmp_path / "a.mp4").astype(float) - frames
    assert 10 * np.log10(255**2 / (error**2).mean()) > 35
    # No tint: matrix and range are as tagged. (Decoding to RGB truncates: up to 1.5 levels.)
    assert np.abs(error.mean((0, 1, 2))).max() < 2.0


@given(height=st.integers(16, 40), width=st.integers(16, 40))
@settings(max_examples=12, deadline=None)
def test_odd_sizes_get_one_more_row_or_column(
    height: int, width: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("odd") / "a.mp4"
    video = write_video(path, [moving(3, height, width)], 16)
    assert (video.height, video.width) == (height + height % 2, width + width % 2)
    assert decoded(path).shape == (3, video.height, video.width, 3)


@pytest.mark.parametrize(
    ("fps", "rate"),
    [(16, 16), (30, 30), (29.97, Fraction(30000, 1001)), (23.976, Fraction(24000, 1001)),
     (12.5, Fraction(25, 2))],
)  # fmt: skip
def test_the_rate_is_exact(fps: float, rate: Fraction, tmp_path: Path) -> None:
    assert exact_rate(fps) == rate
    write_video(tmp_path / "a.mp4", [moving(25)], fps)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == rate
        assert stream.frames == 25
        assert stream.duration * stream.time_base == Fraction(25) / rate


def test_a_failing_source_leaves_nothing(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield moving(4)
        raise RuntimeError("the model broke")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "a.mp4", broken(), 16)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("frames", "crf", "says"),
    [([], 16, "at least one frame"), ([moving(1)], 99, "crf"),
     ([moving(1), moving(1, 32, 32)], 16, "32×32")],
)  # fmt: skip
def test_bad_input_is_one_line(
    frames: list[np.ndarray], crf: int, says: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says) as error:
        write_video(tmp_path / "a.mp4", frames, 16, crf=crf)
    assert "\n" not in str(error.value)
