"""Damages 0, 0.1, 1 and 10 % of a data set's files and trains on it: list, reasons and counts must be exact.

    python -m tests.stress.bad_files --out TABLE.md

Each fraction with 0 and 3 workers, on 1 and 2 ranks; then with a limit that must stop the training. Controls on the
same files: torchvision's ImageFolder with Lightning, and timm's ImageDataset if timm can be imported (pip install
--target DIR timm, with DIR in PYTHONPATH).
"""

import argparse
import contextlib
import csv
import itertools
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import nn
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from dctnet.data.folders import list_files
from dctnet.data.planted import make_planted

_EMPTY = "UnidentifiedImageError: cannot identify image file"
_HTML = "cannot identify image file: HTML, perhaps the answer to a failed download"
_CUT = "damaged: truncated, no end-of-image marker after the scan"


@dataclass
class Damaged:
    """A data set: its root, number of files by split, and path and reason of its bad files by split."""

    root: Path
    files: dict[str, int]
    bad: dict[str, dict[str, str]]

    @property
    def all_bad(self) -> dict[str, str]:
        """Path and reason of the bad files of both splits."""
        return self.bad["train"] | self.bad["val"]


def damage(root: Path, count: int, seed: int) -> Damaged:
    """Damages ``count`` files, each in one of four ways."""
    paths = {split: list_files(root / split) for split in ("train", "val")}
    chosen = random.Random(seed).sample(paths["train"] + paths["val"], count)
    reasons = {path: _damage(Path(path), kind % 4) for kind, path in enumerate(chosen)}
    bad = {split: {path: reasons[path] for path in found if path in reasons} for split, found in paths.items()}
    return Damaged(root, {split: len(found) for split, found in paths.items()}, bad)


