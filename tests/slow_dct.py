"""The block DCT and its inverse by SciPy: slow, obvious versions to test against."""

import numpy as np
import scipy.fft
import torch


def slow_dct(samples) -> torch.Tensor:
    """Coefficients (..., 64, H/8, W/8) of level-shifted samples (..., H, W), float64."""
    samples = np.asarray(samples, float)
    *leading, height, width = samples.shape
    blocks = samples.reshape(*leading, height // 8, 8, width // 8, 8).swapaxes(-2, -3)
    coefficients = scipy.fft.dctn(blocks, axes=(-2, -1), norm="ortho").reshape(*leading, height // 8, width // 8, 64)
    return torch.from_numpy(np.moveaxis(coefficients, -1, -3).copy())


def slow_idct(coefficients) -> torch.Tensor:
    """Level-shifted samples (..., H, W) of coefficients (..., 64, H/8, W/8), float64."""
    *leading, _, rows, columns = coefficients.shape
    blocks = np.moveaxis(np.asarray(coefficients, float), -3, -1).reshape(*leading, rows, columns, 8, 8)
    samples = scipy.fft.idctn(blocks, axes=(-2, -1), norm="ortho").swapaxes(-2, -3)
    return torch.from_numpy(samples.reshape(*leading, 8 * rows, 8 * columns).copy())
