"""Mutated JPEG files through every reader: no crash, no hang, nothing wrong; and how much damage is read in silence.

    python -m tests.stress.fuzz_jpeg --mutants 100000 --state fuzz.json

A mutant has one to eight bits flipped, is cut, or goes on as another file. Each reader gets each mutant, in
subprocesses that take thousands of them: a crash costs no more than itself, and the mutant is known. A hang is more
than two seconds of computing. The counts are kept in the state file after each piece: the same command goes on where it
was stopped, and a larger number of mutants adds to it. What a mutant that is read became:

    as before   the same samples as the original's: harmless
    told        other samples, and the reader gives a reason that it did not give for the original (`by_pixels.csv`)
    silent      other samples, and nobody is told

TurboJPEG tells nobody what it left to Pillow, so it has no mutants that are told.
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
    """Small files of all kinds: samplings, grey, progressive, restart markers, orientations, RGB, CMYK; their sides."""
    draw, seeds = np.random.default_rng(0), []
    for number, side in enumerate(SIDES):
        rows, columns = np.mgrid[0:side, 0:side]
        smooth = np.stack([128 + 60 * np.sin(columns / 7 + i) + 40 * np.cos(rows / (5 + i)) for i in range(3)], -1)
        image = Image.fromarray(np.clip(smooth + draw.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))
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
    """The mutant of a number, which differs from its seed, and the place of that seed."""
    draw, seeds = random.Random(number), make_seeds()
    while True:
        seed = draw.randrange(len(seeds))
        data = bytearray(seeds[seed][0])
        if KINDS[number % 3] == "flip":
            for _ in range(draw.choice((1, 1, 2, 4, 8))):
                data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        elif KINDS[number % 3] == "truncate":
            del data[draw.randrange(len(data)) :]
        else:
            other = seeds[draw.randrange(len(seeds))][0]
            data[draw.randrange(len(data)) :] = other[draw.randrange(len(other)) :]
        if data != seeds[seed][0]:
            return bytes(data), seed


class Reading(NamedTuple):
    """What was read, as bytes, and why it was left to Pillow, if it was."""

    samples: bytes
    refused: str | None


def read(path: Path, reader: str, side: int, decoder: str) -> Reading:
    """Reads a file.

    Raises:
        AssertionError: What comes is no picture.
        ImageError: None comes.
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


class BenchmarkContext:
    """Reads mutants beside their originals."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "file.jpg"
        self.original = functools.cache(self._original)

    def _original(self, seed: int, reader: str, decoder: str) -> Reading:
        data, side = make_seeds()[seed]
        self.path.write_bytes(data)
        return read(self.path, reader, side, decoder)

    def outcome(self, number: int, reader: str) -> str:
        """What a reader makes of a mutant."""
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
        # Pillow enlarges chroma by itself: what it was left with is to be compared with what it makes of the original.
        like = self.original(seed, reader, "pillow") if found.refused else before
        if found.samples == like.samples:
            return "as before"
        return "told" if reader == "coefficients" and found.refused not in (None, before.refused) else "silent"


def work(start: int, stop: int) -> None:
    """Prints a line of each trial before it begins, and one of its outcome and seconds behind."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench = BenchmarkContext(Path(folder))
        for trial in range(start, stop):
            print(json.dumps(trial), flush=True)
            signal.setitimer(signal.ITIMER_PROF, 2 * TIMEOUT)  # ends this process, even within the library
            began = time.process_time()  # what others take of the machine is no fault of the file's
            outcome = bench.outcome(trial // len(READERS), READERS[trial % len(READERS)])
            seconds = time.process_time() - began
            signal.setitimer(signal.ITIMER_PROF, 0)
            print(json.dumps("hang" if seconds > TIMEOUT else outcome), flush=True)


def run_piece(start: int, stop: int) -> list[str]:
    """Outcomes of trials from ``start`` on, up to the first that ends its process."""
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
    """The state of a campaign, begun or new."""
    seeds = hashlib.sha256(b"".join(data for data, _ in make_seeds()) + repr(READERS).encode()).hexdigest()
    if not state.exists():
        return {"seeds": seeds, "trials": 0, "counts": {}}
    content = json.loads(state.read_text())
    if content["seeds"] != seeds:
        raise SystemExit(f"{state}: of other seeds (another Pillow?) or readers; begin another")
    return content


def summary(counts: dict[str, int], reader: str) -> str:
    """One line of a reader's figures."""
    total: collections.Counter = collections.Counter()
    for key, count in counts.items():
        own, kind, outcome = key.split("/", 2)
        if own == reader:
            total += collections.Counter({"mutants": count, kind: count, outcome.partition(":")[0]: count})
            total += collections.Counter({f"{kind} {outcome}": count})

    def percent(part: str, whole: str) -> str:
        return f"{100 * total[part] / max(1, total[whole]):.2f}"

    faults = ", ".join(f"{total[fault]} {fault}" for fault in ("crash", "hang", "wrong"))
    shares = ", ".join(f"{part} {percent(part, 'mutants')} %" for part in ("refused", "as before", "told", "silent"))
    kinds = ", ".join(f"{kind} {percent(f'{kind} silent', kind)} %" for kind in KINDS)
    return f"{reader}: {total['mutants']:,} mutants: {faults}; {shares} (of {kinds})"


def main() -> int:
    """Goes on with the campaign; 1 if anything was a crash, a hang or wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=3000, help="in all, those of earlier runs included")
    parser.add_argument("--state", type=Path, default=Path("fuzz.json"), help="where the counts are kept")
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
