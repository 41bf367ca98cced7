"""Every preset asks a question, composes, and can be planned for the pocket model."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from ablations.chosen import variants
from ablations.variant import TABLE_1
from bench import config, samplers
from bench.plan import Plan
from bench.variant import Variant

ROOT = Path(__file__).parents[1]
PRESETS = sorted(path.stem for path in (ROOT / "conf" / "ablation").glob("*.yaml"))


def composed(*overrides: str) -> dict[str, Any]:
    config.register()
    GlobalHydra.instance().clear()  # a command line that ran in this process leaves its own
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = compose("config", [*overrides])
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def planned(cfg: dict[str, Any]) -> dict[Variant, Plan]:
    video = cfg["video"]
    return {
        variant: samplers.plan(
            variant,
            height=video["height"],
            width=video["width"],
            seconds=video["seconds"],
            fps=video["fps"],
        )
        for variant in variants(cfg)
    }


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_composes_and_plans_all_its_variants_on_pocket(name: str) -> None:
    cfg = composed(f"+ablation={name}")
    assert cfg["name"] == name
    found = planned(cfg)
    assert len(found) >= 3
    books = set(cfg["generator"]["codebooks"])
    for variant, plan in found.items():
        assert plan.sections, variant.name
        if variant.discrete:
            assert str(variant.discrete) in books, variant.name


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_what_it_asks_and_is_in_the_manual(name: str) -> None:
    lines = (ROOT / "conf" / "ablation" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ") and len(lines[1]) > 30
    assert f"`+ablation={name}`" in (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")


def test_table_1_holds_every_row_that_the_paper_shows() -> None:
    names = {variant.name for variant in variants(composed("+ablation=table1"))}
    # The paper's +D is trained; here its weights are named.
    assert {name.removesuffix("+delta-discrete") for name in names} >= set(TABLE_1)


@pytest.mark.parametrize("preset", ["table1", "alternatives"])
def test_the_papers_tables_go_from_start_to_end(preset: str) -> None:
    assert composed(f"+ablation={preset}")["stage"] == "demo"
    assert composed(f"+ablation={preset}", "stage=generate")["stage"] == "generate"


def test_the_findings_hold_both_tables_and_what_every_claim_needs() -> None:
    names = {
        preset: {variant.name for variant in variants(composed(f"+ablation={preset}"))}
        for preset in ("findings", "table1", "alternatives")
    }
    assert names["findings"] >= names["table1"] | names["alternatives"]
    cfg = composed("+ablation=findings")
    assert cfg["threads"] == 1, "bits must not depend on the number of cores"
    parts = [variant for variant in variants(cfg) if set(variant.options) <= {"teacache", "delta"}]
    assert {variant.section for variant in parts} == {1, 4, 9}
    assert {variant.packing.tail for variant in parts} == {"td", "ta", "tc"}
    assert {variant.discrete for variant in parts} == {None, 0, 1, 16, 256}
    assert {variant.options.get("teacache") for variant in parts} == {None, 0.15}


def test_serial_sections_make_as_many_frames_as_long_ones() -> None:
    found = planned(composed("+ablation=serial"))
    assert len({plan.frames for plan in found.values()}) == 1
    counts = {variant.section: len(plan.sections) for variant, plan in found.items()}
    assert counts == {2: 16, 4: 8, 8: 4, 16: 2}


def test_the_exit_preset_asks_for_people_who_leave() -> None:
    from bench.suites import chosen

    suite = chosen(composed("+ablation=exit")["prompts"])
    assert len(suite.prompts) >= 8
    assert all("leave" in prompt.tags for prompt in suite.prompts)
    motion = yaml.safe_load((ROOT / "conf" / "prompts" / "motion.yaml").read_text("utf-8"))
    csv = (ROOT / "conf" / "prompts" / motion["file"]).read_text("utf-8")
    assert "exit-frame" in csv, "what the preset's comment names for the motion suite"


def test_onset_videos_are_long_enough_to_have_a_later_part() -> None:
    assert all(len(plan.sections) >= 8 for plan in planned(composed("+ablation=onset")).values())
