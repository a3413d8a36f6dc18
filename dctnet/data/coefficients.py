"""Channels from the coefficients of JPEG files: entropy decoding without inverse DCT, resizing and DCT."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dctnet.data.images import turbojpeg
from dctnet.data.images.files import ImageError
from dctnet.data.images.header import JpegError, JpegHeader, read_header
from dctnet.data.images.photo import Photo
from dctnet.data.images.planes import MIRRORED_COLUMNS, MIRRORED_ROWS
from dctnet.data.pixels import compute_channels, cut, pad
from dctnet.data.transforms import Crop, TrainCrop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK, flip_blocks
from dctnet.frequency.upsample import mirror_edges, upsample_blocks


def read_coefficients(data: bytes) -> list[np.ndarray]:
    """Reads the dequantised coefficients of a JPEG file.

    Args:
        data: A JPEG file of Y or YCbCr of 8 bits, baseline or progressive, in a sampling that libjpeg-turbo supports:
            4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1.

    Returns:
        Y, or Y, Cb, Cr, each on its own grid, in the scale of :func:`~dctnet.frequency.dct.block_dct` of level-shifted
        samples. As stored, without EXIF orientation; blocks cut by the edge are included.

    Shape:
        - output: (64, rows, columns) each, int32, frequency 8·v + u first

    Raises:
        JpegError: Another kind of file, a damaged one, or libjpeg-turbo is not found (``dctnet doctor``).
    """
    if turbojpeg.describe() is None:
        raise JpegError("libjpeg-turbo is not found; dctnet doctor says how to install it")
    header = read_header(data)
    stored = turbojpeg.with_coefficients(data, header, lambda views: [view.astype(np.int32) for view in views])
    return [
        np.ascontiguousarray((c * component.table).transpose(2, 0, 1))
        for c, component in zip(stored, header.components, strict=True)
    ]


@dataclass(frozen=True)
class Window:
    """A square crop aligned to 8×8 luma blocks of the upright image, in blocks."""

    top: int
    left: int
    side: int


def whole_blocks(photo: Photo) -> tuple[int, int]:
    """Rows and columns of complete 8×8 luma blocks of an upright photograph."""
    return photo.height // BLOCK, photo.width // BLOCK


def aligned_channels(photo: Photo, window: Window, channel_set: ChannelSet) -> Tensor:
    """Channels of an aligned crop, from coefficients.

    Subsampled chroma is interpolated to the grid of luma in the DCT domain. The result is the DCT of the decoded crop,
    with three differences. Samples are not rounded, which changes a coefficient by at most 4 (half a level in all 64
    samples), plus the error of the decoder's integer inverse DCT. Samples beyond 0 … 255, caused by strong
    quantisation, are not clamped. At the right and lower edge, interpolation uses the padding of the last blocks.

    The photograph must have a header: a JPEG file opened with the decoder ``turbojpeg``.

    Shape:
        - output: (K, side, side), float32

    Raises:
        JpegError: libjpeg-turbo rejects the file or warns about it.
    """
    header, transposed = photo.header, photo.orientation >= 5
    assert header is not None
    mirrored_rows, mirrored_columns = photo.orientation in MIRRORED_ROWS, photo.orientation in MIRRORED_COLUMNS
    rows, columns = whole_blocks(photo)
    # From the upright window to the stored one: inverts the mirroring, then the transposition.
    top = rows - window.top - window.side if mirrored_rows else window.top
    left = columns - window.left - window.side if mirrored_columns else window.left
    stored = Window(left, top, window.side) if transposed else Window(top, left, window.side)
    frequencies = channel_set.frequencies()
    if transposed:
        frequencies = [[f % BLOCK * BLOCK + f // BLOCK for f in own] for own in frequencies]
    parts = turbojpeg.with_coefficients(photo.data, header, lambda views: _take(views, header, stored, frequencies))
    # The chroma of grey images is 128, and its coefficients 0.
    parts += [torch.zeros(len(own), window.side, window.side) for own in frequencies[len(parts) :]]
    channels = torch.cat(parts)
    # Transposes and mirrors the blocks; mirroring negates odd frequencies.
    channels = channels.mT if transposed else channels
    indices = torch.tensor(channel_set.indices)
    if mirrored_rows:
        channels = channels.flip(-2) * (1 - 2 * (indices // BLOCK % 2))[:, None, None]
    if mirrored_columns:
        channels = channels.flip(-1) * (1 - 2 * (indices % 2))[:, None, None]
    return channels


def _take(views: list[np.ndarray], header: JpegHeader, window: Window, frequencies: list[list[int]]) -> list[Tensor]:
    """Some frequencies of each component of a stored window; of subsampled chroma without any frequency, nothing."""
    tables, factors = [component.table for component in header.components], header.factors
    taken = [_copy(views[i], tables[i], window, frequencies[i]) for i in range(len(views)) if factors[i] == (1, 1)]
    union = sorted({*frequencies[1], *frequencies[2]})
    if len(taken) < len(views) and union:
        both = _interpolate(views[1:], tables[1:], factors[1][::-1], window, union)
        for found, own in zip(both, frequencies[1:], strict=True):
            taken.append(found if own == union else found[[union.index(f) for f in own]])
    return taken


def _copy(view: np.ndarray, table: np.ndarray, window: Window, frequencies: list[int]) -> Tensor:
    part = np.empty((len(frequencies), window.side, window.side), np.float32)
    block = view[window.top : window.top + window.side, window.left : window.left + window.side]
    for target, frequency in zip(part, frequencies, strict=True):
        np.multiply(block[..., frequency], np.float32(table[frequency]), out=target)
    return torch.from_numpy(part)


def _interpolate(
    views: list[np.ndarray], tables: list[np.ndarray], factors: tuple[int, int], window: Window, frequencies: list[int]
) -> Tensor:
    """Some frequencies of equally subsampled components on the grid of luma, (components, F, side, side)."""
    places, missing, skip = [], [], []
    for start, factor, length in zip((window.top, window.left), factors, views[0].shape[:2], strict=True):
        first, last = start // factor - 1, -(-(start + window.side) // factor) + 1  # with a neighbour on each side
        places.append(np.arange(first, last).clip(0, length - 1))
        missing.append((first < 0, last > length))
        skip.append(start % factor)
    parts = [view[np.ix_(*places)] * table.astype(np.float32) for view, table in zip(views, tables, strict=True)]
    blocks = torch.from_numpy(np.stack(parts))
    mirror_edges(blocks, *missing)
    enlarged = upsample_blocks(blocks, factors, frequencies)
    return enlarged[:, :, skip[0] : skip[0] + window.side, skip[1] : skip[1] + window.side]


@dataclass(frozen=True)
class CoefficientReader:
    """Aligned crops from coefficients, without resizing: a crop has ``size`` × ``size`` source pixels.

    Only the position and flip of ``crop`` are used. Files that are not a JPEG of YCbCr or grey, or that libjpeg-turbo
    rejects or warns about, are decoded to pixels.
    """

    crop: Crop
    size: int
    channel_set: ChannelSet

    def sample(self, photo: Photo, rng: np.random.Generator) -> tuple[Tensor, bool]:
        """Channels (K, S/8, S/8), float32, and whether to flip them; from pixels if ``photo.refused`` has a reason.

        Raises:
            ImageError: The photograph is smaller than the crop, or cannot be read by pixels either.
        """
        rows, columns = whole_blocks(photo)
        side = self.size // BLOCK
        if min(rows, columns) < side:
            size = f"{photo.width}×{photo.height} pixels"
            raise ImageError(photo.path, f"{size} hold no aligned crop of {self.size}: --data.source pixels resizes")
        if isinstance(self.crop, TrainCrop):
            top, left = (int(rng.integers(length - side, endpoint=True)) for length in (rows, columns))
        else:
            top, left = (rows - side) // 2, (columns - side) // 2
        window, flip = Window(top, left, side), self.crop.flip(rng)
        if photo.refused is None:
            try:
                return aligned_channels(photo, window, self.channel_set), flip
            except JpegError as error:
                photo.refused = str(error)
        return pixel_channels(photo, window, self.channel_set), flip

    def collate(self, samples: list[tuple[Tensor, bool]]) -> dict[str, Tensor]:
        """``channels`` (N, K, S/8, S/8) and ``flip`` (N,)."""
        channels, flip = zip(*samples, strict=True)
        return {"channels": torch.stack(channels), "flip": torch.tensor(flip)}

    def to_device(self, payload: dict[str, Tensor]) -> Tensor:
        """Channels (N, K, S/8, S/8), float32, flipped."""
        return flip_blocks(payload["channels"], self.channel_set.indices, payload["flip"])


def pixel_channels(photo: Photo, window: Window, channel_set: ChannelSet) -> Tensor:
    """Channels of an aligned crop, from decoded pixels.

    Shape:
        - output: (K, side, side), float32
    """
    # Blocks start at the first stored pixel: in a mirrored image the incomplete block is at the other edge.
    x = photo.width % BLOCK if photo.orientation in MIRRORED_COLUMNS else 0
    y = photo.height % BLOCK if photo.orientation in MIRRORED_ROWS else 0
    left, top, size = x + window.left * BLOCK, y + window.top * BLOCK, window.side * BLOCK
    padded = pad([cut(photo, (left, top, left + size, top + size), size, size)])
    return compute_channels(padded, (window.side, window.side), channel_set)[0]
