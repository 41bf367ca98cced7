"""Existing videos as cells: what is taken over, kept and told."""

import shutil
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.generators import folder
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
    assert status == 0 and "the one cell is finished, 1 made now" in told
    assert "no video is named after one of the suite's 1 prompt (such as walk)" in told
    assert "the one cell is finished, 0 made now" in taken()[1]
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
    assert status == 0 and "1 made now" in told


def test_all_names_that_cannot_name_a_cell_are_told_at_once(tmp_path: Path) -> None:
    names = (
        "model a/walk.mp4",
        "model a/T\u00fcr.mp4",
        "b/-x_3.mp4",
        "b/fine_3.mp4",
        "b/notes \u00fc.txt",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError) as error:
        folder.find(tmp_path)
    assert str(error.value) == (
        f"generator.path={tmp_path}: rename 'b/-x_3.mp4', 'model a/', 'model a/T\u00fcr.mp4': "
        "a name must be a-z A-Z 0-9 . _ + -, the first of them no . or -"
    )
