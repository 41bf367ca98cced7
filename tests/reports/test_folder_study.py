"""Videos that were brought along, in folders of any name, get a whole report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from ablations.chosen import variants
from bench.stages import generate, score
from bench.study import Study
from bench.video import write_video
from reports.report import Written, write
from tests.test_presets import composed


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two models × two prompts, made elsewhere, scored; the names are none of the paper's."""
    root = tmp_path_factory.mktemp("brought")
    chance = np.random.default_rng(0)
    for model in ("modelA", "modelB"):
        (root / "videos" / model).mkdir(parents=True)
        for prompt in ("cat", "dog"):
            frames = chance.integers(0, 255, (24, 48, 64, 3), dtype=np.uint8)
            write_video(root / "videos" / model / f"{prompt}.mp4", frames, 12, preset="ultrafast")
    cfg = composed(
        "generator=folder",
        f"generator.path={root / 'videos'}",
        "prompts=file",
        f"study={root / 'study'}",
        "metrics.backends=[classical,grid-departure]",
        "metrics.unavailable={}",
    )
    assert generate.run(cfg, variants(cfg)) == 0
    assert score.run(cfg) == 0
    return write([root / "study"], filmstrips=1)


def test_a_report_of_brought_videos_is_whole(brought: Written) -> None:
    page = brought.page.read_text("utf-8")
    assert "modelA" in page and "modelB" in page
    assert [entrant.made for entrant in brought.analysis.variants] == [2, 2]


def test_no_reading_of_departure_is_better_either_way(brought: Written) -> None:
    headings = brought.tables["more_metrics"].headings
    found = {heading.key: heading.arrow for heading in headings if "departure" in heading.key}
    assert {"departure", "departure.drift"} <= set(found)
    assert set(found.values()) == {""}


def test_costs_that_nobody_knows_are_left_out(brought: Written) -> None:
    assert "costs" not in brought.tables
    assert 'id="cost"' not in brought.page.read_text("utf-8")


def test_the_recipe_of_brought_videos_takes_them_over_again(
    brought: Written, tmp_path: Path
) -> None:
    with initialize_config_dir(str(brought.page.parent), version_base=None):
        cfg = compose("reproduce", overrides=[f"study={tmp_path / 'again'}"])
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    asked = {str(name): value for name, value in values.items()}
    assert generate.run(asked, variants(asked)) == 0
    again = {cell.key for cell in Study.open(tmp_path / "again").cells()}
    assert again == {cell.key for cell in Study.open(brought.page.parent.parent).cells()}
