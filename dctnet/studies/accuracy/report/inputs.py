"""Reads the files that a benchmark's folder can hold beside its rows: ranking, energies, failures."""

import csv
import json
import math
from pathlib import Path
from typing import Any

from dctnet.errors import UserError, first_line
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.maskfile import read_mask
from dctnet.studies.accuracy.provenance import RANKING
from dctnet.studies.rows import current_name


def lookup(options: dict[str, Any], *keys: str) -> Any:
    """A nested option of ``grid.yaml``; None if it is not recorded."""
    found: Any = options
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def read_ranking(out: Path, options: dict[str, Any]) -> list[float] | None:
    """Keep probability of each of the 192 channels: from ``ranking.json``, or from the mask named by ``grid.yaml``.

    Args:
        out: The benchmark's folder.
        options: The content of ``grid.yaml``.

    Returns:
        192 numbers in 0…1, or None if neither file exists.

    Raises:
        UserError: The file is damaged.
    """
    mask = lookup(options, "ranking", "mask")
    paths = [out / RANKING, *([Path(str(mask))] if mask is not None else [])]
    return next((read_mask(path)[1] for path in paths if path.is_file()), None)


def read_energy(path: Path) -> list[float] | None:
    """Variance of each of the 192 channels; None if there is no file.

    Raises:
        UserError: The file is damaged.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {first_line(error)}") from error
    values = content.get("variance") if isinstance(content, dict) else None
    if not isinstance(values, list) or len(values) != NUM_CHANNELS:
        raise UserError(f"{path}: variance must be a list of {NUM_CHANNELS} numbers, got {repr(values)[:60]}")
    for i, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value < math.inf:
            raise UserError(f"{path}: variance[{i}] must be a finite number of at least 0, got {repr(value)[:40]}")
    return values


def read_failures(path: Path) -> list[tuple[str, str, str]]:
    """Name, time (UTC) and reason of each failed run, oldest first; empty if there is no file.

    Missing fields of a truncated line are empty.

    Raises:
        UserError: The file cannot be read.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {first_line(error)}") from error
    return [(current_name(line[0]), line[1] if line[1:] else "", ", ".join(line[2:])) for line in lines]
