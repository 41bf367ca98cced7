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
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from ablations.chosen import variants
from bench import generators
from metrics import registry, sets, weights
from reports.claims import QUESTIONS

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SHELL = re.compile(r"^```(?:bash|sh|console)\n(.*?)^```", re.M | re.S)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
COMMAND = re.compile(r"^(?:\$ )?(?:\S*python3?|make|pip) ", re.M)


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_in_shell_blocks_where_these_tests_see_them(page: Path) -> None:
    blocks = FENCE.findall(page.read_text(encoding="utf-8"))
    assert not [text for kind, text in blocks if kind == "" and COMMAND.search(text)]


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
def test_run_bench_commands_compose(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    if show:
        monkeypatch.chdir(tmp_path)
        makes_what_its_judges_know(yaml.safe_load(done.stdout))


def makes_what_its_judges_know(cfg: dict[str, Any]) -> None:
    """A composed command asks for no +D without a codebook, nor cartoon judges of real videos."""
    generator, metrics = cfg["generator"], cfg["metrics"]
    if cfg["stage"] not in ("generate", "submit") or generator["kind"] == "folder":
        return
    for file in generator.get("codebooks", {}).values():  # those of the pages are the reader's
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    for variant in variants(cfg):
        generators.check(generator, variant)
    if cfg["stage"] == "submit" and generator["name"] != "pocket":
        assert metrics["name"] != "pocket"


def test_the_preset_in_the_manual_makes_what_it_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    (preset,) = [text for kind, text in FENCE.findall(page) if kind == "yaml"]
    assert "2 × 2 × 2 variants" in preset
    (tmp_path / "ablation").mkdir()
    (tmp_path / "ablation" / "mine.yaml").write_text(preset, encoding="utf-8")
    words = ["stage=plan", "json=true", "+ablation=mine", f"--config-dir={tmp_path}"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_bench.py"), *words],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 8


def test_the_helps_examples_ask_for_what_their_generator_can_make(tmp_path: Path) -> None:
    manual = yaml.safe_load((ROOT / "conf/hydra/help/framepack_bench.yaml").read_text("utf-8"))
    examples = manual["template"].partition("EXAMPLES")[2].replace("\\\n", " ").splitlines()
    words = [shlex.split(line)[2:] for line in examples if "generator=framepack" in line]
    assert len(words) == 1
    done = subprocess.run(
        [sys.executable, str(ROOT / "run_bench.py"), *words[0], "--cfg", "job"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    makes_what_its_judges_know(yaml.safe_load(done.stdout))


@pytest.mark.parametrize("page", ["docs/voting.md", "conf/arena/default.yaml"])
def test_a_completion_url_can_be_typed_as_it_is_shown(page: str) -> None:
    shown = re.search(r"'arena\.completion_url=.*?'", (ROOT / page).read_text(encoding="utf-8"))
    assert shown is not None, "both pairs of quotes"
    typed = OverridesParser.create().parse_override(shlex.split(shown.group())[0])
    assert typed.value() == "https://example.org/done?code={code}"


def test_the_licences_of_the_papers_weights_are_those_registered() -> None:
    page = (ROOT / "docs" / "metrics" / "paper.md").read_text(encoding="utf-8")
    table = page.partition("## Licences of the weights")[2].partition("\n## ")[0]
    told = {
        file: licence
        for files, licence in re.findall(r"^\| (`.*`) \| (.*) \|$", table, re.M)
        for file in re.findall("`(.*?)`", files)
    }
    backends = [*sets.load("paper").backends, "laion-mlp", "rife", "clip-mean"]
    files = [weights.lookup(n) for name in backends for n in registry.build(name).weights]
    assert told == {file.file: file.licence for file in files}


def test_the_manual_names_the_variables_that_say_where_weights_are() -> None:
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    named = (weights.CACHE_VARIABLE, weights.FOLDER_VARIABLE, weights.OFFLINE_VARIABLE)
    assert [name for name in named if f"`{name}`" not in page] == []


def test_the_claims_stand_in_the_manual_by_their_numbers() -> None:
    page = (ROOT / "docs" / "ratings.md").read_text(encoding="utf-8")
    told = re.findall(r"^(\d)\. (.*)$", page, re.M)
    assert told == [(str(number), words) for number, (words, _) in enumerate(QUESTIONS, 1)]


@pytest.mark.parametrize("group", ["prompts", "video", "metrics"])
def test_the_configuration_names_every_value_of_a_group(group: str) -> None:
    default = (ROOT / "conf" / "config.yaml").read_text(encoding="utf-8")
    comment = re.search(rf"^  - {group}: .*# (.*)$", default, re.M)
    assert comment is not None
    values = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
    assert set(comment[1].split(" | ")) == values
