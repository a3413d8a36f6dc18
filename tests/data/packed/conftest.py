"""A small packed store, packed once per session, and functions that pack and read stores."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dctnet.data.packed.manifest import MANIFEST, read_manifest, shard_file
from dctnet.data.packed.shard import read_index
from dctnet.data.packed.writer import pack
from dctnet.io.files import dump_json

SMALL = {"channels": "square-24", "image_size": 32, "decoder": "pillow", "workers": 1, "shard_bytes": 10_000}


def pack_small(src, out, **options) -> Path:
    """Packs photographs for crops of 32 px into small shards."""
    pack(str(src), str(out), **{**SMALL, **options})
    return Path(out)


def reseal(root, change):
    """Changes a manifest and writes a matching checksum."""
    content = json.loads((root / MANIFEST).read_text())
    del content["sha256"]
    change(content)
    (root / MANIFEST).write_bytes(dump_json({**content, "sha256": hashlib.sha256(dump_json(content)).hexdigest()}))


def make_version_1(root):
    """Makes of a store what earlier versions wrote, which had no index of a split."""

    def change(content):
        content["version"] = 1
        for name, split in content["splits"].items():
            for kind in ("index", "names"):
                del split[kind]
                (root / f"{name}.{kind}").unlink()

    reseal(root, change)
    return root


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def stored_images(root, split):
    """Path and integers at each scale, (K, rows, columns), of each image of a split, sliced one by one."""
    manifest, images = read_manifest(root), []
    for shard in manifest.splits[split].shards:
        flat, end = np.fromfile(shard_file(manifest.root, shard), manifest.dtype.newbyteorder("<")), 0
        for entry in read_index(manifest, manifest.splits[split], shard):
            scales = []
            for rows, columns in entry["blocks"]:
                start, end = end, end + len(manifest.channels) * rows * columns
                scales.append(flat[start:end].reshape(-1, rows, columns))
            images.append((entry["path"], scales))
        assert end == flat.size
    return images


@pytest.fixture(scope="session")
def store(photos, tmp_path_factory):
    """The packed photographs. Tests must not change it; see ``own_store``."""
    return pack_small(photos, tmp_path_factory.mktemp("packed") / "store")


@pytest.fixture
def own_store(store, tmp_path):
    """A copy, for tests that damage files."""
    return Path(shutil.copytree(store, tmp_path / "store"))
