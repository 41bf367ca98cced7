"""What raters get holds the pictures of the study's videos and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from ablations.arena import gallery, neutral
from ablations.arena.server import opened
from ablations.arena.settings import Settings
from bench.errors import UserError
from tests.ablations.arena import studies

SIGNATURES = (b"Lavf", b"Lavc", b"x264", b"VideoHandler", b"ISO Media", b"Core Media")


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)])


@pytest.mark.parametrize("clip", ["bikes", "carphone_pristine", "single_face"])
def test_a_copy_has_the_same_pictures_bit_for_bit(media: Path, tmp_path: Path, clip: str) -> None:
    neutral.neutral(media / f"{clip}.mp4", tmp_path / "copy.mp4")
    assert np.array_equal(pictures(tmp_path / "copy.mp4"), pictures(media / f"{clip}.mp4"))


@pytest.mark.parametrize("make", [neutral.neutral, neutral.damaged])
def test_a_copy_names_neither_its_maker_nor_its_encoder(tmp_path: Path, make) -> None:  # type: ignore[no-untyped-def]
    source = tmp_path / "td_f16k4f2k2f1k1_g9" / "p_7" / "video.mp4"
    studies.video(source, seconds=0.5, hue=10)
    assert b"td_f16k4f2k2f1k1_g9" in source.read_bytes()
    make(source, tmp_path / "copy.mp4")
    data = (tmp_path / "copy.mp4").read_bytes()
    assert not [mark for mark in (*SIGNATURES, b"td_f16") if mark in data]


def test_sound_is_left_out_and_the_index_comes_first(media: Path, tmp_path: Path) -> None:
    neutral.neutral(media / "single_face.mp4", tmp_path / "copy.mp4")
    data = (tmp_path / "copy.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_what_browsers_may_not_play_is_encoded_anew(tmp_path: Path) -> None:
    source = tmp_path / "old.mp4"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(24):
            picture = np.full((48, 64, 3), 5 * level + 40, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    neutral.neutral(source, tmp_path / "copy.mp4")
    with av.open(str(tmp_path / "copy.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    before, after = pictures(source).astype(int), pictures(tmp_path / "copy.mp4").astype(int)
    assert before.shape == after.shape
    assert np.abs(before - after).mean() < 1.5
    assert neutral.seconds_of(tmp_path / "copy.mp4") == pytest.approx(1.0, abs=0.001)


def test_a_damaged_copy_is_as_long_and_plainly_worse(media: Path, tmp_path: Path) -> None:
    source, copy = media / "carphone_pristine.mp4", tmp_path / "copy.mp4"
    neutral.damaged(source, copy)
    assert neutral.seconds_of(copy) == pytest.approx(neutral.seconds_of(source), abs=0.05)
    before, after = pictures(source)[::30].astype(int), pictures(copy)[::30].astype(int)
    detail = np.abs(np.diff(before, axis=-1)).mean()
    assert np.abs(np.diff(after, axis=-1)).mean() < 0.5 * detail


@pytest.mark.parametrize("content", [b"", b"not a video", b"\0" * 4096])
def test_a_broken_video_is_said_to_be_unshowable(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.mp4").write_bytes(content)
    with pytest.raises(neutral.Unshowable):
        neutral.neutral(tmp_path / "broken.mp4", tmp_path / "copy.mp4")
    assert not (tmp_path / "copy.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_an_image_keeps_its_pixels_and_loses_its_words(tmp_path: Path) -> None:
    from PIL import Image, PngImagePlugin

    words = PngImagePlugin.PngInfo()
    words.add_text("Software", "f1k1_x_g9")
    picture = Image.effect_noise((32, 32), 50).convert("RGB")
    picture.save(tmp_path / "first.png", pnginfo=words)
    neutral.still(tmp_path / "first.png", tmp_path / "copy.png")
    assert b"f1k1" not in (tmp_path / "copy.png").read_bytes()
    with Image.open(tmp_path / "copy.png") as copy:
        assert copy.tobytes() == picture.tobytes()


def test_missing_and_broken_videos_are_left_out_and_said(study: Path) -> None:
    cells = sorted((study / "cells").glob("*/wanderer-1_7"))
    (cells[0] / "video.mp4").unlink()
    (cells[1] / "video.mp4").write_bytes(b"broken")
    record = (cells[1] / "cell.json").read_text()
    (cells[1] / "cell.json").write_text(record.replace('"video_sha256"', '"host": "h", "x"', 1))
    (cells[2] / "video.mp4").write_bytes(b"broken")
    digest = "0" * 64
    text = (cells[2] / "cell.json").read_text()
    (cells[2] / "cell.json").write_text(json.dumps({**json.loads(text), "video_sha256": digest}))
    said: list[str] = []
    shown = gallery.prepare(study, say=said.append)
    assert len(shown.left_out) == 3
    assert "video.mp4 is missing" in " ".join(shown.left_out)
    assert "cannot be read" in " ".join(shown.left_out)
    assert len(shown.clips) == 18 - 3
    assert all(any(line in heard for heard in said) for line in shown.left_out)


def test_a_study_with_one_variant_is_refused_in_one_line(tmp_path: Path) -> None:
    study = studies.make(tmp_path / "one", variants=studies.NAMES[:1])
    with pytest.raises(UserError, match=r"two variants or more.*1 \(td_f16k4f2k2f1k1_g9\)"):
        gallery.prepare(study)


def test_variants_that_never_meet_are_refused(tmp_path: Path) -> None:
    study = studies.make(tmp_path / "s", variants=studies.NAMES[:2], prompts=("p-1",))
    studies.make(study, variants=studies.NAMES[2:4], prompts=("p-2",))
    for name in studies.NAMES[:2]:
        (study / "cells" / name / "p-2_7" / "cell.json").unlink(missing_ok=True)
    with pytest.raises(UserError, match="share no prompt and seed"):
        gallery.prepare(study)


def test_no_room_for_the_copies_is_one_line(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(neutral, "neutral", full)
    with (
        pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"),
        opened(study, Settings(), lambda line: None),
    ):
        pass


def test_an_image_outside_the_study_is_not_shown(study: Path) -> None:
    (study.parent / "secret.png").write_bytes((study / "prompts" / "wanderer-1.png").read_bytes())
    assert gallery.inside(study, "../secret.png") is None
    assert gallery.inside(study, "/etc/passwd") is None
    (study / "prompts" / "link.png").symlink_to(study.parent / "secret.png")
    assert gallery.inside(study, "prompts/link.png") is None
    assert gallery.inside(study, "prompts/wanderer-1.png") is not None
