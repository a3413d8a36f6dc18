"""Input pipelines of the throughput study, each as a pass over the same photographs."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.v2 as T
from torch import Tensor
from torchvision.io import decode_image

from dctnet.data.coefficients import CoefficientReader, whole_blocks
from dctnet.data.images import turbojpeg
from dctnet.data.images.photo import Photo, choose_decoder
from dctnet.data.images.pillow import open_image
from dctnet.data.packed.manifest import Manifest, pick_split, read_manifest, shard_file
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.packed.writer import pack
from dctnet.data.pixels import ChannelReader
from dctnet.data.transforms import TrainCrop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK

# One pass over all images: takes the number of the pass, returns the bytes that move to the device.
Pass = Callable[[int], int]
ToDevice = Callable[[dict[str, Tensor]], Tensor]
RGB_SIZE = 224
_BATCH, _MIN_SCALE = 64, 0.08


def make_pipelines(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """The pipelines available on this machine, by name.

    Args:
        photographs: JPEG files that every pipeline can read.
        channel_set: The channels to compute.
        size: Side of the crops in source pixels; crops of RGB have ``RGB_SIZE``.
        folder: A folder for a packed store.
    """
    decoder, crop = choose_decoder("auto"), TrainCrop(_MIN_SCALE)
    on_device = ChannelReader(crop, size, channel_set, "device")

    def read(reader: Any, to_device: ToDevice | None = None) -> Pass:
        def load(number: int, batch: list[int]) -> dict[str, Tensor]:
            rngs = [np.random.default_rng((number, i)) for i in batch]
            photos = [Photo(photographs[i], decoder) for i in batch]
            return reader.collate([reader.sample(photo, rng) for photo, rng in zip(photos, rngs, strict=True)])

        return _batches(len(photographs), load, to_device)

    pipelines = {
        "rgb_torchvision": _rgb(photographs, lambda path: decode_image(path, mode="RGB"), to_float=True),
        "rgb_pillow": _rgb(photographs, lambda path: open_image(path).convert("RGB"), to_float=False),
        "pixels": read(ChannelReader(crop, size, channel_set)),
        "pixels_device_dct": read(on_device, on_device.to_device if torch.cuda.is_available() else None),
    }
    if turbojpeg.describe() is not None:
        pipelines["coefficients"] = read(_LargestAlignedCrop(crop, size, channel_set))
    else:
        print("coefficients: not measured, libjpeg-turbo is not installed; run dctnet doctor")
    return pipelines | _packed_pipelines(photographs, channel_set, size, folder)


def _batches(
    count: int,
    load: Callable[[int, list[int]], dict[str, Any]],
    to_device: ToDevice | None = None,
    shuffle: bool = False,
) -> Pass:
    """A pass in batches: ``load`` reads the images at some indices, ``to_device`` finishes a batch on the GPU."""

    def run(number: int) -> int:
        order = np.random.default_rng(number).permutation(count).tolist() if shuffle else list(range(count))
        total = 0
        for start in range(0, count, _BATCH):
            payload = load(number, order[start : start + _BATCH])
            tensors = {key: value for key, value in payload.items() if isinstance(value, Tensor)}
            total += sum(tensor.nbytes for tensor in tensors.values())
            if to_device is not None:
                to_device({**payload, **{key: tensor.to("cuda") for key, tensor in tensors.items()}})
                torch.cuda.synchronize()
        return total

    return run


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


def _rgb(photographs: list[str], load: Callable[[str], Any], to_float: bool) -> Pass:
    """A pass of torchvision transforms; without ``to_float`` it yields uint8, to be normalised on the device."""
    end = [T.ToDtype(torch.float32, scale=True), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    if not to_float:
        end = [T.PILToTensor()]
    transform = T.Compose([T.RandomResizedCrop(RGB_SIZE, antialias=True), T.RandomHorizontalFlip(), *end])

    def load_batch(number: int, batch: list[int]) -> dict[str, Tensor]:
        torch.manual_seed(number + batch[0])
        return {"image": torch.stack([transform(load(photographs[i])) for i in batch])}

    return _batches(len(photographs), load_batch)


def _packed_pipelines(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """Packs the photographs into a store in ``folder``, and reads it in every way that this machine supports."""
    source, store = folder / "source" / "train" / "all", folder / "store"
    source.mkdir(parents=True)
    for number, path in enumerate(photographs):
        (source / f"{number:06d}.jpg").symlink_to(Path(path).absolute())
    with contextlib.redirect_stdout(io.StringIO()):
        pack(str(folder / "source"), str(store), channels=list(channel_set.indices), image_size=size)
    manifest = read_manifest(store)

    def read(manifest: Manifest, residency: Any, on_device: bool = False) -> Pass:
        dataset = PackedDataset(manifest, "train", channel_set, size, 1.0, residency, 0)

        def load(number: int, batch: list[int]) -> dict[str, Tensor]:
            return dataset.__getitems__([(number, i) for i in batch])["payload"]

        return _batches(len(dataset), load, dataset.to_device if on_device else None, shuffle=True)

    pipelines: dict[str, Pass] = {"packed_warm": read(manifest, "disk"), "packed_ram": read(manifest, "ram")}
    if hasattr(os, "posix_fadvise"):
        # A copy, because shards that another pipeline has mapped stay in the page cache.
        copy = read_manifest(shutil.copytree(store, folder / "cold"))
        os.sync()
        pipelines["packed_cold"] = ColdPass(copy, lambda: read(copy, "disk"))
    if torch.cuda.is_available():
        pipelines["packed_device"] = read(manifest, "device", on_device=True)
    return pipelines


@dataclass
class ColdPass:
    """A pass over a store that is not in the page cache; ``open_pass`` opens the store for one pass."""

    manifest: Manifest
    open_pass: Callable[[], Pass]
    run: Pass | None = None

    def prepare(self) -> None:
        """Drops the store from the page cache and opens it again; not part of the measurement."""
        self.run = None  # mapped pages are not dropped
        for shard in pick_split(self.manifest, "train").shards:
            with open(shard_file(self.manifest.root, shard), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.run = self.open_pass()

    def __call__(self, number: int) -> int:
        """Runs the pass; once after each :meth:`prepare`."""
        assert self.run is not None
        return self.run(number)
