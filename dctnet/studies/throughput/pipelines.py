"""The ways to feed a network, each as a pass over the same photographs."""

import contextlib
import io
import os
import shutil
from collections.abc import Callable
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

# One pass over all images: takes the number of the pass, returns the bytes that would cross to the device.
Pass = Callable[[int], int]
RGB_SIZE = 224
_BATCH, _MIN_SCALE = 64, 0.08


def make_pipelines(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """The feeds that can run here, by name.

    Args:
        photographs: JPEG files that every feed can read.
        channel_set: The channels.
        size: Side of the crops in source pixels, but for RGB's.
        folder: An empty folder for a packed store.
    """
    decoder, crop = choose_decoder("auto"), TrainCrop(_MIN_SCALE)
    on_device = ChannelReader(crop, size, channel_set, "device")

    def read(reader: Any) -> Callable[[int, list[int]], dict[str, Tensor]]:
        return lambda number, batch: reader.collate(
            [reader.sample(Photo(photographs[i], decoder), np.random.default_rng((number, i))) for i in batch]
        )

    count, gpu = len(photographs), torch.cuda.is_available()
    paths = {
        "rgb_torchvision": _rgb(photographs, lambda path: decode_image(path, mode="RGB"), to_float=True),
        "rgb_pillow": _rgb(photographs, lambda path: open_image(path).convert("RGB"), to_float=False),
        "pixels": _in_batches(count, read(ChannelReader(crop, size, channel_set))),
        "pixels_device_dct": _in_batches(count, read(on_device), on_device.to_device if gpu else None),
    }
    if turbojpeg.describe() is not None:
        paths["coefficients"] = _in_batches(count, read(_LargestAlignedCrop(crop, size, channel_set)))
    else:
        print("coefficients: not timed, libjpeg-turbo is not found; dctnet doctor says how to install it")
    return paths | _packed_paths(photographs, channel_set, size, folder)


def _in_batches(
    count: int,
    load: Callable[[int, list[int]], dict[str, Tensor]],
    finish: Callable[[dict[str, Tensor]], Tensor] | None = None,
    shuffle: bool = False,
) -> Pass:
    """A pass: ``load`` makes a batch of the images at some places; ``finish``, if given, goes on with it on the GPU."""

    def run(number: int) -> int:
        order = np.random.default_rng(number).permutation(count).tolist() if shuffle else list(range(count))
        total = 0
        for start in range(0, count, _BATCH):
            payload = load(number, order[start : start + _BATCH])
            total += sum(tensor.nbytes for tensor in payload.values())
            if finish is not None:
                finish({key: value.to("cuda") for key, value in payload.items()})
                torch.cuda.synchronize()
        return total

    return run


class _LargestAlignedCrop:
    """The coefficient reader, for photographs of any size: a smaller one is read as large as it is."""

    def __init__(self, crop: TrainCrop, size: int, channel_set: ChannelSet) -> None:
        self.crop, self.size, self.channel_set = crop, size, channel_set

    def sample(self, photo: Photo, rng: np.random.Generator) -> tuple[Tensor, bool]:
        """As the coefficient reader, of a crop that fits."""
        side = min(self.size, BLOCK * min(whole_blocks(photo)))
        return CoefficientReader(self.crop, side, self.channel_set).sample(photo, rng)

    def collate(self, samples: list[tuple[Tensor, bool]]) -> dict[str, Tensor]:
        """As the coefficient reader; crops of several sizes lie behind one another."""
        shapes = {channels.shape for channels, _ in samples}
        reader = CoefficientReader(self.crop, self.size, self.channel_set)
        if len(shapes) == 1:
            return reader.collate(samples)
        return {"channels": torch.cat([channels.flatten() for channels, _ in samples])}


def _rgb(photographs: list[str], load: Callable[[str], Any], to_float: bool) -> Pass:
    end = [T.ToDtype(torch.float32, scale=True), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    if not to_float:
        end = [T.PILToTensor()]  # normalised on the device
    transform = T.Compose([T.RandomResizedCrop(RGB_SIZE, antialias=True), T.RandomHorizontalFlip(), *end])

    def run(number: int) -> int:
        torch.manual_seed(number)
        total = 0
        for start in range(0, len(photographs), _BATCH):
            total += torch.stack([transform(load(path)) for path in photographs[start : start + _BATCH]]).nbytes
        return total

    return run


def _packed_paths(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    source, store = folder / "source" / "train" / "all", folder / "store"
    source.mkdir(parents=True)
    for number, path in enumerate(photographs):
        (source / f"{number:06d}.jpg").symlink_to(Path(path).absolute())
    with contextlib.redirect_stdout(io.StringIO()):
        pack(str(folder / "source"), str(store), channels=list(channel_set.indices), image_size=size)
    manifest = read_manifest(store)

    def serve(store: Manifest, residency: Any, finish: bool = False) -> Pass:
        dataset = PackedDataset(store, "train", channel_set, size, True, 0, residency, 0)

        def load(number: int, batch: list[int]) -> dict[str, Tensor]:
            return dataset.__getitems__([(number, i) for i in batch])["payload"]

        return _in_batches(len(dataset), load, dataset.to_device if finish else None, shuffle=True)

    paths: dict[str, Pass] = {"packed_warm": serve(manifest, "disk"), "packed_ram": serve(manifest, "ram")}
    if hasattr(os, "posix_fadvise"):
        # A copy: what another path has mapped stays in memory.
        copy = read_manifest(shutil.copytree(store, folder / "cold"))
        os.sync()
        paths["packed_cold"] = ColdPass(copy, lambda: serve(copy, "disk"))
    if torch.cuda.is_available():
        paths["packed_device"] = serve(manifest, "device", finish=True)
    return paths


class ColdPass:
    """A pass over a store that the system was asked to drop from its memory before."""

    def __init__(self, manifest: Manifest, open_pass: Callable[[], Pass]) -> None:
        self.manifest, self.open_pass = manifest, open_pass
        self.run: Pass | None = None

    def before(self) -> None:
        """Forgets the store and opens it anew; not timed."""
        self.run = None  # what is mapped is not dropped
        for shard in pick_split(self.manifest, "train").shards:
            with open(shard_file(self.manifest.root, shard), "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        self.run = self.open_pass()

    def __call__(self, number: int) -> int:
        """The pass; once after each :meth:`before`."""
        assert self.run is not None
        return self.run(number)
