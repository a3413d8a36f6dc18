"""Measures images per second of every input pipeline, interleaved in one process."""

import json
import os
import statistics
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torchvision.io import decode_image
from tqdm import tqdm

from dctnet import __version__
from dctnet.data.folders import list_files
from dctnet.data.images.photo import ImageError, Photo, choose_decoder, describe_decoder
from dctnet.data.packed.manifest import is_store
from dctnet.data.packed.shard import one_thread
from dctnet.data.planted import make_planted
from dctnet.errors import UserError, did_you_mean_path, no_folder, printable
from dctnet.frequency.dct import BLOCK
from dctnet.frequency.maskfile import resolve_channels
from dctnet.studies.machine import machine
from dctnet.studies.throughput.passes import ColdPass, Pass
from dctnet.studies.throughput.pipelines import make_pipelines
from dctnet.studies.throughput.rgb import RGB_SIZE

REFERENCE = "rgb_torchvision"
_LABELS = {
    "rgb_torchvision": "RGB by torchvision, float tensors",
    "rgb_pillow": "RGB by Pillow, uint8 as in timm",
    "webdataset_jpeg": "JPEG files in webdataset, float tensors",
    "webdataset_raw": "decoded images in webdataset, float tensors",
    "rgb_store": "mapped store of decoded RGB, uint8",
    "rgb_store_float": "mapped store of decoded RGB, flipped, float tensors",
    "pixels": "photographs, DCT in the loader",
    "pixels_device_dct": "photographs, DCT on the device",
    "coefficients": "JPEG coefficients to channels",
    "packed_cold": "packed store, not in the page cache",
    "packed_warm": "packed store, in the page cache",
    "packed_ram": "packed store, read into memory",
    "packed_float": "packed store, flipped, float channels",
    "packed_device": "packed store on the device",
}
_MIN_SECONDS = 0.3  # shorter passes are repeated, because timer and interpreter add noise


