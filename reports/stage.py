"""The stage `report` of run_bench.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.errors import UserError
from reports.report import write


def run(cfg: Mapping[str, Any]) -> int:
    """The stage `report`: write the report that a configuration asks for and say where it is."""
    chosen = dict(cfg.get("report") or {})
    for key in ("studies", "scenes"):  # one may be given without brackets
        if isinstance(chosen.get(key), str):
            chosen[key] = [chosen[key]]
    studies = [cfg["study"], *(chosen.pop("studies", None) or [])]
    loggers = {name: chosen.pop(name, None) for name in ("tensorboard", "wandb")}
    known = set(write.__kwdefaults__ or {}) | {"out"}
    if unknown := sorted(set(chosen) - known):
        allowed = ", ".join(sorted({*known, "studies", *loggers}))
        raise UserError(f"report.{unknown[0]}: not an option of reports; there are {allowed}")
    written = write(studies, **{name: value for name, value in chosen.items() if value is not None})
    from reports.summary import show

    show(written)
    if any(loggers.values()):
        from reports.logging import log

        log(written, tensorboard=loggers["tensorboard"], wandb=loggers["wandb"])
    return 0
