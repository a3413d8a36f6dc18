"""The index of a shard: which images lie in it, and where."""

import hashlib
from typing import Any

from dctnet.data.packed.manifest import Manifest, Shard, index_file
from dctnet.data.packed.schema import StoreError, fault_of_images, read_bytes
from dctnet.errors import first_line
from dctnet.io.canonical_json import parse_json


def read_index(manifest: Manifest, shard: Shard) -> list[dict[str, Any]]:
    """The images of a shard: source path and hash, target, and rows and columns of blocks at each scale.

    Raises:
        StoreError: It was changed, or does not fit the shard's size.
    """
    path = index_file(manifest.root, shard)
    try:
        raw = read_bytes(path)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read: {first_line(error)}") from error
    if hashlib.sha256(raw).hexdigest() != shard.index_sha256:
        raise StoreError(f"{path}: its checksum is not the manifest's: changed, damaged or of another store")
    try:
        images = parse_json(raw)["images"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: no index: {first_line(error)}") from error
    scales = next(len(split.scales) for split in manifest.splits.values() if shard in split.shards)
    if fault := fault_of_images(images, scales, len(manifest.classes)):
        raise StoreError(f"{path}: {fault}")
    blocks = sum(rows * columns for image in images for rows, columns in image["blocks"])
    if blocks * len(manifest.channels) * manifest.dtype.itemsize != shard.size or len(images) != shard.images:
        raise StoreError(f"{path}: its {len(images)} images do not fill the {shard.size:,} bytes of the shard")
    return images
