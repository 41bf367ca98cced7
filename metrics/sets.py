"""Metric sets: the files of conf/metrics, one set a file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metrics.drift import FRACTION
from metrics.errors import UserError

FOLDER = Path(__file__).parents[1] / "conf" / "metrics"

CHUNK = 16

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
"""Names of devices that networks may be put on."""


@dataclass(frozen=True)
class MetricSet:
    """What to measure, with what, and how."""

    name: str
    backends: tuple[str, ...]
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """back-end → keyword arguments of its class."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """metric → why this set has no back-end for it."""
    fraction: float = FRACTION
    """The start's and the end's share of the frames, for drift."""
    chunk: int = CHUNK
    """Frames decoded at a time."""
    device: str | None = None
    """None: cuda when there is one, else cpu."""
    offline: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 0.5:
            raise UserError(f"metrics.fraction is {self.fraction}; it must be in (0, 0.5]")
        if self.chunk < 1:
            raise UserError(f"metrics.chunk is {self.chunk}; it must be at least 1")
        if self.device is not None and not DEVICE.fullmatch(self.device):
            raise UserError(f"device is {self.device!r}; give cpu, cuda or cuda:N; null chooses")
        for backend in self.options:
            if backend not in self.backends:
                raise UserError(
                    f"metrics.options names {backend!r}, which is not one of metrics.backends "
                    f"({', '.join(self.backends)})"
                )


def names() -> list[str]:
    """Sets that there are files for."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(metrics: "str | Sequence[str] | Mapping[str, Any] | MetricSet") -> MetricSet:
    """A set by its name, a list of back-ends, or the resolved `metrics` section of a study.

    Raises:
        UserError: no such set, or a key that a set does not have.
    """
    if isinstance(metrics, MetricSet):
        return metrics
    if isinstance(metrics, str):
        import yaml

        path = FOLDER / f"{metrics}.yaml"
        if not path.is_file():
            raise UserError(f"metrics={metrics!r} is no set (known: {', '.join(names())})")
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        metrics = content if isinstance(content, dict) else {}
    if not isinstance(metrics, Mapping):
        return MetricSet("custom", tuple(metrics))
    unknown = set(metrics) - set(MetricSet.__dataclass_fields__)
    if unknown:
        known = ", ".join(MetricSet.__dataclass_fields__)
        raise UserError(f"metrics has no key {sorted(unknown)[0]!r} (known: {known})")
    if "name" not in metrics or "backends" not in metrics:
        raise UserError("a metric set needs the keys name and backends")
    return MetricSet(**{**metrics, "backends": tuple(metrics["backends"])})
