"""fit, validate, test and predict: LightningCLI with our loggers, checkpoints and closing table."""

import argparse
import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from dctnet.cli.parsing import one_line, options
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.model.classifier import FrequencyClassifier

# What the model is told by the data, so that the two cannot disagree.
_LINKED = {"classes": "class_names", "channels": "channel_set.indices", "image_size": "hparams.image_size"}


class ExperimentCLI(LightningCLI):
    """LightningCLI with output in ``checkpoints/<name>/version_N/``.

    Model and data of ``validate``, ``test`` and ``predict`` come from the checkpoint; options on the command line win.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds ``--name`` and ``--out_dir``, and links what model and data share."""
        parser.add_argument("--name", type=str, default="run", help="Folder of this experiment.")
        parser.add_argument("--out_dir", type=str, default="checkpoints", help="Folder of all experiments.")
        parser.link_arguments("model.input", "data.input")
        parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
        parser.link_arguments("data.class_names", "model.classes", apply_on="instantiate")
        parser.link_arguments("data.channel_set", "model.channels", compute_fn=lambda s: list(s.indices), apply_on="instantiate")
        parser.link_arguments("data.image_size", "model.image_size")

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning's own version lets the checkpoint win over the command line."""

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer whose files all land in one new folder, unless the configuration brings its own logger."""
        config = self._get(self.config_init, "trainer")
        if self.subcommand == "fit" and config.logger is None and not config.fast_dev_run:
            out_dir, name = self._get(self.config_init, "out_dir"), self._get(self.config_init, "name")
            csv = CSVLogger(out_dir, name)
            folder = Path(csv.log_dir)
            kwargs["logger"] = [csv, TensorBoardLogger(out_dir, name, version=csv.version)]
            best = ModelCheckpoint(folder, "best", monitor="val_acc1", mode="max", save_last=True, enable_version_counter=False)
            kwargs["callbacks"] = [*(config.callbacks or []), best]
        return super().instantiate_trainer(**kwargs)


def run_experiment(args: list[str]) -> ExperimentCLI:
    cli = ExperimentCLI(
            FrequencyClassifier,
            FrequencyDataModule,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            args=args,
        )
    return cli
