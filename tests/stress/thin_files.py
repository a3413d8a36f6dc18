"""Measures thin JPEG files: bytes against channels kept, and the speed of reading them.

    python -m tests.stress.thin_files FOLDER [--images 256] [--rounds 5]
    python -m tests.stress.thin_files --picture PHOTOGRAPH --out docs/thin.jpg

Speeds are images per second on one thread, medians of interleaved rounds: entropy decoding alone, the channels of the
largest aligned crop, and for comparison torchvision's RGB crops of 224 px from the original files.
"""

import argparse
import io
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision.transforms.v2 as T
from PIL import Image
from torchvision.io import decode_image

from dctnet.data.coefficients import Window, aligned_channels, whole_blocks
from dctnet.data.folders import list_files
from dctnet.data.images import turbojpeg
from dctnet.data.images.header import read_header
from dctnet.data.images.photo import Photo
from dctnet.data.images.thin import thin_jpeg
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.selections import named_channels
from dctnet.studies.machine import machine

COUNTS = (3, 8, 24, 64, 192)
_TIMED = 24


def choose(folder: Path, count: int) -> list[bytes]:
    """JPEG files that can be thinned, spread evenly over a folder."""
    paths = [path for path in list_files(folder) if path.lower().endswith((".jpg", ".jpeg"))]
    count = min(count, len(paths))
    chosen = [Path(paths[i * len(paths) // count]).read_bytes() for i in range(count)]
    return [data for data in chosen if Photo(data, "turbojpeg").header is not None]


def thinned(files: list[bytes], count: int, progressive: bool = False) -> list[bytes]:
    """The files with some channels, from the lowest frequency."""
    channel_set = named_channels(f"zigzag-{count}")
    return [thin_jpeg(Photo(data, "turbojpeg"), channel_set, progressive) for data in files]


def decode_entropy(data: bytes) -> None:
    """Entropy decoding without anything else."""
    turbojpeg.with_coefficients(data, read_header(data), lambda _: None)


def read_channels(data: bytes, channel_set: ChannelSet) -> None:
    """The channels of the largest aligned crop, as the coefficient pipeline reads them."""
    photo = Photo(data, "turbojpeg")
    aligned_channels(photo, Window(0, 0, min(whole_blocks(photo))), channel_set)


def rgb_crop() -> Callable[[bytes], None]:
    """Torchvision's RGB crops of 224 px."""
    end = [T.ToDtype(torch.float32, scale=True), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    transform = T.Compose([T.RandomResizedCrop(224, antialias=True), T.RandomHorizontalFlip(), *end])

    def read(data: bytes) -> None:
        transform(decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="RGB"))

    return read


def measure(tasks: dict[str, tuple[Callable[[bytes], None], list[bytes]]], rounds: int) -> dict[str, list[float]]:
    """Seconds per image of each task in each round; a round before them is a warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, (read, files) in tasks.items():
            started = time.perf_counter()
            for data in files:
                read(data)
            seconds[name].append((time.perf_counter() - started) / len(files))
    return {name: found[1:] for name, found in seconds.items()}


def speeds(files: list[bytes], rounds: int) -> list[str]:
    """Rows of the table of speeds."""
    channel_set = named_channels(f"zigzag-{_TIMED}")
    variants = {
        "original": files,
        f"thin, K = {_TIMED}": thinned(files, _TIMED),
        f"thin, K = {_TIMED}, progressive": thinned(files, _TIMED, progressive=True),
    }
    tasks: dict[str, tuple[Callable[[bytes], None], list[bytes]]] = {"rgb": (rgb_crop(), files)}
    for name, content in variants.items():
        tasks[f"{name}: entropy decoding"] = decode_entropy, content
        tasks[f"{name}: {_TIMED} channels"] = lambda data: read_channels(data, channel_set), content
    seconds = measure(tasks, rounds)
    rows = []
    for name, own in seconds.items():
        ratio = statistics.median(r / s for r, s in zip(seconds["rgb"], own, strict=True))
        rows.append(f"| {name} | {1 / statistics.median(own):,.0f} | {ratio:.2f} |")
    return rows


def draw(photograph: Path, out: Path) -> None:
    """Draws a photograph with 3, 8, 24, 64 and all channels left, with its bytes."""
    from matplotlib.figure import Figure

    data = photograph.read_bytes()
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    for axes, count in zip(figure.subplots(1, len(COUNTS)), COUNTS, strict=True):
        written = data if count == COUNTS[-1] else thinned([data], count)[0]
        axes.imshow(np.asarray(Image.open(io.BytesIO(written))))
        axes.set_title(f"K = {count}\n{len(written):,} bytes", fontsize=10)
        axes.axis("off")
    figure.savefig(out, dpi=120)


def main() -> None:
    """Prints the tables, or draws the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path, default=Path("thin.jpg"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.picture:
        draw(given.picture, given.out)
        return
    warnings.filterwarnings("ignore", ".*deprecated.*")
    files = choose(given.folder, given.images)
    before = sum(map(len, files))
    print(f"{len(files)} files of {given.folder}, {before / len(files):,.0f} bytes on average; {machine()}\n")
    print("| K | baseline | progressive |\n|---|---|---|")
    for count in COUNTS:
        after = [sum(map(len, thinned(files, count, progressive))) for progressive in (False, True)]
        print(f"| {count} | {100 * after[0] / before:.0f} % | {100 * after[1] / before:.0f} % |")
    print("\n| reading | images/s | × torchvision's RGB |\n|---|---|---|")
    print("\n".join(speeds(files, given.rounds)))


if __name__ == "__main__":
    main()
