"""Wall time until one arm reaches the final validation accuracy of another.

    python -m tests.stress.time_to_accuracy --baseline RUN… --arm RUN… [--measure 3]

RUN is the folder of a fit (`checkpoints/<name>/version_N`), one per seed, in the same order for both. The number of
epochs comes from `metrics.csv`. The time per epoch comes from there too or, with `--measure N`, from the second epoch
of N short fits of each recipe, interleaved: on a shared machine only measurements close in time are comparable.
"""

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BATCHES = 24


def column(run: Path, name: str) -> dict[int, float]:
    """A column of a run's metrics, by epoch."""
    with open(run / "metrics.csv") as file:
        return {int(row["epoch"]): float(row[name]) for row in csv.DictReader(file) if row.get(name)}


def epoch_seconds(run: Path) -> float:
    """Median seconds per epoch, with validation."""
    seconds = [s for _, s in sorted(column(run, "seconds").items())]
    return statistics.median(b - a for a, b in itertools.pairwise(seconds))


def short_fit(config: Path) -> float:
    """Seconds of the second epoch of a fit of a few batches, with validation."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--trainer.max_epochs", "2", "--trainer.limit_train_batches", str(BATCHES)]
        options += ["--trainer.enable_progress_bar", "false", "--trainer.logger", "null"]
        command = ["fit", "--config", str(config), "--out_dir", folder, "--name", "short", *options]
        subprocess.run([sys.executable, "-m", "dctnet", *command], check=True, capture_output=True)
        return epoch_seconds(Path(folder, "short", "version_0"))


def main() -> None:
    """Prints one line per seed, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, nargs="+", required=True)
    parser.add_argument("--arm", type=Path, nargs="+", required=True)
    parser.add_argument("--measure", type=int, default=0)
    given = parser.parse_args()
    rounds: dict[str, list[float]] = {"baseline": [], "arm": []}
    for _ in range(given.measure):
        rounds["baseline"].append(short_fit(given.baseline[0] / "config.yaml"))
        rounds["arm"].append(short_fit(given.arm[0] / "config.yaml"))
    if given.measure:
        ratio = statistics.median(a / b for a, b in zip(rounds["arm"], rounds["baseline"], strict=True))
        print(
            f"seconds of a short epoch of {BATCHES} batches: "
            + str({k: [round(s, 1) for s in v] for k, v in rounds.items()})
        )
        print(f"an epoch of the arm takes {ratio:.3f} of the baseline's (median of {given.measure} pairs)")
    for baseline, arm in zip(given.baseline, given.arm, strict=True):
        reached, wanted = column(arm, "val_acc1"), column(baseline, "val_acc1")
        final = wanted[max(wanted)]
        epochs = next((epoch + 1 for epoch, accuracy in sorted(reached.items()) if accuracy >= final), None)
        total = max(wanted) + 1
        each = ratio if given.measure else epoch_seconds(arm) / epoch_seconds(baseline)
        verdict = "not reached" if epochs is None else f"epoch {epochs}: {epochs / total * each:.3f} of its time"
        print(f"{baseline.parent.name}: {final:.4f} after {total} epochs; {arm.parent.name}: {verdict}")


if __name__ == "__main__":
    main()
