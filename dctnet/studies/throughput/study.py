"""Images a second of every way to feed a network, side by side in one process."""

import json
import os
import platform
import statistics
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torchvision.io import decode_image
from tqdm import tqdm

from dctnet import __version__
from dctnet.data.folders import list_files
from dctnet.data.images.photo import ImageError, Photo, choose_decoder, describe_decoder
from dctnet.data.packed.manifest import is_store
from dctnet.data.packed.shard import one_thread
from dctnet.data.planted import make_planted
from dctnet.errors import UserError, did_you_mean_path, printable
from dctnet.frequency.channels import ChannelSet
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import resolve_channels
from dctnet.studies.throughput.pipelines import RGB_SIZE, ColdPass, Pass, make_pipelines

REFERENCE = "rgb_torchvision"
_WHAT = {
    "rgb_torchvision": "RGB by torchvision, tensors",
    "rgb_pillow": "RGB by Pillow, as timm reads it",
    "pixels": "photographs, channels by the loader",
    "pixels_device_dct": "photographs, channels left to the device",
    "coefficients": "JPEG coefficients to channels",
    "packed_cold": "packed store, disk not in memory",
    "packed_warm": "packed store, disk in memory",
    "packed_ram": "packed store, read beforehand",
    "packed_device": "packed store on the device",
}
# A pass of less is repeated: the clock and the interpreter have their own noise.
_SHORTEST = 0.3


