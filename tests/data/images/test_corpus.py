"""Each file of the corpus has its expected outcome for each reader, and is read as Pillow shows it."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageChops

from tests.conftest import needs_turbojpeg
from tests.corpus.build import PICTURE
from tests.corpus.readers import distance, pack_folder, read, shown
from tests.corpus.table import BOMBS, CORPUS, DAMAGED, READERS

pytestmark = pytest.mark.filterwarnings(
    "ignore::PIL.Image.DecompressionBombWarning", "ignore:.*EXIF", "ignore:Truncated File"
)
# Root can read every file.
NAMES = [name for name in CORPUS if name != "without read permission" or os.geteuid() != 0]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A data set with every file of the corpus in one training class, and one validation image."""
    root = tmp_path_factory.mktemp("corpus")
    (root / "train" / "a").mkdir(parents=True)
    (root / "val" / "a").mkdir(parents=True)
    CORPUS["4:2:0"].write(root / "val" / "a" / "valid.jpg")
    paths = {name: root / "train" / "a" / f"{n:03d}{CORPUS[name].suffix}" for n, name in enumerate(NAMES)}
    for name, path in paths.items():
        CORPUS[name].write(path)
    return paths


def faults(name: str, reader: str, outcome: str, far: float | None, tolerance: float) -> list[str]:
    """Messages about deviations from the expected outcome."""
    expected, file = CORPUS[name].expected(reader), CORPUS[name]
    (became, _, reason), (wanted, _, words) = outcome.partition(": "), expected.partition(": ")
    found = []
    if became != wanted or words not in reason or "\n" in outcome:
        found.append(f"{name}, {reader}: {outcome!r} where {expected!r} was expected")
    if far is not None and far > tolerance and reader not in file.undetected:
        found.append(f"{name}, {reader}: {far} from what Pillow shows")
    return found


def check_reader(files, reader: str) -> None:
    found = []
    for name, path in files.items():
        outcome, values = read(path, reader)
        far = None if values is None else distance(path, reader, values)
        found += faults(name, reader, outcome, far, tolerance=1.5)
    assert not found


def test_pillow_reads_or_rejects_each_file_as_expected(files):
    check_reader(files, "pillow")


@needs_turbojpeg
def test_libjpeg_turbo_reads_or_rejects_each_file_as_expected(files):
    check_reader(files, "turbojpeg")
    check_reader(files, "coefficients")


@needs_turbojpeg
def test_packing_stores_or_lists_each_file_as_expected(files, tmp_path):
    names = {path.name: name for name, path in files.items()}
    root, found = next(iter(files.values())).parents[2], []
    for file, outcome, far in pack_folder(root, tmp_path / "out"):
        found += faults(names.pop(file), "pack", outcome, far, tolerance=4)
    assert not found
    assert not names


def test_undetected_damage_changes_the_picture(files):
    whole = Image.fromarray(PICTURE)
    for name, file in DAMAGED.items():
        if file.undetected:
            assert max(high for _, high in ImageChops.difference(shown(files[name]), whole).getextrema()) > 64, name


def test_table_names_the_readers_that_accept_a_damaged_file():
    for file in DAMAGED.values():
        assert {r for r in READERS if not file.expected(r).startswith("left out")} == set(file.undetected)


@needs_turbojpeg
def test_crafted_files_are_rejected_at_little_cost():
    command = [sys.executable, "-m", "tests.corpus.cost", *BOMBS]
    rows = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(rows) == len(READERS) * len(BOMBS)
    for name, reader, outcome, seconds, megabytes in rows:
        assert not faults(name, reader, outcome, None, 0)
        assert seconds < 2, (name, reader)
        assert megabytes < 100, (name, reader)
