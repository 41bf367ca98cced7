"""Which variants a configuration asks for: names, or the product of samplers, packings, ..."""

import difflib
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ablations.variant import levels, parse, scalar
from bench.errors import UserError
from bench.packing import TAILS
from bench.variant import MAX_SECTION, OPTIONS, Variant, check_option

SAMPLERS: Mapping[str, str] = {
    "vanilla": "{tail}_{packing}_g{section}",
    "f1": "f1k1_x_{tail}_{packing}_g{section}",
    "anti_drifting": "{tail}_{packing}_g{section}_x_f1k1",
    "endpoints": "{tail}_{packing}_g{section}_x_f1k1_x_f1k1",
    "inverted": "f1k1_x_g{section}_{reversed}_{tail}",
}
"""The paper's name of each sampler's variants; packings are given in time order."""

PARTS: Mapping[str, Any] = {
    "sampler": "inverted",
    "packing": "f16k4f2k2f1k1",
    "section": 9,
    "tail": "td",
    "discrete": None,
}
"""What a variant is put together from where none is named, and what a part is that is not given.

The configuration has null for all of them, so that a part that somebody gave can be told from one
that nobody did.
"""


def variants(cfg: Mapping[str, Any]) -> list[Variant]:
    """The variants of a configuration, each once, in the order asked for.

    Args:
        cfg: `variant` (a name or a list of names); where it is null, `sampler`, `packing`,
            `section`, `tail`, `discrete` and `options`, each a value or a list; what is null is
            as in `PARTS`.

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


def check_once(cfg: Mapping[str, Any]) -> None:
    """Refuse parts beside a variant, whose name says them all: they would change nothing.

    Args:
        cfg: as of `variants`.

    Raises:
        UserError: names what is given twice.
    """
    if cfg.get("variant") is None:
        return
    parts = {key: cfg.get(key) for key in PARTS}
    parts |= {f"options.{key}": value for key, value in (cfg.get("options") or {}).items()}
    given = [key for key, value in parts.items() if value is not None]
    if given:
        names = _listed("variant", cfg["variant"])
        named = names[0] if len(names) == 1 else f"[{names[0]},...]"
        told = ", ".join(f"{key}={_as_typed(parts[key])}" for key in given)
        raise UserError(
            f"{told}: no effect beside variant={named}, whose name says it all; leave one of the "
            "two out (variant=null puts variants together from their parts)"
        )


def _as_typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    return f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _product(cfg: Mapping[str, Any]) -> list[str]:
    """The names of all combinations of the parts."""
    parts = {
        key: _listed(key, default if cfg.get(key) is None else cfg[key])
        for key, default in PARTS.items()
    }
    for key, values in parts.items():
        for value in values:
            _check_part(key, value)
    asked = sorted((cfg.get("options") or {}).items())
    options = {key: _option(key, value) for key, value in asked}
    names = []
    for sampler, packing, section, tail, discrete in itertools.product(*parts.values()):
        body = SAMPLERS[sampler].format(
            packing=packing,
            reversed="".join(map(str, reversed(levels(str(packing))))),
            section=section,
            tail=tail,
        )
        if discrete is not None:
            body += f"+D{discrete or ''}"
        for values in itertools.product(*options.values()):
            suffix = "".join(f"+{key}-{v}" for key, v in zip(options, values, strict=True))
            names.append(body + suffix)
    return names


def _check_part(key: str, value: Any) -> None:
    """Refuse a part by its own key: the name that is made of it was never typed."""
    if key == "sampler" and str(value) not in SAMPLERS:
        raise UserError(f"sampler={value}: choose from {', '.join(SAMPLERS)}")
    if key == "packing":
        levels(str(value))
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key == "section" and not (whole and 1 <= value <= MAX_SECTION):
        raise UserError(f"section={value}: give 1 to {MAX_SECTION} latent frames, or a list")
    if key == "tail" and str(value) not in TAILS:
        raise UserError(f"tail={value}: choose from {', '.join(TAILS)}")
    if key == "discrete" and value is not None and not (whole and value >= 0):
        raise UserError(
            f"discrete={value}: give a number of codes, 0 for the generator's own, or null"
        )


def _option(key: str, value: Any) -> list[str]:
    """An option's value or values as names write them."""
    if key not in OPTIONS:
        near = difflib.get_close_matches(key, OPTIONS, n=1)
        hint = f"did you mean options.{near[0]}? " if near else ""
        raise UserError(f"options.{key}: no such option; {hint}there are {', '.join(OPTIONS)}")
    listed = _listed(f"options.{key}", value)
    return [scalar(check_option(f"options.{key}={each}", key, str(each))) for each in listed]


def _listed(key: str, value: Any) -> Sequence[Any]:
    """A value as a list of one; a list as it is, unless it is empty."""
    listed = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if not listed:
        raise UserError(f"{key}=[]: give one or more")
    return listed
