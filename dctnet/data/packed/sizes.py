"""Sizes of image files, read from their headers."""

import os
from collections.abc import Callable, Generator
from pathlib import Path

from dctnet.data.images.photo import ImageError, image_size
from dctnet.data.packed.pool import worker_pool

# Limit for the longer side by the shorter: a strip a few pixels high, enlarged to a scale, could fill a disk.
MAX_ASPECT = 16
_FEW = 20_000  # files whose headers are read before worker processes have started
_AT_ONCE = 256  # files that a worker reads together

Size = tuple[int, int, int]  # width and height in pixels, bytes
SizeReader = Callable[[list[str]], Generator[Size | ImageError, None, None]]  # of many files, in order


def read_sizes(paths: list[str], folder: Path, workers: int) -> Generator[Size | ImageError, None, None]:
    """Yields the sizes of image files in order, or why one cannot be packed.

    Args:
        paths: The files.
        folder: The store, for messages.
        workers: Number of processes, which are used for many files.

    Raises:
        UserError: A worker process died.
    """
    if workers == 1 or len(paths) < _FEW:
        yield from map(_read_size, paths)
        return
    with worker_pool(workers, folder) as pool:
        yield from pool.map(_read_size, paths, chunksize=_AT_ONCE)


def _read_size(path: str) -> Size | ImageError:
    try:
        width, height = image_size(path)
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise ImageError(path, f"{width}×{height} pixels: the aspect ratio of packed images is at most 16:1")
        return width, height, os.path.getsize(path)
    except ImageError as error:
        return error
