"""Kills DataLoader workers and ranks: the training must end soon, with a nonzero status, and leave no process.

    python -m tests.stress.dead_helpers --times 3

A training runs in separate processes. One of them gets SIGKILL within an epoch. All processes must end within 60
seconds, and the status must not be 0.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import make_photos

FIT = (
    "--data.image_size=32", "--data.batch_size=4", "--model.lr=0.01", "--trainer.max_epochs=500",
    "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.check_val_every_n_epoch=100",
)  # fmt: skip
# The process to kill; number of ranks, and of workers per rank.
CASES = {
    "a worker": (1, 2),
    "a worker of rank 1": (2, 1),
    "rank 1": (2, 1),
    "rank 0": (2, 1),
    "the only rank": (1, 2),
}
LIMIT = 60.0


def processes(session: int) -> dict[int, int]:
    """The running processes of a session, with their parents."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # the process has just ended
            state, parent, of = fields[0], int(fields[1]), int(fields[3])
            if of == session and state != "Z":
                found[int(entry.name)] = parent
    return found


def target(case: str, main: int) -> int | None:
    """The process to kill, or None if it has not started yet."""
    parents = processes(main)
    ranks = [pid for pid, parent in parents.items() if parent == main and _is_rank(pid)]
    if case in ("rank 0", "the only rank"):
        return main
    if case == "rank 1":
        return ranks[0] if ranks else None
    owner = main if case == "a worker" else (ranks[0] if ranks else None)
    loaders = [pid for pid, parent in parents.items() if parent == owner and pid not in ranks]
    return random.choice(loaders) if loaders else None


def _is_rank(pid: int) -> bool:
    try:
        return b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def kill_one(folder: Path, case: str, number: int) -> tuple[int, float, int]:
    """Returns the training's status, the seconds until all processes ended, and the number left after a minute."""
    ranks, workers = CASES[case]
    name = f"{case.replace(' ', '-')}-{number}"
    options = [
        f"--data.root={folder / 'photos'}",
        f"--out_dir={folder}",
        f"--name={name}",
        f"--data.num_workers={workers}",
    ]
    if ranks > 1:
        options += [f"--trainer.devices={ranks}", "--trainer.strategy=ddp"]
    with open(folder / f"{name}.log", "w") as log:
        main = subprocess.Popen(
            [sys.executable, "-m", "dctnet", "fit", *FIT, *options], stdout=log, stderr=log, start_new_session=True
        )
    while not (folder / name / "version_0" / "last.ckpt").exists():  # after the first epoch
        assert main.poll() is None, (folder / f"{name}.log").read_text()[-1000:]
        time.sleep(0.1)
    while (pid := target(case, main.pid)) is None:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    while (main.poll() is None or processes(main.pid)) and time.monotonic() - started < LIMIT:
        time.sleep(0.1)
    took, left = time.monotonic() - started, processes(main.pid)
    for each in left:
        os.kill(each, signal.SIGKILL)
    return main.wait(), took, len(left)


def kill_many(folder: Path, case: str, times: int) -> bool:
    """Runs one case several times and prints the results; returns whether all runs ended as required."""
    found = [kill_one(folder, case, number) for number in range(times)]
    statuses = ", ".join(str(status) for status, _, _ in found)
    slowest, left = max(took for _, took, _ in found), sum(left for _, _, left in found)
    print(
        f"{case} killed, {times} times: status {statuses}; all ended within {slowest:.0f} s; {left} left",
        flush=True,
    )
    return all(status for status, _, _ in found) and slowest < LIMIT and not left


def main() -> int:
    """Runs all cases; returns 1 if a run did not end as required."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_photos(Path(place) / "photos", 20, 4)
        kept = [kill_many(Path(place), case, given.times) for case in CASES]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
