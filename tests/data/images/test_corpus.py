"""Every kind of input file has one outcome for each reader, and what is read is what Pillow shows."""

import json
import os
import subprocess
import sys

import pytest
from PIL import Image, ImageChops

from tests.conftest import needs_turbojpeg
from tests.corpus.make import PICTURE
from tests.corpus.outcome import distance, pack_all, read, shown
from tests.corpus.table import BOMBS, DAMAGED, KINDS, READERS

pytestmark = [
    needs_turbojpeg,
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning", "ignore:.*EXIF", "ignore:Truncated File"),
]


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A class folder with a file of every kind, named by its place, beside one sound validation image."""
    root = tmp_path_factory.mktemp("kinds")
    (root / "train" / "a").mkdir(parents=True)
    (root / "val" / "a").mkdir(parents=True)
    KINDS["4:2:0"].write(root / "val" / "a" / "sound.jpg")
    folder = root / "train" / "a"
    paths = {name: folder / f"{number:03d}{kind.ending}" for number, (name, kind) in enumerate(KINDS.items())}
    for name, path in paths.items():
        KINDS[name].write(path)
    return paths


@pytest.fixture(scope="session")
def packed(files, tmp_path_factory):
    """Outcome and distance of each file, packed all at once."""
    folder = next(iter(files.values())).parents[2]
    found = {name: rest for name, *rest in pack_all(folder, tmp_path_factory.mktemp("store") / "out")}
    return {name: found[path.name] for name, path in files.items()}


def check(outcome: str, expected: str) -> None:
    assert outcome.partition(": ")[0] == expected.partition(": ")[0], outcome
    assert expected.partition(": ")[2] in outcome
    assert "\n" not in outcome


def skip_forbidden(name: str) -> None:
    if name == "not to be read" and os.geteuid() == 0:
        pytest.skip("root may read anything")


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_file_is_read_as_pillow_shows_it_or_left_out_for_a_reason(files, name, reader):
    skip_forbidden(name)
    outcome, values = read(files[name], reader)
    check(outcome, KINDS[name].expected(reader))
    if values is not None and reader not in KINDS[name].unseen:
        assert distance(files[name], reader, values) <= 1.5


@pytest.mark.parametrize("name", KINDS)
def test_pack_stores_what_pillow_shows_or_lists_what_it_leaves_out(files, packed, name):
    skip_forbidden(name)
    outcome, far = packed[name]
    check(outcome, KINDS[name].expected("pack"))
    if outcome == "read" and "pack" not in KINDS[name].unseen:
        assert far <= 4


@pytest.mark.parametrize("name", [name for name, kind in DAMAGED.items() if kind.unseen])
def test_damage_that_nobody_sees_is_damage(files, name):
    whole = Image.fromarray(PICTURE)
    assert max(high for _, high in ImageChops.difference(shown(files[name]), whole).getextrema()) > 64


def test_readers_that_take_a_damaged_file_are_those_that_the_table_names():
    for kind in DAMAGED.values():
        assert {r for r in (*READERS, "pack") if not kind.expected(r).startswith("left out")} == set(kind.unseen)


def test_bombs_cost_next_to_nothing():
    command = [sys.executable, "-m", "tests.corpus.cost", *BOMBS]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 4 * len(BOMBS)
    for name, reader, outcome, seconds, megabytes in found:
        check(outcome, BOMBS[name].expected(reader))
        assert seconds < 2, (name, reader)
        assert megabytes < 100, (name, reader)
