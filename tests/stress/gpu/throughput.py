"""Part 2: images per second that reach the GPU."""

import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision.transforms.v2 as T
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.folders import list_files
from dctnet.studies.throughput.study import throughput
from tests.stress.gpu.bench import Bench, Cell, deliver
from tests.stress.imagenet_like import reencode

CLASSES = 16
RGB = {"input": "rgb", "image_size": 224}
CHANNELS = {"channels": "square-24", "image_size": 448}
PHOTOGRAPHS = {**CHANNELS, "dct": "device"}
STORE = {**CHANNELS, "packed": True, "residency": "device"}


def like_imagenet(bench: Bench) -> Path:
    """A data set of files of ImageNet's mean size. All classes are hard links to the same files: epochs are long."""
    root, files = bench.scratch / "like", bench.scratch / "files"
    if not root.exists():
        reencode((bench.data or bench.planted()) / "train", files, count=8 if bench.small else 512)
        for number in map(str, range(CLASSES)):
            shutil.copytree(files, root / "train" / number, copy_function=os.link)
            (root / "val" / number).mkdir(parents=True)
            (root / "val" / number / "0.jpg").hardlink_to(files / "00000.jpg")
    return root


def open_data(bench: Bench, image_size: int, packed: bool = False, **options: Any) -> FrequencyDataModule:
    """The data module of that data set, or of a packed store of it, with some options."""
    root, size = like_imagenet(bench), bench.size(image_size)
    if packed:  # a single scale: the default four would take 6 GB
        root = bench.packed(root, size, scales=[size + 64])
    return FrequencyDataModule(
        str(root), image_size=size, batch_size=bench.batch, num_workers=bench.workers, norm_images=64, **options
    )


def arrival(bench: Bench, loader: Iterable[Any], finish: Callable[[Any], Tensor]) -> dict[str, Any]:
    """Images per second of a loader that is read again and again; ``finish`` moves a batch to the device."""
    images, began, least = 0, 0.0, 0.1 if bench.small else 8
    for number, batch in enumerate(itertools.chain.from_iterable(itertools.repeat(loader))):
        images += len(finish(batch))
        bench.synchronize()
        if number == 1:  # the first batches wait for the workers to start
            images, began = 0, time.perf_counter()
        elif number > 1 and time.perf_counter() - began > least:
            break
    return {"images/s": round(images / (time.perf_counter() - began))}


def dctnet(bench: Bench, **options: Any) -> dict[str, Any]:
    """The loader of dctnet."""
    data = open_data(bench, **options)
    return arrival(bench, data.train_dataloader(), lambda batch: deliver(data, batch, bench.device)["input"])


def torchvision_rgb(bench: Bench) -> dict[str, Any]:
    """ImageFolder with torchvision's transforms."""
    end = [T.ToImage(), T.ToDtype(torch.float32, scale=True), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    transform = T.Compose([T.RandomResizedCrop(224), T.RandomHorizontalFlip(), *end])
    images = ImageFolder(str(like_imagenet(bench) / "train"), transform)
    parallel = {"num_workers": bench.workers, "persistent_workers": bench.workers > 0}
    loader = DataLoader(images, bench.batch, shuffle=True, pin_memory=bench.device == "cuda", **parallel)
    return arrival(bench, loader, lambda batch: batch[0].to(bench.device, non_blocking=True))


class DecodedRGB(Dataset[Tensor]):
    """Decoded squares of 256 px in a memory-mapped file; random crops of 224 px are cut a batch at a time."""

    def __init__(self, files: list[str], path: Path) -> None:
        self.images, self.rng = (
            np.memmap(path, np.uint8, "w+", shape=(len(files), 256, 256, 3)),
            np.random.default_rng(0),
        )
        for target, file in zip(self.images, files, strict=True):
            target[...] = Image.open(file).convert("RGB").resize((256, 256))

    def __len__(self) -> int:
        return len(self.images)

    def __getitems__(self, indices: list[int]) -> Tensor:
        """Crops (N, 224, 224, 3), uint8."""
        batch, corners = np.empty((len(indices), 224, 224, 3), np.uint8), self.rng.integers(0, 33, (len(indices), 2))
        for crop, index, (y, x) in zip(batch, indices, corners, strict=True):
            crop[...] = self.images[index, y : y + 224, x : x + 224]
        return torch.from_numpy(batch)


def decoded_rgb(bench: Bench) -> dict[str, Any]:
    """A store of decoded RGB, cropped in the main process, flipped and converted on the device."""
    images = DecodedRGB(list_files(like_imagenet(bench).with_name("files")), bench.scratch / "rgb")
    loader = DataLoader(images, bench.batch, True, collate_fn=lambda batch: batch, pin_memory=bench.device == "cuda")

    def finish(batch: Tensor) -> Tensor:
        moved = batch.to(bench.device, non_blocking=True).permute(0, 3, 1, 2).float()
        return torch.where(torch.rand(len(moved), 1, 1, 1, device=moved.device) < 0.5, moved.flip(-1), moved)

    return arrival(bench, loader, finish)


def one_thread(bench: Bench) -> dict[str, Any]:
    """``dctnet throughput``: all pipelines, one thread each."""
    files, out = like_imagenet(bench).with_name("files"), bench.scratch / "throughput"
    few = {"images": 4, "rounds": 1} if bench.small else {}
    throughput(str(files), out=str(out), image_size=bench.size(448), **few)
    rows = json.loads((out / "throughput.json").read_text())["paths"]
    return {name: round(row["images_per_second"]) for name, row in rows.items()}


CELLS = (
    Cell("photographs, transfer and DCT on the GPU", 60, dctnet, PHOTOGRAPHS),
    Cell("packed store on the GPU", 60, dctnet, STORE),
    Cell("RGB by torchvision", 40, torchvision_rgb),
    Cell("decoded RGB, memory-mapped", 40, decoded_rgb),
    Cell("photographs, DCT in the loader", 40, dctnet, CHANNELS),
    Cell("packed store, memory-mapped", 40, dctnet, {**CHANNELS, "packed": True}),
    Cell("RGB by dctnet", 40, dctnet, RGB),
    Cell("one thread each", 90, one_thread),
)
