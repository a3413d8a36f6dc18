"""Saves checkpoints under SIGKILL and on full and read-only disks: a complete checkpoint must remain.

    python -m tests.stress.kill_saving --kills 400 [--elsewhere /dev/shm]

A child process saves checkpoints under the same name until it is killed at a random moment, half of the kills within a
save. The checkpoint must then load under weights-only loading, contain exactly one save, and not be older than the last
save that the child reported as complete. The folder for temporary files is on the same file system, and then on another
one. The control is Lightning's own TorchCheckpointIO.

As root it also mounts a small disk, fills it, and mounts it read-only.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from dctnet.training.checkpointing import AtomicCheckpointIO

IMPLEMENTATIONS = {"dctnet": AtomicCheckpointIO, "Lightning": TorchCheckpointIO}
NUMBERS = 2_000_000  # 8 MB in float32: a save takes several milliseconds


def content(step: int, tensors: int = 20) -> dict[str, object]:
    """A checkpoint in which every number is the number of its save."""
    return {
        "global_step": step,
        "state_dict": {f"{i}": torch.full((NUMBERS // 20,), float(step)) for i in range(tensors)},
    }


def whole_step(path: Path) -> int | None:
    """The number of the save that a checkpoint contains, or None if it does not load or mixes several saves."""
    try:
        found = torch.load(path, weights_only=True)
        steps = {found["global_step"], *(float(number) for t in found["state_dict"].values() for number in t.unique())}
    except Exception:  # torch raises many types of exception on incomplete files
        return None
    return int(found["global_step"]) if len(steps) == 1 else None


def save_until_killed(path: Path, name: str, said: int) -> None:
    """Saves until the process is killed; reports the beginning and the end of each save through a pipe."""
    io = IMPLEMENTATIONS[name]()
    for step in range(1_000_000):
        os.write(said, struct.pack("<ci", b"b", step))
        io.save_checkpoint(content(step), path)
        os.write(said, struct.pack("<ci", b"e", step))
        time.sleep(0.004)


def kill_once(folder: Path, name: str, within: bool, rng: random.Random) -> str:
    """Starts and kills one child; the checkpoint is ``whole``, ``lost`` (an older save is left) or ``broken``."""
    path = folder / "last.ckpt"
    path.unlink(missing_ok=True)
    listen, said = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            save_until_killed(path, name, said)
        os._exit(1)
    os.close(said)
    begun, done, took, started = 0, -1, 0.01, time.monotonic()
    for _ in range(2 * rng.randrange(2, 6)):  # some undisturbed saves
        what, step = struct.unpack("<ci", os.read(listen, 5))
        if what == b"b":
            begun, started = step, time.monotonic()
        else:
            done, took = step, time.monotonic() - started
    if within:
        while begun <= done:
            what, begun = struct.unpack("<ci", os.read(listen, 5))
            done = begun if what == b"e" else done
        time.sleep(rng.uniform(0, took))
    else:
        time.sleep(rng.uniform(0, 3 * took))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while len(rest := os.read(listen, 5)) == 5:
        what, step = struct.unpack("<ci", rest)
        done = step if what == b"e" else done
    os.close(listen)
    left = whole_step(path)
    return "broken" if left is None else "lost" if left < done else "whole"


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Sets the folder for temporary files."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def kills(name: str, count: int, temporary: Path, elsewhere: bool) -> collections.Counter[str]:
    """Kills one implementation ``count`` times, with temporary files here or elsewhere; counts the outcomes."""
    rng, found = random.Random(0), collections.Counter[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_files_in(temporary if elsewhere else Path(folder)),
    ):
        for number in range(count):
            found[kill_once(Path(folder), name, number % 2 == 0, rng)] += 1
            print(f"\r{name} {number + 1}", end="", file=sys.stderr, flush=True)
    return found


def full_and_read_only(name: str) -> list[str]:
    """Saves 16 MB on a disk of 12 MB, and on a read-only disk; describes both results."""
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for what, options in (("full", None), ("read-only", "remount,ro")):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=True)
            try:
                path = Path(place, "last.ckpt")
                IMPLEMENTATIONS[name]().save_checkpoint(content(1), path)
                if options:
                    subprocess.run(["mount", "-o", options, place], check=True)
                try:
                    IMPLEMENTATIONS[name]().save_checkpoint(content(2, 40), path)
                    said = "no error"
                except Exception as error:
                    said = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
                lines.append(f"{name}, disk {what}: {said}; the checkpoint contains save {whole_step(path)}")
            finally:
                subprocess.run(["umount", place], check=True)
    return lines


def main() -> int:
    """Runs all cases and prints the counts; returns 1 if dctnet left a checkpoint that was not whole."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=400, help="For each implementation and temporary folder.")
    parser.add_argument("--elsewhere", type=Path, default=Path("/dev/shm"), help="A folder on another file system.")
    given = parser.parse_args()
    here = Path(tempfile.gettempdir())
    if given.elsewhere.stat().st_dev == here.stat().st_dev:
        raise SystemExit(f"{given.elsewhere} is on the same file system as {here}; give another --elsewhere")
    broken = 0
    for name in IMPLEMENTATIONS:
        for elsewhere in (False, True):
            found, where = kills(name, given.kills, given.elsewhere, elsewhere), "another" if elsewhere else "the same"
            broken += found.total() - found["whole"] if name == "dctnet" else 0
            print(
                f"\r{name}, temporary files on {where} file system: {found.total()} kills, {found['broken']} broken, "
                f"{found['lost']} lost",
                flush=True,
            )
        if os.geteuid() == 0:
            print("\n".join(full_and_read_only(name)))
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
