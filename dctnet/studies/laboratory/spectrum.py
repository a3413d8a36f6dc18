"""Noise in bands of spatial frequency, gradient energy, and the frequency of each channel."""

import torch
from torch import Tensor

from dctnet.frequency.channels import NUM_CHANNELS
from dctnet.frequency.dct import BLOCK


def band_noise(count: int, mask: Tensor, rms: float, generator: torch.Generator) -> Tensor:
    """Noise with equal amplitude at all coefficients of a mask and random phases; grey up to a random sign per colour.

    Args:
        count: Number of images.
        mask: Coefficients of ``rfft2``, (S, S // 2 + 1).
        rms: Root mean square of each colour of each image, exactly.
        generator: Of the phases and signs.

    Shape:
        - output: (count, 3, S, S), R, G, B, float32
    """
    size = mask.shape[0]
    # The spectrum of white noise has the symmetry of a real image; normalised, only its phases are left.
    spectrum = torch.fft.rfft2(torch.randn(count, size, size, generator=generator, dtype=torch.float64))
    pattern = torch.fft.irfft2(torch.exp(1j * spectrum.angle()) * mask, s=(size, size))
    pattern *= rms / pattern.square().mean((-2, -1), keepdim=True).sqrt()
    signs = 2.0 * torch.randint(2, (count, 3, 1, 1), generator=generator) - 1
    return (signs * pattern[:, None]).float()


def gradient_energy(images: Tensor) -> Tensor:
    """Squared differences to the next pixel, vertical plus horizontal, periodic: (..., H, W) to (..., H, W)."""
    return sum((images.roll(-1, axis) - images).square() for axis in (-2, -1))  # type: ignore[return-value]


def predicted_gradient_energy(images: Tensor) -> Tensor:
    """Sum of :func:`gradient_energy` over the pixels, from the spectrum alone: (..., S, S) to (...).

    A difference of neighbours multiplies a wave of f cycles per pixel by 2 sin πf, so that the energy is
    Σ (4 sin² πf_x + 4 sin² πf_y) · abs(X)² with the orthonormal Fourier transform X, exactly.
    """
    frequency = torch.fft.fftfreq(images.shape[-1], dtype=images.dtype)
    gain = 4 * torch.sin(torch.pi * frequency) ** 2
    power = torch.fft.fft2(images, norm="ortho").abs().square()
    return ((gain[:, None] + gain) * power).sum((-2, -1))


def channel_radius() -> Tensor:
    """ρ of each of the 192 channels, √(u² + v²) / 16: (192,)."""
    index = torch.arange(NUM_CHANNELS) % BLOCK**2
    return ((index // BLOCK) ** 2 + (index % BLOCK) ** 2).double().sqrt() / (2 * BLOCK)
