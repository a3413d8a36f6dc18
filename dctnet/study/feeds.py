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
from PIL import Image
from torch import Tensor
from torchvision.io import decode_image

from dctnet.data import turbo
from dctnet.data.coefficients import CoefficientReader, whole_blocks
from dctnet.data.decode import Photo, choose_decoder
from dctnet.data.packed.manifest import Manifest, pick_split, read_manifest, shard_file
from dctnet.data.packed.plan import PackData
from dctnet.data.packed.reader import PackedDataset
from dctnet.data.packed.writer import pack
from dctnet.data.readers import ChannelReader
from dctnet.data.transforms import TrainCrop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK

# One pass over all images: takes the number of the pass, returns the bytes that would cross to the device.
Pass = Callable[[int], int]
RGB_SIZE = 224
_BATCH, _MIN_SCALE = 64, 0.08


def make_feeds(photographs: list[str], channel_set: ChannelSet, size: int, folder: Path) -> dict[str, Pass]:
    """The feeds that can run here, by name.

    Args:
        photographs: JPEG files that every feed can read.
        channel_set: The channels.
        size: Side of the crops in source pixels, but for RGB's.
        folder: An empty folder for a packed store.
    """
    decoder, device = choose_decoder("auto"), torch.device("cuda" if torch.cuda.is_available() else "cpu")
    crop = TrainCrop(_MIN_SCALE)
    on_device = ChannelReader(crop, size, channel_set, "device")

    def read(reader: Any, finish: bool = False) -> Pass:
        def run(number: int) -> int:
            total = 0
            for start in range(0, len(photographs), _BATCH):
                batch = range(start, min(start + _BATCH, len(photographs)))
                sent = reader.stack(
                    [reader.read(Photo(photographs[i], decoder), np.random.default_rng((number, i))) for i in batch]
                )
                total += _bytes(sent)
                if finish:
                    reader.finish({key: value.to(device) for key, value in sent.items()})
                    torch.cuda.synchronize()
            return total

        return run

    paths = {
        "rgb_torchvision": _rgb(photographs, lambda path: decode_image(path, mode="RGB"), to_float=True),
        "rgb_pillow": _rgb(photographs, lambda path: Image.open(path).convert("RGB"), to_float=False),
        "pixels": read(ChannelReader(crop, size, channel_set)),
        "pixels_device_dct": read(on_device, finish=device.type == "cuda"),
    }
    if turbo.describe() is not None:
        paths["coefficients"] = read(_WholeIfSmaller(crop, size, channel_set))
    else:
        print("coefficients: not timed, libjpeg-turbo is not found; dctnet doctor says how to install it")
    return paths | _packed_paths(photographs, channel_set, size, folder, device)


class _WholeIfSmaller:
    """The coefficient reader, for photographs of any size: a smaller one is read as large as it is."""

    def __init__(self, crop: TrainCrop, size: int, channel_set: ChannelSet) -> None:
        self.crop, self.size, self.channel_set = crop, size, channel_set

    def read(self, photo: Photo, draw: np.random.Generator) -> tuple[Tensor, bool]:
        """As the coefficient reader, of a crop that fits."""
        side = min(self.size, BLOCK * min(whole_blocks(photo)))
        return CoefficientReader(self.crop, side, self.channel_set).read(photo, draw)

    def stack(self, samples: list[tuple[Tensor, bool]]) -> dict[str, Tensor]:
        """As the coefficient reader; crops of several sizes lie behind one another."""
        shapes = {channels.shape for channels, _ in samples}
        reader = CoefficientReader(self.crop, self.size, self.channel_set)
        if len(shapes) == 1:
            return reader.stack(samples)
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


def _packed_paths(
    photographs: list[str], channel_set: ChannelSet, size: int, folder: Path, device: torch.device
) -> dict[str, Pass]:
    source, store = folder / "source" / "train" / "all", folder / "store"
    source.mkdir(parents=True)
    for number, path in enumerate(photographs):
        (source / f"{number:06d}.jpg").symlink_to(Path(path).absolute())
    with contextlib.redirect_stdout(io.StringIO()):
        pack(str(folder / "source"), str(store), PackData(list(channel_set.indices), size))
    manifest = read_manifest(store)

    def open_store(residency: Any) -> PackedDataset:
        return PackedDataset(manifest, "train", channel_set, size, True, 0, residency, 0)

    def serve(dataset: PackedDataset, finish: bool = False) -> Pass:
        def run(number: int) -> int:
            order, total = np.random.default_rng(number).permutation(len(dataset)).tolist(), 0
            for start in range(0, len(order), _BATCH):
                sent = dataset.__getitems__([(number, i) for i in order[start : start + _BATCH]])["sent"]
                total += _bytes(sent)
                if finish:
                    dataset.finish({key: value.to(device) for key, value in sent.items()})
                    torch.cuda.synchronize()
            return total

        return run

    paths: dict[str, Pass] = {"packed_warm": serve(open_store("disk")), "packed_ram": serve(open_store("ram"))}
    if hasattr(os, "posix_fadvise"):
        # A copy: what another path has mapped stays in memory.
        copy = read_manifest(shutil.copytree(store, folder / "cold"))
        os.sync()
        paths["packed_cold"] = ColdPass(
            copy, lambda: serve(PackedDataset(copy, "train", channel_set, size, True, 0, "disk", 0))
        )
    if device.type == "cuda":
        paths["packed_device"] = serve(open_store("device"), finish=True)
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


def _bytes(sent: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in sent.values())
