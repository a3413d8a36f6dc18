"""Keeps off the terminal what Lightning says about itself, and what dctnet says better."""

import logging
import re
import warnings

# For developers of Lightning, or about conditions that dctnet handles itself.
_WARNINGS = (
    r".*isinstance\(treespec, LeafSpec\)",
    r"(Checkpoint|Experiment logs) directory .* exists and is not empty",
    r"The number of training batches .* is smaller than the logging interval",
    r".*does not have many workers",
    r"The dirpath has changed from",
    r"Be aware that when using `ckpt_path`",
    r"Found .* module\(s\) in eval mode",  # --model.freeze
    r"LightningCLI's args parameter is intended to run from within Python",
)
# Advertisements, hardware that is not there, and what the command line has asked for.
_MESSAGES = re.compile(
    r"💡 Tip|GPU available: False|TPU available: False|Seed set to|Loading `train_dataloader`"
    r"|Restoring states from|(Restored all states|Loaded model weights) from"
    r"|`Trainer\.fit` stopped: `max_(epochs|steps)"
)
_LOGGERS = ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed")


def hide_noise() -> None:
    """Hides them in this process; warnings about the user's options, and other messages, are still printed."""
    for message in _WARNINGS:
        warnings.filterwarnings("ignore", message)
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_tells_something)


def _tells_something(record: logging.LogRecord) -> bool:
    return record.levelno > logging.INFO or not _MESSAGES.match(record.getMessage())
