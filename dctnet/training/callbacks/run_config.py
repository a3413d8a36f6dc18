"""Writes the complete configuration of a fit into its folder."""

from enum import Enum
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ArgumentParser, Namespace

from dctnet.io.atomic import atomic_write


class RunConfig(pl.Callback):
    """Writes ``config.yaml`` when the data has been found and the training starts.

    Args:
        parser: The parser of ``fit``.
        config: Its result.
        folder: The run's folder.
    """

    NAME = "config.yaml"

    def __init__(self, parser: ArgumentParser, config: Namespace, folder: Path) -> None:
        self.parser, self.config, self.path = parser, config, folder / self.NAME

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Writes the file from rank 0."""
        if stage == "fit" and trainer.is_global_zero:
            text = self.parser.dump(_plain(self.config), skip_none=False)
            atomic_write(self.path, text.encode("utf-8", "surrogateescape"))


def _plain(value: Any) -> Any:
    """Replaces enumerations, which are defaults of some callbacks, by their values: YAML cannot represent them."""
    if isinstance(value, Namespace):
        return Namespace(**{name: _plain(part) for name, part in vars(value).items()})
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value.value if isinstance(value, Enum) else value
