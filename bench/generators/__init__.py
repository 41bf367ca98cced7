"""Generators: models behind one protocol; one file and one YAML each.

`build` makes the generator that a configuration describes, and gives the same object for the same
configuration, so that the variants of a sweep share one loaded model.
"""

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from bench.errors import UserError
from bench.generators.base import Generator

KINDS: dict[str, str] = {"framepack": "bench.generators.framepack"}
"""Kind of generator → the module whose `build(options) -> Generator` makes it."""

_built: dict[str, Generator] = {}


def build(config: Mapping[str, Any]) -> Generator:
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
        make: Callable[[Mapping[str, Any]], Generator] = import_module(KINDS[kind]).build
        _built.clear()  # two 13B models do not fit where one does
        _built[key] = make(options)
    return _built[key]
