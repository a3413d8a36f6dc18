"""Checkpoints as safetensors files: the weights, and the options as JSON in the file's metadata."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from dctnet import __version__
from dctnet.io.atomic import atomic_write
from dctnet.training.public_options import public_options

SUFFIX = ".safetensors"
_KEY = "dctnet"
_PARTS = ("hyper_parameters", "datamodule_hyper_parameters")


def write_safetensors(path: Path, content: dict[str, Any]) -> None:
    """Writes weights and options of a checkpoint, without the state of its training and the paths of this machine.

    Args:
        path: The file.
        content: The checkpoint, as read.
    """
    weights = {
        name: tensor.contiguous() for name, tensor in content["state_dict"].items() if name.startswith("network.")
    }
    card = {"format": "dctnet-weights", "version": 1, "dctnet": __version__, **{part: content[part] for part in _PARTS}}
    model, data = (card[part] for part in _PARTS)
    card |= dict(zip(_PARTS, ({**model, "weights": None}, public_options(data, model)), strict=True))
    atomic_write(path, save(weights, {_KEY: json.dumps(card)}))


def read_safetensors(path: str | Path) -> dict[str, Any]:
    """Reads a file of :func:`write_safetensors` in the form of a checkpoint.

    Raises:
        ValueError: Not such a file. Has the reason.
    """
    try:
        with safe_open(path, "pt") as file:
            card = json.loads((file.metadata() or {}).get(_KEY, "null"))
            weights = {name: file.get_tensor(name) for name in list(file.keys())}
    except SafetensorError as error:
        raise ValueError(f"damaged, or no safetensors file: {error}") from error
    if not isinstance(card, dict) or card.get("format") != "dctnet-weights":
        raise ValueError("a safetensors file of another program")
    if card.get("version") != 1:
        raise ValueError(f"version {card.get('version')}; this dctnet reads version 1")
    return {**{part: card[part] for part in _PARTS}, "state_dict": weights}
