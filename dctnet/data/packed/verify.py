"""The verb ``verify``: checks every byte of a packed store."""

from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dctnet.data.packed.index import SplitIndex, make_records, open_index
from dctnet.data.packed.manifest import MANIFEST, Shard, Split, StoreError, is_store, read_manifest, shard_file
from dctnet.data.packed.shard import read_index
from dctnet.errors import no_folder, printable
from dctnet.io.files import file_sha256


def verify(store: str) -> None:
    """Checks every byte of a packed store against the checksums in its manifest.

    Args:
        store: The store's folder.

    Raises:
        UserError: The folder does not exist or is not a packed store.
        StoreError: A file is missing, truncated or changed. Names the first.
    """
    if not Path(store).is_dir():
        raise no_folder(store)
    if not is_store(store):
        raise StoreError(
            f"{store}: not a packed store, {MANIFEST} is missing; "
            "photographs are verified by sha256sum --check with a list of checksums"
        )
    manifest = read_manifest(store)
    splits = manifest.splits.values()
    size = sum(shard.size for split in splits for shard in split.shards)
    with tqdm(total=size, desc="verifying", unit="B", unit_scale=True) as bar:
        for name, split in manifest.splits.items():
            index = open_index(manifest, name) if split.index else None  # made from the same shards in version 1
            for position, shard in enumerate(split.shards):
                entries = read_index(manifest, split, shard)
                if index:
                    _compare(index, position, entries, split, shard)
                if not is_intact(manifest.root, shard):
                    raise changed_error(manifest.root, shard)
                bar.update(shard.size)
    count, images = sum(len(split.shards) for split in splits), sum(split.num_images for split in splits)
    print(f"{printable(store)}: {count} shards, {images:,} images: every byte matches its checksum")


def _compare(index: SplitIndex, position: int, entries: list[dict[str, Any]], split: Split, shard: Shard) -> None:
    """Raises StoreError if the index of a split does not say the same as that of one of its shards."""
    own = slice(*index.first[position : position + 2])
    expected, found = make_records(entries, len(split.scales)), index.records[own]
    fields = ("start", "target", "blocks")
    same = all(np.array_equal(expected[field], found[field]) for field in fields)
    if not same or [entry["path"] for entry in entries] != list(index.names[own]):
        raise StoreError(f"{split.index and split.index.path}: {shard.name}: not what the index of this shard says")


def is_intact(root: Path, shard: Shard) -> bool:
    """Returns whether a shard's coefficients have the checksum given in the manifest."""
    return file_sha256(shard_file(root, shard)) == shard.sha256


def changed_error(root: Path, shard: Shard) -> StoreError:
    """The error for a shard whose coefficients do not have the checksum given in the manifest."""
    return StoreError(
        f"{shard_file(root, shard)}: changed since it was packed: its SHA-256 is not the one in the manifest, "
        f"{shard.sha256[:12]}…"
    )
