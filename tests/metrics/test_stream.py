"""Every frame once, upright, in bounded chunks; and one line for what is no video."""

import os
import re
import struct
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from PIL import Image

from metrics import stream
from metrics.stream import Unreadable, Video


def decode(path, chunk=4):
    with Video(path) as video:
        pieces = list(video.chunks(chunk))
    return video, pieces


@pytest.mark.parametrize(
    ("clip", "frames", "fps", "size"),
    [
        ("single_face", 72, 30.0, (640, 360)),
        ("carphone_pristine", 120, 30000 / 1001, (176, 144)),
        ("bikes", 250, 25.0, (640, 272)),
    ],
)
def test_real_clips_give_their_exact_number_of_frames_and_rate(media, clip, frames, fps, size):
    video, pieces = decode(media / f"{clip}.mp4", 16)
    assert sum(len(piece) for piece in pieces) == video.decoded == video.info.frames == frames
    assert video.info.fps == pytest.approx(fps)
    assert (video.info.width, video.info.height) == size
    assert not video.problem


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_chunks_cover_the_video_without_gap_or_overlap(media, chunk):
    _, pieces = decode(media / "carphone_pristine.mp4", chunk)
    _, whole = decode(media / "carphone_pristine.mp4", 120)
    assert [piece.first for piece in pieces] == list(range(0, 120, chunk))
    assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), whole[0].frames)


def test_a_video_is_decoded_once(media):
    before = Video.decodes
    decode(media / "carphone_pristine.mp4")
    assert Video.decodes == before + 1


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_variable_frame_rate_keeps_every_frame_and_is_averaged(tmp_path, write_clip, moving, name):
    times = [0, 10, 20, 500, 510, 900, 1000, 1100, 1500, 1800]
    video, pieces = decode(write_clip(tmp_path / name, moving(10), times=times))
    assert sum(len(piece) for piece in pieces) == 10
    assert 4 < video.info.fps < 7


