"""A published study can be made again byte for byte, and says nothing of machines."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from ablations.chosen import variants
from bench.cell import CellError, CellRecord
from reports import reproduce
from reports.anonymous import portable, told
from reports.publish import main as publish
from reports.report import PARQUET
from tests.reports.planted import plant
from tests.test_presets import composed


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two variants × three prompts in batches of two, by a random pocket model, scored; the third
    prompt was asked for by a second command."""
    import torch

    from bench.pocket.components import build_random
    from bench.stages import generate, score

    threads = torch.get_num_threads()  # the study asks for one, for all of this process
    root = tmp_path_factory.mktemp("published")
    small: dict[str, Any] = {"num_attention_heads": 1, "num_layers": 1, "num_single_layers": 1}
    checkpoint = build_random(root / "checkpoint", **small)
    asked = (
        "variant=[td_f2k2f1k1_g2,f1k1_x_g2_f1k1f2k2_td]",
        f"study={root / 'study'}",
        f"generator.checkpoint={checkpoint}",
        "generator.steps=1",
        "generator.cfg=1",
        "video.seconds=1",
        "video.height=32",
        "video.width=32",
        "batch=2",
        "threads=1",
        "metrics.backends=[grid-departure]",
        "metrics.unavailable={}",
    )
    for limit in (2, 3):
        cfg = composed(*asked, f"prompts.limit={limit}")
        assert generate.run(cfg, variants(cfg)) == 0
    assert score.run(cfg) == 0
    assert publish([str(root / "study"), str(root / "findings"), "--filmstrips", "1"]) == 0
    yield root / "findings"
    torch.set_num_threads(threads)


def test_a_published_study_has_scores_tables_plots_and_no_videos(published: Path) -> None:
    names = {path.name for path in published.rglob("*") if path.is_file()}
    assert {"README.md", "index.html", PARQUET, "reproduce.yaml", "samplers.csv"} <= names
    assert not [name for name in names if name.endswith(".mp4")]
    assert any(name.endswith(".png") and "film" in name for name in names), "filmstrips"
    readme = (published / "README.md").read_text()
    assert "2 variants × 3 prompts × 1 seed: 6 of 6 videos made." in readme
    assert "python -m reports.reproduce" in readme


def test_it_does_not_say_which_machine_made_it(published: Path) -> None:
    assert not {"host", "folder", "worker"} & set(pd.read_parquet(published / PARQUET).columns)


def test_it_names_no_folder_of_the_machine(published: Path) -> None:
    home = str(published.parent)
    for path in published.rglob("*"):
        # Where a checkpoint outside this folder lies, only the recipe says: it is needed there.
        if path.is_file() and path.name != "reproduce.yaml":
            assert home.encode() not in path.read_bytes(), path
    table = pd.read_parquet(published / PARQUET)
    assert home not in table.to_csv()


def test_publishing_again_leaves_no_plot_of_the_first_time(published: Path) -> None:
    (published / "plots" / "drift.png").write_bytes(b"stale")
    (published / "tables" / "claims.csv").write_text("stale")
    study = published.parent / "study"
    assert publish([str(study), str(published), "--filmstrips", "1"]) == 0
    assert not (published / "plots" / "drift.png").exists()
    assert not (published / "tables" / "claims.csv").exists()
    assert "drift.png" not in (published / "README.md").read_text()


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("no weights at /home/ann/models/musiq.pt: run", "no weights at musiq.pt: run"),
        ("'/data/a/b/' is no folder", "'b' is no folder"),
        ("checkpoint=~/models/pocket, file:///home/ann/x", "checkpoint=pocket, x"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("3/4 of and/or, cells/a/b", "3/4 of and/or, cells/a/b"),
    ],
)
def test_of_paths_in_a_sentence_the_last_name_stays(said: str, left: str) -> None:
    assert told(said) == left


def test_the_readme_says_each_title_once(planted_study: Path, tmp_path: Path) -> None:
    assert publish([str(planted_study), str(tmp_path / "out"), "--filmstrips", "0"]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    for title in ("The paper's claims on this study", "Variants by sampling approach"):
        assert text.count(f"## {title}\n\n| ") == text.count(title) == 1


def test_tracebacks_stay_at_home(tmp_path: Path) -> None:
    def change(record: CellRecord) -> CellRecord:
        if record.seed:
            return record
        message = "no file /home/ann/secret/model.safetensors"
        error = CellError(kind="OSError", message=message, traceback=f"File /home/ann\n{message}")
        return record.model_copy(update={"status": "failed", "error": error, "video_sha256": ""})

    plant(tmp_path / "s", prompts=2, seeds=2, curves=False, change=change)
    assert publish([str(tmp_path / "s"), str(tmp_path / "out"), "--filmstrips", "0"]) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    assert "no file model.safetensors" in page
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or b"/home/ann" not in path.read_bytes(), path


def test_the_recipe_names_what_lies_below_this_folder_as_from_here() -> None:
    inside, outside = str(Path.cwd() / "models" / "pocket"), "/somewhere/else"
    stored = {"generator": {"checkpoint": inside}, "prompts": [outside, 3]}
    asked = {"generator": {"checkpoint": "models/pocket"}, "prompts": [outside, 3]}
    assert portable(stored) == asked


def test_random_cells_are_made_again_byte_for_byte(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "again"
    arguments = [str(published), "--cells", "3", "--seed", "1", "--study", str(study)]
    assert reproduce.main(arguments) == 0
    said = capsys.readouterr().out
    assert said.count("same bytes") == 3 + 1
    assert said.splitlines()[-1] == "3 of 3 cells have the same bytes"
    made = len(list(study.rglob("video.mp4")))
    assert 3 <= made <= 6, "batches are made whole"


def test_the_seed_draws_cells_and_without_one_they_differ(published: Path) -> None:
    import random

    keys = sorted(reproduce.read(published))
    assert len(keys) == 6
    assert random.Random(4).sample(keys, 3) == random.Random(4).sample(keys, 3)


def test_a_video_that_differs_is_told_with_what_is_different(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "changed"
    shutil.copytree(published, folder)
    table = pd.read_parquet(folder / PARQUET)
    table["video_sha256"] = "0" * 64
    table["versions"] = table["versions"].astype(str).str.replace('"torch": "', '"torch": "0.')
    table.to_parquet(folder / PARQUET)
    assert reproduce.main([str(folder), "--cells", "1", "--seed", "0"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert "published 0000000000000000…, here SHA-256" in said[-2]
    assert "torch 0." in said[-2]
    assert said[-1] == "0 of 1 cell has the same bytes"


def test_what_is_no_published_study_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce.main([str(tmp_path)]) == 2
    assert "not a published study" in capsys.readouterr().err
    assert publish([str(tmp_path), str(tmp_path / "out")]) == 2


def test_the_configuration_is_what_was_asked_without_the_machine(published: Path) -> None:
    cfg = reproduce.configuration(published, Path("study"), "cpu")
    stored = yaml.safe_load((published / "reproduce.yaml").read_text())
    assert cfg["batch"] == stored["batch"] == 2
    assert cfg["study"] == "study" and cfg["device"] == "cpu" and "hydra" not in cfg
