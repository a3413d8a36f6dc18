"""Input pipelines of the throughput study, each as a pass over the same photographs."""

import contextlib
import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dctnet.data.coefficients import CoefficientReader, whole_blocks
from dctnet.data.images import turbojpeg
from dctnet.data.images.photo import Photo, choose_decoder
from dctnet.data.packed.manifest import Manifest, read_manifest
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.packed.writer import pack
from dctnet.data.pixels import ChannelReader
from dctnet.data.transforms import TrainCrop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.studies.throughput.passes import ColdPass, Pass, ToDevice, batches
from dctnet.studies.throughput.rgb import rgb_pipelines

_MIN_SCALE = 0.08


def make_pipelines(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """The pipelines available on this machine, by name.

    Args:
        photographs: JPEG files that every pipeline can read.
        channel_set: The channels to compute.
        size: Side of the crops in source pixels; crops of RGB have ``RGB_SIZE``.
        folder: A folder for the stores.
    """
    decoder, crop = choose_decoder("auto"), TrainCrop(_MIN_SCALE)
    on_device = ChannelReader(crop, size, channel_set, "device")

    def read(reader: Any, to_device: ToDevice | None = None) -> Pass:
        def load(number: int, batch: list[int]) -> dict[str, Tensor]:
            rngs = [np.random.default_rng((number, i)) for i in batch]
            photos = [Photo(photographs[i], decoder) for i in batch]
            return reader.collate([reader.sample(photo, rng) for photo, rng in zip(photos, rngs, strict=True)])

        return batches(len(photographs), load, to_device)

    pipelines = {
        **rgb_pipelines(photographs, folder),
        "pixels": read(ChannelReader(crop, size, channel_set)),
        "pixels_device_dct": read(on_device, on_device.to_device if torch.cuda.is_available() else None),
    }
    if turbojpeg.describe() is not None:
        pipelines["coefficients"] = read(_LargestAlignedCrop(crop, size, channel_set))
    else:
        print("coefficients: not measured, libjpeg-turbo is not installed; run dctnet doctor")
    return pipelines | _packed_pipelines(photographs, channel_set, size, folder)


class _LargestAlignedCrop:
    """A coefficient reader for photographs of different sizes: from those below the crop size it reads all blocks."""

    def __init__(self, crop: TrainCrop, size: int, channel_set: ChannelSet) -> None:
        self.crop, self.size, self.channel_set = crop, size, channel_set

    def sample(self, photo: Photo, rng: np.random.Generator) -> tuple[Tensor, bool]:
        """Reads one photograph."""
        side = min(self.size, BLOCK * min(whole_blocks(photo)))
        return CoefficientReader(self.crop, side, self.channel_set).sample(photo, rng)

    def collate(self, samples: list[tuple[Tensor, bool]]) -> dict[str, Tensor]:
        """Stacks samples; those of different sizes are concatenated as vectors."""
        if len({channels.shape for channels, _ in samples}) == 1:
            return CoefficientReader(self.crop, self.size, self.channel_set).collate(samples)
        return {"channels": torch.cat([channels.flatten() for channels, _ in samples])}


def _packed_pipelines(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """Packs the photographs into a store in ``folder``, and reads it in every way that this machine supports."""
    source, store = folder / "source" / "train" / "all", folder / "store"
    source.mkdir(parents=True)
    for number, path in enumerate(photographs):
        (source / f"{number:06d}.jpg").symlink_to(Path(path).absolute())
    with contextlib.redirect_stdout(io.StringIO()):
        pack(str(folder / "source"), str(store), channels=list(channel_set.indices), image_size=size)
    manifest = read_manifest(store)

    def read(manifest: Manifest, residency: Any, on_device: bool = False, to_float: bool = False) -> Pass:
        dataset = PackedDataset(manifest, "train", channel_set, size, 1.0, residency, 0)

        def load(number: int, batch: list[int]) -> dict[str, Tensor]:
            payload = dataset.__getitems__([(number, i) for i in batch])["payload"]
            return {"channels": dataset.to_device(payload)} if to_float else payload

        return batches(len(dataset), load, dataset.to_device if on_device else None, shuffle=True)

    pipelines: dict[str, Pass] = {
        "packed_warm": read(manifest, "disk"),
        "packed_ram": read(manifest, "ram"),
        "packed_float": read(manifest, "disk", to_float=True),
    }
    if hasattr(os, "posix_fadvise"):
        # A copy, because shards that another pipeline has mapped stay in the page cache.
        copy = read_manifest(shutil.copytree(store, folder / "cold"))
        os.sync()
        pipelines["packed_cold"] = ColdPass(copy, lambda: read(copy, "disk"))
    if torch.cuda.is_available():
        pipelines["packed_device"] = read(manifest, "device", on_device=True)
    return pipelines
