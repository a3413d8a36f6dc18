"""Stops trainings by signals to their process group and resumes them: the same bits must result.

    python -m tests.stress.stop_resume --stops 8 --out TABLE.md

Each training runs in separate processes: once without a stop, then with SIGTERM, SIGINT or SIGUSR1 at random moments,
resumed after each until it ends. The signal is sent to the process group, and so to ranks and workers, as a terminal,
coreutils' timeout and schedulers do; with ``--to process`` only to the main process. Last weights, best weights,
optimizer, schedule and validation losses are compared bit for bit. All input pipelines, with one and two ranks, on the
small network of the tests, which has dropout. The control is :mod:`tests.stress.plain_lightning`.
"""

import argparse
import csv
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.conftest import make_photos
from tests.small_backbones import small_backbones
from tests.stress.dead_helpers import processes

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
GATED = ("--data.channels=zigzag-12", "--model.gate=dynamic", "--model.keep=6")
FEEDS = {
    "photographs": (*GATED, "--data.num_workers=0"),
    "photographs, 3 workers": (*GATED, "--data.num_workers=3"),
    "RGB, 2 workers": ("--model.input=rgb", "--data.num_workers=2"),
    "packed store": ("--data.root=store", *GATED),
}
SHARED = (
    "--data.root=photos", "--data.image_size=32", "--data.batch_size=5", "--model.lr=0.01", "--trainer.max_epochs=12",
    "--trainer.check_val_every_n_epoch=2", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=1",
)  # fmt: skip


@dataclass
class Tally:
    """Counts of one input pipeline: stops, those with status 75, completed trainings, those with the same bits."""

    stops: int = 0
    right_status: int = 0
    runs: int = 0
    same: int = 0

    def line(self, name: str) -> str:
        """A row of the table."""
        return f"| {name} | {self.stops} | {self.right_status} | {self.runs} | {self.same} |"


def fit(
    folder: Path, name: str, options: tuple[str, ...], stop_after: float | None = None, number: int = 0,
    send: Callable[[int, int], None] = os.killpg,
) -> int:  # fmt: skip
    """Runs a fit and sends it a signal some seconds after it started to train; returns its status.

    Raises:
        AssertionError: A process of the group is left a minute after the fit has ended.
    """
    command = [sys.executable, "-m", "dctnet", "fit", *SHARED, *options, f"--name={name}", f"--out_dir={folder}"]
    with open(folder / f"{name}.log", "a") as log:
        child = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)
        if stop_after is not None:
            _wait_for_training(folder / name, child)
            time.sleep(stop_after)
            if child.poll() is None:
                send(child.pid, number)
        status = child.wait(300)
    end = time.monotonic() + 60
    while processes(child.pid):
        assert time.monotonic() < end
        time.sleep(0.1)
    return status


def _wait_for_training(run: Path, child: subprocess.Popen) -> None:
    """Waits until the newest version has an event file, or the fit has ended."""
    versions = len(list(run.glob("version_*")))
    while child.poll() is None:
        found = sorted(run.glob("version_*"), key=lambda path: int(path.name.removeprefix("version_")))
        if len(found) > versions and list(found[-1].glob("events.out*")):
            return
        time.sleep(0.05)


def newest(run: Path) -> Path:
    """The checkpoint of the last version that has one."""
    return max(run.glob("version_*/last.ckpt"), key=lambda path: int(path.parent.name.removeprefix("version_")))


def outcome(run: Path) -> tuple[Any, ...]:
    """The result of a training: last and best weights, optimizer, schedule, and validation losses of all versions."""
    last = newest(run)
    content, best = (torch.load(path, weights_only=True) for path in (last, last.with_name("best.ckpt")))
    tables = sorted(run.glob("version_*/metrics.csv"), key=lambda p: int(p.parent.name.removeprefix("version_")))
    lines = [line for table in tables for line in csv.DictReader(table.read_text().splitlines())]
    losses = [(line["step"], line["val_loss"]) for line in lines if line.get("val_loss")]
    parts = (content["state_dict"], best["state_dict"], content["optimizer_states"], content["lr_schedulers"])
    return *parts, losses


def same(one: Any, other: Any) -> bool:
    """Whether two nested structures of tensors are equal, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def stopped_and_resumed(
    folder: Path, feed: str, ranks: int, stops: int, send: Callable[[int, int], None] = os.killpg
) -> Tally:
    """Runs one training without a stop, then trainings with stops until there were ``stops`` of them."""
    options = FEEDS[feed] + ((f"--trainer.devices={ranks}", "--trainer.strategy=ddp") if ranks > 1 else ())
    rng, tally, slug = random.Random(0), Tally(), re.sub(r"\W+", "-", f"{feed}-{ranks}")
    started = time.monotonic()
    assert fit(folder, f"{slug}-whole", options) == 0
    took = time.monotonic() - started
    whole = outcome(folder / f"{slug}-whole")
    while tally.stops < stops:
        name, resume = f"{slug}-{tally.runs}", ()
        while True:
            number = SIGNALS[tally.stops % len(SIGNALS)] if tally.stops < stops else None
            wait = rng.uniform(0, took / 4) if number else None
            status = fit(folder, name, (*options, *resume), wait, number or 0, send)
            closing = (folder / f"{name}.log").read_text().strip().splitlines()[-1]
            if status == 0 or closing.startswith("curves"):  # it ended before the signal
                break
            tally.stops += 1
            tally.right_status += status == 75
            resume = (f"--ckpt_path={newest(folder / name)}",)
        tally.runs += 1
        tally.same += same(outcome(folder / name), whole)
    return tally


def main() -> int:
    """Runs all cases and writes the table; returns 1 if a stop had another status, or a resumed run other bits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stops", type=int, default=8, help="at least, for each pipeline and number of ranks")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--to", choices=["group", "process"], default="group", help="receiver of the signals")
    parser.add_argument("--out", type=Path, help="Markdown file to write beside printing.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, small_backbones():
        folder = Path(place)
        make_photos(folder / "photos", 20, 8)
        pack = [sys.executable, "-m", "dctnet", "pack", "photos", "store", "--data.image_size=32"]
        subprocess.run(pack, cwd=folder, check=True, capture_output=True)
        lines = [
            "| training | stops | status 75 | runs | runs with the same bits |",
            "|---|---|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        kept = True
        for ranks, feed in itertools.product(given.ranks, FEEDS):
            tally = stopped_and_resumed(folder, feed, ranks, given.stops, os.killpg if given.to == "group" else os.kill)
            kept &= tally.stops == tally.right_status and tally.runs == tally.same
            lines.append(tally.line(f"{feed}, {ranks} rank{'s' * (ranks > 1)}"))
            print(lines[-1], flush=True)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")
    return int(not kept)


if __name__ == "__main__":
    sys.exit(main())
