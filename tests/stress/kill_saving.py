"""Saving under SIGKILL, full disks and folders that cannot be written: what is left under the checkpoint's name?

    python -m tests.stress.kill_saving --kills 400 [--elsewhere /dev/shm]

A child saves one checkpoint after the other under the same name and is killed at a random moment: half of the kills
within a save, half at any time. Then the checkpoint must load under weights-only loading, hold one save from beginning
to end, and be no older than the last that the child said was done. Once with the folder for temporary files on the
checkpoint's own file system, once with it elsewhere; and all of it with Lightning's own way of saving as the control.

As root it also mounts a small disk and fills it, and makes it read-only.
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

WAYS = {"dctnet": AtomicCheckpointIO, "Lightning": TorchCheckpointIO}
NUMBERS = 2_000_000  # 8 MB in float32, in twenty tensors: a save takes some milliseconds, as many as an import


def content(step: int, tensors: int = 20) -> dict[str, object]:
    """A checkpoint of which every number says of which save it is."""
    return {
        "global_step": step,
        "state_dict": {f"{i}": torch.full((NUMBERS // 20,), float(step)) for i in range(tensors)},
    }


def whole_step(path: Path) -> int | None:
    """Of which save a checkpoint is, if it loads and all of it is of that save; None if not."""
    try:
        found = torch.load(path, weights_only=True)
        steps = {found["global_step"], *(float(number) for t in found["state_dict"].values() for number in t.unique())}
    except Exception:  # torch raises nearly anything on a file that is not whole
        return None
    return int(found["global_step"]) if len(steps) == 1 else None


def save_on(path: Path, way: str, said: int) -> None:
    """Saves until it is killed; says before and after each save which it is."""
    io = WAYS[way]()
    for step in range(1_000_000):
        os.write(said, struct.pack("<ci", b"b", step))
        io.save_checkpoint(content(step), path)
        os.write(said, struct.pack("<ci", b"e", step))
        time.sleep(0.004)


def kill_once(folder: Path, way: str, within: bool, draw: random.Random) -> str:
    """One child, one kill; what is left: ``whole``, ``lost`` (older than what was done) or ``broken``."""
    path = folder / "last.ckpt"
    path.unlink(missing_ok=True)
    listen, said = os.pipe()
    child = os.fork()
    if not child:
        with contextlib.suppress(BaseException):
            save_on(path, way, said)
        os._exit(1)
    os.close(said)
    begun, done, took, started = 0, -1, 0.01, time.monotonic()
    for _ in range(2 * draw.randrange(2, 6)):  # a few saves that nothing happens to
        what, step = struct.unpack("<ci", os.read(listen, 5))
        if what == b"b":
            begun, started = step, time.monotonic()
        else:
            done, took = step, time.monotonic() - started
    if within:
        while begun <= done:
            what, begun = struct.unpack("<ci", os.read(listen, 5))
            done = begun if what == b"e" else done
        time.sleep(draw.uniform(0, took))
    else:
        time.sleep(draw.uniform(0, 3 * took))
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
    """Lets everything that asks for a temporary file have it there."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def kills(way: str, count: int, temporary: Path, elsewhere: bool) -> collections.Counter[str]:
    """What all kills of one way of saving left, with the folder for temporary files here or there."""
    draw, found = random.Random(0), collections.Counter[str]()
    with (
        tempfile.TemporaryDirectory() as folder,
        temporary_files_in(temporary if elsewhere else Path(folder)),
    ):
        for number in range(count):
            found[kill_once(Path(folder), way, number % 2 == 0, draw)] += 1
            print(f"\r{way} {number + 1}", end="", file=sys.stderr, flush=True)
    return found


def full_and_read_only(way: str) -> list[str]:
    """A disk of 12 MB that a checkpoint of 16 does not fit on, and the same read-only; a line each."""
    lines = []
    with tempfile.TemporaryDirectory() as place:
        for what, options in (("full", None), ("read-only", "remount,ro")):
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place], check=True)
            try:
                path = Path(place, "last.ckpt")
                WAYS[way]().save_checkpoint(content(1), path)
                if options:
                    subprocess.run(["mount", "-o", options, place], check=True)
                try:
                    WAYS[way]().save_checkpoint(content(2, 40), path)
                    said = "says nothing"
                except Exception as error:
                    said = f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"
                lines.append(f"{way}, disk {what}: {said}; the checkpoint is of save {whole_step(path)}")
            finally:
                subprocess.run(["umount", place], check=True)
    return lines


def main() -> int:
    """Runs it all and prints the figures; 1 if dctnet's way of saving left anything but a whole checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=400, help="For each way of saving and place of temporary files.")
    parser.add_argument("--elsewhere", type=Path, default=Path("/dev/shm"), help="A folder on another file system.")
    given = parser.parse_args()
    here = Path(tempfile.gettempdir())
    if given.elsewhere.stat().st_dev == here.stat().st_dev:
        raise SystemExit(f"{given.elsewhere} is on the same file system as {here}; give another --elsewhere")
    broken = 0
    for way in WAYS:
        for elsewhere in (False, True):
            found, where = kills(way, given.kills, given.elsewhere, elsewhere), "another" if elsewhere else "the same"
            broken += found.total() - found["whole"] if way == "dctnet" else 0
            print(
                f"\r{way}, temporary files on {where} file system: {found.total()} kills, {found['broken']} broken, "
                f"{found['lost']} lost",
                flush=True,
            )
        if os.geteuid() == 0:
            print("\n".join(full_and_read_only(way)))
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
