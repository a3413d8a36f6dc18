"""Loader processes and ranks that are killed: does the training end, how soon, with what status, and what is left?

    python -m tests.stress.dead_helpers --times 3

A training in processes of its own; SIGKILL for one of them in the middle of an epoch. Then everything must end within
60 seconds, with a status other than 0.
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
# Who is killed, of how many ranks with how many loader processes each.
CASES = {
    "a loader process": (1, 2),
    "a loader process of rank 1": (2, 1),
    "rank 1": (2, 1),
    "rank 0": (2, 1),
    "the only rank": (1, 2),
}
LIMIT = 60.0


def processes(session: int) -> dict[int, int]:
    """All living processes of a session, with their parents."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            state, parent, of = fields[0], int(fields[1]), int(fields[3])
            if of == session and state != "Z":
                found[int(entry.name)] = parent
    return found


def victim(who: str, main: int) -> int | None:
    """The process to kill; None while it is not there."""
    parents = processes(main)
    ranks = [pid for pid, parent in parents.items() if parent == main and _is_rank(pid)]
    if who in ("rank 0", "the only rank"):
        return main
    if who == "rank 1":
        return ranks[0] if ranks else None
    owner = main if who == "a loader process" else (ranks[0] if ranks else None)
    loaders = [pid for pid, parent in parents.items() if parent == owner and pid not in ranks]
    return random.choice(loaders) if loaders else None


def _is_rank(pid: int) -> bool:
    try:
        return b"LOCAL_RANK=1" in Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False


def kill_one(folder: Path, who: str, number: int) -> tuple[int, float, int]:
    """Status of the training, seconds until all had ended, processes left after a minute."""
    ranks, workers = CASES[who]
    name = f"{who.replace(' ', '-')}-{number}"
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
    while not (folder / name / "version_0" / "last.ckpt").exists():  # an epoch is over
        assert main.poll() is None, (folder / f"{name}.log").read_text()[-1000:]
        time.sleep(0.1)
    while (pid := victim(who, main.pid)) is None:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    started = time.monotonic()
    while (main.poll() is None or processes(main.pid)) and time.monotonic() - started < LIMIT:
        time.sleep(0.1)
    took, left = time.monotonic() - started, processes(main.pid)
    for each in left:
        os.kill(each, signal.SIGKILL)
    return main.wait(), took, len(left)


def kill_many(folder: Path, who: str, times: int) -> bool:
    """One case: prints a line of figures; returns whether all of it is as promised."""
    found = [kill_one(folder, who, number) for number in range(times)]
    statuses = ", ".join(str(status) for status, _, _ in found)
    slowest, left = max(took for _, took, _ in found), sum(left for _, _, left in found)
    print(
        f"{who} killed, {times} times: status {statuses}; all ended within {slowest:.0f} s; {left} left over",
        flush=True,
    )
    return all(status for status, _, _ in found) and slowest < LIMIT and not left


def main() -> int:
    """Runs it all; 1 if anything was not as promised."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        make_photos(Path(place) / "photos", 20, 4)
        kept = [kill_many(Path(place), who, given.times) for who in CASES]
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
