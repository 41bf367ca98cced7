"""Imports point one way: run_bench -> reports -> ablations -> bench; everyone may use metrics."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "metrics": {"metrics"},
    "bench": {"bench", "metrics"},
    "ablations": {"ablations", "bench", "metrics"},
    "reports": {"reports", "ablations", "bench", "metrics"},
}


def imported_packages(file: Path) -> set[str]:
    """Top-level names that a file imports, wherever in the file the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package: str) -> None:
    ours = {*MAY_IMPORT, "run_bench", "tests"}
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        forbidden = imported_packages(file) & ours - MAY_IMPORT[package]
        assert not forbidden, f"{file.relative_to(ROOT)} imports {forbidden}"
