"""Flips a random bit in every file of a copy of a data set; counts what dctnet verify finds, and what decoders notice.

Usage: python -m tests.stress.flip_bits DIR [--seed N]. The controls decode the same files: Pillow, as torchvision's
ImageFolder does, and our own decoder.
"""

import argparse
import contextlib
import io
import itertools
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from dctnet.data.checksums import manifest, verify
from dctnet.data.folders import list_files
from dctnet.data.images.photo import ImageError, Photo, choose_decoder
from dctnet.errors import UserError


def flip_all(root: Path, seed: int) -> int:
    """Flips a bit in each file that has one; returns how many."""
    draw, count = random.Random(seed), 0
    for path in map(Path, list_files(root)):
        if content := bytearray(path.read_bytes()):
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
            count += 1
    return count


def found_by_verify(root: Path) -> int:
    """How many changed files its closing line counts."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            verify(str(root))
    except UserError as error:
        return int((re.search(r"([\d,]+) changed", str(error)) or ["", "0"])[1].replace(",", ""))
    return 0


def refused_by_pillow(path: str) -> bool:
    """Whether Pillow raises anything."""
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:
        return True
    return False


def refused_by_us(path: str) -> bool:
    """Whether our decoder does."""
    try:
        Photo(path, choose_decoder("auto")).planes()
    except ImageError:
        return True
    return False


def main() -> int:
    """Runs the campaign; 1 if a flipped bit was not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the bits")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "copy")
        shutil.copytree(asked.source, root, copy_function=shutil.copyfile)
        for parent in (root, *filter(Path.is_dir, root.rglob("*"))):
            parent.chmod(0o755)
        size = sum(Path(path).stat().st_size for path in list_files(root))
        times = [time.perf_counter()]
        manifest(str(root))
        times.append(time.perf_counter())
        alarms = found_by_verify(root)
        times.append(time.perf_counter())
        count = flip_all(root, asked.seed)
        found = found_by_verify(root)
        photos = [path for path in list_files(root) if path.lower().endswith((".jpg", ".jpeg"))]
        pillow, ours = (sum(map(refuses, photos)) for refuses in (refused_by_pillow, refused_by_us))
    seconds = [end - begin for begin, end in itertools.pairwise(times)]
    print(f"{size / 1e6:.1f} MB; manifest {seconds[0]:.2f} s, verify {seconds[1]:.2f} s, {alarms} false alarms")
    print(f"one bit flipped in each of {count} files (seed {asked.seed}): verify finds {found}, {found / count:.2%}")
    print(f"controls, of {len(photos)} photographs: Pillow refuses {pillow}, dctnet's own decoder {ours}")
    return int(found != count or alarms > 0)


if __name__ == "__main__":
    sys.exit(main())