def _damage(path: Path, kind: int) -> str:
    """Makes a file empty, text, truncated or a dangling link; returns the reason that dctnet must give."""
    if kind == 3:
        path.unlink()
        path.symlink_to("nowhere")
        return "no such file: a broken link to nowhere"
    content = path.read_bytes()
    path.write_bytes((b"", b"<html>not found</html>", content[: len(content) * 2 // 3])[kind])
    return (_EMPTY, _HTML, _CUT)[kind]


def fit(data: Damaged, out: Path, workers: int, ranks: int, limit: float) -> subprocess.CompletedProcess[str]:
    """Trains for one epoch on a damaged data set, in separate processes."""
    options = {
        "data.root": data.root, "data.channels": "zigzag-6", "data.image_size": 32, "data.batch_size": 40 // ranks,
        "data.num_workers": workers, "data.on_error": "skip", "data.max_bad_fraction": limit,
        "model.backbone": "resnet18", "out_dir": out.parent, "name": out.name, "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu", "trainer.devices": ranks, "trainer.enable_progress_bar": False,
        **({"trainer.strategy": "ddp"} if ranks > 1 else {}),
    }  # fmt: skip
    arguments = [f"--{name}={value}" for name, value in options.items()]
    return subprocess.run([sys.executable, "-m", "dctnet", "fit", *arguments], capture_output=True, text=True)


def read_list(out: Path) -> dict[str, str]:
    """Path and reason of each row of a run's skipped.csv, which must have no path twice."""
    listing = out / "version_0" / "skipped.csv"
    rows = list(csv.DictReader(open(listing, newline=""))) if listing.exists() else []
    listed = {row["path"]: row["reason"] for row in rows}
    assert len(listed) == len(rows), f"{listing}: {len(rows)} rows, {len(listed)} files"
    return listed


def trial(data: Damaged, out: Path, workers: int, ranks: int) -> None:
    """Trains, and asserts that the list, its reasons and the counts of the summary are exact."""
    done = fit(data, out, workers, ranks, 0.5)
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_list(out) == data.all_bad
    bad, files = {split: len(found) for split, found in data.bad.items()}, data.files
    (accuracy,) = re.findall(r"^accuracy .*top-1 on (\d+) validation images(?:, (\d+) unreadable)?", done.stdout, re.M)
    assert accuracy == (str(files["val"] - bad["val"]), str(bad["val"]) if bad["val"] else "")
    training = re.findall(r"^skipped +(\d+) of (\d+) training files were unreadable", done.stdout, re.M)
    assert training == ([(str(bad["train"]), str(files["train"]))] if bad["train"] else [])


def stopped(data: Damaged, out: Path, ranks: int) -> str:
    """Trains with a limit below the number of bad files; asserts status 2 and one line, which it returns."""
    done = fit(data, out, 3, ranks, 0.05)
    lines = [line for line in done.stderr.splitlines() if line.startswith("dctnet: ")]
    assert (done.returncode, len(lines), "Traceback" in done.stderr) == (2, 1, False), done.stderr[-2000:]
    (count, total, split) = re.search(r"(\d+) of (\d+) (train|val) files", lines[0]).groups()
    assert int(total) == data.files[split]
    assert int(count) / int(total) > 0.05
    listed = read_list(out)
    assert listed.items() <= data.all_bad.items()
    assert len(listed.keys() & data.bad[split].keys()) == int(count)
    return lines[0].replace(str(data.root), "DIR").replace(str(out), "RUN")


class Linear(pl.LightningModule):
    """The smallest network, for the controls."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 32 * 32, classes)
        self.steps = 0

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.steps += 1
        return nn.functional.cross_entropy(self.layer(batch[0].flatten(1)), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


def small(image: Image.Image) -> torch.Tensor:
    """32 × 32 pixels, 0…1."""
    return pil_to_tensor(image.convert("RGB").resize((32, 32))) / 255


def image_folder(data: Damaged) -> str:
    """Describes what torchvision's ImageFolder does under Lightning."""
    torch.manual_seed(0)
    train = ImageFolder(str(data.root / "train"), small)
    network = Linear(len(train.classes))
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    try:
        trainer.fit(network, torch.utils.data.DataLoader(train, 40, shuffle=True))
    except Exception as error:
        return f"{type(error).__name__} after {network.steps} of {len(train) // 40} steps, no list, no count"
    return f"trains all {network.steps} steps"


def timm_dataset(data: Damaged) -> str:
    """Describes how many validation images timm replaces, and the effect on the accuracy of a fixed network."""
    try:
        with contextlib.redirect_stderr(None):
            import timm
            from timm.data import ImageDataset
    except ImportError:
        return "timm is not installed"
    torch.manual_seed(0)
    dataset = ImageDataset(str(data.root / "val"), transform=small)
    network = Linear(len(list((data.root / "val").iterdir()))).eval()
    right = []
    with torch.no_grad():
        for image, target in (dataset[i] for i in range(len(dataset))):
            right.append(int(network.layer(image.flatten()).argmax()) == target)
    readable = np.array([dataset.filename(i, absolute=True) not in data.bad["val"] for i in range(len(dataset))])
    replaced = len(right) - int(readable.sum())
    honest = f"{np.mean(np.array(right)[readable]):.2%} on the {readable.sum()} readable"
    return (
        f"timm {timm.__version__}: {len(right)} images, {replaced} of them another file's (a warning each in the log); "
        f"accuracy {np.mean(right):.2%} instead of {honest}"
    )


def campaign(folder: Path, train: int, val: int, seed: int) -> Iterator[str]:
    """Runs all combinations; yields the lines of the table.

    Args:
        folder: For all files.
        train: Number of training files per class, of eight classes.
        val: Number of validation files per class.
        seed: Seed of the choice of files.
    """
    yield "| bad files | of them in train / val | workers | ranks | list, reasons, counts | seconds |"
    yield "|---|---|---|---|---|---|"
    controls = ["", "| bad files | ImageFolder + Lightning | timm, one validation pass |", "|---|---|---|"]
    for share in (0, 0.001, 0.01, 0.1):
        root = folder / f"photos_{share}"
        make_planted(root, train_per_class=train, val_per_class=val)
        data = damage(root, round(share * 8 * (train + val)), seed)
        label = f"{share:.1%} ({len(data.all_bad)})"
        for workers, ranks in itertools.product((0, 3), (1, 2)):
            started = time.perf_counter()
            trial(data, folder / f"run_{share}_{workers}_{ranks}", workers, ranks)
            split = " / ".join(str(len(found)) for found in data.bad.values())
            yield f"| {label} | {split} | {workers} | {ranks} | exact | {time.perf_counter() - started:.0f} |"
        controls.append(f"| {label} | {image_folder(data)} | {timm_dataset(data)} |")
    yield from controls
    for ranks in (1, 2):
        line = stopped(data, folder / f"stopped_{ranks}", ranks)
        yield f"\n`--data.max_bad_fraction 0.05`, {label}, {ranks} ranks: status 2, `{line}`"


def main() -> None:
    """Runs all trainings and writes the table; an AssertionError shows the first difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument("--seed", type=int, default=0, help="seed of the choice of files")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open(given.out, "w", encoding="utf-8") as table:
        for line in campaign(Path(folder), 100, 25, given.seed):
            print(line, flush=True)
            print(line, file=table, flush=True)


if __name__ == "__main__":
    main()
