"""The manifest of a packed store: what is in it, checked before anything is believed."""

import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dctnet.data.packed.schema import MANIFEST, PLAN, StoreError, fault_of_split, read_json
from dctnet.errors import did_you_mean
from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS
from dctnet.frequency.dct import BLOCK
from dctnet.io.canonical_json import dump_json

_FIXED = {
    "format": "dctnet-store",
    "version": 1,
    "block_size": BLOCK,
    "components": list(COMPONENTS),
    "index": "64*component + 8*v + u",
}
# What each further key must be. A store of version 1 has all of them.
_KINDS: dict[str, type | tuple[type, ...]] = {
    "channels": list,
    "steps": list,
    "dtype": str,
    "error": dict,
    "image_size": int,
    "crop_fraction": (int, float),
    "transform": str,
    "decoder": str,
    "made_with": dict,
    "source": str,
    "plan": str,
    "classes": list,
    "splits": dict,
    "sha256": str,
}


@dataclass(frozen=True)
class Shard:
    """One file of coefficients with its index.

    Args:
        name: Of both files, without ending.
        size: Bytes of coefficients.
        sha256: Of the coefficients.
        index_sha256: Of the index.
        images: How many.
    """

    name: str
    size: int
    sha256: str
    index_sha256: str
    images: int


@dataclass(frozen=True)
class Split:
    """One split of a store.

    Args:
        scales: Short sides in pixels at which each image is stored, ascending.
        shards: In the order of the images.
        skipped: Path and reason of the source files that were left out.
    """

    scales: tuple[int, ...]
    shards: tuple[Shard, ...]
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Manifest:
    """A checked manifest.

    Args:
        root: The store's folder.
        channels: Channel indices in the order of storage, the most important first.
        steps: What one unit of each channel's integers stands for.
        dtype: ``int8`` or ``int16``.
        image_size: Side of the crop that the store was packed for, in pixels.
        crop_fraction: Evaluation square as a share of the short side.
        classes: Names; the place is the target.
        splits: By name.
        content: All of it, as in the file.
    """

    root: Path
    channels: tuple[int, ...]
    steps: tuple[float, ...]
    dtype: np.dtype
    image_size: int
    crop_fraction: float
    classes: list[str]
    splits: dict[str, Split]
    content: dict[str, Any]


def is_store(root: str | os.PathLike[str]) -> bool:
    """Whether a folder is a packed store, or says that it is one.

    Raises:
        StoreError: It is the beginning of one.
    """
    if Path(root, MANIFEST).is_file():
        return True
    if not Path(root, PLAN).is_file():
        return False
    with open(Path(root, PLAN), "rb") as file:
        begun = b"dctnet" in file.read(1 << 20)
    if begun:
        raise StoreError(f"{root}: a store whose packing did not end; run the same dctnet pack again")
    return False


def evaluation_scale(image_size: int, crop_fraction: float) -> int:
    """The short side at which an evaluation crop of ``image_size`` is the asked share of it, a multiple of 8."""
    return round(image_size / crop_fraction / BLOCK) * BLOCK


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """The manifest's content with its own checksum."""
    content = {**_FIXED, **content}
    return {**content, "sha256": _checksum(content)}


def _checksum(content: Any) -> str:
    try:
        return hashlib.sha256(dump_json(content)).hexdigest()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can spell and nothing of ours does
        return "none"


