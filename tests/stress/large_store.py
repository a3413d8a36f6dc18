"""Measures the start of a training on a packed store of millions of images: time and memory of each step.

    python -m tests.stress.large_store FOLDER --images 1000000

The store has images of ImageNet's usual sizes in 24 channels for crops of 224 px, in shards of 256 MiB. Its shards are
sparse files without any coefficients, so it takes about 300 bytes an image. Its indices and its manifest are complete,
and written as ``dctnet pack`` does. A store that is there already is measured again.

The measurement runs in a process of its own. Memory is the peak of its resident set (VmHWM of Linux) above what the
imports take; mapped files count as far as they were read. ``--cold`` first removes the store from the page cache.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.packed.completion import finish
from dctnet.data.packed.manifest import MANIFEST, read_manifest
from dctnet.data.packed.plan import choose_scales
from dctnet.data.packed.shard import grid
from dctnet.frequency.selections import named_channels
from dctnet.io.atomic import atomic_write
from dctnet.io.files import dump_json

CLASSES = 1000
_PHOTOGRAPHS = ((500, 375), (500, 375), (375, 500), (500, 333), (640, 480), (500, 500))  # width and height in pixels


def make_store(root: Path, images: int, shard_bytes: int = 256 << 20) -> None:
    """Writes a store without coefficients; a hundredth of the images is for validation."""
    channels, scales = list(named_channels("square-24").indices), choose_scales(224, 0.875, 0.35, None)
    root.mkdir(parents=True)
    splits: dict[str, Any] = {}
    tasks = []
    for split, count in (("train", images - images // 100), ("val", images // 100)):
        grids = [[grid(*size, scale) for scale in scales[split]] for size in _PHOTOGRAPHS]
        sizes = [len(channels) * sum(rows * columns for rows, columns in blocks) for blocks in grids]
        for number, (first, last) in enumerate(_ranges(sizes, count, shard_bytes)):
            tasks.append(SimpleNamespace(name=f"{split}-{number:05d}"))
            _write_shard(root / tasks[-1].name, split, range(first, last), count, grids, sizes)
        splits[split] = {"scales": scales[split], "images": None, "shards": None, "skipped": []}
    plan = {
        "channels": channels, "steps": [1.0] * len(channels), "error": {}, "dtype": "int8", "image_size": 224,
        "crop_fraction": 0.875, "transform": "", "decoder": "", "made_with": {}, "source": "", "plan": "",
        "classes": [f"n{target:08d}" for target in range(CLASSES)], "splits": splits,
    }  # fmt: skip
    finish(plan, tasks, root, root)  # type: ignore[arg-type]


def _ranges(sizes: list[int], count: int, shard_bytes: int) -> Iterator[tuple[int, int]]:
    """First and last image of each shard."""
    first = filled = 0
    for image in range(count):
        if filled + sizes[image % len(sizes)] > shard_bytes:
            yield first, image
            first, filled = image, 0
        filled += sizes[image % len(sizes)]
    yield first, count


def _write_shard(path: Path, split: str, images: range, count: int, grids: list[Any], sizes: list[int]) -> None:
    entries = []
    for image in images:
        target = image * CLASSES // count
        name = f"{split}/n{target:08d}/n{target:08d}_{image:08d}.JPEG"
        entries.append({"path": name, "sha256": f"{image:064x}", "target": target, "blocks": grids[image % len(grids)]})
    size = sum(sizes[image % len(sizes)] for image in images)
    with open(path.with_suffix(".bin"), "wb") as file:
        file.truncate(size)
    index = {"images": entries, "skipped": [], "size": size, "sha256": "0" * 64}
    atomic_write(path.with_suffix(".json"), dump_json(index))


def measure(root: Path) -> None:
    """Starts a training up to its first batch and prints seconds and bytes of each step as JSON."""
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
    before, files, rows = _status("VmRSS"), _status("RssFile"), list[tuple[str, float, int, int]]()
    started = time.perf_counter()

    def step(name: str, began: float) -> None:
        seconds = time.perf_counter() - began
        rows.append((name, seconds, _status("VmHWM") - before, _status("RssFile") - files))

    data = FrequencyDataModule(str(root))
    step("open the store", started)
    began = time.perf_counter()
    data.setup("fit")
    step("read the index", began)
    began = time.perf_counter()
    loader = data.train_dataloader()
    next(iter(loader.sampler))
    step("shuffle an epoch", began)
    began = time.perf_counter()
    data.state_dict()
    step("fingerprint", began)
    step("start", started)
    began = time.perf_counter()
    next(iter(loader))
    step("first batch", began)
    print(json.dumps({"images": len(data.files("train")) + len(data.files("val")), "rows": rows}))


def _status(key: str) -> int:
    """Bytes of an entry of /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _forget(root: Path) -> None:
    """Removes the files of a store from the page cache."""
    os.sync()
    for path in root.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main() -> int:
    """Makes the store if it is missing, measures in another process, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.folder)
        return 0
    if not (args.folder / MANIFEST).exists():
        started = time.perf_counter()
        make_store(args.folder, args.images)
        print(f"made in {time.perf_counter() - started:.0f} s")
    shards = [shard for split in read_manifest(args.folder, files=False).splits.values() for shard in split.shards]
    stored = sum(path.stat().st_size for path in args.folder.iterdir() if path.suffix != ".bin")
    size = sum(shard.size for shard in shards)
    print(f"{len(shards):,} shards of {size / 1e9:,.0f} GB, {stored / 1e6:,.0f} MB of other files")
    for number in range(args.rounds):
        if args.cold:
            _forget(args.folder)
        command = [sys.executable, "-m", "tests.stress.large_store", str(args.folder), "--measure"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"round {number + 1}, {found['images']:,} images\n  {'step':<18}{'s':>8}{'peak MB':>10}{'of files':>10}")
        for name, seconds, peak, mapped in found["rows"]:
            print(f"  {name:<18}{seconds:>8.2f}{peak / 1e6:>10.0f}{mapped / 1e6:>10.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
