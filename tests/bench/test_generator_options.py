"""Options of generators: every YAML is known to its kind, and what is wrong is said in one line."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.errors import UserError
from bench.generators import KINDS, build, skyreels_v2
from bench.generators.framepack_config import Config
from bench.generators.options import read
from tests.bench.tiny_clips import build_wan

GROUP = Path(__file__).parents[2] / "conf" / "generator"


def test_every_kind_has_a_yaml_and_every_yaml_a_kind() -> None:
    kinds = {yaml.safe_load(file.read_text()).get("kind") for file in GROUP.glob("*.yaml")}
    assert kinds - {None} == {*KINDS, "folder"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_s_module_builds_and_plans(kind: str) -> None:
    module = import_module(KINDS[kind])
    assert callable(module.build)
    assert kind == "framepack" or callable(module.plan)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": "abc"}, "generator.steps: 'abc' is not a whole number"),
        ({"steps": 2.5}, "generator.steps: 2.5 is not a whole number"),
        ({"steps": True}, "generator.steps: True is not a whole number"),
        ({"steps": 0}, "generator.steps: 0 is not a positive number"),
        ({"shift": -1}, "generator.shift: -1 is not a positive number"),
        ({"shift": "released"}, "generator.shift: 'released' is not a number or null"),
        ({"cfg": None}, "generator.cfg: None is not a number"),
        ({"vae_tiling": 1}, "generator.vae_tiling: 1 is not true or false"),
        ({"dtypes": "float32"}, "generator.dtypes: 'float32' is not a mapping"),
        ({"offload": "half"}, "generator.offload: 'half' is not one of none, model, sequential"),
        ({"checkpoint": ""}, "generator.checkpoint: give a folder or a hub id"),
    ],
)
def test_wrong_options_are_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        read(skyreels_v2.Config, {"checkpoint": "x", **options})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_whole_numbers_and_words_are_taken_where_they_fit() -> None:
    assert read(skyreels_v2.Config, {"checkpoint": "x", "cfg": 5, "shift": 3}).cfg == 5
    assert read(Config, {"checkpoint": "x", "shift": "released"}).shift == "released"


@pytest.mark.parametrize(("kind", "last"), [("wan_flf2v", False), ("wan_i2v", True)])
def test_wan_s_two_tasks_are_told_apart(kind: str, last: bool, tmp_path: Path) -> None:
    checkpoint = build_wan(tmp_path / "wan", last=last)
    other = {"wan_flf2v": "image-to-video", "wan_i2v": "first-last frame"}[kind]
    with pytest.raises(UserError, match=f"it was trained for {other}; give it to generator wan_"):
        build({"kind": kind, "checkpoint": str(checkpoint), "device": "cpu"})
