"""Synthetic images: a boundary between a fine and a coarse texture, edges, and plain textures; grey, with mean 0.

All are defined around a point at which the receptive field of a unit is centred exactly. Turned by 180° about it, a
boundary is the one with the textures exchanged, so a unit without polarity responds equally to both; a centre half a
pixel off would fake polarity.

Source: Schubert, Voss, Cammarata, Goh & Olah, "High-Low Frequency Detectors", Distill 2021.
"""

import math

import torch
from torch import Tensor

ORIENTATIONS = 16
PHASES = 8
RATIOS = (1, 2, 4, 8)
RMS = 0.2 * 255  # of each texture
# Shift of the boundary along its normal at each phase, in jumps of the layer.
_SHIFTS = (0, 0.25, 0.5, -0.25) * 2


def angles() -> Tensor:
    """Directions of the normal, from the coarse to the fine side, in radians, anticlockwise from the right."""
    return 2 * math.pi * torch.arange(ORIENTATIONS, dtype=torch.float64) / ORIENTATIONS


def boundaries(wavelength: float, ratio: float, size: int, center: float, jump: int) -> Tensor:
    """Fine texture on one side, coarse on the other, each with mean 0 and the same RMS.

    Args:
        wavelength: Of the fine texture in pixels, by each of its two axes.
        ratio: Wavelength of the coarse texture in wavelengths of the fine one.
        size: Side of the images.
        center: Coordinate of the point on the boundary, by both axes.
        jump: Distance of the layer's positions in pixels; boundaries are shifted by up to half of it.

    Shape:
        - output: (ORIENTATIONS, PHASES, size, size), float32
    """
    images = []
    for angle in angles().tolist():
        across, along = _axes(angle, size, center)
        for phase in range(PHASES):
            shifted = across - _SHIFTS[phase] * jump
            turn = 2 * math.pi * phase / PHASES
            fine = _texture(shifted, along, wavelength, turn)
            coarse = _texture(shifted, along, ratio * wavelength, 3 * turn)
            side = _side(shifted)
            images.append(side * _standardise(fine, side) + (1 - side) * _standardise(coarse, 1 - side))
    return torch.stack(images).unflatten(0, (ORIENTATIONS, PHASES)).float()


def edges(size: int, center: float, jump: int) -> Tensor:
    """Luminance edges without texture, bright on the side of the normal: (ORIENTATIONS, PHASES, size, size)."""
    images = [
        2 * RMS * (_side(_axes(angle, size, center)[0] - shift * jump) - 0.5)
        for angle in angles().tolist()
        for shift in _SHIFTS
    ]
    return torch.stack(images).unflatten(0, (ORIENTATIONS, PHASES)).float()


def textures(wavelength: float, size: int) -> Tensor:
    """One texture all over the image, in four directions and four phases: (4, 4, size, size)."""
    images = []
    for angle in angles()[: ORIENTATIONS // 4].tolist():  # the texture is the same after a quarter of a turn
        across, along = _axes(angle, size, (size - 1) / 2)
        for phase in range(0, PHASES, 2):
            image = _texture(across, along, wavelength, 2 * math.pi * phase / PHASES)
            images.append(_standardise(image, torch.ones_like(image)))
    return torch.stack(images).unflatten(0, (4, 4)).float()


def to_planes(images: Tensor) -> Tensor:
    """Planes (N, 3, S, S), 0 … 255, of grey images (N, S, S) with mean 0."""
    return torch.stack([images, torch.zeros_like(images), torch.zeros_like(images)], 1) + 128


def _axes(angle: float, size: int, center: float) -> tuple[Tensor, Tensor]:
    """Coordinates across and along a boundary, with rows counted downwards."""
    line = torch.arange(size, dtype=torch.float64) - center
    y, x = torch.meshgrid(-line, line, indexing="ij")
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)


def _side(across: Tensor) -> Tensor:
    """1 on the side of the normal, 0 on the other; a pixel on the boundary has its share of both."""
    return (across + 0.5).clamp(0, 1)


def _texture(across: Tensor, along: Tensor, wavelength: float, phase: float) -> Tensor:
    factor = 2 * math.pi / wavelength
    return torch.cos(factor * across + phase) * torch.cos(factor * along + phase)


def _standardise(texture: Tensor, weight: Tensor) -> Tensor:
    """Mean 0 and the fixed RMS under a weight of pixels."""
    texture = texture - (weight * texture).sum() / weight.sum()
    return texture * RMS / ((weight * texture.square()).sum() / weight.sum()).sqrt()
