"""Which variants a configuration asks for: names, or the product of samplers, packings, ..."""

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ablations.variant import parse
from bench.errors import UserError
from bench.variant import Variant

SAMPLERS: Mapping[str, str] = {
    "vanilla": "{tail}_{packing}_g{section}",
    "f1": "f1k1_x_{tail}_{packing}_g{section}",
    "anti_drifting": "{tail}_{packing}_g{section}_x_f1k1",
    "endpoints": "{tail}_{packing}_g{section}_x_f1k1_x_f1k1",
    "inverted": "f1k1_x_g{section}_{reversed}_{tail}",
}
"""The paper's name of each sampler's variants; packings are given in time order."""

PARTS = ("sampler", "packing", "section", "tail", "discrete")
"""What a variant is put together from where none is named."""

LEVELS = re.compile(r"(f\d+k\d+)+")


def variants(cfg: Mapping[str, Any]) -> list[Variant]:
    """The variants of a configuration, each once, in the order asked for.

    Args:
        cfg: `variant` (a name or a list of names); where it is null, `sampler`, `packing`,
            `section`, `tail`, `discrete` and `options`, each a value or a list.

    Raises:
        UserError: a name that is not in the grammar, or a part that does not exist.
    """
    given = cfg.get("variant")
    names = _product(cfg) if given is None else _listed("variant", given)
    found: dict[str, Variant] = {}
    for name in names:
        variant = parse(str(name))
        found.setdefault(variant.name, variant)
    return list(found.values())


def _product(cfg: Mapping[str, Any]) -> list[str]:
    """The names of all combinations of the parts."""
    parts = {key: _listed(key, cfg[key]) for key in PARTS}
    for sampler in parts["sampler"]:
        if sampler not in SAMPLERS:
            raise UserError(f"sampler={sampler}: choose from {', '.join(SAMPLERS)}")
    for packing in parts["packing"]:
        if not LEVELS.fullmatch(str(packing)):
            raise UserError(
                f"packing={packing}: give levels fNkM in time order, such as f16k4f2k2f1k1"
            )
    asked = sorted((cfg.get("options") or {}).items())
    options = {key: _listed(f"options.{key}", value) for key, value in asked}
    names = []
    for sampler, packing, section, tail, discrete in itertools.product(*parts.values()):
        levels = re.findall(r"f\d+k\d+", str(packing))
        body = SAMPLERS[sampler].format(
            packing=packing, reversed="".join(reversed(levels)), section=section, tail=tail
        )
        if discrete is not None:
            body += f"+D{discrete or ''}"
        for values in itertools.product(*options.values()):
            suffix = "".join(f"+{key}-{v}" for key, v in zip(options, values, strict=True))
            names.append(body + suffix)
    return names


def _listed(key: str, value: Any) -> Sequence[Any]:
    """A value as a list of one; a list as it is, unless it is empty."""
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not listed:
        raise UserError(f"{key}=[]: give one or more")
    return listed
