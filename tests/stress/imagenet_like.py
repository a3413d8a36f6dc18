"""Re-encodes photographs with the mean size of an ImageNet file: 203 thousand pixels, about 106 kB.

    python -m tests.stress.imagenet_like SRC OUT [--sampling 4:4:4] [--count 256]

Input for `dctnet throughput --data.root OUT`. Sides are 450 and 452 px, so that an aligned crop of 448 px fits.
"""

import argparse
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from dctnet.data.folders import list_files

SIZE, BYTES = (450, 452), 106_000


def encode(image: Image.Image, sampling: str) -> bytes:
    """Encodes with the JPEG quality whose file size is nearest to the mean."""
    candidates = []
    for quality in range(75, 101):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality, subsampling=sampling)
        candidates.append(file.getvalue())
    return min(candidates, key=lambda data: abs(len(data) - BYTES))


def reencode(source: Path, out: Path, sampling: str = "4:4:4", count: int = 256) -> int:
    """Writes the files, spread evenly over the source; returns their size in bytes."""
    found = list_files(source)
    out.mkdir(parents=True, exist_ok=True)

    def write(number: int) -> int:
        image = Image.open(found[number * len(found) // count]).convert("RGB")
        data = encode(image.resize(SIZE, Image.Resampling.LANCZOS), sampling)
        return (out / f"{number:05d}.jpg").write_bytes(data)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow releases the lock while it encodes
        return sum(pool.map(write, range(count)))


def main() -> None:
    """Writes the files and prints their mean size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sampling", default="4:4:4")
    parser.add_argument("--count", type=int, default=256)
    given = parser.parse_args()
    total = reencode(given.source, given.out, given.sampling, given.count)
    print(f"{given.count} files, {total / given.count:,.0f} bytes on average")


if __name__ == "__main__":
    main()
