"""Checks of a checkpoint's content, which is untrusted input, before it is used."""

import argparse
import inspect
import os
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.model.backbones.families import timm_name
from dctnet.model.network import FrequencyNet
from dctnet.training.module import FrequencyClassifier, upgrade_state_dict

# Limits of an option: characters of a text, elements of a list, characters of an element (a folder's name).
_MAX_TEXT, _MAX_LIST, _MAX_NAME = 4096, 100_000, 255
# Paths in the state of Lightning's ModelCheckpoint, which deletes files by them.
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models")
_RENAMED = {"patches": "patchify", "patches_dct": "patchify_dct"}
# "scale": the statistics that it chose are in the weights.
_REMOVED = {"scale"}


def upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """Renames options and weights of checkpoints that an older version wrote."""
    options = {key: value for key, value in content["hyper_parameters"].items() if key not in _REMOVED}
    # Older versions trained all layers, without companding, with channels in place of the stem.
    options = {"freeze": None, "companding": "none", "entry": "stem", **options}
    if options.get("stem") in list(_RENAMED):
        options["stem"] = _RENAMED[options["stem"]]
    return {
        **content,
        "hyper_parameters": options,
        # Older versions read each image once in an epoch, and weighted all alike.
        "datamodule_hyper_parameters": {
            "sampler": "shuffle",
            "class_weights": "none",
            **content["datamodule_hyper_parameters"],
        },
        "state_dict": upgrade_state_dict(content["state_dict"]),
    }


def check_content(path: str | Path, content: dict[str, Any]) -> None:
    """Checks the parts of a checkpoint that the command line, the model and Lightning use.

    Args:
        path: The checkpoint, for error messages.
        content: Its content, after :func:`upgrade`.

    Raises:
        UserError: The options are not those of model and data with values of their types, or a path would let Lightning
            delete files outside the run's folder. Names the first fault.
    """
    weights = content["state_dict"]
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise schema_error(path, "'state_dict' must hold tensors by name")
    for owner, key in ((FrequencyClassifier, "hyper_parameters"), (FrequencyDataModule, "datamodule_hyper_parameters")):
        _check_options(path, owner, content[key])
    options = content["hyper_parameters"]
    if options["input"] == "channels":
        ChannelSet(str(path), tuple(options["channels"]))
    _check_paths(path, content.get("callbacks", {}))
    _check_number_of_weights(path, options, weights)


def schema_error(path: str | Path, fault: str) -> UserError:
    """The error for a file that is no valid checkpoint."""
    return UserError(f"{path}: not a checkpoint of dctnet: {fault}")


def _check_options(path: str | Path, owner: type, options: dict[str, Any]) -> None:
    for key, value in options.items():
        # First, because the parser prints values, and a small nest of shared lists can be gigabytes when printed.
        if not _is_plain(value):
            raise schema_error(path, f"option {str(key)[:40]!r} must be text, a number or a short list of these")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "options", instantiate=False)
    try:
        parsed = parser.parse_object({"options": options}).options
    except argparse.ArgumentError as error:
        raise schema_error(path, " ".join(str(error.message).split())[:200]) from error
    for key, value in options.items():
        if parsed[key] != value:  # the parser accepts "3" for 3
            raise schema_error(path, f"option {key!r} must not be {repr(value)[:60]}")


def _check_number_of_weights(path: str | Path, options: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuses the name of a network with more weights than the file has: timm's largest would fill the memory."""
    if timm_name(options.get("backbone", "resnet18")) is None:
        return
    names = inspect.signature(FrequencyNet).parameters.keys() & options.keys()
    try:
        with torch.device("meta"):
            network = FrequencyNet(**{name: options[name] for name in names})
    except UserError as error:
        raise schema_error(path, str(error)) from error
    if sum(p.numel() for p in network.parameters()) > sum(w.numel() for w in weights.values()):
        raise schema_error(path, f"it has fewer weights than its network, {options['backbone']}")


def _is_plain(value: Any, max_text: int = _MAX_TEXT) -> bool:
    if isinstance(value, list):
        return len(value) <= _MAX_LIST and all(not isinstance(v, list) and _is_plain(v, _MAX_NAME) for v in value)
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, str):
        return len(value) <= max_text and _is_writable(value)
    return value is None or isinstance(value, float)


def _is_writable(text: str) -> bool:
    """Whether a name can be written to a table: lone surrogates other than undecodable bytes cannot."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _check_paths(path: str | Path, callbacks: Any) -> None:
    for state in callbacks.values() if isinstance(callbacks, dict) else [None]:
        if not isinstance(state, dict):
            raise schema_error(path, "'callbacks' must hold states by name")
        for key in _PATHS:
            value = state.get(key)
            for name in filter(None, value if isinstance(value, dict) else [value]):
                if not _is_normal_path(name):
                    raise schema_error(path, f"{key} is {repr(name)[:80]}, must be a normalised absolute path")
        worst, best = state.get("kth_best_model_path"), state.get("best_k_models", {})
        if not isinstance(best, dict) or (worst and worst not in best):
            raise schema_error(path, f"kth_best_model_path is {repr(worst)[:80]}, must be one of best_k_models")


def _is_normal_path(name: Any) -> bool:
    """Whether Lightning can tell correctly that a path lies in the run's folder.

    It compares prefixes, so ``run/../x`` appears to lie inside, and it deletes ``local:///x`` without a check.
    """
    return isinstance(name, str) and os.path.isabs(name) and os.path.normpath(name) == name and "::" not in name
