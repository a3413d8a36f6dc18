"""Images on which an exported network is compared with the original, calibrated and measured."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.folders import list_files
from dctnet.data.images.files import ImageError
from dctnet.data.planted import make_planted
from dctnet.data.preprocess import Preprocess
from dctnet.data.sources import PhotoSource
from dctnet.errors import UserError, printable
from dctnet.frequency.selections import named_channels
from dctnet.model.network import FrequencyNet
from dctnet.training.checkpoint import adapt_data_options


@dataclass(frozen=True)
class Samples:
    """Inputs of an exported network, and of the original for the same images.

    Args:
        exported: Channels, or RGB as uint8, (n, …).
        original: What the network reads as in ``dctnet validate``, (n, …), float32.
        targets: Class of each image, (n,); −1 without a label.
        origin: Where the images are from, for messages.
    """

    exported: Tensor
    original: Tensor
    targets: Tensor
    origin: str


def read_samples(
    network: FrequencyNet, kept: Sequence[int], content: dict[str, Any], root: str | None,
    split: Literal["train", "val"], count: int, input: Literal["channels", "pixels"],
) -> Samples:  # fmt: skip
    """Reads images spread evenly over a split.

    If the photographs of the training are not there, validation images are generated.

    Args:
        network: The network of the checkpoint.
        kept: Places of the channels that the exported network reads among its channels.
        content: Its checkpoint.
        root: A data set, or None for that of the training.
        split: The split.
        count: Largest number of images.
        input: What the exported network reads.

    Raises:
        UserError: There is no image of the split; unless it is the validation split and ``root`` is not given.
    """
    options = adapt_data_options(content["datamodule_hyper_parameters"], content["hyper_parameters"], root)
    options |= {} if root is None else {"root": root}
    try:
        data = FrequencyDataModule(**options)
        data.class_names = network.classes
        files = data.files(split) if isinstance(data.source, PhotoSource) else None
    except UserError as error:
        if root is not None:
            raise
        if split == "train":
            raise UserError(f"--int8 is calibrated on training images: {error} Give --data.root") from error
        files = None
    if files is not None and len(files):
        chosen = [i * len(files) // min(count, len(files)) for i in range(min(count, len(files)))]
        pairs = [(files.paths[i], files.targets[i]) for i in chosen]
        return _read(network, kept, pairs, input, f"{split} images of {printable(options['root'])}")
    if split == "train":
        raise UserError(f"--int8 is calibrated on training images, and {options['root']} has none that are photographs")
    if root is not None:
        raise UserError(f"{root}: no {split} photograph; a packed store cannot be used here")
    with tempfile.TemporaryDirectory() as folder:
        pictures = list_files(make_planted(Path(folder, "planted"), 0, max(1, count // 4), 1))
        return _read(network, kept, [(path, -1) for path in pictures[:count]], input, "generated pictures")


def _read(network: FrequencyNet, kept: Sequence[int], pairs: list[tuple[str, int]], input: str, origin: str) -> Samples:
    assert isinstance(network.preprocess, Preprocess)
    own = network.preprocess
    size, fraction = own.image_size, own.crop_fraction
    read_channels = Preprocess(network.channels or own.channel_set, size, fraction, own.input, own.source)
    read_pixels = Preprocess(named_channels("all"), size, fraction, "rgb")
    exported, original, targets = [], [], []
    for path, target in pairs:
        try:
            found = read_channels(path)
            pixels = read_pixels(path).round().to(torch.uint8) if input == "pixels" else found[:, list(kept)]
        except ImageError:  # dctnet validate lists them
            continue
        exported.append(pixels)
        original.append(found)
        targets.append(target)
    if not exported:
        raise UserError(f"{origin}: none of {len(pairs)} can be read")
    return Samples(torch.cat(exported), torch.cat(original), torch.tensor(targets), origin)
