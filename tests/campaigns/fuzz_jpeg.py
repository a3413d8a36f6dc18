"""Mutated JPEG files through every reader: no crash, no hang, no wrong shape.

    python -m tests.campaigns.fuzz_jpeg --mutants 20000

Each reader runs in subprocesses, a few hundred mutants at a time, so that a crash costs no more than itself and is
found: the process that died says which mutant it was at. A hang is more than two seconds of computing.
"""

import argparse
import collections
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

READERS = ("pillow", "turbojpeg", "coefficients")
BATCH, TIMEOUT = 500, 2.0
SIDE = 32


def make_seeds() -> list[bytes]:
    """Small files of all kinds: samplings, grey, progressive, restart markers, orientations, odd sizes, RGB, CMYK."""
    draw = np.random.default_rng(0)
    seeds = []
    for number, (width, height) in enumerate([(64, 48), (57, 43), (33, 71), (16, 16)]):
        rows, columns = np.mgrid[0:height, 0:width]
        smooth = np.stack([128 + 60 * np.sin(columns / 7 + i) + 40 * np.cos(rows / (5 + i)) for i in range(3)], -1)
        image = Image.fromarray(np.clip(smooth + draw.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 1 + 2 * number
        kinds = [
            *({"subsampling": s, "progressive": p} for s in ("4:4:4", "4:2:2", "4:2:0") for p in (False, True)),
            {"restart_marker_blocks": 2},
            {"exif": exif},
            {"keep_rgb": True},
        ]
        for kind in kinds:
            seeds.append(_encode(image, quality=75 + 5 * number, **kind))
        seeds += [_encode(image.convert(mode), quality=80) for mode in ("L", "CMYK")]
    return seeds


def _encode(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def mutate(seeds: list[bytes], number: int) -> bytes:
    """The mutant of a number: one to eight flips, cuts, splices, overwrites, repeats."""
    draw = random.Random(number)
    data = bytearray(draw.choice(seeds))
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        # Half of the changes hit the header, where a byte changes more.
        place = draw.randrange(min(len(data), 700) if draw.random() < 0.5 else len(data)) if data else 0
        kind = draw.choice(("bit", "byte", "cut", "splice", "insert", "repeat", "size"))
        if kind == "bit" and data:
            data[place] ^= 1 << draw.randrange(8)
        elif kind == "byte" and data:
            data[place] = draw.choice((0, 0xFF, 0x7F, 0x80, draw.randrange(256)))
        elif kind == "cut":
            del data[place : place + draw.choice((1, 2, 64, len(data)))]
        elif kind == "splice":
            other = draw.choice(seeds)
            data = data[:place] + other[draw.randrange(len(other)) :]
        elif kind == "insert":
            data[place:place] = bytes(draw.randrange(256) for _ in range(draw.choice((1, 4, 200))))
        elif kind == "repeat":
            data[place:place] = data[place : place + 64] * draw.choice((1, 20))
        elif (found := data.find(b"\xff\xc0")) > 0:
            data[found + 5 : found + 9] = bytes(draw.choice((0, 1, 0xFF, draw.randrange(256))) for _ in range(4))
    return bytes(data)


def work(reader: str, start: int, stop: int) -> None:
    """Reads some mutants; prints the number of each before, and its outcome and seconds behind."""
    import torch

    from dctnet.data.coefficients import CoefficientReader
    from dctnet.data.decode import ImageError, Photo
    from dctnet.data.readers import ChannelReader
    from dctnet.data.transforms import TrainCrop
    from dctnet.frequency.channels import named_channels

    torch.set_num_threads(1)
    channel_set, seeds = named_channels("square-24"), make_seeds()
    crop = TrainCrop(0.08)
    kind = CoefficientReader if reader == "coefficients" else ChannelReader
    reads = kind(crop, 16 if reader == "coefficients" else SIDE, channel_set)
    side = reads.size // 8
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mutant.jpg")
        for number in range(start, stop):
            path.write_bytes(mutate(seeds, number))
            print(json.dumps({"number": number}), flush=True)
            began = time.process_time()  # what others take of the machine is no fault of the file's
            try:
                photo = Photo(path, "pillow" if reader == "pillow" else "turbojpeg")
                result = reads.finish(reads.stack([reads.read(photo, np.random.default_rng(number))]))
                good = result.shape == (1, 24, side, side) and bool(result.isfinite().all())
                outcome = ("read by pixels" if photo.refused else "read") if good else f"wrong: {tuple(result.shape)}"
            except ImageError as error:
                outcome = "refused" if "\n" not in str(error) else "wrong: a message of several lines"
            except Exception as error:
                outcome = f"wrong: {type(error).__name__}: {error}"
            print(json.dumps({"outcome": outcome, "seconds": time.process_time() - began}), flush=True)


def campaign(reader: str, mutants: int) -> collections.Counter:
    """Counts the outcomes of all mutants in one reader."""
    counts: collections.Counter = collections.Counter()
    start = 0
    while start < mutants:
        stop = min(start + BATCH, mutants)
        command = [sys.executable, "-m", "tests.campaigns.fuzz_jpeg", "--work", reader, str(start), str(stop)]
        # Ten times what an honest batch takes: a hang is known by its own clock, or by this one.
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60 + TIMEOUT * BATCH / 10)
            text, died = done.stdout, done.returncode
        except subprocess.TimeoutExpired as error:
            text, died = (error.stdout or b"").decode(), "hang"
        lines = [json.loads(line) for line in text.splitlines()]
        for told, line in zip(lines[::2], lines[1::2], strict=False):
            slow = line["seconds"] > TIMEOUT
            counts["hang" if slow else line["outcome"]] += 1
            if slow or line["outcome"].startswith("wrong"):
                print(f"{reader}: mutant {told['number']}: {line['seconds']:.1f} s, {line['outcome']}", flush=True)
        start = stop
        if died:
            last = lines[-1]["number"] if len(lines) % 2 else "none"
            counts["hang" if died == "hang" else "crash"] += 1
            print(f"{reader}: status {died} at mutant {last}", flush=True)
            if not len(lines) % 2:
                raise SystemExit(f"{reader}: status {died} between mutants")
            start = last + 1
    return counts


def main() -> int:
    """Runs the campaign; 1 if anything was a crash, a hang or wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20000)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS)
    parser.add_argument("--work", nargs=3)
    given = parser.parse_args()
    if given.work:
        work(given.work[0], int(given.work[1]), int(given.work[2]))
        return 0
    failed = False
    for reader in given.readers:
        began = time.perf_counter()
        counts = campaign(reader, given.mutants)
        summary = ", ".join(f"{outcome} {count}" for outcome, count in sorted(counts.items()))
        print(f"{reader}: {given.mutants} mutants in {time.perf_counter() - began:.0f} s: {summary}", flush=True)
        failed |= any(outcome.startswith(("crash", "hang", "wrong")) for outcome in counts)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
