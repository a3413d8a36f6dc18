"""Imports go one way: cli → study → data, model → frequency."""

import ast
from pathlib import Path

import pytest

import dctnet

ROOT = Path(dctnet.__file__).parent
MAY_IMPORT = {
    "frequency": {"frequency"},
    "data": {"frequency", "data"},
    "model": {"frequency", "model"},
    "study": {"frequency", "data", "model", "study"},
    "cli": {"frequency", "data", "model", "study", "cli"},
}
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_flow(path):
    room = path.relative_to(ROOT).parts[0]
    if room not in MAY_IMPORT:
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "dctnet" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] in MAY_IMPORT[room], f"{path} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "frequency").glob("*.py")), ids=lambda p: p.name)
def test_frequency_needs_torch_alone(path):
    assert not {n.split(".")[0] for n in imported(path)} & {"torchvision", "pytorch_lightning", "scipy", "numpy", "PIL"}


def test_lightning_is_imported_only_where_it_drives():
    users = {str(p.relative_to(ROOT)) for p in FILES if any(n.startswith("pytorch_lightning") for n in imported(p))}
    assert {u for u in users if not u.startswith(("study/", "cli/"))} == {"data/datamodule.py", "model/classifier.py"}
