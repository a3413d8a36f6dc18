"""The files of a benchmark's folder: shared options, evaluation images, and configuration and metrics of each trial."""

import csv
import dataclasses
import hashlib
import itertools
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, first_line
from dctnet.io.atomic import atomic_open, atomic_write
from dctnet.io.safe_torch import load_torch_file
from dctnet.io.strict_yaml import load_yaml
from dctnet.studies.accuracy.grid import Grid, Split, Trial

# Files of a benchmark's folder, beside rows.csv.
GRID, IMAGES, FAILURES, ENERGY, RANKING = "grid.yaml", "images.csv", "failures.csv", "energy.json", "ranking.json"
CONFIG = "fit.yaml"  # in the folder of each trial
# Options that are newer than the first benchmarks. They are left out at the value that trainings had before, so that
# the configuration of a trial keeps its hash.
_ADDED_LATER: dict[str, Any] = {
    "freeze": None, "entry": "stem", "layer_decay": None, "ema": None,
    "augment": "none", "mixup": 0.0, "cutmix": 0.0, "progressive": None, "sampler": "shuffle", "class_weights": "none",
}  # fmt: skip
_CSV = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}


def shared_options(grid: Grid) -> dict[str, Any]:
    """The options that all trials of a folder share, as written to ``grid.yaml``."""
    options = dataclasses.asdict(grid)
    shared = {key: options[key] for key in ("data", "model", "trainer", "evaluate", "ranking", "store")}
    return {**shared, "data": without_later(shared["data"]), "model": without_later(shared["model"])}


def without_later(options: dict[str, Any]) -> dict[str, Any]:
    """Options without those that are newer than the first benchmarks and have the value of then."""
    return {k: v for k, v in options.items() if k not in _ADDED_LATER or v != _ADDED_LATER[k]}


def variants(trials: Iterable[Trial]) -> dict[str, dict[str, Any]]:
    """The options that differ from the shared ones, by arm: the key ``variants`` of ``grid.yaml``."""
    found = {}
    for trial in trials:
        # Folders of earlier versions have no data options of arms.
        options = {"model": trial.model, "trainer": trial.trainer, **({"data": trial.data} if trial.data else {})}
        if any(options.values()):
            found[trial.arm] = options
    return found


def check_unchanged(where: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Checks that a configuration equals the one that a folder was created with.

    Raises:
        UserError: It differs. Gives the first key that does, with both values.
    """
    old, new = _flatten(before), _flatten(now)
    for key in [*new, *old]:
        if key not in ("out_dir", "name") and old.get(key) != new.get(key):
            was, given = repr(old.get(key))[:60], repr(new.get(key))[:60]
            raise UserError(f"{where} was created with {key} {was}, now {given}; give another --out")


def _flatten(options: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def config_hash(options: dict[str, Any]) -> str:
    """SHA-256 of the configuration of a trial, independent of its folder."""
    content = {key: value for key, value in options.items() if key != "out_dir"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def write_yaml(path: Path, options: dict[str, Any]) -> None:
    """Writes a configuration atomically."""
    atomic_write(path, yaml.safe_dump(options, sort_keys=False).encode())


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a configuration written by :func:`write_yaml`.

    Raises:
        UserError: It is damaged or has a duplicate key.
    """
    try:
        content = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as YAML: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected options by name, got {type(content).__name__}")
    return content


def list_images(data: FrequencyDataModule, splits: Sequence[Split]) -> list[list[str]]:
    """Split, file with class folder, and class of every image of some splits, in the order of evaluation."""
    return [
        [split, "/".join(Path(path).parts[-2:]), data.class_names[target]]
        for split in splits
        for path, target in zip(data.files(split).paths, data.files(split).targets, strict=True)
    ]


def record_images(path: Path, images: list[list[str]]) -> None:
    """Writes the list of evaluation images atomically or, if it exists, checks that the images are the same.

    Raises:
        UserError: The images differ. Gives the first line that does.
    """
    rows = [["split", "path", "class"], *images]
    if not path.exists():
        with atomic_open(path, "w", **_CSV) as file:
            csv.writer(file).writerows(rows)
        return
    with open(path, **_CSV) as file:  # type: ignore[call-overload]
        recorded = list(csv.reader(file))
    if (line := first_difference(recorded, rows)) is not None:
        raise UserError(
            f"{path}: the evaluation images changed, first at line {line + 1}; other images need another --out"
        )


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """Index of the first difference of two lists, where the end of the shorter one counts; None if they are equal."""
    return next((i for i, (a, b) in enumerate(itertools.zip_longest(one, other)) if a != b), None)


def newest(folder: Path, file: str) -> Path | None:
    """A file from the latest version of a trial that has it; each resumption adds a folder ``version_N``."""
    return next(reversed(_versions(folder, file)), None)


def _versions(folder: Path, file: str) -> list[Path]:
    return sorted(folder.glob(f"version_*/{file}"), key=lambda path: int(path.parent.name.removeprefix("version_")))


def _metrics(folder: Path) -> list[list[dict[str, str]]]:
    """The lines of ``metrics.csv`` of each version of a trial."""
    return [list(csv.DictReader(path.read_text().splitlines())) for path in _versions(folder, "metrics.csv")]


def epochs_done(folder: Path) -> int:
    """Number of epochs that a trial has completed."""
    lines = itertools.chain.from_iterable(_metrics(folder))
    return max((int(line["epoch"]) + 1 for line in lines if line.get("seconds")), default=0)


def steps_done(folder: Path) -> int:
    """Number of optimizer steps in the last checkpoint of a trial; 0 without one."""
    last = newest(folder, "last.ckpt")
    if last is None:
        return 0
    return load_torch_file(last)["global_step"]


def training_metrics(folder: Path) -> dict[str, Any]:
    """The columns of a row that come from the training: throughput, wall time over all versions, epochs."""
    tables = _metrics(folder)
    rates = [float(line["images_per_second"]) for table in tables for line in table if line.get("images_per_second")]
    seconds = sum(max((float(line["seconds"]) for line in table if line.get("seconds")), default=0) for table in tables)
    return {
        "images_per_second": round(statistics.median(rates), 1),
        "seconds": round(seconds, 1),
        "epochs": epochs_done(folder),
    }
