"""Reads mutated JPEG files with every reader: no crash, no hang, no wrong result; counts undetected damage.

    python -m tests.stress.fuzz_jpeg --mutants 100000 --state fuzz.json

A mutant has one to eight flipped bits, is truncated, or continues as another file. Each reader reads each mutant, in
subprocesses of thousands of trials: a crash ends one subprocess, and its mutant is known. A hang is more than two
seconds of CPU time. The state file keeps the counts after each subprocess: the same command continues after an
interruption, and a larger number of mutants adds to them. Outcomes of mutants that can be read:

    unchanged   the samples of the original
    reported    other samples; the reader gives a reason that it does not give for the original (`by_pixels.csv`)
    undetected  other samples without a report

TurboJPEG does not report which files it leaves to Pillow, so it has no reported mutants.
"""

import argparse
import collections
import functools
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image

from dctnet.data.coefficients import CoefficientReader
from dctnet.data.images.photo import ImageError, Photo
from dctnet.data.transforms import CenterCrop
from dctnet.frequency.selections import named_channels

READERS = ("pillow", "turbojpeg", "coefficients")
KINDS = ("flip", "truncate", "splice")
PIECE, TIMEOUT = 15000, 2.0
SIDES = (64, 57, 32, 16)


@functools.cache
def make_seeds() -> list[tuple[bytes, int]]:
    """Small files with their sides: all samplings, gray, progressive, restart markers, orientations, RGB, CMYK."""
    rng, seeds = np.random.default_rng(0), []
    for number, side in enumerate(SIDES):
        rows, columns = np.mgrid[0:side, 0:side]
        smooth = np.stack([128 + 60 * np.sin(columns / 7 + i) + 40 * np.cos(rows / (5 + i)) for i in range(3)], -1)
        image = Image.fromarray(np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 1 + 2 * number
        options = [{"subsampling": s, "progressive": p} for s in ("4:4:4", "4:2:2", "4:2:0") for p in (False, True)]
        options += [{"restart_marker_blocks": 2}, {"exif": exif}, {"keep_rgb": True}]
        seeds += [(_encode(image, quality=75 + 5 * number, **one), side) for one in options]
        seeds += [(_encode(image.convert(mode), quality=80), side) for mode in ("L", "CMYK")]
    return seeds


def _encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def mutate(number: int) -> tuple[bytes, int]:
    """The mutant with a number, which differs from its seed, and the index of the seed."""
    rng, seeds = random.Random(number), make_seeds()
    while True:
        seed = rng.randrange(len(seeds))
        data = bytearray(seeds[seed][0])
        if KINDS[number % 3] == "flip":
            for _ in range(rng.choice((1, 1, 2, 4, 8))):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif KINDS[number % 3] == "truncate":
            del data[rng.randrange(len(data)) :]
        else:
            other = seeds[rng.randrange(len(seeds))][0]
            data[rng.randrange(len(data)) :] = other[rng.randrange(len(other)) :]
        if data != seeds[seed][0]:
            return bytes(data), seed


class Reading(NamedTuple):
    """Samples as bytes, and the reason why a file was left to Pillow, or None."""

    samples: bytes
    refused: str | None


def read(path: Path, reader: str, side: int, decoder: str) -> Reading:
    """Reads a file.

    Raises:
        AssertionError: The samples have a wrong shape or are not finite.
        ImageError: The file cannot be read.
    """
    photo = Photo(path, decoder)  # type: ignore[arg-type]
    if reader == "coefficients":
        channels, _ = CoefficientReader(CenterCrop(1.0), side // 8 * 8, named_channels("all")).sample(
            photo, np.random.default_rng(0)
        )
        assert channels.shape == (192, side // 8, side // 8)
        assert channels.isfinite().all()
        return Reading(channels.numpy().tobytes(), photo.refused)
    planes = photo.planes()
    assert len(planes) in (1, 3)
    assert planes[0].samples.shape == (photo.height, photo.width)
    return Reading(b"".join(repr(p.samples.shape).encode() + p.samples.tobytes() for p in planes), photo.refused)


class Comparison:
    """Compares mutants with their originals.

    Args:
        folder: For the files that are read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "file.jpg"
        self.original = functools.cache(self._original)

    def _original(self, seed: int, reader: str, decoder: str) -> Reading:
        data, side = make_seeds()[seed]
        self.path.write_bytes(data)
        return read(self.path, reader, side, decoder)

    def outcome(self, number: int, reader: str) -> str:
        """The outcome of reading a mutant with a reader."""
        data, seed = mutate(number)
        decoder = "pillow" if reader == "pillow" else "turbojpeg"
        before = self.original(seed, reader, decoder)
        self.path.write_bytes(data)
        try:
            found = read(self.path, reader, make_seeds()[seed][1], decoder)
        except ImageError as error:
            return "refused" if "\n" not in str(error) else "wrong: a message of several lines"
        except Exception as error:
            return f"wrong: {type(error).__name__}: {error}"
        # Pillow upsamples chroma differently: its samples of a mutant are compared with its samples of the original.
        like = self.original(seed, reader, "pillow") if found.refused else before
        if found.samples == like.samples:
            return "unchanged"
        return "reported" if reader == "coefficients" and found.refused not in (None, before.refused) else "undetected"


def work(start: int, stop: int) -> None:
    """Prints each trial's number before it starts, and its outcome after it."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        comparison = Comparison(Path(folder))
        for trial in range(start, stop):
            print(json.dumps(trial), flush=True)
            signal.setitimer(signal.ITIMER_PROF, 2 * TIMEOUT)  # ends this process even within the library
            began = time.process_time()  # independent of other load
            outcome = comparison.outcome(trial // len(READERS), READERS[trial % len(READERS)])
            seconds = time.process_time() - began
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps("hang" if seconds > TIMEOUT else outcome), flush=True)


def run_piece(start: int, stop: int) -> list[str]:
    """Runs trials in a subprocess; returns their outcomes up to the first that ends it."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.stress.fuzz_jpeg", "--work", str(start), str(stop)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    outcomes = lines[1::2]
    if done.returncode:
        if len(lines) % 2 == 0:
            raise SystemExit(f"status {done.returncode} between trials: {done.stderr[-500:]}")
        outcomes.append("hang" if done.returncode == -signal.SIGPROF else "crash")
    return outcomes


def load(state: Path) -> dict:
    """The content of the state file, or a new state."""
    seeds = hashlib.sha256(b"".join(data for data, _ in make_seeds()) + repr(READERS).encode()).hexdigest()
    if not state.exists():
        return {"seeds": seeds, "trials": 0, "counts": {}}
    content = json.loads(state.read_text())
    if content["seeds"] != seeds:
        raise SystemExit(f"{state}: made with other seeds (another Pillow?) or readers; choose another file")
    return content


def summary(counts: dict[str, int], reader: str) -> str:
    """The counts and shares of a reader in one line."""
    total: collections.Counter = collections.Counter()
    for key, count in counts.items():
        own, kind, outcome = key.split("/", 2)
        if own == reader:
            total += collections.Counter({"mutants": count, kind: count, outcome.partition(":")[0]: count})
            total += collections.Counter({f"{kind} {outcome}": count})

    def percent(part: str, whole: str) -> str:
        return f"{100 * total[part] / max(1, total[whole]):.2f}"

    faults = ", ".join(f"{total[fault]} {fault}" for fault in ("crash", "hang", "wrong"))
    shares = ", ".join(
        f"{part} {percent(part, 'mutants')} %" for part in ("refused", "unchanged", "reported", "undetected")
    )
    kinds = ", ".join(f"{kind} {percent(f'{kind} undetected', kind)} %" for kind in KINDS)
    return f"{reader}: {total['mutants']:,} mutants: {faults}; {shares} (of {kinds})"


def main() -> int:
    """Runs the remaining trials; returns 1 if there was a crash, a hang or a wrong result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=3000, help="total number, including earlier runs")
    parser.add_argument("--state", type=Path, default=Path("fuzz.json"), help="file of the counts")
    parser.add_argument("--work", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(*given.work)
        return 0
    state, end = load(given.state), given.mutants * len(READERS)
    while (start := state["trials"]) < end:
        for trial, outcome in enumerate(run_piece(start, min(start + PIECE, end)), start):
            mutant, reader = trial // len(READERS), READERS[trial % len(READERS)]
            key = f"{reader}/{KINDS[mutant % 3]}/{outcome}"
            state["counts"][key] = state["counts"].get(key, 0) + 1
            if outcome.startswith(("crash", "hang", "wrong")):
                print(f"{reader}: mutant {mutant}: {outcome}", flush=True)
            state["trials"] = trial + 1
        half = given.state.with_suffix(".part")
        half.write_text(json.dumps(state, indent=1))
        os.replace(half, given.state)
    for reader in READERS:
        print(summary(state["counts"], reader), flush=True)
    return int(any(key.split("/", 2)[2].startswith(("crash", "hang", "wrong")) for key in state["counts"]))


if __name__ == "__main__":
    sys.exit(main())
