"""What lies in a benchmark's folder beside its rows: options, rankings, energies, failures."""

import csv
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.maskfile import read_mask
from dctnet.studies.accuracy.provenance import RANKING, read_yaml
from dctnet.studies.accuracy.report.origin import lookup


@dataclass(frozen=True)
class Failure:
    """A run that ended without a row.

    Args:
        run: Its name.
        time: When, UTC.
        reason: What it said last.
    """

    run: str
    time: str
    reason: str


def read_options(path: Path) -> dict[str, Any]:
    """Reads what all runs share; nothing if there is no file.

    Raises:
        UserError: It is damaged.
    """
    return read_yaml(path) if path.exists() else {}


def read_ranking(out: Path, options: dict[str, Any]) -> list[float] | None:
    """How likely the gate keeps each of the 192 channels: ``ranking.json``, or the mask that the grid names.

    Args:
        out: The benchmark's folder.
        options: Of ``grid.yaml``.

    Returns:
        0…1 each, or None where nothing ranks.

    Raises:
        UserError: The file is damaged.
    """
    named = lookup(options, "ranking", "mask")
    paths = [out / RANKING, *([Path(str(named))] if named is not None else [])]
    return next((read_mask(path)[1] for path in paths if path.is_file()), None)


def read_channel_values(path: Path, key: str, largest: float = math.inf) -> list[float] | None:
    """Reads a number for each of the 192 channels; None if there is no file.

    Args:
        path: A JSON file.
        key: Under which they stand.
        largest: Allowed; the smallest is 0.

    Raises:
        UserError: There are not 192 such numbers.
    """
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as JSON: {str(error).splitlines()[0]}") from error
    values = content.get(key) if isinstance(content, dict) else None
    if not isinstance(values, list) or len(values) != NUM_CHANNELS:
        raise UserError(f"{path}: {key} must be a list of {NUM_CHANNELS} numbers, got {repr(values)[:60]}")
    for place, value in enumerate(values):
        if type(value) not in (int, float) or not 0 <= value <= largest or value == math.inf:
            raise UserError(f"{path}: {key}[{place}] must be a number in 0…{largest:g}, got {repr(value)[:40]}")
    return values


def read_failures(path: Path) -> list[Failure]:
    """Reads the list of failures, oldest first; none if there is no file. A line cut short is shown as far as it goes.

    Raises:
        UserError: It cannot be read.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            lines = [line for line in csv.reader(file) if line]
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    return [Failure(line[0], line[1] if line[1:] else "", ", ".join(line[2:])) for line in lines]
