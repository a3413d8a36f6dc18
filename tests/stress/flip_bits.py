"""Flips one bit in every file of a data set and of a packed store; counts how many are found by their checksums.

Usage: python -m tests.stress.flip_bits DIR [--seed N]. DIR is copied; ``sha256sum --check`` checks the copy, with the
commands of data/README.md, and ``dctnet verify`` the store packed from it. For comparison, Pillow and dctnet's decoder
read the same damaged photographs.
"""

import argparse
import contextlib
import io
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from dctnet.data.folders import list_files
from dctnet.data.images.photo import ImageError, Photo, choose_decoder
from dctnet.data.packed.verify import verify
from dctnet.data.packed.writer import pack
from dctnet.errors import UserError

CHECKSUMS = "SHA256SUMS"
WRITE = f"{sys.executable} -m dctnet.data.folders | xargs -0 sha256sum > {CHECKSUMS}"
CHECK = f"sha256sum --check --quiet {CHECKSUMS}"


def flip_bit(path: Path, rng: random.Random) -> None:
    """Flips a random bit of a file that is not empty."""
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def failed_files(folder: Path) -> int:
    """Number of files that ``sha256sum --check`` reports."""
    done = subprocess.run(CHECK, cwd=folder, shell=True, capture_output=True, text=True, errors="surrogateescape")
    count = sum(line.endswith(": FAILED") for line in done.stdout.splitlines())
    assert bool(count) == bool(done.returncode), done.stderr
    return count


def is_refused(store: Path) -> bool:
    """Whether ``dctnet verify`` reports a store as damaged."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            verify(str(store))
    except UserError:
        return True
    return False


def flip_store(store: Path, rng: random.Random) -> tuple[int, int]:
    """Flips a bit in each file of a store in turn; returns the number of files, and of those found."""
    files, found = [path for path in sorted(store.iterdir()) if path.stat().st_size], 0
    for path in files:
        content = path.read_bytes()
        flip_bit(path, rng)
        found += is_refused(store)
        path.write_bytes(content)
    return len(files), found


def refused_by_pillow(path: str) -> bool:
    """Whether Pillow raises an error."""
    try:
        with Image.open(path) as image:
            image.convert("RGB")
    except Exception:
        return True
    return False


def refused_by_dctnet(path: str) -> bool:
    """Whether dctnet's decoder raises an error."""
    try:
        Photo(path, choose_decoder("auto")).planes()
    except ImageError:
        return True
    return False


def copy_data(source: Path, folder: Path) -> None:
    """Copies a data set that may be read-only to one that can be written."""
    shutil.copytree(source, folder, copy_function=shutil.copyfile)
    for parent in (folder, *filter(Path.is_dir, folder.rglob("*"))):
        parent.chmod(0o755)


def campaign(source: Path, folder: Path, seed: int) -> int:
    """Runs both checks in a folder and prints the counts; 1 if a flipped bit was not found, or an error without one."""
    rng, photos, store = random.Random(seed), folder / "copy", folder / "store"
    copy_data(source, photos)
    with contextlib.redirect_stdout(io.StringIO()):
        pack(str(photos), str(store), channels="square-24", image_size=64, shard_bytes=1 << 20, on_error="skip")
    subprocess.run(WRITE, cwd=photos, shell=True, check=True)
    false_alarms = failed_files(photos) + is_refused(store)
    paths = [path for path in list_files(photos) if Path(path).stat().st_size]
    for path in paths:
        flip_bit(Path(path), rng)
    found = failed_files(photos)
    shards, shards_found = flip_store(store, rng)
    images = [path for path in paths if path.lower().endswith((".jpg", ".jpeg"))]
    pillow, ours = (sum(map(refuses, images)) for refuses in (refused_by_pillow, refused_by_dctnet))
    print(f"one bit flipped per file (seed {seed}); {false_alarms} false alarms before")
    print(f"sha256sum --check finds {found} of {len(paths)} files; dctnet verify {shards_found} of {shards} of a store")
    print(f"for comparison, of {len(images)} photographs: Pillow refuses {pillow}, dctnet's decoder {ours}")
    return int(found != len(paths) or shards_found != shards or false_alarms > 0)


def main() -> int:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="seed of the flipped bits")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return campaign(given.source, Path(folder), given.seed)


if __name__ == "__main__":
    sys.exit(main())
