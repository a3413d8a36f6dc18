"""Measures on a GPU what the rest of the documentation could only measure on a CPU.

    python -m tests.stress.gpu --out DIR [--minutes 25] [--data PHOTOGRAPHS] [--parts paths throughput …]
    python -m tests.stress.gpu --table DIR > docs/gpu.md
    python -m tests.stress.gpu --prepare SRC --out PARTS [--mib 56]

The parts are paths, throughput, steps, accuracy and seeds, in this order. DIR gets one JSON file per part, and the rows
of the benchmark as seeds/rows.csv for ``dctnet report``. A repeated command makes the measurements that are missing or
have failed; one that would take longer than the time that is left is not started. ``--device cpu --small`` tries the
program without a GPU.

For a machine that takes little at a time, ``--prepare`` divides a folder of photographs into PARTS/part0, part1, …, of
at most some MiB each; ``cp -r part0/. PHOTOGRAPHS`` and so on puts them together there. Packed stores are made there
too: they are several times as large as the JPEG files.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch

from dctnet.data.folders import list_files
from tests.stress.gpu import accuracy, paths, seeds, steps, throughput
from tests.stress.gpu.bench import COUNT, ROOT, Bench, describe, read_part, run_part

PARTS = {
    "paths": paths.CELLS,
    "throughput": throughput.CELLS,
    "steps": steps.CELLS,
    "accuracy": accuracy.CELLS,
    "seeds": seeds.CELLS,
}
_HEAD = """# Measurements on a GPU

{state}One command makes them all and continues where it was stopped. With `--parts`, a part
has its own `--data`.

    python -m tests.stress.gpu --minutes 25 --out DIR --data PHOTOGRAPHS
    python -m tests.stress.gpu --table DIR > docs/gpu.md
"""
_ABOUT = {
    "paths": """What runs differently on a GPU, compared with the CPU. `largest` is the largest difference, `relative`
the norm of the difference as a share of the norm of the CPU's result. The fits train ResNet-18 for four epochs on the
generated data set.""",
    "throughput": """Training crops per second that reach the GPU, in batches of 128: `square-24` of 448 px, RGB of
224 px. 512 files of ImageNet's mean size, one decoding process per core. Last row: `dctnet throughput`.""",
    "steps": """Training images per second of ResNet-50 in batches of 128. `steps`: bf16, from a batch on the GPU,
medians of interleaved rounds. `fed`: a fit from a loader, a fit from one batch on the GPU, and the ratio.""",
    "accuracy": """ResNet-50 on Imagenette at 224 px (9,469 + 3,925 images): validation accuracy and seconds of the
training, seed 0. The recipes are `configs/imagenette_*.yaml`, for the short schedules with crops of at least 35 % of
the area and a warm-up of 20 %. RGB at 112 px has about the GMAC of DCT-24 at 224 px.""",
    "seeds": """Top-1 accuracy of arms of the benchmark on imagenette-small. Intervals, n and options:
`dctnet report DIR/seeds`.""",
}


def table(out: Path) -> str:
    """The page with the results of a folder."""
    results = {part: read_part(out, part) for part in PARTS}
    ran = any(result["machine"] for result in results.values())
    text = _HEAD.format(state="" if ran else "**Nothing has run on a GPU yet.** ")
    for part, cells in PARTS.items():
        result = results[part]
        text += f"\n## {part.capitalize()}\n\n{_ABOUT[part]}\n\n"
        text += f"{result['machine']}.\n\n" if result["machine"] else ""
        text += "| measurement | result | seconds |\n|---|---|---|\n"
        for cell in cells:
            found = result["cells"].get(cell.name, {})
            text += f"| {cell.name} | {describe(found).replace('|', '/')} | {found.get('seconds', '')} |\n"
    return text


def prepare(source: Path, out: Path, mib: float) -> int:
    """Copies a folder of photographs into folders of at most some MiB each; returns how many."""
    files, part, filled = list_files(source), 0, 0
    for file in files:
        size = os.path.getsize(file)
        if filled and filled + size > mib * 2**20:
            part, filled = part + 1, 0
        target = out / f"part{part}" / os.path.relpath(file, source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        filled += size
    for number in range(part + 1):
        (out / f"part{number}" / COUNT).write_text(f"{len(files)}\n")
    return part + 1


def main(args: list[str] | None = None) -> int:
    """Runs the parts, prints the page, or prepares data; returns the number of measurements that failed."""
    parser = argparse.ArgumentParser(
        "python -m tests.stress.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, help="photographs with train/, val/ and, for the seeds, test/")
    parser.add_argument("--recipe", type=Path, default=ROOT / "configs" / "benchmark_imagenette_small.yaml")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir(), "dctnet-gpu"))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--mib", type=float, default=56)
    given = parser.parse_args(args)
    if given.table:
        print(table(given.table), end="")
        return 0
    if not given.out:
        parser.error("--out is missing")
    if given.prepare:
        print(f"{prepare(given.prepare, given.out, given.mib)} parts in {given.out}")
        return 0
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no GPU; --device cpu --small tries the program without one")
    deadline = time.monotonic() + 60 * given.minutes
    bench = Bench(given.device, given.small, given.data, given.recipe, given.out, given.scratch, deadline)
    for folder in (bench.out, bench.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    return sum(run_part(bench, part, PARTS[part]) for part in given.parts)
