"""Every command in the README and the docs is one that works.

All `run_bench.py` commands are composed (Hydra refuses an unknown key, group or value), all make
targets exist, all files a command names are there, and modules called with `-m` import. What the
commands do is tested where it is built.
"""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SHELL = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.M | re.S)


def commands(page: Path) -> list[str]:
    """Command lines of a page's shell blocks, continuation lines joined, comments removed."""
    found = []
    for block in SHELL.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            if words:
                found.append(shlex.join(words))
    return found


ALL = {c: page for page in PAGES for c in commands(page)}
RUN_BENCH = sorted(c for c in ALL if "run_bench.py" in c)


def test_the_readme_names_the_two_commands_of_the_set_up() -> None:
    assert {"make demo", "make test"} <= set(commands(ROOT / "README.md"))


@pytest.mark.parametrize("command", [c for c in ALL if shlex.split(c)[0] == "make"])
def test_make_targets_exist(command: str) -> None:
    target = shlex.split(command)[1]
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.M), command


@pytest.mark.parametrize("command", [c for c in ALL if " -m " in c and "run_bench" not in c])
def test_modules_exist(command: str) -> None:
    words = shlex.split(command)
    module = words[words.index("-m") + 1]
    if module.split(".")[0] in {"bench", "metrics", "ablations", "reports", "tests"}:
        assert importlib.util.find_spec(module), command


@pytest.mark.parametrize("command", RUN_BENCH)
def test_run_bench_commands_compose(command: str, tmp_path: Path) -> None:
    words = shlex.split(command)
    overrides = [
        word
        for word in words[words.index(next(w for w in words if "run_bench.py" in w)) + 1 :]
        if word not in {"-m", "--multirun"}
    ]
    show = [] if any(o.startswith("--") for o in overrides) else ["--cfg", "job"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_bench.py"), *overrides, *show],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{ALL[command].name}: {command}\n{done.stderr}"
    assert done.stdout.strip()