def throughput(
    root: str | None = None,
    channels: str | None = None,
    out: str | None = None,
    images: int = 256,
    rounds: int = 5,
    image_size: int = 448,
) -> None:
    """Times every path from files to batches, interleaved, one thread each, as ratios to torchvision's RGB at 224 px.

    All paths see the same photographs and draw random crops as in training: RGB at 224 px, channels of ``image_size``.
    The coefficient path cannot resize: of a smaller photograph it reads as many whole blocks as there are.

    Args:
        root: Any folder of photographs; otherwise the generated data set.
        channels: The channels kept; otherwise square-24.
        out: Folder for ``throughput.json`` and ``throughput.png``.
        images: How many photographs, spread over the folder.
        rounds: How often each path is timed; the median counts.
        image_size: Side of the crops in source pixels.

    Raises:
        UserError: No photograph in the folder, or an option that cannot be.
    """
    if images < 1 or rounds < 1 or image_size < BLOCK or image_size % BLOCK:
        raise UserError(
            f"--images and --rounds must be at least 1, --image_size a multiple of {BLOCK}; "
            f"got {images}, {rounds}, {image_size}"
        )
    if out is not None and not Path(out).parent.is_dir():
        raise UserError(f"{out}: cannot be made.{did_you_mean_path(Path(out).parent)}")
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{out}: is a file; --out wants a folder")
    channel_set = resolve_channels(channels or "square-24")
    with tempfile.TemporaryDirectory() as folder, one_thread(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", ".*deprecated.*"
        )  # torchvision's decoders are; they are still what people run
        photographs = _choose(Path(root) if root else make_planted(Path(folder, "planted"), 0, 40, 1), images)
        paths = make_pipelines(photographs, channel_set, image_size, Path(folder))
        seconds, sizes = _time(paths, len(photographs), rounds)
        report = _report(seconds, sizes, photographs, root, channel_set, image_size, rounds)
    print(_table(report))
    if out is not None:
        Path(out).mkdir(exist_ok=True)
        Path(out, "throughput.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        draw_bars(report, Path(out, "throughput.png"))
        print(printable(f"{Path(out, 'throughput.json')}, {Path(out, 'throughput.png')}"))


def _choose(root: Path, count: int) -> list[str]:
    """Readable photographs, spread evenly over a folder."""
    if root.is_file() or is_store(root):
        raise UserError(f"{root}: wanted a folder of photographs, got a {'file' if root.is_file() else 'packed store'}")
    if not root.is_dir():
        raise UserError(f"{root}: no such folder.{did_you_mean_path(root)}")
    found = [path for path in list_files(root) if path.lower().endswith((".jpg", ".jpeg"))]
    chosen, refused = [], 0
    for i in range(min(count, len(found))):
        path = found[i * len(found) // min(count, len(found))]
        try:
            photo = Photo(path)
            photo.planes()
            if min(photo.width, photo.height) < BLOCK:
                raise ImageError(path, "smaller than a block")
            decode_image(path, mode="RGB")
            chosen.append(path)
        except (ImageError, RuntimeError):
            refused += 1
    if not chosen:
        raise UserError(f"{root}: no JPEG file in it that can be read")
    if refused:
        print(f"{refused} of {len(chosen) + refused} files cannot be read by every path and are left out")
    return chosen


def _time(paths: dict[str, Pass], count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds an image of each path in each round, and bytes an image; the first pass of each is not timed."""
    repeats: dict[str, int] = {}
    sizes: dict[str, float] = {}
    for name, run in paths.items():
        if isinstance(run, ColdPass):
            run.before()
        started = time.perf_counter()
        sizes[name] = run(0) / count
        once = time.perf_counter() - started
        repeats[name] = 1 if isinstance(run, ColdPass) else max(1, int(_SHORTEST / once))
    seconds: dict[str, list[float]] = {name: [] for name in paths}
    for number in tqdm(range(1, rounds + 1), desc="rounds"):
        for name, run in paths.items():
            if isinstance(run, ColdPass):
                run.before()
            started = time.perf_counter()
            for repeat in range(repeats[name]):
                run(number * 1000 + repeat)
            seconds[name].append((time.perf_counter() - started) / repeats[name] / count)
    return seconds, sizes


def _report(
    seconds: dict[str, list[float]],
    sizes: dict[str, float],
    photographs: list[str],
    root: str | None,
    channel_set: ChannelSet,
    image_size: int,
    rounds: int,
) -> dict[str, Any]:
    pixels = [photo.width * photo.height for photo in map(Photo, photographs)]
    reference = seconds[REFERENCE]
    return {
        "machine": _machine(),
        "versions": {"dctnet": __version__, **{p: version(p) for p in ("torch", "torchvision", "numpy", "pillow")}},
        "decoder": describe_decoder(choose_decoder("auto")),
        "images": len(photographs),
        "data": printable(root or "planted"),
        "mean_pixels": round(statistics.mean(pixels)),
        "mean_file_bytes": round(statistics.mean(os.path.getsize(path) for path in photographs)),
        "channels": printable(channel_set.name),
        "image_size": image_size,
        "rounds": rounds,
        "paths": {
            name: {
                "images_per_second": round(1 / statistics.median(seconds[name]), 1),
                "ratio": round(statistics.median(r / own for r, own in zip(reference, seconds[name], strict=True)), 3),
                "bytes_per_image": round(sizes[name]),
            }
            for name in _WHAT
            if name in seconds
        },
    }


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if (info.is_file())
        else []
    )
    device = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores{device}"


def _table(report: dict[str, Any]) -> str:
    head = (
        f"{report['images']} photographs of {report['data']}, mean {report['mean_pixels']:,} pixels, "
        f"{report['mean_file_bytes']:,} bytes\n{report['channels']} at {report['image_size']} px against "
        f"RGB at {RGB_SIZE}\n{report['machine']}; one thread a path, median of {report['rounds']} rounds; "
        f"{report['decoder']}\n\n"
    )
    lines = [f"{'path':<20}{'images/s':>10}{'ratio':>9}{'bytes an image':>17}  what"]
    for name, row in report["paths"].items():
        rate, ratio, size = row["images_per_second"], row["ratio"], row["bytes_per_image"]
        lines.append(f"{name:<20}{rate:>10,.0f}{ratio:>9.2f}{size:>17,}  {_WHAT[name]}")
    return head + "\n".join(lines)


def draw_bars(report: dict[str, Any], path: Path) -> None:
    """Draws a report as bars of images a second, with the ratio beside each.

    Args:
        report: What ``throughput.json`` holds.
        path: The PNG file to write.
    """
    from matplotlib.figure import Figure

    rows = list(report["paths"].items())[::-1]
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    rates = [row["images_per_second"] for _, row in rows]
    colours = ["#999999" if name.startswith("rgb") else "#2a6f97" for name, _ in rows]
    axes.barh([_WHAT[name] for name, _ in rows], rates, color=colours)
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2, max(rates) * 4)
    for place, (_, row) in enumerate(rows):
        axes.text(row["images_per_second"] * 1.08, place, f"{row['ratio']:.2f}×", va="center")
    axes.set_xlabel("images a second on one thread, logarithmic; × torchvision's RGB")
    photographs = f"{report['images']} photographs of {Path(report['data']).name}"
    title = f"{report['channels']} at {report['image_size']} px, {photographs}"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)  # a folder's name may have dollar signs
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
