"""Checkpoints as files that came from somewhere: read under weights-only loading, refused in one line."""

import hashlib
import os
from pathlib import Path
from typing import Any

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.download import downloaded
from dctnet.data.packed.manifest import is_store
from dctnet.errors import UserError, did_you_mean_path, first_line
from dctnet.io.safe_torch import load_torch_file
from dctnet.training.checkpoint_schema import check_content, translate_state_dict_errors
from dctnet.training.module import FrequencyClassifier
from dctnet.training.nonfinite import first_not_finite


def read(path: str | Path) -> dict[str, Any]:
    """All of a checkpoint, on the CPU.

    Args:
        path: A checkpoint of ``dctnet fit``.

    Raises:
        UserError: There is no such file, or it is not a checkpoint of dctnet.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint.{did_you_mean_path(path)}")
    try:
        content = load_torch_file(path)
        model = dict(content["hyper_parameters"])
        dict(content["datamodule_hyper_parameters"])
    except Exception as error:  # torch raises nearly anything on a file that is not its own
        raise UserError(f"{path}: not a checkpoint of dctnet: {first_line(error)}") from error
    if missing := {"classes", "channels", "input", "gate", "image_size"} - model.keys():
        raise UserError(f"{path}: not a checkpoint of dctnet: it has no {', '.join(sorted(missing))}")
    check_content(path, content)
    if wrong := first_not_finite(content["state_dict"]):
        raise UserError(f"{path}: {wrong}; no checkpoint of dctnet fit has such weights")
    return content


def read_options(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of model and data that a checkpoint was trained with.

    Raises:
        UserError: As :func:`read`.
    """
    content = read(path)
    return dict(content["hyper_parameters"]), dict(content["datamodule_hyper_parameters"])


def adapt_data_options(options: dict[str, Any], model: dict[str, Any], root: str | None) -> dict[str, Any]:
    """The data options of a training, for its network and another root.

    Args:
        options: What the training had.
        model: What its network had.
        root: The data to use now, or None for those of the training.
    """
    options = {**options, "image_size": model["image_size"]}
    # How many processes there is room for is a matter of this machine; what they read does not depend on it.
    options["num_workers"] = min(options.get("num_workers", 0), os.cpu_count() or 1)
    if options.pop("download", None) == "imagenette":
        options["root"] = str(downloaded(options["root"]))  # where the training found it: nothing is fetched here
    if model["input"] == "channels":
        options["channels"] = model["channels"]  # a mask file need not be where it was
    if root is not None:
        # What chose files out of the old root, or said how to read it, has no place in another.
        others = (
            "residency",
            *(("val_fraction", "classes", "per_class", "source") if is_store(root) else ()),
        )
        options = {key: value for key, value in options.items() if key not in others}
    return options


def load(path: str | Path, **data_options: Any) -> tuple[FrequencyClassifier, FrequencyDataModule]:
    """The model of a checkpoint and the data it was trained on.

    Args:
        path: A checkpoint of ``dctnet fit``.
        **data_options: Options of the data to change; those of None stay as they were.

    Raises:
        UserError: As :func:`read_options`; or an option that cannot be.
    """
    model_options, options = read_options(path)
    options = adapt_data_options(options, model_options, data_options.get("root"))
    options.update({key: value for key, value in data_options.items() if value is not None})
    data = FrequencyDataModule(**options)
    data.class_names = model_options["classes"]
    with translate_state_dict_errors():
        model = FrequencyClassifier.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    return model, data


def sha256(path: str | Path) -> str:
    """Hash of a file's content, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
