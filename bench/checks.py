"""What the command line says for all stages, checked once before any of them begins."""

from collections.abc import Mapping
from typing import Any

from bench.errors import UserError
from metrics.sets import DEVICE


def check(cfg: Mapping[str, Any]) -> None:
    """Refuse a device, a number of threads or a time limit that no stage can use.

    Args:
        cfg: see `bench.config.Config`.

    Raises:
        UserError: names the first key that is wrong, and what it may be.
    """
    device, threads, limit = (cfg.get(key) for key in ("device", "threads", "time_limit"))
    if device is not None and not DEVICE.fullmatch(device):
        raise UserError(f"device={device}: give cpu, cuda or cuda:N; null chooses")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}: give 1 or more, or null")
    if limit is not None and not limit >= 0:
        raise UserError(f"time_limit={limit}: give seconds from 0 on, or null")
