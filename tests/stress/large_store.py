"""Measures the start of a training on a packed store of millions of images: time and memory of each step.

    python -m tests.stress.large_store FOLDER --images 1000000
    python -m tests.stress.large_store FOLDER --images 1000000 --plan

The store has images of ImageNet's usual sizes in 24 channels for crops of ``--image_size``, in shards of 256 MiB. Its
shards are sparse files without any coefficients, so it takes about 300 bytes an image. Its indices and its manifest are
complete, and written as ``dctnet pack`` does. A store that is there already is measured again.

The measurement runs in a process of its own. Memory is the peak of its resident set (VmHWM of Linux) above what the
imports take; mapped files count as far as they were read. ``--cold`` first removes the store from the page cache.
``--plan`` measures the plan of a packing instead, of photographs whose headers are made up; rounds after the first
continue it, as another part does.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.folders import Files
from dctnet.data.packed import plan as plans
from dctnet.data.packed.completion import finish
from dctnet.data.packed.manifest import MANIFEST, read_manifest
from dctnet.data.packed.plan import choose_scales
from dctnet.data.packed.shard import grid
from dctnet.frequency.selections import named_channels
from dctnet.io.atomic import atomic_write
from dctnet.io.files import dump_json

CLASSES = 1000
_PHOTOGRAPHS = ((500, 375), (500, 375), (375, 500), (500, 333), (640, 480), (500, 500))  # width and height in pixels


def make_store(root: Path, images: int, image_size: int = 224, shard_bytes: int = 256 << 20) -> None:
    """Writes a store without coefficients; a hundredth of the images is for validation."""
    channels, scales = list(named_channels("square-24").indices), choose_scales(image_size, 0.875, 0.35, None)
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
        "channels": channels, "steps": [1.0] * len(channels), "error": {}, "dtype": "int8", "image_size": image_size,
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
    steps = _Steps()
    data = FrequencyDataModule(str(root))
    steps.end("open the store")
    data.setup("fit")
    steps.end("read the index")
    loader = data.train_dataloader()
    next(iter(loader.sampler))
    steps.end("shuffle an epoch")
    data.state_dict()
    steps.end("fingerprint")
    steps.sum_up("start")
    next(iter(loader))
    steps.end("first batch")
    print(json.dumps({"images": len(data.files("train")) + len(data.files("val")), "rows": steps.rows}))


def _sizes(paths: list[str]) -> Generator[tuple[int, int, int], None, None]:
    for path in paths:
        yield (*_PHOTOGRAPHS[int(path[-13:-5]) % len(_PHOTOGRAPHS)], 110_000)


def measure_plan(folder: Path, images: int) -> None:
    """Plans a packing of made-up photographs, or continues one that was planned, and prints the same."""
    steps = _Steps()
    paths = [f"{folder}/train/n{i * CLASSES // images:08d}/n{i:08d}.JPEG" for i in range(images)]
    files = Files(tuple(paths), tuple(i * CLASSES // images for i in range(images)))
    source: Any = SimpleNamespace(
        root=folder, splits_present=["train"], class_names=[f"n{target:08d}" for target in range(CLASSES)],
        files=lambda split: files, check_no_class_is_empty=lambda split, targets: None,
    )  # fmt: skip
    plans.os = SimpleNamespace(path=SimpleNamespace(getsize=lambda path: 110_000, exists=bool, relpath=os.path.relpath))
    plans.sample_coefficients = lambda *args: np.ones((24, 10), np.float32)
    channels, scales = list(named_channels("square-24").indices), choose_scales(224, 0.875, 0.35, None)
    folder.mkdir(parents=True, exist_ok=True)
    steps.end("list the files")
    earlier = plans.read_earlier_plan(folder)
    is_new = earlier is None
    steps.end("read plan.json")
    plan = plans.make_plan(source, channels, 224, 0.875, scales, "int8", 256 << 20, "pillow", "stop", _sizes, earlier)
    del earlier
    steps.end("plan")
    plan = plans.resume_or_create_plan(plan, folder, folder, "pillow")
    steps.end("write plan.json" if is_new else "compare plan.json")
    plans.make_tasks(plan, folder, "pillow", "stop")
    steps.end("list the shards")
    print(json.dumps({"images": images, "rows": steps.rows}))


class _Steps:
    """Seconds, peak of memory and mapped bytes of each step, above what the process has at the start."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5")  # sets the peak to the present size
        self.memory, self.files = _status("VmRSS"), _status("RssFile")
        self.rows: list[tuple[str, float, int, int]] = []
        self.began = time.perf_counter()

    def end(self, name: str) -> None:
        """Ends a step; the next begins."""
        self._add(name, time.perf_counter() - self.began)
        self.began = time.perf_counter()

    def sum_up(self, name: str) -> None:
        """Adds the sum of all steps so far."""
        self._add(name, sum(seconds for _, seconds, *_ in self.rows))

    def _add(self, name: str, seconds: float) -> None:
        self.rows.append((name, seconds, _status("VmHWM") - self.memory, _status("RssFile") - self.files))


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
    parser.add_argument("--image_size", type=int, default=224, help="side of the crops in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--plan", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure_plan(args.folder, args.images) if args.plan else measure(args.folder)
        return 0
    if not args.plan:
        _prepare(args.folder, args.images, args.image_size)
    for number in range(args.rounds):
        if args.cold:
            _forget(args.folder)
        options = ["--measure", "--images", str(args.images), *(["--plan"] if args.plan else [])]
        command = [sys.executable, "-m", "tests.stress.large_store", str(args.folder), *options]
        output = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ).stdout
        found = json.loads(output)
        print(f"round {number + 1}, {found['images']:,} images\n  {'step':<18}{'s':>8}{'peak MB':>10}{'of files':>10}")
        for name, seconds, peak, mapped in found["rows"]:
            print(f"  {name:<18}{seconds:>8.2f}{peak / 1e6:>10.0f}{mapped / 1e6:>10.0f}")
    return 0


def _prepare(root: Path, images: int, image_size: int) -> None:
    """Makes the store if it is missing, and prints its size."""
    if not (root / MANIFEST).exists():
        started = time.perf_counter()
        make_store(root, images, image_size)
        print(f"made in {time.perf_counter() - started:.0f} s")
    shards = [shard for split in read_manifest(root, files=False).splits.values() for shard in split.shards]
    stored = sum(path.stat().st_size for path in root.iterdir() if path.suffix != ".bin")
    size = sum(shard.size for shard in shards)
    print(f"{len(shards):,} shards of {size / 1e9:,.0f} GB, {stored / 1e6:,.0f} MB of other files")


if __name__ == "__main__":
    sys.exit(main())
