"""framepack-bench: one command for the whole way from a prompt to a ranked table.

`python run_bench.py --help` reads like a manual page; docs/ explains the rest.

Exit status: 0 all succeeded · 1 some of it failed · 2 the command or an input is wrong ·
75 the time limit came first · 130 interrupted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hydra
import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ablations.chosen import check_once, variants
from bench import config
from bench.checks import check
from bench.errors import NO_PLACE, NO_ROOM, UserError, told
from bench.mistakes import check_word, one_line

CONF = Path(__file__).resolve().parent / "conf"
OK, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130

MAIN_PROCESS = os.getpid()
outcomes: list[int] = []
"""Exit statuses of the runs that this process did (several when Hydra sweeps in-process)."""

Values = dict[str, Any]


class RunFailed(RuntimeError):
    """A run in another process did not succeed; its launcher must hear of it."""


def doctor(cfg: Values) -> int:
    """What this machine has."""
    from bench.stages import doctor

    return doctor.run(cfg)


def plan(cfg: Values) -> int:
    """Print the variants' plans; no model is loaded."""
    from bench.stages import plan

    return plan.run(cfg, variants(cfg))


def generate(cfg: Values) -> int:
    """Make the missing videos."""
    from bench.stages import generate

    return generate.run(cfg, variants(cfg))


def score(cfg: Values) -> int:
    """Measure the study's videos, or those of any folder (videos=DIR prompts=CSV)."""
    if cfg["videos"] is not None:
        from metrics.jobs import score_folder

        if not any(word.startswith(("study=", "name=")) for word in overrides()):
            example = Path("studies") / Path(cfg["videos"]).resolve().name
            raise UserError(
                f"videos={cfg['videos']}: say where their scores go, study=FOLDER "
                f"(such as study={example})"
            )
        csv = cfg["prompts"]["file"]
        return score_folder(
            Path(cfg["videos"]),
            Path(cfg["study"]),
            cfg["metrics"],
            prompts=None if csv is None else Path(csv),
            shard=str(cfg["shard"]),
            device=cfg["device"],
            offline=cfg["offline"] or None,
        )
    from bench.stages import score

    return score.run(cfg)


def arena(cfg: Values) -> int:
    """Serve blind A/B votes."""
    from ablations import arena

    if cfg["plan"]:
        arena.plan(cfg)
    else:
        arena.serve(cfg)
    return OK


def report(cfg: Values) -> int:
    """Write tables, plots and the page."""
    from reports.stage import run

    return run(cfg)


def demo(cfg: Values) -> int:
    """A small study from start to end."""
    if cfg["generator"].get("kind") != "folder":
        from bench.stages import generate as asking

        asking.ask(cfg, variants(cfg))  # what it refuses would stand below a long table
    doctor(cfg)  # says what is missing; what can be fetched is fetched when it is needed
    worst = OK
    for stage in (generate, score, report):
        worst = max(worst, stage(cfg))
        if worst > FAILED:  # stopped, not merely incomplete
            break
    return worst


def submit(cfg: Values) -> int:
    """Put the study on a SLURM cluster and return."""
    from bench.stages import submit

    return submit.run(cfg, variants(cfg), overrides())


def status(cfg: Values) -> int:
    """How a study stands."""
    from bench.stages import status

    return status.run(cfg)


def retry(cfg: Values) -> int:
    """Make the failed cells again: on the cluster if the study was submitted there, else here."""
    from bench import cluster
    from bench.stages import generate, submit
    from bench.study import Study

    study = Study.open(cfg["study"])
    failed = [cell for cell in study.cells() if cell.status == "failed"]
    if not failed:
        print(f"study={study.path}: no failed cells")
        return OK
    if cluster.submissions(study):
        return submit.retry(cfg, study, failed, overrides())
    here = {key: cfg[key] for key in ("study", "device", "time_limit", "claims")}
    here |= {"retry_failed": True, "worker": 0, "workers": 1}
    if study.configuration.get("generator", {}).get("kind") == "folder":
        return generate.run(study.configuration | here, [])
    worst, left = OK, {cell.key for cell in failed}
    for command in study.commands:
        mine = left.intersection(command.keys) if command.configuration else set()
        if mine:
            asked = command.configuration | here
            worst = max(worst, generate.run(asked, variants(asked), only=mine))
            left -= mine
        if worst > FAILED:  # stopped, not merely incomplete
            return worst
    return max(worst, generate.unasked(study, left))


def work(cfg: Values) -> int:
    """What a job of stage=submit does: generate, score, under one time limit."""
    from bench.signals import Stop
    from bench.stages import generate, score

    stages: dict[str, Callable[[Stop], int]] = {
        "generate": lambda stop: generate.run(cfg, variants(cfg), stop),
        "score": lambda stop: score.run(cfg, stop),
    }
    worst = OK
    with Stop(cfg["time_limit"], cfg["cluster"]["grace"]).listening() as stop:
        for name in cfg["cluster"]["stages"]:
            worst = max(worst, generate.AGAIN if stop.soon else stages[name](stop))
            if worst > FAILED:
                break
    return worst


