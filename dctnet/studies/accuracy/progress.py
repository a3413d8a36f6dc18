"""What the metrics of a run say of its training, over all versions that resumed it."""

import csv
import statistics
from pathlib import Path
from typing import Any


def newest(folder: Path, file: str) -> Path | None:
    """A file of a run's latest version that has it; each resumption is a version of its own."""
    return next((version / file for version in reversed(_versions(folder)) if (version / file).is_file()), None)


def _versions(folder: Path) -> list[Path]:
    return sorted(folder.glob("version_*"), key=lambda path: int(path.name.removeprefix("version_")))


def _metrics(folder: Path) -> list[list[dict[str, str]]]:
    tables = []
    for version in _versions(folder):
        if (version / "metrics.csv").is_file():
            with open(version / "metrics.csv", newline="") as file:
                tables.append(list(csv.DictReader(file)))
    return tables


def epochs_done(folder: Path) -> int:
    """How many epochs a run has behind it, over all its versions."""
    return max(
        (int(line["epoch"]) + 1 for table in _metrics(folder) for line in table if line.get("seconds")), default=0
    )


def training_record(folder: Path) -> dict[str, Any]:
    """What a run's metrics say of its training: throughput, wall time over all versions, epochs."""
    tables = _metrics(folder)
    rates = [float(line["images_per_second"]) for table in tables for line in table if line.get("images_per_second")]
    seconds = sum(
        max((float(line["seconds"]) for line in table if line.get("seconds")), default=0.0) for table in tables
    )
    return {
        "images_per_second": round(statistics.median(rates), 1),
        "seconds": round(seconds, 1),
        "epochs": epochs_done(folder),
    }
