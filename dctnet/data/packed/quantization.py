"""The quantization step of each channel, chosen from a sample of the data."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dctnet.data.images.photo import Decoder, ImageError, Photo
from dctnet.data.packed.shard import image_coefficients, one_thread
from dctnet.errors import UserError

# The sample: this many training images, and about as many blocks of each image at each scale.
_SAMPLE_IMAGES, _SAMPLE_BLOCKS = 200, 256


def choose_quantization_steps(samples: np.ndarray, levels: int) -> tuple[np.ndarray, dict[str, list[float]]]:
    """Chooses for each channel the step with the least mean squared error of rounding and clipping together.

    Args:
        samples: Coefficients (K, N).
        levels: The largest integer: 127 or 32767.

    Returns:
        Steps (K,), and the error on these samples: ``relative_rms``, relative to the channel's standard deviation, and
        ``clipped``, the share of values beyond the range.
    """
    steps, rms, clipped = [], [], []
    for values in samples.astype(np.float64):
        largest = max(float(np.abs(values).max()), 1e-3)
        candidates = []
        for shrink in range(12):
            step = float(np.float32(largest * 0.8**shrink / levels))
            whole = np.rint(values / step)
            error = float(np.mean((np.clip(whole, -levels, levels) * step - values) ** 2))
            candidates.append((error, step, float(np.mean(np.abs(whole) > levels))))
        error, step, share = min(candidates, key=lambda candidate: candidate[0])
        steps.append(step)
        rms.append(round(error**0.5 / max(float(values.std()), 1e-3), 6))
        clipped.append(round(share, 8))
    return np.array(steps), {"relative_rms": rms, "clipped": clipped}


def sample_coefficients(split: dict[str, Any], channels: list[int], root: Path, decoder: Decoder) -> np.ndarray:
    """Reads the coefficients of some blocks of some images of a split in a plan, at all its scales.

    Returns:
        Coefficients (K, N), in the order of ``channels``.

    Raises:
        UserError: None of the images can be read.
    """
    images, count = split["images"], min(_SAMPLE_IMAGES, len(split["images"]))
    parts = []
    with one_thread():
        for i in tqdm(range(count), desc="choosing steps", unit="img"):
            path, _, blocks, _ = images[i * len(images) // count]
            with contextlib.suppress(ImageError):  # reported when its shard is written
                photo = Photo(root / path, decoder)
                for shape in blocks:
                    values = image_coefficients(photo, shape, channels).flatten(1)
                    parts.append(values[:, :: max(1, values.shape[1] // _SAMPLE_BLOCKS)].numpy())
    if not parts:
        raise UserError(f"{root}: none of the first {count} images can be read")
    return np.concatenate(parts, 1)
