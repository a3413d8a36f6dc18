"""Reads weights of torchvision, of timm, or of a file."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torchvision
from torch import Tensor

from dctnet.errors import UserError, did_you_mean, did_you_mean_path, first_line
from dctnet.frequency.maskfile import is_mask
from dctnet.io.safe_torch import load_torch_file
from dctnet.model.backbones.families import TORCHVISION, timm_name


def read_weights(name: str, weights: str) -> Any:
    """Reads a file, or downloads weights of torchvision or timm, which keep them in their caches.

    Args:
        name: The backbone's name.
        weights: The name of torchvision's weights (``IMAGENET1K_V1``) or of timm's (``csatv2.r512_in1k``, also without
            the network's name); or a file of torch or safetensors.

    Returns:
        The content: a state dict, or nested dicts that contain one.

    Raises:
        UserError: There are no such weights, or the file contains no tensors.
    """
    known = _of_torchvision(name) if name in TORCHVISION else _of_timm(name)
    if weights in known:
        try:
            return known[weights]()
        except Exception as error:  # of the libraries for downloads: of many types
            raise UserError(f"--model.weights {weights} could not be downloaded: {first_line(error)}") from error
    if Path(weights).is_dir():
        raise UserError(f"--model.weights {weights}: a folder; weights are a file in it, such as best.ckpt")
    if not Path(weights).is_file():
        hint = did_you_mean(weights, known) or did_you_mean_path(weights)
        names = ", ".join(known) or f"timm's for {name}, which has none"
        raise UserError(f"--model.weights {weights}: neither a file nor one of {names}.{hint}")
    if is_mask(weights):
        raise UserError(f"--model.weights {weights}: a mask, not weights; --data.channels takes it")
    try:
        content = _read_file(weights)
    except Exception as error:  # torch raises many types of exception on files of other programs
        raise UserError(f"--model.weights {weights}: not a weights file: {first_line(error)}") from error
    if not isinstance(content, dict) or not any(True for _ in named_tensors(content)):
        raise UserError(f"--model.weights {weights}: not a state dict; expected tensors by name")
    return content


def _of_torchvision(name: str) -> dict[str, Callable[[], Any]]:
    known: Any = torchvision.models.get_model_weights(name)
    return {each.name: partial(each.get_state_dict, progress=True, check_hash=True) for each in known}


def _of_timm(name: str) -> dict[str, Callable[[], Any]]:
    """By full name, and by the tag alone."""
    import timm

    arch = (timm_name(name) or "").partition(".")[0]
    full = timm.list_models(f"{arch}.*", pretrained=True)
    return {key: partial(_download, each) for each in full for key in (each, each.partition(".")[2])}


def _download(full: str) -> dict[str, Tensor]:
    """Through timm's own code, which also translates the names of older files."""
    import timm

    return timm.create_model(full, pretrained=True).state_dict()


def _read_file(path: str) -> Any:
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file

        return load_file(path)
    return load_torch_file(path)


def named_tensors(content: dict[Any, Any]) -> Iterator[tuple[str, Tensor]]:
    """Yields tensors in nested dicts with dotted names, so that a wrapping dict is no more than another prefix."""
    waiting, seen = [("", content)], {id(content)}
    while waiting:
        prefix, found = waiting.pop()
        for key, value in found.items():
            if isinstance(value, Tensor):
                yield f"{prefix}{key}", value
            elif isinstance(value, dict) and id(value) not in seen:  # shared dicts could be nested 10¹⁰⁰ times
                seen.add(id(value))
                waiting.append((f"{prefix}{key}.", value))
