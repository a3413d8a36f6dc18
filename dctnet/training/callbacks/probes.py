"""Measures after each epoch which frequency bands the network classifies by."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.images.files import ImageError
from dctnet.data.planes import choose_evenly, read_planes
from dctnet.errors import UserError
from dctnet.io.atomic import atomic_open
from dctnet.training.band_probes import COLUMNS, IMAGES, BandProbes, Row, network_input

PROBES = "probes.csv"


class ProbesCSV(pl.Callback):
    """Writes ``probes.csv``: accuracy with only and without each band on 256 validation images, epoch by epoch.

    The training is the same with and without it: no random number is drawn, and no statistic is changed. The rows are
    saved with each checkpoint, and a resumed training writes those of all its epochs.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / PROBES
        self.rows: list[Row] = []
        self._probes: BandProbes | None = None

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Raises UserError for data that has no photographs to filter."""
        data: FrequencyDataModule = trainer.datamodule  # type: ignore[attr-defined]
        if data.store is not None:
            raise UserError(f"--probes true filters photographs; {data.store.root} is a packed store")
        if data.hparams["source"] == "coefficients":
            raise UserError("--probes true filters decoded photographs: it needs --data.source pixels")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads the images; raises UserError if a resumed training has not been measured from its start."""
        measured = len({row["epoch"] for row in self.rows})
        if measured != trainer.current_epoch:
            raise UserError(
                f"--probes true: the resumed training has {trainer.current_epoch} epochs, and {measured} of them were "
                "measured; resume without --probes"
            )
        if not trainer.is_global_zero:
            return
        to_input = network_input(pl_module.hparams["input"], pl_module.hparams["channels"])
        self._probes = _read_probes(trainer.datamodule, to_input)  # type: ignore[attr-defined]

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measures, and writes the rows of all epochs."""
        if self._probes is None:
            return
        network: Any = pl_module.network
        modes = [(module, module.training) for module in network.modules()]
        network.eval()

        def classify(input: Tensor) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return network(input.to(pl_module.device))

        try:
            self.rows += self._probes.measure(classify, trainer.current_epoch + 1)
        finally:
            for module, training in modes:
                module.training = training
        with atomic_open(self.path, "w", suffix="partial", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """The rows of the epochs so far."""
        return {"rows": list(self.rows)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the rows of a resumed training."""
        self.rows = list(state_dict["rows"])


def _read_probes(data: FrequencyDataModule, to_input: Callable[[Tensor], Tensor]) -> BandProbes:
    """Reads the evaluation crops of the images, the same for all networks on this data."""
    files, options = data.files("val"), data.hparams
    targets = {files.paths[place]: files.targets[place] for place in choose_evenly(files.targets, IMAGES, 0)}
    while targets:
        try:
            planes = read_planes(list(targets), options["input"], data.size, options["crop_fraction"])
        except ImageError as error:
            if options["on_error"] == "stop":
                raise error.with_advice() from error
            del targets[str(error.path)]  # validation counts and lists it
            continue
        return BandProbes(planes, torch.tensor(list(targets.values())), to_input)
    raise UserError(f"{options['root']}: none of the {IMAGES} validation images for --probes can be read")
