"""Imports go one way: cli → studies, export → training → data, model → frequency → io."""

import ast
from pathlib import Path

import pytest

import dctnet

ROOT = Path(dctnet.__file__).parent
MAY_IMPORT = {"io": {"io"}, "frequency": {"io", "frequency"}}
MAY_IMPORT["data"] = MAY_IMPORT["frequency"] | {"data"}
MAY_IMPORT["model"] = MAY_IMPORT["frequency"] | {"model"}
MAY_IMPORT["training"] = MAY_IMPORT["data"] | MAY_IMPORT["model"] | {"training"}
MAY_IMPORT["export"] = MAY_IMPORT["training"] | {"export"}
MAY_IMPORT["studies"] = MAY_IMPORT["training"] | {"export", "studies"}
MAY_IMPORT["cli"] = MAY_IMPORT["studies"] | {"cli"}
FILES = sorted(ROOT.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at its top or within functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return names


def test_imports_follow_the_flow():
    for path in FILES:
        package = path.relative_to(ROOT).parts[0]
        for name in imported(path) if package in MAY_IMPORT else ():
            parts = name.split(".")
            if parts[0] == "dctnet" and len(parts) > 1 and parts[1] in MAY_IMPORT:
                assert parts[1] in MAY_IMPORT[package], f"{path} imports {name}"


@pytest.mark.parametrize("package", ["io", "frequency"])
def test_the_lowest_packages_need_only_torch(package):
    heavy = {"torchvision", "pytorch_lightning", "scipy", "numpy", "PIL"}
    for path in (ROOT / package).glob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & heavy, path


def test_below_training_only_the_datamodule_imports_lightning():
    users = {path.relative_to(ROOT) for path in FILES if any(n.startswith("pytorch_lightning") for n in imported(path))}
    assert {str(u) for u in users if u.parts[0] in ("io", "frequency", "data", "model")} == {"data/datamodule.py"}
