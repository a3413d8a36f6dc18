"""The planes of an image: samples with their place in the upright image; EXIF orientation."""

from typing import NamedTuple

import numpy as np

Box = tuple[float, float, float, float]  # left, top, right, bottom
# EXIF orientations that reverse the rows, or the columns, after the transposition of orientations 5…8.
MIRRORED_ROWS, MIRRORED_COLUMNS = (3, 4, 7, 8), (2, 3, 6, 7)


class Plane(NamedTuple):
    """One component of an image.

    Args:
        samples: (rows, columns), 0 … 255, uint8.
        across: Width of a sample in pixels of the image; ``down`` is its height.
        left: Left edge of the first sample, in pixels of the image; ``top`` is its upper edge. The number of samples is
            rounded up, so the last one can reach beyond the image; in a mirrored image that is the first one, and its
            edge is negative.
    """

    samples: np.ndarray
    across: int
    down: int
    left: int = 0
    top: int = 0

    def locate(self, box: Box) -> Box:
        """Converts a box from pixels of the image to samples of this plane."""
        left, right = ((x - self.left) / self.across for x in (box[0], box[2]))
        top, bottom = ((y - self.top) / self.down for y in (box[1], box[3]))
        return left, top, right, bottom


def upright(samples: np.ndarray, orientation: int) -> np.ndarray:
    """A view of samples, rows and columns first, transposed and mirrored by an EXIF orientation, 1…8.

    Source: CIPA DC-008 (Exif 2.32), 4.6.4, tag 274.
    """
    if orientation >= 5:
        samples = samples.swapaxes(0, 1)
    if orientation in MIRRORED_ROWS:
        samples = samples[::-1]
    return samples[:, ::-1] if orientation in MIRRORED_COLUMNS else samples


def upright_plane(stored: Plane, orientation: int, width: int, height: int) -> Plane:
    """Applies the EXIF orientation to a plane, and removes samples that a decoder adds beyond the image.

    The first sample of the stored plane is at the corner of the image; width and height are those of the upright image.
    """
    samples = upright(stored.samples, orientation)
    across, down = (stored.down, stored.across) if orientation >= 5 else (stored.across, stored.down)
    columns, rows = -(-width // across), -(-height // down)
    x = y = left = top = 0
    if orientation in MIRRORED_COLUMNS:
        x, left = samples.shape[1] - columns, width - columns * across
    if orientation in MIRRORED_ROWS:
        y, top = samples.shape[0] - rows, height - rows * down
    return Plane(samples[y : y + rows, x : x + columns], across, down, left, top)
