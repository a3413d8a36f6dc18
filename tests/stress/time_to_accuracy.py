"""Training time until one arm reaches the final validation accuracy of another.

    python -m tests.stress.time_to_accuracy --baseline RUN… --arm RUN… [--measure 3]

RUN is the folder of a fit (`checkpoints/<name>/version_N`) or of a benchmark's trial (`…/runs/<arm>-s<seed>`), one per
seed, in the same order for both; it needs a validation after each epoch. Validations are not counted. The time of an
epoch comes from `images_per_second` in `metrics.csv` or, with `--measure N`, from N rounds of short fits of the first
baseline and the first arm, interleaved: on a shared machine only measurements close in time are comparable. Each of
the progressive sizes is measured for itself.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from dctnet.data.progressive import CropSizes

BATCHES = 24


def versions(run: Path, name: str) -> list[Path]:
    """A file of a fit, or of all versions of a trial, in their order."""
    found = sorted(run.glob(f"version_*/{name}"), key=lambda path: int(path.parent.name.removeprefix("version_")))
    return found or [run / name]


def column(run: Path, name: str) -> dict[int, float]:
    """A column of a run's metrics, by epoch."""
    lines = [line for path in versions(run, "metrics.csv") for line in csv.DictReader(path.read_text().splitlines())]
    return {int(line["epoch"]): float(line[name]) for line in lines if line.get(name)}


def epoch_costs(run: Path) -> list[float]:
    """Time of each epoch, in an arbitrary unit that is the same for all runs on the same images."""
    return [1 / rate for _, rate in sorted(column(run, "images_per_second").items())]


def short_fit(config: Path) -> list[float]:
    """Time of an epoch at each of the sizes, from the second epoch of a few batches at each."""
    shares = yaml.safe_load(config.read_text())["data"].get("progressive") or [1.0]
    with tempfile.TemporaryDirectory() as folder:
        options = ["--trainer.max_epochs", str(2 * len(shares)), "--trainer.limit_train_batches", str(BATCHES)]
        options += ["--trainer.enable_progress_bar", "false", "--trainer.logger", "null"]
        options += ["--trainer.limit_val_batches", "1"]
        command = ["fit", "--config", str(config), "--out_dir", folder, "--name", "short", *options]
        subprocess.run([sys.executable, "-m", "dctnet", *command], check=True, capture_output=True)
        return epoch_costs(Path(folder, "short", "version_0"))[1::2]


def spread(costs: list[float], epochs: int) -> list[float]:
    """The times of all epochs of a training from those at each size."""
    parts = CropSizes(range(len(costs)))
    parts.epochs = epochs
    return [costs[parts.at(epoch)] for epoch in range(epochs)]


def main() -> None:
    """Prints one line per seed, and the times of an epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, nargs="+", required=True)
    parser.add_argument("--arm", type=Path, nargs="+", required=True)
    parser.add_argument("--measure", type=int, default=0)
    given = parser.parse_args()
    configs = [versions(runs[0], "config.yaml")[-1] for runs in (given.baseline, given.arm)]
    rounds = [[short_fit(config) for config in configs] for _ in range(given.measure)]
    if rounds:
        for name, costs in zip(("baseline", "arm"), zip(*rounds, strict=True), strict=True):
            times = [statistics.median(size) for size in zip(*costs, strict=True)]
            print(f"{name}: {', '.join(f'{1000 * each:.2f}' for each in times)} ms an image at each size")
    for baseline, arm in zip(given.baseline, given.arm, strict=True):
        reached, wanted = column(arm, "val_acc1"), column(baseline, "val_acc1")
        final, total = wanted[max(wanted)], max(wanted) + 1
        epochs = next((epoch + 1 for epoch, accuracy in sorted(reached.items()) if accuracy >= final), None)
        verdict = "not reached"
        if epochs is not None:
            pairs = rounds or [(epoch_costs(baseline), epoch_costs(arm))]
            shares = [sum(spread(b, max(reached) + 1)[:epochs]) / sum(spread(a, total)) for a, b in pairs]
            verdict = f"epoch {epochs}: {statistics.median(shares):.3f} of its time"
        print(f"{baseline.parent.name}/{baseline.name}: {final:.4f} after {total} epochs; {arm.name}: {verdict}")


if __name__ == "__main__":
    main()
