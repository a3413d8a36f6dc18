"""Part 5: the benchmark over five seeds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from dctnet.studies.rows import ROWS, read_rows
from tests.stress.gpu.bench import Bench, Cell, NotRun

# What a benchmark needs to continue on another machine without repeating trials; checkpoints are too large to carry.
KEPT = (ROWS, "grid.yaml", "images.csv", "ranking.json", "energy.json")
ARMS = [
    {"choose": "rgb_matched"},
    {"choose": "square", "channels": [24]},
    {"choose": "learned", "channels": [24, 8]},
    {"choose": "patchify"},
    {"choose": "zigzag", "channels": [192]},
    {"choose": "energy", "channels": [24]},
]


def run_seed(bench: Bench, seed: int) -> dict[str, Any]:
    """All arms with one seed, until the deadline; the rows are kept among the results."""
    root, kept, out, jobs = bench.photographs(), bench.out / "seeds", bench.scratch / "seeds", 2 if bench.small else 4
    for folder in (kept, out):
        folder.mkdir(exist_ok=True)
    if not (out / ROWS).exists():  # on another machine
        _copy(kept, out)
    command = [
        "benchmark", f"--config={bench.recipe}", f"--out={out}", f"--jobs={jobs}", f"--seeds=[{seed}]",
        f"--arms={json.dumps(ARMS[:2] if bench.small else ARMS)}", f"--data.root={root}", "--data.dct=device",
        f"--data.num_workers={bench.workers // jobs}", f"--trainer.accelerator={bench.accelerator}",
    ]  # fmt: skip
    if bench.small:
        command += [f"--data.batch_size={bench.batch}", "--data.image_size=128", "--trainer.max_epochs=1"]
    process = subprocess.Popen([sys.executable, "-m", "dctnet", *command])
    status = None
    try:
        status = process.wait(max(1, bench.left - 20))
    except subprocess.TimeoutExpired:
        process.terminate()  # the trials save checkpoints and end
        process.wait()
    finally:
        _copy(out, kept)
    found = {row.arm: f"{100 * row.top1:.1f} %" for row in read_rows(kept / ROWS) if row.seed == seed}
    if status is None:
        raise NotRun(f"stopped at the end of the time, {len(found)} arms are complete")
    if status:
        raise RuntimeError(f"dctnet benchmark ended with status {status}, {len(found)} arms are complete")
    return found


def _copy(source: Path, target: Path) -> None:
    for name in KEPT:
        if (source / name).exists():
            shutil.copy(source / name, target / name)


CELLS = tuple(Cell(f"seed {seed}", 120, run_seed, {"seed": seed}) for seed in range(5))
