"""Existing videos as cells: what is taken over, kept and told."""

import shutil
from pathlib import Path

import pytest

from bench.stages import generate


def test_taking_videos_over_again_tells_what_was_replaced_and_counts_what_is_new(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = tmp_path / "videos" / "ours"
    ours.mkdir(parents=True)
    shutil.copy(media / "bikes.mp4", ours / "bikes.mp4")
    (tmp_path / "suite.csv").write_text("id,text,image\nwalk,somebody walks,\n")
    study = tmp_path / "study"
    cfg = {
        "study": str(study),
        "generator": {"kind": "folder", "path": str(ours.parent)},
        "prompts": {
            "kind": "file",
            "file": str(tmp_path / "suite.csv"),
            "images_dir": None,
            "ids": None,
            "tags": None,
            "limit": None,
        },
        "claims": {"lease": 60.0},
    }

    def taken() -> tuple[int, str]:
        return generate.run(cfg, []), capsys.readouterr().out

    status, told = taken()
    assert status == 0 and "all 1 cells are finished, 1 of them now" in told
    assert "no video is named after one of the suite's 1 prompts (such as walk)" in told
    assert "0 of them now" in taken()[1]
    shutil.copy(media / "single_face.mp4", ours / "bikes.mp4")
    status, told = taken()
    kept = study / "cells/ours/bikes_0"
    assert status == 1
    assert "ours/bikes.mp4 differs from the one taken over: give it to another study, " in told
    assert f"or delete {kept} and run this again" in told
    assert (kept / "video.mp4").read_bytes() == (media / "bikes.mp4").read_bytes()
    same_size = bytearray((media / "bikes.mp4").read_bytes())
    same_size[-1] ^= 1
    (ours / "bikes.mp4").write_bytes(same_size)
    assert "ours/bikes.mp4 differs" in taken()[1]
    shutil.rmtree(kept)
    status, told = taken()
    assert status == 0 and "1 of them now" in told
