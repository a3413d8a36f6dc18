"""Run folders of dctnet fit: their probes, or the checkpoints of their epochs; runs that differ by their seed alone."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from dctnet.errors import UserError, did_you_mean_path, first_line
from dctnet.studies.laboratory.opening import open_subject
from dctnet.studies.laboratory.photographs import read_photographs
from dctnet.studies.laboratory.study import Measurement
from dctnet.training import checkpoint
from dctnet.training.band_probes import COLUMNS, IMAGES, BandProbes
from dctnet.training.callbacks.probes import PROBES

_FREE = ("seed", "num_workers", "residency", "download")  # options of the data that do not tell groups apart
_MIN_EPOCHS = 3


@dataclass(frozen=True)
class Run:
    """One training.

    Args:
        folder: Of the run, ``checkpoints/NAME/version_N``.
        key: Its options without the seed.
        label: What the network reads.
        seed: Of the training.
        root: Its data.
        epochs: Checkpoint of each number of epochs; empty if the run has probes.
    """

    folder: Path
    key: str
    label: str
    seed: int
    root: str
    epochs: Mapping[int, Path]

    @property
    def inputs(self) -> list[Path]:
        """The files that are read."""
        return list(self.epochs.values()) or [self.folder / PROBES]

    @property
    def is_calibrated(self) -> bool:
        """Whether its data is the planted set whose bands are equal."""
        try:
            return json.loads(Path(self.root, "planted.json").read_text()).get("design") == "bands"
        except (OSError, ValueError):
            return False

    def units(self) -> Iterator[tuple[str, Callable[[], list[Measurement]]]]:
        """What to measure, by name."""
        own = {"run": str(self.folder), "seed": self.seed}
        if not self.epochs:
            yield str(self.folder), lambda: [{**own, **row} for row in read_probes(self.folder / PROBES)]
            return
        probes: list[BandProbes] = []  # read once for all epochs
        for epoch, path in sorted(self.epochs.items()):
            yield f"{self.folder}/{epoch}", partial(self._measure, own, probes, epoch, path)

    def _measure(self, own: Measurement, probes: list[BandProbes], epoch: int, path: Path) -> list[Measurement]:
        subject = open_subject(str(path))
        if not probes:
            photographs = read_photographs(subject, None, "val", IMAGES, 0)
            probes.append(BandProbes(photographs.planes, photographs.targets, subject.input))
        return [{**own, **row} for row in probes[0].measure(subject.network, epoch)]


def open_run(folder: str | Path) -> Run:
    """Finds the probes of a run, or the checkpoints of at least three epochs.

    Raises:
        UserError: It is no folder of a run, or it has neither.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder.{did_you_mean_path(folder)} Expected checkpoints/NAME/version_N")
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8", errors="surrogateescape"))
        model, data, trainer = (dict(config[part]) for part in ("model", "data", "trainer"))
        seed, epochs = int(config["seed_everything"]), trainer["max_epochs"]
        options = {**model, **{name: value for name, value in data.items() if name not in _FREE}, "epochs": epochs}
        label = _label(model, data)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        inside = sorted(folder.glob("version_*"))
        hint = f"; give {inside[-1]}" if inside else "; expected checkpoints/NAME/version_N"
        raise UserError(f"{folder}: no folder of a training: {first_line(error)}{hint}") from error
    checkpoints = {} if (folder / PROBES).is_file() else _checkpoints(folder)
    if not (folder / PROBES).is_file() and len(checkpoints) < _MIN_EPOCHS:
        raise UserError(
            f"{folder}: no {PROBES} in it, and checkpoints of {len(checkpoints)} epochs, fewer than {_MIN_EPOCHS}; "
            "train with dctnet fit --probes true, or keep the checkpoint of each epoch: "
            "--trainer.callbacks+ ModelCheckpoint --trainer.callbacks.save_top_k -1"
        )
    return Run(folder, json.dumps(options, sort_keys=True, default=str), label, seed, str(data["root"]), checkpoints)


def _label(model: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    channels = "all channels" if data.get("channels") is None else str(data["channels"])
    if len(channels) > 24:
        channels = f"{str(channels)[:20]}…"
    reads = "RGB" if model.get("input") == "rgb" else channels
    stem = "" if model.get("stem", "torchvision") == "torchvision" else f", {model['stem']}"
    gate = "" if model.get("gate", "none") == "none" else f", {model['gate']} gate"
    return f"{reads}{stem}{gate} at {data.get('image_size') or 224} px"


def _checkpoints(folder: Path) -> dict[int, Path]:
    """Checkpoints that were saved at the end of an epoch, by the number of epochs trained."""
    found: dict[int, Path] = {}
    for path in sorted(folder.rglob("*.ckpt")):
        content = checkpoint.read(path)
        try:
            at_end = content["loops"]["fit_loop"]["epoch_loop.batch_progress"]["is_last_batch"]
        except (KeyError, TypeError):
            at_end = False
        if at_end:
            found.setdefault(int(content["epoch"]) + 1, path)
    return found


def read_probes(path: Path) -> list[Measurement]:
    """The rows of ``probes.csv``.

    Raises:
        UserError: It is damaged, or does not have every epoch once.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [_parse(row) for row in csv.DictReader(file)]
        epochs = [row["epoch"] for row in rows if row["quantity"] == "all"]
        complete = epochs == list(range(1, len(epochs) + 1)) and len(epochs) >= _MIN_EPOCHS
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not the probes of dctnet fit: {first_line(error)}") from error
    if not complete:
        raise UserError(f"{path}: expected the epochs 1, 2, 3, … once each, at least {_MIN_EPOCHS}; got {epochs[:8]}")
    return rows


def _parse(row: Mapping[str, str]) -> Measurement:
    kinds: dict[str, Callable[[str], Any]] = {"epoch": int, "neighbours": int, "quantity": str, "correct": str}
    return {name: kinds.get(name, float)(row[name]) if row[name] else "" for name in COLUMNS}


def group(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ by the seed alone, by what their networks read.

    Raises:
        UserError: Two runs of a group have the same seed.
    """
    keys = list(dict.fromkeys(run.key for run in runs))
    groups: dict[str, list[Run]] = {}
    for key in keys:
        own = [run for run in runs if run.key == key]
        seeds = [run.seed for run in own]
        if twice := next((run for place, run in enumerate(own) if run.seed in seeds[:place]), None):
            first = own[seeds.index(twice.seed)]
            raise UserError(
                f"{first.folder} and {twice.folder} are the same training with seed {twice.seed}; give one, of a "
                "resumed training the last"
            )
        label = own[0].label
        groups[label if label not in groups else f"{label}, {own[0].folder.parent.name}"] = own
    return groups
