"""Checkpoints as files that came from somewhere: read under weights-only loading, refused in one line."""

import hashlib
from pathlib import Path
from typing import Any

import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, did_you_mean_path, first_line
from dctnet.model.classifier import FrequencyClassifier


def read_options(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of model and data that a checkpoint was trained with.

    Args:
        path: A checkpoint of ``dctnet fit``.

    Returns:
        Options of the model, options of the data.

    Raises:
        UserError: There is no such file, or it is not a checkpoint of dctnet.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint.{did_you_mean_path(path)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        model, data = dict(content["hyper_parameters"]), dict(content["datamodule_hyper_parameters"])
    except Exception as error:  # torch raises nearly anything on a file that is not its own
        raise UserError(f"{path}: not a checkpoint of dctnet: {first_line(error)}") from error
    if missing := {"classes", "channels", "input", "gate", "image_size"} - model.keys():
        raise UserError(f"{path}: not a checkpoint of dctnet: it has no {', '.join(sorted(missing))}")
    return model, data


def load(path: str | Path, **data_options: Any) -> tuple[FrequencyClassifier, FrequencyDataModule]:
    """The model of a checkpoint and the data it was trained on.

    Args:
        path: A checkpoint of ``dctnet fit``.
        **data_options: Options of the data to change; those of None stay as they were.

    Raises:
        UserError: As :func:`read_options`; or an option that cannot be.
    """
    model_options, options = read_options(path)
    options.update({key: value for key, value in data_options.items() if value is not None})
    if data_options.get("root") is not None:
        options["download"] = None  # what the training downloaded has no place in another root
    if model_options["input"] == "channels":
        options["channels"] = model_options["channels"]  # a mask file need not be where it was
    options["image_size"] = model_options["image_size"]
    data = FrequencyDataModule(**options)
    data.class_names = model_options["classes"]
    model = FrequencyClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    return model, data


def sha256(path: str | Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
