"""What lies in a benchmark's folder beside its rows: options, rankings, energies, failures."""

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctnet.errors import UserError
from dctnet.frequency.channels import NUM_CHANNELS, ChannelSet, named_channels, rank_channels
from dctnet.frequency.maskfile import read_mask, write_mask
from dctnet.study.benchmark.progress import newest
from dctnet.study.benchmark.record import read_yaml
from dctnet.study.report.origin import lookup

RANKING = "ranking.json"


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
    """How likely the gate keeps each of the 192 channels: mean over the gated runs, or of the mask that the grid names.

    What masks say is kept as ``ranking.json``, a mask file itself, to be found when they are gone.

    Args:
        out: The benchmark's folder.
        options: Of ``grid.yaml``.

    Returns:
        0…1 each, or None where nothing ranks.

    Raises:
        UserError: A mask or ``ranking.json`` is damaged.
    """
    masks = list(_masks(out, options))
    found = [probability for mask in masks if (probability := read_mask(mask)[1]) is not None]
    if not found:
        return read_mask(out / RANKING)[1] if (out / RANKING).exists() else None
    mean = [sum(each) / len(found) for each in zip(*found, strict=True)]
    keep = lookup(options, "ranking", "model", "keep") or 24
    kept = sorted(rank_channels(named_channels("all"), mean)[:keep])
    write_mask(out / RANKING, ChannelSet("ranking", tuple(kept)), mean, {"gates": len(found)})
    return read_mask(out / RANKING)[1]


def _masks(out: Path, options: dict[str, Any]) -> Iterator[Path]:
    ranking = options.get("ranking")
    named = ranking.get("mask") if isinstance(ranking, dict) else None
    if named is not None:
        if Path(str(named)).is_file():
            yield Path(str(named))
        return
    for folder in sorted(out.glob("runs/ranking-s*")):
        if (mask := newest(folder, "mask.json")) is not None:
            yield mask


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
