"""A tiny checkpoint and generators on it, made once per test process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random checkpoint in the published layout."""
    from tests.bench.tiny_checkpoint import build_tiny

    return build_tiny(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(scope="session")
def tiny_generator(tiny: Path) -> Callable[..., Any]:
    """`tiny_generator(steps=2)`: a generator on the tiny checkpoint, shared where options agree."""
    from bench.generators import framepack

    made: dict[str, Any] = {}

    def build(**options: Any) -> Any:
        key = repr(sorted(options.items()))
        if key not in made:
            defaults = {"checkpoint": str(tiny), "device": "cpu", "steps": 2, "guidance": 6.0}
            made[key] = framepack.build(defaults | options)
        return made[key]

    return build
