"""Measures the time and the error of decoding 12-megapixel photographs at a reduced scale.

    python -m tests.stress.scaled_decoding PHOTOGRAPHS [--size 448] [--channels square-24]

Mosaics of 4000×3000 pixels are made of a folder's photographs, for the detail of a camera, and encoded at quality 90.
The channels of the central square are computed from the full-size and from the scaled decoding.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dctnet.data import pixels as readers
from dctnet.data.folders import list_files
from dctnet.data.images.photo import Photo
from dctnet.data.transforms import CenterCrop
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.selections import named_channels

WIDTH, HEIGHT, COUNT, ROUNDS = 4000, 3000, 6, 5


def mosaic(files: list[str], sampling: str) -> bytes:
    """A JPEG file of 12 megapixels, made of small photographs."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT))
    x = y = row = 0
    for path in files * 20:
        tile = Image.open(path).convert("RGB")
        canvas.paste(tile, (x, y))
        x, row = x + tile.width, max(row, tile.height)
        if x >= WIDTH:
            x, y, row = 0, y + row, 0
        if y >= HEIGHT:
            break
    file = io.BytesIO()
    canvas.save(file, "JPEG", quality=90, subsampling=sampling)
    return file.getvalue()


def channels(path: Path, decoder: str, kept: ChannelSet, size: int, scaled: bool) -> torch.Tensor:
    """Channels of the central square, from the scaled or the full-size decoding."""
    choose = readers.choose_denominator
    if not scaled:
        readers.choose_denominator = lambda box, width, height: 1
    try:
        reader = readers.ChannelReader(CenterCrop(1.0), size, kept)
        return reader.to_device(reader.collate([reader.sample(Photo(path, decoder), np.random.default_rng(0))]))[0]
    finally:
        readers.choose_denominator = choose


def _milliseconds(paths: list[Path], denominator: int) -> float:
    """Median time of decoding alone."""
    taken = []
    for _ in range(ROUNDS):
        for path in paths:
            photo, began = Photo(path, "turbojpeg"), time.perf_counter()
            photo.planes(denominator)
            taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def main() -> None:
    """Prints times, their ratios, and the differences of the coefficients."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--size", type=int, default=448)
    parser.add_argument("--channels", default="square-24")
    given = parser.parse_args()
    kept = named_channels(given.channels)
    torch.set_num_threads(1)
    found = list_files(given.photographs)
    ways = [("turbojpeg", False), ("turbojpeg", True), ("pillow", False), ("pillow", True)]
    with tempfile.TemporaryDirectory() as folder:
        for sampling in ("4:4:4", "4:2:0"):
            paths = [Path(folder, f"{number}.jpg") for number in range(COUNT)]
            for number, path in enumerate(paths):
                path.write_bytes(mosaic(found[100 * number : 100 * number + 100], sampling))
            seconds: dict = {way: [] for way in ways}
            for _ in range(ROUNDS):
                for way in ways:
                    began = time.perf_counter()
                    for path in paths:
                        channels(path, way[0], kept, given.size, way[1])
                    seconds[way].append((time.perf_counter() - began) / COUNT)
            whole, scaled = (
                torch.stack([channels(p, "turbojpeg", kept, given.size, s) for p in paths]) for s in (False, True)
            )
            error, spread = (whole - scaled).abs().mean((0, 2, 3)), whole.std((0, 2, 3))
            size = statistics.mean(path.stat().st_size for path in paths)
            print(f"{sampling}, {COUNT} files of {WIDTH}×{HEIGHT}, {size / 1e6:.1f} MB, to {given.size} px")
            for way in ways:
                median, base = statistics.median(seconds[way]), statistics.median(seconds[way[0], False])
                name = f"{way[0]}, {'scaled' if way[1] else 'full size'}"
                print(f"  {name:<20}{1000 * median:>8.1f} ms an image{base / median:>8.2f}×")
            luma = len(kept.frequencies()[0])
            parts = f"luma {error[:luma].mean():.2f}, chroma {error[luma:].mean():.2f}"
            print(f"  mean difference of a coefficient: {parts}; {100 * (error / spread).mean():.1f} % of the spread")
            decode = {d: _milliseconds(paths, d) for d in (1, 2, 4, 8)}
            print("  libjpeg-turbo alone: " + ", ".join(f"1/{d} {ms:.1f} ms" for d, ms in decode.items()))


if __name__ == "__main__":
    main()