def test_sound_is_ignored(tmp_path, write_clip, moving):
    video, _ = decode(write_clip(tmp_path / "s.mp4", moving(9), sound=True))
    assert video.info.frames == video.decoded == 9


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_honoured(tmp_path, write_clip, turn):
    frames = np.zeros((3, 64, 96, 3), dtype=np.uint8)
    frames[:, :20, :20] = 255  # the corner that a turn moves
    path = write_clip(tmp_path / "r.mp4", frames)
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[turn]
    matrix = struct.pack(">9i", cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    data[start + 40 : start + 76] = matrix
    path.write_bytes(data)
    _, pieces = decode(path)
    upright = pieces[0].frames[0]
    # The container's angle turns the stored picture clockwise.
    assert np.abs(upright.astype(int) - np.rot90(frames[0], -turn // 90)).mean() < 8
    assert upright.shape[:2] == ((64, 96) if turn == 180 else (96, 64))


@pytest.mark.parametrize(("codec", "pixels"), [("ffv1", "gray"), ("ffv1", "bgra")])
def test_grey_and_transparent_videos_become_rgb(tmp_path, write_clip, moving, codec, pixels):
    frames = moving(4)
    if pixels == "bgra":
        frames = np.concatenate((frames, np.full_like(frames[..., :1], 128)), axis=3)
    _, pieces = decode(write_clip(tmp_path / "g.mkv", frames, codec=codec, pixels=pixels))
    assert pieces[0].frames.shape == (4, 64, 96, 3)


def _with_matrix(source, path, matrix):
    """A copy whose H.264 headers name another colour matrix."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        named = BitStreamFilterContext(f"h264_metadata=matrix_coefficients={matrix}", stream, copy)
        for packet in old.demux(stream):
            for changed in named.filter(packet if packet.size else None):
                changed.stream = copy
                new.mux(changed)
    return path


def test_every_colour_matrix_gives_every_frame(tmp_path, write_clip):
    grey = np.repeat(np.arange(40, 220, 20, dtype=np.uint8), 64 * 96 * 3).reshape(9, 64, 96, 3)
    source = write_clip(tmp_path / "source.mp4", grey)
    told = {}
    for matrix in range(15):
        video, pieces = decode(_with_matrix(source, tmp_path / f"{matrix}.mp4", matrix), 9)
        assert np.abs(pieces[0].frames.astype(int) - grey).max() <= 3
        told[matrix] = video.problem
    assert told[8].startswith("colour matrix 8 cannot be converted and was read as unspecified")
    assert not any(told[matrix] for matrix in (1, 2, 5, 6, 9))


@pytest.mark.parametrize("error", [av.FFmpegError(95, "no"), ValueError("no"), MemoryError("no")])
def test_a_frame_that_cannot_be_converted_is_left_out_and_told(
    tmp_path, write_clip, moving, monkeypatch, error
):
    path = write_clip(tmp_path / "v.mp4", moving(9))
    convert, count = stream._upright, iter(range(9))

    def fails_on_the_fourth(frame):
        if next(count) == 3:
            raise error
        return convert(frame)

    monkeypatch.setattr(stream, "_upright", fails_on_the_fourth)
    video, pieces = decode(path)
    assert sum(len(piece) for piece in pieces) == video.decoded == 8
    assert video.problem.startswith("damaged: ")


def test_odd_sizes_are_kept(tmp_path, write_clip, moving):
    path = write_clip(tmp_path / "o.mkv", moving(3, 35, 51), codec="ffv1", pixels="bgr0")
    video, pieces = decode(path)
    assert (video.info.width, video.info.height) == (51, 35)
    assert np.array_equal(pieces[0].frames, moving(3, 35, 51))


@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [
        ("t.mkv", "libx264", False),
        ("t.mkv", "libx264", True),
        ("t.webm", "libvpx", False),
        ("t.flv", "libx264", True),
    ],
)
def test_a_truncated_file_gives_what_decodes_and_says_so(
    tmp_path, write_clip, moving, name, codec, sound
):
    options = {"crf": "4", "g": "5"}
    path = write_clip(tmp_path / name, moving(40), codec=codec, options=options, sound=sound)
    assert not decode(path)[0].problem
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    video, _ = decode(path)
    assert 1 <= video.decoded < 40
    says = re.fullmatch(
        r"truncated: the file promises (1\.\d\d) s and holds (0\.\d\d) s", video.problem
    )
    assert says, video.problem
    assert float(says[1]) == pytest.approx(40 / 30, abs=0.1)
    assert video.decoded / 30 - 0.02 < float(says[2]) < 1.1


def test_sound_that_outlasts_the_picture_is_no_truncation(tmp_path, write_clip, moving):
    video, _ = decode(write_clip(tmp_path / "s.mkv", moving(6), sound=True))
    assert video.decoded == 6
    assert video.problem == ""


def test_a_truncated_file_gives_the_same_frames_on_every_machine(tmp_path, write_clip, moving):
    path = write_clip(
        tmp_path / "t.mp4",
        moving(60),
        options={"crf": "18", "preset": "medium"},
        container_options={"movflags": "faststart"},
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    _, pieces = decode(path)
    expected = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                expected += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
            except av.FFmpegError:
                continue
    assert 5 < len(expected) < 60
    assert np.array_equal(np.concatenate([piece.frames for piece in pieces]), np.stack(expected))


def _text(path):
    path.write_text("not a video\n" * 50)


def _playlist(path):
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/video.ts\n")


def _sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        block = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        block.sample_rate, block.pts = 44100, 0
        container.mux(stream.encode(block))
        container.mux(stream.encode())


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.touch(), "empty"),
        (lambda path: path.mkdir(), "not a file"),
        (_text, "not a video"),
        (_playlist, "not a video|no frame|no picture"),
        (_sound, "no picture"),
    ],
    ids=["absent", "empty", "folder", "text", "playlist", "sound"],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path, make, says):
    path = tmp_path / "x.mp4"
    make(path)
    with pytest.raises(Unreadable, match=says) as caught:
        Video(path)
    assert "\n" not in str(caught.value)


def test_a_file_without_permission_is_told(tmp_path, write_clip, moving, monkeypatch):
    path = write_clip(tmp_path / "p.mp4", moving(3))

    def refuse(*_args, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("metrics.stream.sha256", refuse)
    with pytest.raises(Unreadable, match="Permission denied"):
        Video(path)


def test_a_file_in_a_folder_without_permission_is_told(tmp_path, monkeypatch):
    path = tmp_path / "p.mp4"
    seen = Path.stat

    def refuse(self, **options):
        if self == path:
            raise PermissionError(13, os.strerror(13))
        return seen(self, **options)

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(Unreadable, match="cannot be read: Permission denied"):
        Video(path)


def test_a_picture_that_nothing_decodes_is_told(tmp_path, write_clip, moving):
    path = write_clip(tmp_path / "u.mkv", moving(3))
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_NOTHING/KNOWN"))
    with pytest.raises(Unreadable, match="no decoder"):
        Video(path)


def test_names_with_colons_and_percent_signs_open(tmp_path, write_clip, moving):
    path = write_clip(tmp_path / "plain.mp4", moving(3))
    strange = path.rename(tmp_path / "http:a%03d b.mp4")
    assert decode(strange)[0].decoded == 3


@pytest.mark.parametrize("begins", [0, 3_600_000], ids=["anew", "an hour later"])
def test_joined_recordings_keep_their_rate(tmp_path, write_clip, moving, begins):
    path = tmp_path / "joined.ts"
    parts = [
        write_clip(
            tmp_path / f"{first}.ts", moving(25), fps=25, times=range(first, first + 1000, 40)
        )
        for first in (0, begins)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    video, _ = decode(path)
    assert video.decoded == video.info.frames == 25 * len(parts)
    assert video.info.fps == 25


def test_a_frame_every_15_seconds_joins_nothing(tmp_path, write_clip, moving):
    times = range(0, 150_000, 15_000)
    path = write_clip(tmp_path / "sparse.ts", moving(10), fps=25, times=times)
    video, _ = decode(path)
    assert video.info.frames == 10
    assert video.info.fps == pytest.approx(1 / 15, rel=0.01)


def test_a_picture_s_name_is_no_pattern(tmp_path):
    for name in ("x001.png", "x002.png", "x%03d.png"):
        Image.new("RGB", (32, 32)).save(tmp_path / name)
    video, _ = decode(tmp_path / "x%03d.png")
    assert video.decoded == video.info.frames == 1


def test_a_stream_cut_off_among_reordered_frames_keeps_its_rate(tmp_path, write_clip, moving):
    options = {"crf": "4", "preset": "medium", "bf": "3", "b_strategy": "0"}
    path = write_clip(tmp_path / "cut.ts", moving(40), fps=25, options=options)
    whole = path.read_bytes()
    for packets in range(40, 200, 8):  # 188 bytes each
        path.write_bytes(whole[: packets * 188])
        video, _ = decode(path)
        assert video.info.fps == 25


@pytest.mark.parametrize("name", ["v.ts", "v.mp4", "v.mkv"])
def test_a_rate_that_varies_is_the_average_with_reordered_frames_too(
    tmp_path, write_clip, moving, name
):
    times = [*range(0, 400, 40), *range(400, 2400, 200)]
    options = {"crf": "4", "preset": "medium", "bf": "3", "b_strategy": "0"}
    path = write_clip(tmp_path / name, moving(20), fps=25, times=times, options=options)
    video, _ = decode(path)
    assert video.info.fps == pytest.approx(19 / 2.2)


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("ffconcat version 1.0\nfile v.mp4\n", "concat"),
        ("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nv.ts\n#EXT-X-ENDLIST\n", "hls"),
    ],
)
def test_a_list_of_files_is_no_video(tmp_path, write_clip, moving, content, format):
    for name in ("v.mp4", "v.ts"):
        write_clip(tmp_path / name, moving(3))
    (tmp_path / "list.m3u8").write_text(content)
    with pytest.raises(Unreadable, match=rf"a list of files \({format}\)"):
        Video(tmp_path / "list.m3u8")


def test_memory_for_counting_does_not_grow_with_the_length(tmp_path, write_clip):
    frames = np.zeros((5000, 16, 16, 3), dtype=np.uint8)
    path = write_clip(tmp_path / "long.mkv", frames, codec="ffv1", pixels="bgr0")
    tracemalloc.start()
    try:
        assert stream._count(path)[0] == len(frames)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
