"""Reads checkpoints of ``dctnet fit``, and builds networks and data from them."""

import contextlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dctnet.data.config_checks import check_data_options
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.download import imagenette_folder
from dctnet.data.packed.manifest import is_store
from dctnet.data.preprocess import Preprocess
from dctnet.errors import UserError, did_you_mean_path, first_line
from dctnet.frequency.maskfile import is_mask
from dctnet.frequency.selections import named_channels
from dctnet.io.safe_torch import load_torch_file
from dctnet.model.network import FrequencyNet
from dctnet.model.weight_files import read_weights
from dctnet.model.weights import take_network, take_state
from dctnet.training.callbacks.finite import first_nonfinite
from dctnet.training.checkpoint_schema import check_content, schema_error, upgrade
from dctnet.training.module import FrequencyClassifier
from dctnet.training.safetensors_file import SUFFIX, read_safetensors

_REQUIRED = {"classes", "channels", "input", "gate", "image_size"}


def read(path: str | Path) -> dict[str, Any]:
    """Reads and checks a checkpoint, on the CPU.

    Args:
        path: A checkpoint of ``dctnet fit``, or a safetensors file of ``dctnet export``.

    Raises:
        UserError: There is no such file, or it is no checkpoint of dctnet. Says why.
    """
    if Path(path).is_dir():
        raise UserError(f"{path}: a folder; a checkpoint is a file in it, such as last.ckpt")
    if not Path(path).is_file():
        raise UserError(f"{path}: no such checkpoint.{did_you_mean_path(path)}")
    if Path(path).suffix == ".onnx":
        raise UserError(f"{path}: an ONNX file, which only validate, test and predict take; give the checkpoint")
    if is_mask(path):
        raise UserError(f"{path}: a mask, not a checkpoint; --data.channels takes it, a checkpoint is a .ckpt file")
    try:
        content = read_safetensors(path) if Path(path).suffix == SUFFIX else load_torch_file(path)
    except Exception as error:  # torch raises many types of exception on files of other programs
        raise schema_error(path, first_line(error)) from error
    return _checked(path, content)


