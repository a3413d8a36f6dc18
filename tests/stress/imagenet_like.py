"""Re-encodes photographs with the mean size of an ImageNet file: 203 thousand pixels, about 106 kB.

    python -m tests.stress.imagenet_like SRC OUT [--sampling 4:4:4] [--count 256]

Input for `dctnet throughput --data.root OUT`. Sides are 450 and 452 px, so that an aligned crop of 448 px fits.
"""

import argparse
import io
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


def main() -> None:
    """Writes the files and prints their mean size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sampling", default="4:4:4")
    parser.add_argument("--count", type=int, default=256)
    given = parser.parse_args()
    found = list_files(given.source)
    given.out.mkdir(parents=True, exist_ok=True)
    total = 0
    for number in range(given.count):
        image = Image.open(found[number * len(found) // given.count]).convert("RGB")
        data = encode(image.resize(SIZE, Image.Resampling.LANCZOS), given.sampling)
        (given.out / f"{number:05d}.jpg").write_bytes(data)
        total += len(data)
    print(f"{given.count} files, {total / given.count:,.0f} bytes on average")


if __name__ == "__main__":
    main()
