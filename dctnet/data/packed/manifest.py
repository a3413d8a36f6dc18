"""The manifest of a packed store: channels, steps, classes, and the shards of each split with their checksums."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.data.packed.schema import HEADER, HEADER_SCHEMA, find_fault, manifest_schema
from dctnet.data.splits import SPLITS
from dctnet.errors import UserError, did_you_mean, first_line
from dctnet.frequency.dct import BLOCK
from dctnet.io.files import dump_json, open_regular, parse_json

MANIFEST = "manifest.json"
PLAN = "plan.json"  # present only while the packing is incomplete
# Limit for manifests and indices, which take about 200 bytes an image. Larger files are not read.
MAX_BYTES = 1 << 28


class StoreError(UserError):
    """A packed store that is damaged or does not have the requested data; one line that names file and place."""


@dataclass(frozen=True)
class Shard:
    """One file of coefficients and its index; ``name`` is the name of both without suffix."""

    name: str
    size: int  # bytes of the coefficients
    sha256: str  # of the coefficients
    index_sha256: str
    images: int


@dataclass(frozen=True)
class StoreFile:
    """A file of a store besides its shards."""

    path: Path
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class Split:
    """One split of a store: scales in ascending order, and shards in the order of the images."""

    scales: tuple[int, ...]  # short sides in pixels at which each image is stored
    shards: tuple[Shard, ...]
    skipped: tuple[tuple[str, str], ...]  # path and reason of the source files that were left out
    index: StoreFile | None = None  # of all images; a store of version 1 has none
    names: StoreFile | None = None  # of all images; the same

    @property
    def num_images(self) -> int:
        """Images of all shards."""
        return sum(shard.images for shard in self.shards)


@dataclass(frozen=True)
class Manifest:
    """A checked manifest."""

    root: Path
    channels: tuple[int, ...]  # in the order of storage, most important first
    steps: tuple[float, ...]  # quantization step of each channel
    dtype: np.dtype
    image_size: int  # side of the crop for which the store was packed, in pixels
    crop_fraction: float  # evaluation square as a share of the short side
    classes: list[str]  # the position is the target
    splits: dict[str, Split]
    content: dict[str, Any]  # the whole file


def is_store(root: str | os.PathLike[str]) -> bool:
    """Returns whether a folder has the manifest of a packed store.

    Raises:
        StoreError: The folder has a plan but no manifest: its packing is incomplete.
    """
    if Path(root, MANIFEST).is_file():
        return True
    if not Path(root, PLAN).is_file():
        return False
    with open(Path(root, PLAN), "rb") as file:
        is_incomplete = b"dctnet" in file.read(1 << 20)
    if is_incomplete:
        raise StoreError(f"{root}: a packed store that is incomplete; run the same dctnet pack again")
    return False


def evaluation_scale(image_size: int, crop_fraction: float) -> int:
    """The short side, a multiple of 8 pixels, of which ``image_size`` is the share ``crop_fraction``."""
    return round(image_size / crop_fraction / BLOCK) * BLOCK


def dump_manifest(content: dict[str, Any]) -> bytes:
    """The bytes of a manifest: the content, the format's header, and a checksum of both.

    The content can have a ``version`` other than that of the header.
    """
    content = {**HEADER, **content}
    return dump_json({**content, "sha256": _checksum(content)})


def _checksum(content: Any) -> str:
    try:
        return hashlib.sha256(dump_json(content)).hexdigest()
    except UnicodeEncodeError:  # an unpaired surrogate, which dump_manifest never writes
        return "none"


def read_json(path: Path, sha256: str | None = None, max_bytes: int | None = MAX_BYTES) -> Any:
    """Reads a JSON file of a store.

    Raises:
        StoreError: The file is missing, larger than ``max_bytes``, not JSON, or has another checksum than ``sha256``.
    """
    try:
        with open_regular(path, max_bytes) as file:
            raw = file.read()
    except FileNotFoundError as error:
        raise StoreError(f"{path}: missing; not a packed store, or an incomplete one") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {first_line(error)}") from error
    if sha256 is not None and hashlib.sha256(raw).hexdigest() != sha256:
        raise StoreError(f"{path}: the checksum is not the one in the manifest: changed, damaged or of another store")
    try:
        return parse_json(raw)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not JSON: {first_line(error)}") from error


def read_manifest(root: str | os.PathLike[str], files: bool = True) -> Manifest:
    """Reads and checks a manifest, and unless ``files`` is false that all shards exist and have the right size.

    Raises:
        StoreError: The manifest is missing, damaged, or of another format or version; or a file is missing or has
            another size.
    """
    path = Path(root, MANIFEST)
    content = read_json(path)
    header = {key: content.get(key) for key in ("format", "version")} if isinstance(content, dict) else content
    if fault := find_fault(header, {key: HEADER_SCHEMA[key] for key in ("format", "version")}):
        raise StoreError(f"{path}: {fault}")
    if content.get("sha256") != _checksum({key: value for key, value in content.items() if key != "sha256"}):
        raise StoreError(f"{path}: the checksum does not match the content: changed or damaged; pack again")
    if fault := find_fault(content, manifest_schema(content["version"])):
        raise StoreError(f"{path}: {fault}")
    if unknown := next((name for name in content["splits"] if name not in SPLITS), None):
        raise StoreError(f"{path}: splits.{unknown[:40]!r} must be one of {', '.join(SPLITS)}")
    if len(content["steps"]) != len(content["channels"]):
        raise StoreError(f"{path}: {len(content['steps'])} steps, must be one for each of the channels")
    manifest = Manifest(
        root=Path(root),
        channels=tuple(content["channels"]),
        steps=tuple(content["steps"]),
        dtype=np.dtype(content["dtype"]),
        image_size=content["image_size"],
        crop_fraction=content["crop_fraction"],
        classes=content["classes"],
        splits={name: _make_split(path.parent, name, split) for name, split in content["splits"].items()},
        content=content,
    )
    for split in manifest.splits.values() if files else ():
        for file in filter(None, (split.index, split.names)):
            _check_file(file.path, file.size)
        for shard in split.shards:
            _check_file(index_file(manifest.root, shard), None)
            _check_file(shard_file(manifest.root, shard), shard.size)
    return manifest


def _make_split(root: Path, name: str, content: dict[str, Any]) -> Split:
    shards = tuple(Shard(**shard) for shard in content["shards"])
    skipped = tuple((path, reason) for path, reason in content["skipped"])
    own = {kind: StoreFile(root / f"{name}.{kind}", **content[kind]) for kind in ("index", "names") if kind in content}
    return Split(tuple(content["scales"]), shards, skipped, **own)


def _check_file(path: Path, size: int | None) -> None:
    """Raises StoreError if a file is missing, a link, or does not have the size, if that is known."""
    try:
        found = path.lstat()
    except OSError:
        found = None
    if found and stat.S_ISLNK(found.st_mode):
        raise StoreError(f"{path}: a symbolic link; the files of a store must lie in its folder")
    if not found or not stat.S_ISREG(found.st_mode):
        raise StoreError(f"{path}: missing; copy the store again, or run the same dctnet pack again")
    if size is not None and found.st_size != size:
        raise StoreError(f"{path}: {found.st_size:,} bytes, must be {size:,}: truncated or of another store")


def shard_file(root: Path, shard: Shard) -> Path:
    """The file of a shard's coefficients."""
    return root / f"{shard.name}.bin"


def index_file(root: Path, shard: Shard) -> Path:
    """The file of a shard's index."""
    return root / f"{shard.name}.json"


def pick_split(manifest: Manifest, name: str) -> Split:
    """A split of a store.

    Raises:
        StoreError: The store has no split of this name.
    """
    if name not in manifest.splits:
        known = ", ".join(manifest.splits)
        raise StoreError(
            f"{manifest.root}: no split {name!r} in this store, it has {known}.{did_you_mean(name, manifest.splits)}"
        )
    return manifest.splits[name]