def read_manifest(root: str | os.PathLike[str], files: bool = True) -> Manifest:
    """Reads and checks a manifest, and that every file of the store is there and has its size.

    Args:
        root: The store's folder.
        files: Whether to look at the other files.

    Raises:
        StoreError: A file is missing, cut short, of another format or version, or was changed.
    """
    root = Path(root)
    path = root / MANIFEST
    content = read_json(path)

    def fail(place: str, got: Any, wanted: str) -> StoreError:
        return StoreError(f"{path}: {place} is {repr(got)[:80]}, must be {wanted}")

    if not isinstance(content, dict) or content.get("format") != _FIXED["format"]:
        raise fail("'format'", content.get("format") if isinstance(content, dict) else content, "'dctnet-store'")
    if content.get("version") != 1:
        raise fail("'version'", content.get("version"), "1; pack again with this version of dctnet, or use the other")
    body = {key: value for key, value in content.items() if key != "sha256"}
    if content.get("sha256") != _checksum(body):
        raise StoreError(f"{path}: its checksum does not fit its content: it was changed or damaged; pack again")
    for key, value in _FIXED.items():
        if content.get(key) != value:
            raise fail(repr(key), content.get(key), repr(value))
    for key, kind in _KINDS.items():
        if not isinstance(content.get(key), kind):
            raise fail(repr(key), content.get(key), f"of type {getattr(kind, '__name__', 'number')}")
    manifest = _build(root, content, fail)
    for split in manifest.splits.values() if files else ():
        for shard in split.shards:
            _check_size(shard_file(manifest.root, shard), shard.size)
            _check_size(index_file(manifest.root, shard), None)
    return manifest


def shard_file(root: Path, shard: Shard) -> Path:
    """Where a shard's coefficients lie."""
    return root / f"{shard.name}.bin"


def index_file(root: Path, shard: Shard) -> Path:
    """Where a shard's index lies."""
    return root / f"{shard.name}.json"


def _check_size(path: Path, size: int | None) -> None:
    if path.is_symlink():
        raise StoreError(f"{path}: a link, which may lead to anything; a store's files lie in its folder")
    if not path.is_file():
        raise StoreError(f"{path}: missing; copy the store again, or run the same dctnet pack again")
    if size is not None and path.stat().st_size != size:
        raise StoreError(f"{path}: {path.stat().st_size:,} bytes, must be {size:,}: cut short or not of this store")


def _build(root: Path, content: dict[str, Any], fail: Callable[[str, Any, str], StoreError]) -> Manifest:
    channels, steps = content["channels"], content["steps"]
    if not channels or len(set(map(str, channels))) < len(channels):
        raise fail("'channels'", channels, "distinct channel indices")
    if any(type(c) is not int or not 0 <= c < NUM_CHANNELS for c in channels):
        raise fail("'channels'", channels, "channel indices 0…191")
    positive = [type(s) in (int, float) and 0 < s <= sys.float_info.max for s in steps]
    if len(steps) != len(channels) or not all(positive):
        raise fail("'steps'", steps, "one positive number a channel")
    if content["dtype"] not in ("int8", "int16"):
        raise fail("'dtype'", content["dtype"], "int8 or int16")
    if not 0 < content["image_size"] < 1 << 31 or content["image_size"] % BLOCK:
        raise fail("'image_size'", content["image_size"], f"pixels, a multiple of {BLOCK}")
    if not 0 < content["crop_fraction"] <= 1:
        raise fail("'crop_fraction'", content["crop_fraction"], "above 0 and at most 1")
    if not all(isinstance(name, str) and name for name in content["classes"]):
        raise fail("'classes'", content["classes"], "names")
    for name, split in content["splits"].items():
        if fault := fault_of_split(split):
            wanted = f"scales, shards and skipped files of each; {name[:40]}: {fault}"
            raise fail("'splits'", content["splits"], wanted)
    splits = {
        name: Split(
            tuple(split["scales"]),
            tuple(Shard(**shard) for shard in split["shards"]),
            tuple((path, reason) for path, reason in split["skipped"]),
        )
        for name, split in content["splits"].items()
    }
    for split in splits.values():
        for shard in split.shards:
            if Path(shard.name).name != shard.name:
                raise fail("the name of a shard", shard.name, "a name without folders")
    return Manifest(
        root,
        tuple(channels),
        tuple(steps),
        np.dtype(content["dtype"]),
        content["image_size"],
        content["crop_fraction"],
        list(content["classes"]),
        splits,
        content,
    )


def pick_split(manifest: Manifest, name: str) -> Split:
    """A split of a store.

    Raises:
        StoreError: There is none of this name.
    """
    if name not in manifest.splits:
        has = ", ".join(manifest.splits)
        raise StoreError(
            f"{manifest.root}: no split {name!r} in this store, it has {has}.{did_you_mean(name, manifest.splits)}"
        )
    return manifest.splits[name]
