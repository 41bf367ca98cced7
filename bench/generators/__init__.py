"""Generators: models behind one protocol; one file and one YAML each.

`build` makes the generator that a configuration describes, and gives the same object for the same
configuration, so that the variants of a sweep share one loaded model.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from bench.errors import UserError
from bench.generators.base import Generator, RollsOut
from bench.generators.codebooks import codebook
from bench.generators.flow import read_shift
from bench.plan import Plan
from bench.variant import Variant

KINDS: dict[str, str] = {
    "framepack": "bench.generators.framepack",
    "hunyuan_i2v": "bench.generators.hunyuan_i2v",
    "wan_i2v": "bench.generators.wan_i2v",
    "wan_flf2v": "bench.generators.wan_flf2v",
    "ltx": "bench.generators.ltx",
    "skyreels_v2": "bench.generators.skyreels_v2",
    "helios": "bench.generators.helios",
}
"""Kind of generator → the module whose `build(options) -> Generator` makes it."""

ANY_PLAN = frozenset({"framepack", "folder"})
"""Kinds that take the samplers' plans; the module of any other kind has a `plan` of its own."""

AnyGenerator = Generator | RollsOut

NOT_FRAMEPACK = ("block", "lag")
"""Options of other generators, which name their own and refuse all others."""

_built: dict[str, AnyGenerator] = {}


def plan(config: Mapping[str, Any], variant: Variant, **asked: Any) -> Plan:
    """The plan of one video by the generator of a configuration, which is not loaded.

    Args:
        config: `kind`, as of `build`.
        variant: what is under test.
        asked: further arguments of `bench.samplers.plan`.

    Raises:
        UserError: the generator cannot make this variant, or not at this size.
    """
    from bench import samplers

    kind = config.get("kind", "framepack")
    if kind in ANY_PLAN or kind not in KINDS:
        for key in NOT_FRAMEPACK:
            if key in variant.options:
                raise UserError(f"{variant.name}: generator {kind} has no option {key}")
        return samplers.plan(variant, **asked)
    made: Plan = import_module(KINDS[kind]).plan(variant, **asked)
    return made


def check(config: Mapping[str, Any], variant: Variant) -> None:
    """Refuse a variant whose plan can be made, but no video: for its flow shift, or +D.

    The codes are a file that the configuration has to name. Other kinds than FramePack have no +D
    to plan.

    Args:
        config: as of `build`.
        variant: what is under test.

    Raises:
        UserError: the shift is no positive number; no codebook of the variant's K is configured, or
            its file is not there.
    """
    kind = config.get("kind", "framepack")
    asked = {
        "generator.": config.get("shift"),
        f"{variant.name}: option ": variant.options.get("shift"),
    }
    for owner, value in asked.items():
        try:
            shift = read_shift(value)
        except UserError as error:
            raise UserError(f"{owner}{error}") from None
        if shift == "released" and kind != "framepack":
            raise UserError(f"{owner}shift: `released` is a rule of FramePack; give a number")
    if kind == "framepack" and variant.discrete is not None:
        codebook(config.get("codebooks") or {}, variant)


def build(config: Mapping[str, Any]) -> AnyGenerator:
    """The generator of a configuration (a `conf/generator` group), loaded once per process.

    Args:
        config: `kind`, and the options that this kind documents.

    Raises:
        UserError: the kind or an option is unknown, or the checkpoint cannot be used.
    """
    key = json.dumps(dict(config), sort_keys=True, default=str)
    if key not in _built:
        options = {name: value for name, value in config.items() if name != "kind"}
        kind = config.get("kind")
        if kind not in KINDS:
            raise UserError(f"generator.kind: {kind!r} is not one of {', '.join(KINDS)}, folder")
        make: Callable[[Mapping[str, Any]], AnyGenerator] = import_module(KINDS[kind]).build
        _built.clear()  # two 13B models do not fit where one does
        _built[key] = make(options)
    return _built[key]