def throughput(
    root: str | None = None,
    channels: str | None = None,
    out: str | None = None,
    images: int = 256,
    rounds: int = 5,
    image_size: int = 448,
) -> None:
    """Measures every input pipeline on one thread, relative to torchvision's RGB at 224 px.

    All pipelines read the same photographs and take random crops as in training: RGB at 224 px, channels at
    ``image_size``. The coefficient pipeline cannot resize; from a smaller photograph it reads all whole blocks.

    Args:
        root: A folder of photographs. Default: the generated data set.
        channels: The channels kept. Default: square-24.
        out: Folder for ``throughput.json`` and ``throughput.png``.
        images: Number of photographs, spread evenly over the folder.
        rounds: Number of measurements per pipeline; the median is reported.
        image_size: Side of the crops in source pixels.

    Raises:
        UserError: The folder has no readable JPEG file, or an option is invalid.
    """
    if images < 1 or rounds < 1 or image_size < BLOCK or image_size % BLOCK:
        raise UserError(
            f"--images and --rounds must be at least 1, --image_size a multiple of {BLOCK}; "
            f"got {images}, {rounds}, {image_size}"
        )
    if out is not None and not Path(out).parent.is_dir():
        raise UserError(f"{out}: cannot be created.{did_you_mean_path(Path(out).parent)}")
    if out is not None and Path(out).exists() and not Path(out).is_dir():
        raise UserError(f"{out}: is a file; --out must be a folder")
    channel_set = resolve_channels(channels or "square-24")
    with tempfile.TemporaryDirectory() as folder, one_thread(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*deprecated.*")  # torchvision's decoders, which are still the common ones
        photographs = _choose(Path(root) if root else make_planted(Path(folder, "planted"), 0, 40, 1), images)
        pipelines = make_pipelines(photographs, channel_set, image_size, Path(folder))
        seconds, sizes = _measure(pipelines, len(photographs), rounds)
        report = {
            **_describe(photographs),
            "data": printable(root or "planted"),
            "channels": printable(channel_set.name),
            "image_size": image_size,
            "rounds": rounds,
            "paths": {
                name: _result(seconds[name], seconds[REFERENCE], sizes[name]) for name in _LABELS if name in seconds
            },
        }
    print(_table(report))
    if out is not None:
        Path(out).mkdir(exist_ok=True)
        Path(out, "throughput.json").write_text(json.dumps(report, indent=1) + "\n")
        draw_bars(report, Path(out, "throughput.png"))
        print(printable(f"{Path(out, 'throughput.json')}, {Path(out, 'throughput.png')}"))


def _choose(root: Path, count: int) -> list[str]:
    """Readable JPEG files, spread evenly over a folder."""
    if is_store(root):
        raise UserError(f"{root}: a packed store, expected a folder of photographs")
    if not root.is_dir():
        raise no_folder(root)
    found = [path for path in list_files(root) if path.lower().endswith((".jpg", ".jpeg"))]
    count = min(count, len(found))
    candidates = [found[i * len(found) // count] for i in range(count)]
    chosen = [path for path in candidates if _is_readable(path)]
    if not chosen:
        raise UserError(f"{root}: no readable JPEG file")
    if len(chosen) < count:
        print(f"{count - len(chosen)} of {count} files cannot be read by every pipeline and are left out")
    return chosen


def _is_readable(path: str) -> bool:
    """Whether every pipeline can read a file, which must have at least one block."""
    try:
        photo = Photo(path)
        photo.planes()
        decode_image(path, mode="RGB")
    except (ImageError, RuntimeError):
        return False
    return min(photo.width, photo.height) >= BLOCK


def _measure(pipelines: dict[str, Pass], count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds per image of each pipeline in each round, and bytes per image; the first pass is a warm-up."""
    warm_up = {name: _time(run, range(1)) for name, run in pipelines.items()}
    seconds: dict[str, list[float]] = {name: [] for name in pipelines}
    for number in tqdm(range(1, rounds + 1), desc="rounds"):
        for name, run in pipelines.items():
            repeats = 1 if isinstance(run, ColdPass) else max(1, int(_MIN_SECONDS / warm_up[name][0]))
            seconds[name].append(_time(run, range(number * 1000, number * 1000 + repeats))[0] / count)
    return seconds, {name: size / count for name, (_, size) in warm_up.items()}


def _time(run: Pass, numbers: range) -> tuple[float, int]:
    """Mean seconds and bytes of a pass."""
    if isinstance(run, ColdPass):
        run.prepare()
    started = time.perf_counter()
    for number in numbers:
        size = run(number)
    return (time.perf_counter() - started) / len(numbers), size


def _describe(photographs: list[str]) -> dict[str, Any]:
    """Machine, versions and photographs of the report."""
    pixels = [photo.width * photo.height for photo in map(Photo, photographs)]
    return {
        "machine": machine(),
        "versions": {"dctnet": __version__, **{p: version(p) for p in ("torch", "torchvision", "numpy", "pillow")}},
        "decoder": describe_decoder(choose_decoder("auto")),
        "images": len(photographs),
        "mean_pixels": round(statistics.mean(pixels)),
        "mean_file_bytes": round(statistics.mean(os.path.getsize(path) for path in photographs)),
    }


def _result(seconds: list[float], reference: list[float], size: float) -> dict[str, float]:
    """Result of one pipeline, from its seconds per image and those of the reference in each round."""
    return {
        "images_per_second": round(1 / statistics.median(seconds), 1),
        "ratio": round(statistics.median(r / own for r, own in zip(reference, seconds, strict=True)), 3),
        "bytes_per_image": round(size),
    }


def _table(report: dict[str, Any]) -> str:
    mean = f"mean {report['mean_pixels']:,} pixels, {report['mean_file_bytes']:,} bytes"
    lines = [
        f"{report['images']} photographs of {report['data']}, {mean}",
        f"{report['channels']} at {report['image_size']} px against RGB at {RGB_SIZE}",
        f"{report['machine']}; one thread per pipeline, median of {report['rounds']} rounds; {report['decoder']}",
        "",
        f"{'pipeline':<20}{'images/s':>10}{'ratio':>9}{'bytes/image':>14}",
    ]
    for name, row in report["paths"].items():
        rate, ratio, size = row["images_per_second"], row["ratio"], row["bytes_per_image"]
        lines.append(f"{name:<20}{rate:>10,.0f}{ratio:>9.2f}{size:>14,}  {_LABELS[name]}")
    return "\n".join(lines)


def draw_bars(report: dict[str, Any], path: Path) -> None:
    """Draws images per second with ratios as a bar chart from the content of ``throughput.json``."""
    from matplotlib.figure import Figure

    rows = dict(reversed(report["paths"].items()))
    figure = Figure(figsize=(9, 0.5 * len(rows) + 1.8), layout="constrained")
    axes = figure.subplots()
    rates = [row["images_per_second"] for row in rows.values()]
    colours = ["#999999" if name.startswith("rgb") else "#2a6f97" for name in rows]
    bars = axes.barh([_LABELS[name] for name in rows], rates, color=colours)
    axes.bar_label(bars, [f"{row['ratio']:.2f}×" for row in rows.values()], padding=4)
    axes.set_xscale("log")
    axes.set_xlim(min(rates) / 2, max(rates) * 4)
    axes.set_xlabel("images per second on one thread, logarithmic; × torchvision's RGB")
    photographs = f"{report['images']} photographs of {Path(report['data']).name}"
    title = f"{report['channels']} at {report['image_size']} px, {photographs}"
    figure.suptitle(title, x=0.01, ha="left", parse_math=False)  # folder names can contain dollar signs
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