STAGES: dict[str, Callable[[Values], int]] = {
    stage.__name__: stage
    for stage in (doctor, plan, generate, score, arena, report, demo, submit, status, retry, work)
}


def run(cfg: DictConfig) -> int:
    """Run one stage; user errors become one line and exit status 2."""
    try:
        if cfg.stage not in STAGES:
            raise UserError(f"stage={cfg.stage}: choose from {', '.join(STAGES)}")
        values = cast(Values, OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True))
        check(values)
        check_once(values)
        return STAGES[cfg.stage](values)
    except OmegaConfBaseException as error:
        return complain(one_line(error))
    except ValueError as error:
        # metrics imports nobody, so its user errors are a class of its own.
        if isinstance(error, UserError) or type(error).__module__ == "metrics.errors":
            return complain(error)
        raise
    except OSError as error:
        if error.errno not in NO_ROOM + NO_PLACE:
            raise
        complain(f"study={cfg.study}: {told(error)}; mend that and run it again")
        return FAILED if error.errno in NO_ROOM else WRONG
    except KeyboardInterrupt:
        return INTERRUPTED


def overrides() -> list[str]:
    """What the command line changes, as Hydra read it."""
    return [str(word) for word in HydraConfig.get().overrides.task]


def task(cfg: DictConfig) -> int:
    """What Hydra calls, once or once per point of a sweep."""
    status = run(cfg)
    if os.getpid() != MAIN_PROCESS and status != OK:
        raise RunFailed(f"exit status {status}")
    outcomes.append(status)
    if status == INTERRUPTED:
        raise KeyboardInterrupt
    return status


def complain(problem: object) -> int:
    """Print a user's mistake, one line for each problem."""
    for line in str(problem).splitlines():
        print(f"error: {line}", file=sys.stderr)
    return WRONG


def expanded(words: list[str]) -> list[str]:
    """A command line with what its shorthands stand for.

    `stage=demo` is a preset; a launcher of several workers sweeps over them, all on one study.

    `prompts=FILE.csv` is a suite, or with videos=DIR the prompts of its videos; `prompts.file=FILE`
    is short for the same. Those videos are measured with `metrics=lite`: the default's judges know
    the pocket world only. `options.KEY=VALUE` may name what conf/config.yaml does not.
    """
    suite = any(word.startswith("prompts=") for word in words)
    words = [part for word in words for part in _written_out(word, suite=suite)]
    flags, more = [], []
    if "stage=demo" in words and not any("ablation=" in word for word in words):
        more.append("+ablation=demo")
    if any(word.startswith("videos=") for word in words) and not any(
        word.startswith("metrics=") for word in words
    ):
        more.append("metrics=lite")
        print("videos=DIR without metrics=SET: measuring with metrics=lite", file=sys.stderr)
    shown = {"--cfg", "-c", "--info", "-i"} & {*words}
    if not shown and {"hydra/launcher=slurm", "hydra/launcher=processes"} & {*words}:
        given = [word.removeprefix("workers=") for word in words if word.startswith("workers=")]
        count = given[-1] if given else "2"
        if "-m" not in words and "--multirun" not in words:
            flags.append("--multirun")
        more += [f"worker=range({count})"] if given else [f"worker=range({count})", "workers=2"]
        if "hydra/launcher=slurm" in words:
            more += ["claims.wait=false"]
    settings = get_args_parser().parse_intermixed_args(words[1:]).overrides
    flags += [word for word in words[1:] if word not in settings]
    # argparse wants all settings side by side; --info would take one that came after it
    return [words[0], *more, *settings, *flags]


def _written_out(word: str, *, suite: bool) -> tuple[str, ...]:
    """One word of the command line, in full; `suite` says whether `prompts=` is there as well."""
    key, _, value = word.partition("=")
    if key == "prompts" and "." in Path(value).name:  # no suite of conf/prompts has an ending
        return "prompts=file", f"prompts.file={value}"
    if key == "prompts.file" and value not in ("", "null") and not suite:
        return "prompts=file", word
    return (f"++{word}",) if key.startswith("options.") else (word,)


def main() -> None:
    """The command line. Hydra composes the configuration and, with -m, the sweep."""
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors come to us, not to a stack trace
    config.register()
    outcomes.clear()
    try:
        for word in sys.argv[1:]:
            check_word(word, [*get_args_parser()._option_string_actions])
    except UserError as error:
        sys.exit(complain(error))
    sys.argv = expanded(sys.argv)
    if "hydra/launcher=slurm" in sys.argv:
        # Its jobs are unpickled elsewhere: they find our packages from any folder this way.
        there = [str(CONF.parent), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, there))
    command: Any = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(task)
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except (HydraException, OmegaConfBaseException, yaml.MarkedYAMLError) as error:
        sys.exit(complain(one_line(error)))
    except RunFailed as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILED)
    sys.exit(max(outcomes, default=OK))


if __name__ == "__main__":
    main()
