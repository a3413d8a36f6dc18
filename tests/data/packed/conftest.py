"""A small packed store, made once a session, and what packs another."""

import shutil
from pathlib import Path

import pytest

from dctnet.data.packed.plan import PackData
from dctnet.data.packed.writer import pack


@pytest.fixture(scope="session")
def pack_small():
    """Packs photographs for crops of 32 px into small shards; options of ``pack`` and of ``PackData`` alike."""

    def run(src, out, **options) -> Path:
        own = {name: options.pop(name) for name in list(options) if name in PackData.__dataclass_fields__}
        data = PackData(**{"channels": "square-24", "image_size": 32, **own})
        pack(str(src), str(out), data, **{"workers": 1, "shard_bytes": 10_000, **options})
        return Path(out)

    return run


@pytest.fixture(scope="session")
def store(photos, tmp_path_factory, pack_small):
    """The photographs, packed. Not to be changed; see ``own_store``."""
    return pack_small(photos, tmp_path_factory.mktemp("packed") / "store")


@pytest.fixture
def own_store(store, tmp_path):
    """A copy, for a test that spoils files."""
    return Path(shutil.copytree(store, tmp_path / "store"))