def _checked(path: str | Path, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise schema_error(path, f"it holds a {type(content).__name__}")
    try:
        content = upgrade(content)
        options = content["hyper_parameters"]
    except Exception as error:  # of any type and form
        raise schema_error(path, first_line(error)) from error
    if missing := _REQUIRED - options.keys():
        raise schema_error(path, f"it has no option {', '.join(sorted(missing))}")
    check_content(path, content)
    if fault := first_nonfinite(content["state_dict"]):
        raise UserError(f"{path}: {fault}; dctnet fit saves no such checkpoint")
    return content


def _is_checkpoint(content: Any) -> bool:
    """Whether a file's content is a checkpoint of dctnet, not a weights file of another program."""
    options = content.get("hyper_parameters") if isinstance(content, dict) else None
    return isinstance(options, dict) and options.keys() >= _REQUIRED


def donor_options(weights: str) -> dict[str, Any] | None:
    """The model options of the training that ``--model.weights`` come from.

    Returns:
        None if the weights are not in a checkpoint of dctnet.

    Raises:
        UserError: As :func:`read`.
    """
    content = _read_donor(weights)
    return None if content is None else content["hyper_parameters"]


def _read_donor(weights: str) -> dict[str, Any] | None:
    """The content of a checkpoint or safetensors file of dctnet; None if there is none of that name."""
    try:
        content = read_safetensors(weights) if Path(weights).suffix == SUFFIX else load_torch_file(weights)
    except Exception:  # not a file, or of another program: load_pretrained raises the error
        return None
    return _checked(weights, content) if _is_checkpoint(content) else None


def load_pretrained(network: FrequencyNet, weights: str) -> str:
    """Takes the weights that ``--model.weights`` names into a network, in place.

    Args:
        network: The network, not trained yet.
        weights: A checkpoint or safetensors file of dctnet; or RGB weights: a name that torchvision or timm knows, or
            a file.

    Returns:
        What was taken, what was adapted and what is new, in one line.

    Raises:
        UserError: The weights cannot be read, or are those of another backbone.
    """
    if Path(weights).suffix == SUFFIX and (donor := _read_donor(weights)):
        return take_network(network, weights, _build(weights, donor))
    content = read_weights(network.backbone_name, weights)
    if _is_checkpoint(content):
        return take_network(network, weights, _build(weights, _checked(weights, content)))
    return take_state(network, weights, content)


def read_options(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the options of model and data that a checkpoint was trained with.

    Raises:
        UserError: As :func:`read`.
    """
    content = read(path)
    return dict(content["hyper_parameters"]), dict(content["datamodule_hyper_parameters"])


def load(path: str | Path) -> FrequencyNet:
    """Loads a trained network for inference; public as ``dctnet.load``.

    Args:
        path: A checkpoint of ``dctnet fit``, or a safetensors file of ``dctnet export``.

    Returns:
        The network on the CPU, in evaluation mode. ``classes`` and ``channels`` name its outputs and inputs;
        ``preprocess`` converts a path, bytes or PIL image to an input, with the evaluation crop of the training.

    Raises:
        UserError: As :func:`read`, or an option of the data is out of range.
    """
    content = read(path)
    model, data = content["hyper_parameters"], content["datamodule_hyper_parameters"]
    network = _build(path, content)
    crop_fraction = data.get("crop_fraction") or 0.875
    check_data_options({"image_size": model["image_size"], "crop_fraction": crop_fraction})
    network.preprocess = Preprocess(
        network.channels or named_channels("all"),
        model["image_size"],
        crop_fraction,
        model["input"],
        data.get("source", "pixels"),
    )
    return network.eval()


def _build(path: str | Path, content: dict[str, Any]) -> FrequencyNet:
    model, weights = content["hyper_parameters"], content["state_dict"]
    names = inspect.signature(FrequencyNet).parameters.keys() & model.keys()
    network = FrequencyNet(**{name: model[name] for name in names})
    with translate_state_dict_errors(path):
        network.load_state_dict(_of_network(weights))
    return network


def _of_network(weights: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix("network."): value for key, value in weights.items() if key.startswith("network.")}


def load_classifier(path: str | Path, **data_options: Any) -> tuple[FrequencyClassifier, FrequencyDataModule]:
    """Builds the LightningModule of a checkpoint, and the data it was trained on.

    Args:
        path: A checkpoint of ``dctnet fit``.
        **data_options: Options of the data to override; None keeps the checkpoint's.

    Raises:
        UserError: As :func:`read`, or an option is out of range.
    """
    content = read(path)
    model_options = content["hyper_parameters"]
    options = adapt_data_options(content["datamodule_hyper_parameters"], model_options, data_options.get("root"))
    options.update({key: value for key, value in data_options.items() if value is not None})
    data = FrequencyDataModule(**options)
    data.class_names = model_options["classes"]
    # Already in the weights; the file or the network connection may be gone.
    model = FrequencyClassifier(**{**model_options, "weights": None})
    with translate_state_dict_errors(path):
        model.network.load_state_dict(_of_network(content["state_dict"]))  # a safetensors file has no more
    return model, data


def adapt_data_options(options: dict[str, Any], model: dict[str, Any], root: str | None) -> dict[str, Any]:
    """Adapts the data options of a training to its network, this machine and another root.

    Args:
        options: The data options of the training.
        model: The model options of the training.
        root: The data to use now, or None for those of the training.
    """
    # Training crops are not read; their shares might not fit another image size.
    options = {**options, "image_size": model["image_size"], "progressive": None}
    # The number of workers does not change what they read, so it follows this machine.
    options["num_workers"] = min(options.get("num_workers", 0), os.cpu_count() or 1)
    if options.pop("download", None) == "imagenette":
        options["root"] = str(imagenette_folder(options["root"]))  # nothing is downloaded to evaluate
    if model["input"] == "channels":
        options["channels"] = model["channels"]  # the mask file may have moved
    if root is not None:
        # Options that select files of the old root, or describe how it is stored, do not apply to another one.
        of_photographs = ("val_fraction", "classes", "per_class", "source") if is_store(root) else ()
        options = {key: value for key, value in options.items() if key not in ("residency", *of_photographs)}
    return options


@contextlib.contextmanager
def translate_state_dict_errors(path: str | Path = "the checkpoint") -> Iterator[None]:
    """Converts torch's report of weights that do not fit a network to one line.

    Args:
        path: The checkpoint, for the message.

    Raises:
        UserError: The weights do not fit.
    """
    try:
        yield
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        first = " ".join(str(error).splitlines()[1:2]).strip()[:160]
        raise UserError(f"{path}: its weights do not fit the network of its options: {first}") from error
