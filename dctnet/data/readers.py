"""From an opened photograph to what the network reads, in two halves: in the loading process, and on the device.

``read`` makes tensors of one photograph, ``stack`` a batch of them, ``finish``, after the batch has reached the device,
the network's input. All readers see the same crops; they differ in where the work is done.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from dctnet.data.decode import Box, Photo
from dctnet.data.transforms import Crop
from dctnet.frequency.channels import COMPONENTS, ChannelSet
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.frequency.dct import BLOCK, flip_blocks
from dctnet.frequency.resample import resampled_dct


def choose_denominator(box: Box, width: int, height: int) -> int:
    """The most by which decoding may scale down, 8, 4, 2 or 1, and still give no fewer luma samples than are wanted.

    Args:
        box: What is to be resized, in source pixels.
        width: Columns of the output.
        height: Rows of the output.
    """
    spare = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
    return next(d for d in (8, 4, 2, 1) if d <= max(spare, 1))


def cut_planes(photo: Photo, box: Box, width: int, height: int) -> list[tuple[np.ndarray, Box]]:
    """What a resized box depends on: of each plane the part in and around it, and the box in the samples of that part.

    Args:
        photo: The photograph; decoded no larger than needed.
        box: Left, top, right, bottom in source pixels.
        width: Columns that the box is to become.
        height: Rows that it is to become.
    """
    cut = []
    for samples, across, down in photo.planes(choose_denominator(box, width, height)):
        left, top, right, bottom = box[0] / across, box[1] / down, box[2] / across, box[3] / down
        # The filter reaches one output pixel, but at least one sample, beyond the box.
        reach_x, reach_y = max(1, (right - left) / width), max(1, (bottom - top) / height)
        x, y = max(0, math.floor(left - reach_x)), max(0, math.floor(top - reach_y))
        part = samples[y : math.ceil(bottom + reach_y), x : math.ceil(right + reach_x)]
        cut.append((np.ascontiguousarray(part), (left - x, top - y, right - x, bottom - y)))
    return cut


def read_channels(photo: Photo, box: Box, blocks: tuple[int, int], channel_set: ChannelSet) -> Tensor:
    """The kept channels of a box resized to a grid of blocks.

    Args:
        photo: The photograph.
        box: Left, top, right, bottom in source pixels.
        blocks: Rows and columns of blocks.
        channel_set: The channels, in this order.

    Shape:
        - output: (K, rows, columns), float32
    """
    planes = cut_planes(photo, box, blocks[1] * BLOCK, blocks[0] * BLOCK)
    parts = []
    for component, frequencies in enumerate(channel_set.frequencies()):
        if component >= len(planes):
            parts.append(torch.zeros(len(frequencies), *blocks))  # grey: Cb = Cr = 128
        elif frequencies:
            samples, part = planes[component]
            where = torch.tensor([part], dtype=torch.float64)
            parts.append(resampled_dct(torch.from_numpy(samples)[None], where, blocks, frequencies)[0])
    return torch.cat(parts)


@dataclass(frozen=True)
class ChannelReader:
    """Computes the kept channels in the loading process.

    Args:
        crop: Where to crop.
        size: Side of the crop as the network sees it, in pixels.
        channel_set: The channels.
    """

    crop: Crop
    size: int
    channel_set: ChannelSet

    def read(self, photo: Photo, draw: np.random.Generator) -> Tensor:
        """Channels (K, S/8, S/8) of one crop, float32."""
        blocks = (self.size // BLOCK, self.size // BLOCK)
        channels = read_channels(photo, self.crop.box(photo.width, photo.height, draw), blocks, self.channel_set)
        flip = torch.tensor([self.crop.flip(draw)])
        return flip_blocks(channels[None], self.channel_set.indices, flip)[0]

    def stack(self, samples: list[Tensor]) -> Tensor:
        """Channels (N, K, S/8, S/8)."""
        return torch.stack(samples)

    def finish(self, sent: Tensor) -> Tensor:
        """The same."""
        return sent


@dataclass(frozen=True)
class CutReader:
    """Sends decoded samples as they are; the device resizes them and computes the channels.

    Args:
        crop: Where to crop.
        size: Side of the crop as the network sees it, in pixels.
        channel_set: The channels.
    """

    crop: Crop
    size: int
    channel_set: ChannelSet

    def read(self, photo: Photo, draw: np.random.Generator) -> tuple[list[tuple[np.ndarray, Box]], bool]:
        """Parts of the planes with the boxes in them, and whether to flip."""
        box = self.crop.box(photo.width, photo.height, draw)
        return cut_planes(photo, box, self.size, self.size), self.crop.flip(draw)

    def stack(self, samples: list[tuple[list[tuple[np.ndarray, Box]], bool]]) -> dict[str, Tensor]:
        """For each component ``planes`` (N, H, W) padded to the largest, ``boxes`` (N, 4), ``sizes`` (N, 2); ``flip`` (N,)."""
        sent = {"flip": torch.tensor([flip for _, flip in samples])}
        # Grey has no chroma: one sample of 128 is as good.
        grey = (np.full((1, 1), 128, np.uint8), (0.0, 0.0, 1.0, 1.0))
        for component, name in enumerate(COMPONENTS):
            parts = [planes[component] if component < len(planes) else grey for planes, _ in samples]
            sizes = torch.tensor([part.shape for part, _ in parts])
            height, width = sizes.amax(0).tolist()
            padded = torch.zeros(len(parts), height, width, dtype=torch.uint8)
            for target, (part, _) in zip(padded, parts, strict=True):
                target[: part.shape[0], : part.shape[1]] = torch.from_numpy(part)
            boxes = torch.tensor([box for _, box in parts], dtype=torch.float64)
            sent |= {f"planes_{name}": padded, f"boxes_{name}": boxes, f"sizes_{name}": sizes}
        return sent

    def finish(self, sent: dict[str, Tensor]) -> Tensor:
        """Channels (N, K, S/8, S/8), float32."""
        blocks = (self.size // BLOCK, self.size // BLOCK)
        parts = [
            resampled_dct(sent[f"planes_{name}"], sent[f"boxes_{name}"], blocks, frequencies, sent[f"sizes_{name}"])
            for name, frequencies in zip(COMPONENTS, self.channel_set.frequencies(), strict=True)
            if frequencies
        ]
        return flip_blocks(torch.cat(parts, 1), self.channel_set.indices, sent["flip"])


@dataclass(frozen=True)
class RGBReader:
    """Resizes the planes in the loading process; they become RGB on the device. For the baseline.

    Args:
        crop: Where to crop.
        size: Side of the crop as the network sees it, in pixels.
    """

    crop: Crop
    size: int

    def read(self, photo: Photo, draw: np.random.Generator) -> Tensor:
        """Planes (3, S, S) of one crop, uint8."""
        planes = torch.full((3, self.size, self.size), 128, dtype=torch.uint8)
        box = self.crop.box(photo.width, photo.height, draw)
        for target, (samples, part) in zip(planes, cut_planes(photo, box, self.size, self.size), strict=False):
            resized = Image.fromarray(samples).resize((self.size, self.size), Image.Resampling.BILINEAR, box=part)
            target.copy_(torch.from_numpy(np.array(resized)))
        return planes.flip(-1) if self.crop.flip(draw) else planes

    def stack(self, samples: list[Tensor]) -> Tensor:
        """Planes (N, 3, S, S), uint8."""
        return torch.stack(samples)

    def finish(self, sent: Tensor) -> Tensor:
        """RGB (N, 3, S, S), 0 … 255, float32."""
        return ycbcr_to_rgb(sent.float())


Reader = ChannelReader | CutReader | RGBReader
