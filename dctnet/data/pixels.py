"""Readers: photographs to the network's input, in two stages.

In the worker, ``sample`` crops one photograph and ``collate`` builds a batch; on the device, ``to_device`` converts the
batch to the network's input.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dctnet.data.images.photo import Photo
from dctnet.data.images.planes import Box, Plane
from dctnet.data.transforms import Crop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.color import ycbcr_to_rgb
from dctnet.frequency.dct import BLOCK, flip_blocks
from dctnet.frequency.resample import resampled_dct


def choose_denominator(box: Box, width: float, height: float) -> int:
    """The largest denominator of the decoding scale, 8, 4, 2 or 1, that keeps width × height samples of a box."""
    spare = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
    return next(d for d in (8, 4, 2, 1) if d <= max(spare, 1))


class Cut(NamedTuple):
    """The part of each plane that is needed to resize a box, and the box in samples of that part.

    Args:
        luma: (rows, columns), uint8.
        luma_box: Left, top, right, bottom in ``luma``.
        chroma: Cb and Cr, (2, rows, columns), uint8; one sample of 128 each for grey images.
        chroma_box: Left, top, right, bottom in ``chroma``.
    """

    luma: np.ndarray
    luma_box: Box
    chroma: np.ndarray
    chroma_box: Box


def chroma_share(channel_set: ChannelSet) -> float:
    """Chroma samples that the channels need along an axis, as a share of the output's, with a margin of two."""
    highest = max((axis for own in channel_set.frequencies()[1:] for f in own for axis in divmod(f, BLOCK)), default=-1)
    return min(1.0, 2 * (highest + 1) / BLOCK)


def cut(photo: Photo, box: Box, width: int, height: int, chroma: float = 1.0) -> Cut:
    """Decodes a photograph at the smallest sufficient scale, and cuts out the samples needed to resize a box.

    The box is left, top, right, bottom in source pixels, and will be resized to width × height. ``chroma`` is the share
    of these samples that chroma needs along each axis, from :func:`chroma_share`.
    """
    detail = max(1.0, chroma * photo.chroma_factor)
    luma, *both = photo.planes(choose_denominator(box, width * detail, height * detail))
    (samples,), luma_box = _cut([luma], box, width, height)
    if not both:
        return Cut(samples, luma_box, np.full((2, 1, 1), 128, np.uint8), (0.0, 0.0, 1.0, 1.0))
    return Cut(samples, luma_box, *_cut(both, box, width, height))


def _cut(planes: list[Plane], box: Box, width: int, height: int) -> tuple[np.ndarray, Box]:
    left, top, right, bottom = planes[0].locate(box)
    # The filter extends beyond the box by one output pixel, but at least one sample.
    reach_x, reach_y = max(1, (right - left) / width), max(1, (bottom - top) / height)
    x, y = max(0, math.floor(left - reach_x)), max(0, math.floor(top - reach_y))
    window = slice(y, math.ceil(bottom + reach_y)), slice(x, math.ceil(right + reach_x))
    return np.stack([plane.samples[window] for plane in planes]), (left - x, top - y, right - x, bottom - y)


def pad(cuts: list[Cut]) -> dict[str, Tensor]:
    """Builds a batch of cuts, padded to the largest.

    Returns:
        ``luma`` (N, H, W) and ``chroma`` (2·N, h, w; Cb and Cr alternate), uint8; for both, ``…_boxes`` (…, 4) and
        ``…_sizes`` (…, 2), rows and columns without padding.
    """
    luma = _pad("luma", [c.luma[None] for c in cuts], [c.luma_box for c in cuts])
    return luma | _pad("chroma", [c.chroma for c in cuts], [c.chroma_box for c in cuts])


def _pad(name: str, parts: list[np.ndarray], boxes: list[Box]) -> dict[str, Tensor]:
    sizes, planes = torch.tensor([part.shape[1:] for part in parts]), len(parts[0])
    padded = torch.zeros(len(parts), planes, *sizes.amax(0).tolist(), dtype=torch.uint8)
    for target, part in zip(padded, parts, strict=True):
        target[:, : part.shape[1], : part.shape[2]] = torch.from_numpy(part)
    return {
        name: padded.flatten(0, 1),
        f"{name}_boxes": torch.tensor(boxes, dtype=torch.float64).repeat_interleave(planes, 0),
        f"{name}_sizes": sizes.repeat_interleave(planes, 0),
    }


