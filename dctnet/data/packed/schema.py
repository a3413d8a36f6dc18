"""What stands in a store's manifest of each split and in an index of each image, checked field by field."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dctnet.errors import UserError, first_line
from dctnet.frequency.dct import BLOCK
from dctnet.io.canonical_json import parse_json

MANIFEST, PLAN = "manifest.json", "plan.json"
# Of a manifest or an index, which has some 200 an image. A plan is our own, and has as much for all images together.
MAX_BYTES = 1 << 28


class StoreError(UserError):
    """A packed store that cannot be trusted or cannot serve; one line: file, place, what came, what would be right."""


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        OSError: It is missing or cannot be read.
        ValueError: It is longer than such a file can be.
    """
    if (size := path.stat().st_size) > MAX_BYTES and path.name != PLAN:
        raise ValueError(f"{size:,} bytes; such a file has at most {MAX_BYTES:,}")
    return path.read_bytes()


def read_json(path: Path) -> Any:
    """A file that :func:`~dctnet.io.canonical_json.dump_json` wrote.

    Raises:
        StoreError: It is missing or no JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError as error:
        raise StoreError(f"{path}: missing; not a packed store, or one whose packing did not end") from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read: {first_line(error)}") from error


_LONGEST = 4096
_Check = Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST


def _is_grid(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_count(side) and side for side in value)


_SHARD: dict[str, _Check] = {
    "name": _is_name, "size": _is_count, "sha256": _is_digest, "index_sha256": _is_digest, "images": _is_count,
}  # fmt: skip


def fault_of_split(split: Any) -> str | None:
    """What is wrong with a split as the manifest has it: scales, shards, and path and reason of each file left out."""
    if not isinstance(split, dict) or not all(isinstance(split.get(key), list) for key in ("scales", "shards")):
        return "it must have scales and shards"
    if not split["scales"] or any(not _is_count(s) or not s or s % BLOCK for s in split["scales"]):
        return f"scales must be multiples of {BLOCK}"
    for place, shard in enumerate(split["shards"]):
        if fault := _fault(shard, _SHARD):
            return f"shard {place}: {fault}"
    if not is_left_out(split.get("skipped")):
        return "skipped must be pairs of path and reason"
    return None


def is_left_out(pairs: Any) -> bool:
    """Whether this is path and reason of each file left out."""
    return isinstance(pairs, list) and all(isinstance(p, list) and [type(v) for v in p] == [str] * 2 for p in pairs)


def fault_of_images(images: Any, scales: int, classes: int) -> str | None:
    """What is wrong with the images of an index.

    Args:
        images: As they stand in it.
        scales: At how many scales each is stored.
        classes: How many there are.
    """
    entry: dict[str, _Check] = {
        "path": _is_name,
        "sha256": _is_digest,
        "target": lambda value: _is_count(value) and value < classes,
        "blocks": lambda value: isinstance(value, list) and len(value) == scales and all(map(_is_grid, value)),
    }
    if not isinstance(images, list):
        return "images must be a list"
    return next(
        (f"image {place}: {fault}" for place, image in enumerate(images) if (fault := _fault(image, entry))), None
    )


def _fault(entry: Any, checks: Mapping[str, _Check]) -> str | None:
    if not isinstance(entry, dict) or entry.keys() != checks.keys():
        return f"must have {', '.join(checks)}"
    return next((f"{key} is {repr(entry[key])[:60]}" for key, check in checks.items() if not check(entry[key])), None)
