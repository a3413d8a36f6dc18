"""The verb ``verify``: checks every byte of a packed store."""

from pathlib import Path

from tqdm import tqdm

from dctnet.data.packed.manifest import MANIFEST, Shard, StoreError, is_store, read_manifest, shard_file
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
    shards = [shard for split in manifest.splits.values() for shard in split.shards]
    with tqdm(total=sum(s.size for s in shards), desc="verifying", unit="B", unit_scale=True) as bar:
        for shard in shards:
            read_index(manifest, shard)
            if not is_intact(manifest.root, shard):
                raise changed_error(manifest.root, shard)
            bar.update(shard.size)
    images = sum(s.images for s in shards)
    print(f"{printable(store)}: {len(shards)} shards, {images:,} images: every byte matches its checksum")


def is_intact(root: Path, shard: Shard) -> bool:
    """Returns whether a shard's coefficients have the checksum given in the manifest."""
    return file_sha256(shard_file(root, shard)) == shard.sha256


def changed_error(root: Path, shard: Shard) -> StoreError:
    """The error for a shard whose coefficients do not have the checksum given in the manifest."""
    return StoreError(
        f"{shard_file(root, shard)}: changed since it was packed: its SHA-256 is not the one in the manifest, "
        f"{shard.sha256[:12]}…"
    )