def compute_channels(padded: dict[str, Tensor], blocks: tuple[int, int], channel_set: ChannelSet) -> Tensor:
    """Computes the channels of padded cuts, on their device.

    Args:
        padded: From :func:`pad`.
        blocks: Rows and columns of blocks of the resized boxes.
        channel_set: The channels, in this order.

    Shape:
        - output: (N, K, rows, columns), float32
    """

    def transform(name: str, frequencies: list[int]) -> Tensor:
        boxes, sizes = padded[f"{name}_boxes"], padded[f"{name}_sizes"]
        return resampled_dct(padded[name], boxes, blocks, frequencies, sizes)

    return join_channels(channel_set, transform)


def join_channels(channel_set: ChannelSet, transform: Callable[[str, list[int]], Tensor]) -> Tensor:
    """Channels (N, K, rows, columns) in the order of a set.

    Args:
        channel_set: The channels.
        transform: From ``luma`` or ``chroma``, and frequencies, to coefficients of these planes as in :func:`pad`.
    """
    luma, *chroma = channel_set.frequencies()
    parts = []
    if luma:
        parts.append(transform("luma", luma))
    if union := sorted({*chroma[0], *chroma[1]}):
        both = transform("chroma", union)
        for own, found in zip(chroma, (both[0::2], both[1::2]), strict=True):
            parts.append(found if own == union else found[:, [union.index(f) for f in own]])
    return torch.cat(parts, 1)


@dataclass(frozen=True)
class ChannelReader:
    """Computes the channels of crops of ``size`` × ``size`` pixels as the network sees them.

    With ``dct`` ``device`` the decoded samples are resized and transformed after the transfer.
    """

    crop: Crop
    size: int
    channel_set: ChannelSet
    dct: Literal["loader", "device"] = "loader"

    def sample(self, photo: Photo, rng: np.random.Generator) -> tuple[Cut, bool]:
        """A cut of the photograph, and whether to flip it."""
        box = self.crop.box(photo.width, photo.height, rng)
        return cut(photo, box, self.size, self.size, chroma_share(self.channel_set)), self.crop.flip(rng)

    def collate(self, samples: list[tuple[Cut, bool]]) -> dict[str, Any]:
        """``loader``: ``channels`` (N, K, S/8, S/8). ``device``: :func:`pad`'s result, ``flip`` (N,), ``side``."""
        if self.dct == "device":
            flip = torch.tensor([flip for _, flip in samples])
            return {**pad([c for c, _ in samples]), "flip": flip, "side": self.size // BLOCK}
        # Eight at a time: fewer are slowed down by the overhead of operations, more do not fit into the CPU cache.
        parts = (samples[i : i + 8] for i in range(0, len(samples), 8))
        return {"channels": torch.cat([self._compute(replace(self, dct="device").collate(part)) for part in parts])}

    def to_device(self, payload: dict[str, Any]) -> Tensor:
        """Channels (N, K, S/8, S/8), float32; of the size that the payload was read at."""
        return payload["channels"] if "channels" in payload else self._compute(payload)

    def _compute(self, payload: dict[str, Any]) -> Tensor:
        blocks = payload["side"], payload["side"]
        channels = compute_channels(payload, blocks, self.channel_set)
        return flip_blocks(channels, self.channel_set.indices, payload["flip"])


@dataclass(frozen=True)
class RGBReader:
    """The RGB baseline: resizes crops to ``size`` × ``size`` in the loader, and converts them to RGB on the device."""

    crop: Crop
    size: int

    def sample(self, photo: Photo, rng: np.random.Generator) -> Tensor:
        """Planes of one crop, (3, S, S), uint8."""
        planes = torch.empty(3, self.size, self.size, dtype=torch.uint8)
        one = cut(photo, self.crop.box(photo.width, photo.height, rng), self.size, self.size)
        parts = (one.luma, one.luma_box), *((samples, one.chroma_box) for samples in one.chroma)
        for target, (samples, box) in zip(planes, parts, strict=True):
            resized = Image.fromarray(samples).resize((self.size, self.size), Image.Resampling.BILINEAR, box=box)
            target.copy_(torch.from_numpy(np.array(resized)))
        return planes.flip(-1) if self.crop.flip(rng) else planes

    def collate(self, samples: list[Tensor]) -> Tensor:
        """Planes (N, 3, S, S), uint8."""
        return torch.stack(samples)

    def to_device(self, payload: Tensor) -> Tensor:
        """RGB (N, 3, S, S), 0 … 255, float32."""
        return ycbcr_to_rgb(payload.float())
