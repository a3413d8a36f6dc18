"""Evaluation crops of photographs as planes or channels, in memory, to measure networks on."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from dctnet.data.images.photo import Photo, choose_decoder
from dctnet.data.preprocess import make_reader
from dctnet.data.transforms import CenterCrop
from dctnet.frequency.channels import ChannelSet, channels_to_planes
from dctnet.frequency.selections import named_channels

_CHUNK = 32  # photographs read at a time


def choose_evenly(targets: Sequence[int], images: int, seed: int) -> list[int]:
    """Indices of a random selection of images, spread evenly over the classes, ascending.

    Args:
        targets: Of all images.
        images: Number of images; all if there are fewer.
        seed: Of the selection.
    """
    of, rng = np.array(targets), np.random.default_rng(seed)
    # The n-th image of each class before the (n + 1)-th of any.
    turn = np.empty(len(of), int)
    for target in set(targets):
        members = rng.permutation(np.flatnonzero(of == target))
        turn[members] = np.arange(len(members))
    return sorted(np.lexsort((rng.random(len(of)), turn))[:images].tolist())


def read_channels(
    paths: Sequence[str], channel_set: ChannelSet, size: int, crop_fraction: float, title: str | None = None
) -> Tensor:
    """Channels (N, K, S/8, S/8) of the evaluation crops of some files, with a progress bar if it has a title.

    Raises:
        ImageError: A file cannot be read.
    """
    reader = make_reader(CenterCrop(crop_fraction), size, channel_set, "channels", "pixels")
    return torch.cat([payload["channels"] for payload in _read(reader, paths, title)])


def read_planes(
    paths: Sequence[str],
    kind: Literal["channels", "rgb"],
    size: int,
    crop_fraction: float,
    title: str | None = None,
) -> Tensor:
    """Planes Y, Cb, Cr (N, 3, S, S), 0 … 255, float32, of the evaluation crops of some files.

    Args:
        paths: The files.
        kind: What the network reads. A network on channels reads its exact channels from the planes.
        size: Side of the planes in pixels.
        crop_fraction: Side of the central square as a share of the short side.
        title: Of the progress bar; None for none.

    Raises:
        ImageError: A file cannot be read.
    """
    if kind == "channels":
        return channels_to_planes(read_channels(paths, named_channels("all"), size, crop_fraction, title))
    reader = make_reader(CenterCrop(crop_fraction), size, named_channels("all"), kind, "pixels")
    return torch.cat([payload.float() for payload in _read(reader, paths, title)])


def _read(reader: Any, paths: Sequence[str], title: str | None) -> list[Any]:
    """The reader's batches."""
    decoder = choose_decoder("auto")  # that of fit and predict
    rng, batches = np.random.default_rng(0), []  # a center crop draws nothing
    for start in tqdm(range(0, len(paths), _CHUNK), desc=title, disable=None if title else True):
        samples = [reader.sample(Photo(path, decoder), rng) for path in paths[start : start + _CHUNK]]
        batches.append(reader.collate(samples))
    return batches
