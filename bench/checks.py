"""What the command line says for all stages, checked once before any of them begins."""

from collections.abc import Mapping, Sequence
from typing import Any

from bench.config import gib, minutes
from bench.errors import UserError
from bench.generators.options import check_numbers
from metrics import registry, sets
from metrics.errors import UserError as MetricsUserError
from metrics.sets import DEVICE

WHOLE = "1/1"
"""The shard that is everything."""

STAGES = ("generate", "score")
"""What a job on a cluster can do."""

LEAST = {"jobs": 1, "cpus": 1, "gpus": 0, "parallel": 1, "grace": 0}
"""The smallest number that sbatch, or the job's script, can use."""

PLANNING = ("arena", "submit")
"""Stages that can say what they would do (plan=true)."""

LONGEST_GRACE = 65535
"""Seconds; sbatch takes no more for --signal."""


def check(cfg: Mapping[str, Any]) -> None:
    """Refuse what no stage can use, whichever stage it is: hours may pass before it would show.

    Args:
        cfg: see `bench.config.Config`.

    Raises:
        UserError: names the first key that is wrong, and what it may be; of a shard, that of
            `metrics`.
    """
    device, threads, limit = (cfg.get(key) for key in ("device", "threads", "time_limit"))
    if device is not None and not DEVICE.fullmatch(device):
        raise UserError(f"device={device}: give cpu, cuda or cuda:N; null chooses")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}: give 1 or more, or null")
    if limit is not None and not limit >= 0:
        raise UserError(f"time_limit={limit}: give seconds from 0 on, or null")
    if cfg.get("plan") and cfg.get("stage") not in PLANNING:
        only = " and ".join(f"stage={stage}" for stage in PLANNING)
        raise UserError(f"plan=true: stage={cfg.get('stage')} has no plan; {only} have one")
    if (shard := cfg.get("shard", WHOLE)) != WHOLE:
        from metrics.score import parse_shard  # what is not needed is not waited for

        parse_shard(shard)
    check_numbers(cfg.get("generator", {}))
    check_metrics(cfg.get("metrics", {}))
    check_cluster(cfg.get("cluster", {}))


def check_metrics(metrics: Mapping[str, Any]) -> None:
    """Refuse a metric set that would only be refused once all videos are made.

    Args:
        metrics: a group of `conf/metrics`.

    Raises:
        UserError: a back-end that does not exist; of a key, that of `metrics`.
    """
    backends = metrics.get("backends", [])
    if not isinstance(backends, Sequence) or isinstance(backends, str):
        raise UserError(f"metrics.backends={backends}: give a list, [{backends}]")
    for backend in backends:
        try:
            registry.measures(backend)
        except MetricsUserError as error:
            raise UserError(f"metrics.backends: {error}") from None
    if metrics:
        sets.load(metrics)


def check_cluster(cluster: Mapping[str, Any]) -> None:
    """Refuse what sbatch would refuse, or what a job would only find out when it begins.

    Args:
        cluster: see `bench.config.Cluster`; only keys that are there are looked at.

    Raises:
        UserError: names the first key that is wrong, and what it may be.
    """
    for key, least in LEAST.items():
        number = cluster.get(key)
        if number is not None and number < least:
            null = ", or null" if key == "parallel" else ""
            raise UserError(f"cluster.{key}={number}: give {least} or more{null}")
    stages = cluster.get("stages", STAGES)
    if unknown := [name for name in stages if name not in STAGES]:
        raise UserError(f"cluster.stages: no {unknown[0]}; choose from {', '.join(STAGES)}")
    if not stages:
        raise UserError(f"cluster.stages=[]: give one or more of {', '.join(STAGES)}")
    gib(cluster.get("memory"))  # raises what is wrong with it
    grace = cluster.get("grace", 0)
    if grace > LONGEST_GRACE:
        raise UserError(f"cluster.grace={grace}: give at most {LONGEST_GRACE} seconds")
    limit = minutes(cluster.get("time", "0")) * 60
    if 0 < limit <= grace:  # the job would be warned as it begins, and requeued for ever
        raise UserError(f"cluster.grace={grace}: give less than cluster.time, {limit} seconds")
