"""Checks every byte of a packed store."""

import hashlib
from pathlib import Path

from tqdm import tqdm

from dctnet.data.packed.index import read_index
from dctnet.data.packed.manifest import Shard, read_manifest, shard_file
from dctnet.data.packed.schema import StoreError
from dctnet.errors import printable


def verify_store(store: str) -> None:
    """Checks every byte of a packed store against the checksums in its manifest.

    Args:
        store: The store's folder.

    Raises:
        StoreError: The first file that is missing, cut short or changed.
    """
    manifest = read_manifest(store)
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    with tqdm(total=sum(s.size for s in shards), desc="verifying", unit="B", unit_scale=True) as bar:
        for shard in shards:
            read_index(manifest, shard)
            check_shard(manifest.root, shard)
            bar.update(shard.size)
    images = sum(s.images for s in shards)
    print(f"{printable(store)}: every byte of {len(shards)} shards, {images:,} images is as it was packed")


def is_intact(root: Path, shard: Shard) -> bool:
    """Whether a shard's coefficients are what was packed, byte for byte."""
    with open(shard_file(root, shard), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256


def check_shard(root: Path, shard: Shard) -> None:
    """Hashes one shard.

    Raises:
        StoreError: It is not what was packed.
    """
    if not is_intact(root, shard):
        path = shard_file(root, shard)
        raise StoreError(
            f"{path}: changed since it was packed: its SHA-256 is not the manifest's, {shard.sha256[:12]}…"
        )
