"""What a checkpoint says beside its weights, checked before anybody goes by it."""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError
from dctnet.frequency.channels import ChannelSet
from dctnet.training.module import FrequencyClassifier

# A text, a list, and a text in a list; no folder's name is longer than the last.
_LONGEST, _MOST, _LONGEST_NAME = 4096, 100_000, 255
# Neither text nor a byte of an undecodable name: no table could be written that has it.
_NOT_IN_NAMES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc|\.dev|\.post)\d+)*")
# Of Lightning's ModelCheckpoint, which removes files by them.
_PATHS = ("best_model_path", "kth_best_model_path", "last_model_path", "best_k_models")


def check_content(path: str | Path, content: dict[str, Any]) -> None:
    """Checks what a checkpoint would have Lightning and the command line do.

    Its options must be those of model and data, of their types, and of a size that can be; its weights tensors by name;
    the paths that it names spelt so that Lightning, which removes files by them, keeps to the folder of the new run.

    Args:
        path: Of the checkpoint, for the message.
        content: What is in it.

    Raises:
        UserError: The first place that is not so.
    """
    weights = content.get("state_dict")
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise _fault(path, "'state_dict' must be tensors by name")
    version = content.get("pytorch-lightning_version")  # by which Lightning brings old checkpoints up to date
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise _fault(path, f"'pytorch-lightning_version' is {repr(version)[:40]}, must be a version")
    if legacy := {"hparams", "module_arguments"} & content.keys():
        raise _fault(path, f"{min(legacy)!r} holds options where dctnet writes none")
    for owner, key in ((FrequencyClassifier, "hyper_parameters"), (FrequencyDataModule, "datamodule_hyper_parameters")):
        _check_options(path, owner, content[key])
    options = content["hyper_parameters"]
    if options["input"] == "channels":
        ChannelSet(str(path), tuple(options["channels"]))
    _check_paths(path, content.get("callbacks", {}))


# What a training goes on with; each of another kind would be a traceback, or a training begun anew in silence.
_RESUMED = {
    "epoch": int, "global_step": int, "loops": dict, "callbacks": dict,
    "optimizer_states": list, "lr_schedulers": list, "training": dict, "left_out": dict,
    FrequencyDataModule.__qualname__: dict,
}  # fmt: skip


def check_resumable(path: str | Path, content: dict[str, Any], progress: dict[str, Any]) -> None:
    """Checks that all is there that a training goes on with.

    Args:
        path: Of the checkpoint, for the message.
        content: What is in it, after :func:`check_content`.
        progress: The state of the new training's loop, which the checkpoint's must have every count of.

    Raises:
        UserError: A part is missing or cannot be. Names it.
    """
    for part, kind in _RESUMED.items():
        if part not in content:
            raise UserError(f"{path} cannot be resumed: it has no {part!r}; was it saved for its weights alone?")
        if not isinstance(content[part], kind):
            raise _fault(path, f"{part!r} must be of type {kind.__name__}")
    for part in ("optimizer_states", "lr_schedulers"):
        if len(content[part]) != 1 or not isinstance(content[part][0], dict):
            raise _fault(path, f"{part!r} must hold one state")
    if not all(_is_plain(value) for value in content["training"].values()):
        raise _fault(path, "'training' must be texts and numbers")
    files = content[FrequencyDataModule.__qualname__]
    for split in ("train", "val"):
        record = files.get(split)
        if not isinstance(record, dict) or [type(record.get(key)) for key in ("images", "sha256")] != [int, str]:
            raise _fault(path, f"the record of the images in {split} must be their number and a SHA-256")
    for reasons in content["left_out"].values():
        if not isinstance(reasons, dict) or any({type(path), type(why)} != {str} for path, why in reasons.items()):
            raise _fault(path, "'left_out' must be reasons by path")
    _check_progress(path, progress, content["loops"].get("fit_loop"))


def _check_progress(path: str | Path, wanted: Any, found: Any) -> None:
    if type(found) is not type(wanted) or (isinstance(wanted, dict) and not wanted.keys() <= found.keys()):
        raise _fault(path, "'loops' must say where the training was")
    for key in wanted if isinstance(wanted, dict) else ():
        _check_progress(path, wanted[key], found[key])


def _fault(path: str | Path, what: str) -> UserError:
    return UserError(f"{path}: not a checkpoint of dctnet: {what}")


def _check_options(path: str | Path, owner: type, options: dict[str, Any]) -> None:
    for key, value in options.items():
        # First of all: a list of lists of lists is small until somebody writes it out.
        if not _is_plain(value):
            raise _fault(path, f"option {str(key)[:40]!r} must be a text, a number or a short list of such")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(owner, "options", instantiate=False)
    try:
        parsed = parser.parse_object({"options": options}).options
    except argparse.ArgumentError as error:
        raise _fault(path, " ".join(str(error.message).split())[:200]) from error
    for key, value in options.items():
        if parsed[key] != value:  # read from a text, say
            raise _fault(path, f"option {key!r} must not be {repr(value)[:60]}")


def _is_plain(value: Any, longest: int = _LONGEST) -> bool:
    if isinstance(value, list):
        return len(value) <= _MOST and not any(isinstance(v, list) or not _is_plain(v, _LONGEST_NAME) for v in value)
    if isinstance(value, int):
        return abs(value) < 2**63
    if isinstance(value, str):
        return len(value) <= longest and not _NOT_IN_NAMES.search(value)
    return value is None or isinstance(value, float)


def _check_paths(path: str | Path, callbacks: Any) -> None:
    states = list(callbacks.values()) if isinstance(callbacks, dict) else [None]
    for state in states:
        if not isinstance(state, dict):
            raise _fault(path, "'callbacks' must be states by name")
        for key in _PATHS:
            named = state.get(key)
            for name in filter(None, named if isinstance(named, dict) else [named]):
                if not _is_whole(name):
                    raise _fault(path, f"{key} is {repr(name)[:80]}, must be a whole path")
        worst, best = state.get("kth_best_model_path"), state.get("best_k_models", {})
        if not isinstance(best, dict) or (worst and worst not in best):
            raise _fault(path, f"kth_best_model_path is {repr(worst)[:80]}, must be one of best_k_models")


def _is_whole(name: Any) -> bool:
    """Whether a path is spelt in such a way that Lightning sees whether it lies in a run's own folder.

    It compares the beginnings only, so that ``run/../x`` seems to, and ``local:///x`` it removes without a look.
    """
    return isinstance(name, str) and os.path.isabs(name) and os.path.normpath(name) == name and "::" not in name


@contextlib.contextmanager
def translate_state_dict_errors() -> Iterator[None]:
    """Turns what torch says of weights of another network into one line.

    Raises:
        UserError: They are.
    """
    try:
        yield
    except RuntimeError as error:
        if "Error(s) in loading state_dict" not in str(error):
            raise
        first = " ".join(str(error).splitlines()[1:2]).strip()[:160]
        raise UserError(
            f"the checkpoint's weights are not those of the network that its options name: {first}"
        ) from error
