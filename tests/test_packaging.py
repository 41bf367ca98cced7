"""What `pip install` puts on a machine: everything that the programs read, and no tests."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SHIPPED = ("run_bench.py", "bench", "metrics", "ablations", "reports", "conf")

PROGRAM = """
import sys
from setuptools import Distribution

distribution = Distribution({"script_name": "setup.py"})
distribution.parse_config_files()
distribution.get_command_obj("egg_info").egg_base = sys.argv[1]
build = distribution.get_command_obj("build_py")
build.build_lib = "."
build.ensure_finalized()
sys.stdout = sys.stderr
outputs = build.get_outputs(include_bytecode=False)
sys.__stdout__.write("\\n".join(outputs))
"""


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(
    tmp_path: Path, require: Callable[..., str]
) -> None:
    listed = subprocess.run(
        [require("git"), "-c", f"safe.directory={ROOT}", "ls-files", *SHIPPED],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    there = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    built = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    shipped = {str(Path(line)) for line in built.stdout.splitlines()}
    assert "conf/config.yaml" in there
    assert there - shipped == set()
    assert {Path(name).parts[0] for name in shipped} == set(SHIPPED)
