"""What a benchmark's folder says that it was made with, compared with what is asked for now."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from dctnet.errors import UserError
from dctnet.io.strict_yaml import load_yaml

if TYPE_CHECKING:
    from dctnet.studies.accuracy.grid import Grid, Run

# Files of a benchmark's folder, beside rows.csv and images.csv; the last is in the folder of each run.
GRID, FAILURES, ENERGY, RANKING, CONFIG = "grid.yaml", "failures.csv", "energy.json", "ranking.json", "fit.yaml"


def shared_options(grid: "Grid") -> dict[str, Any]:
    """What all runs of a folder have in common, as it stands in ``grid.yaml``."""
    return {
        "data": grid.data,
        "model": grid.model,
        "trainer": grid.trainer,
        "evaluate": list(grid.evaluate),
        "ranking": vars(grid.ranking),
        "store": grid.store,
    }


def variants(runs: Iterable["Run"]) -> dict[str, dict[str, Any]]:
    """What arms have of their own, by name: the key ``variants`` of ``grid.yaml``, to which later calls may add."""
    return {run.arm: {"model": run.model, "trainer": run.trainer} for run in runs if run.model or run.trainer}


def refuse_difference(where: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compares two configurations.

    Raises:
        UserError: They differ. Names the first key that does.
    """
    old, new = _flat(before), _flat(now)
    for key in [*new, *old]:
        if key not in ("out_dir", "name") and old.get(key) != new.get(key):
            was, asked = repr(old.get(key))[:60], repr(new.get(key))[:60]
            raise UserError(f"{where} was made with {key} {was}, now asked for {asked}; give another --out")


def _flat(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def config_hash(options: dict[str, Any]) -> str:
    """Hash of a run's configuration, wherever its folder is."""
    content = {key: value for key, value in options.items() if key != "out_dir"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_yaml(path: Path, options: dict[str, Any]) -> None:
    """Writes a configuration, whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(yaml.safe_dump(options, sort_keys=False), encoding="utf-8")
    partial.replace(path)


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a configuration that a benchmark wrote.

    Raises:
        UserError: It is damaged, or a key stands twice.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: wanted options by name, got {type(content).__name__}")
    return content
