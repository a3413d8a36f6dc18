"""Schemas of the JSON files of a packed store, and the function that checks content against them.

The content is untrusted input: every value is checked before it is used.
"""

import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from dctnet.frequency.channels import COMPONENTS, NUM_CHANNELS
from dctnet.frequency.dct import BLOCK


class Rule(NamedTuple):
    """A condition on one value: in words, for messages, and as a function."""

    wanted: str
    holds: Callable[[Any], bool]


MAX_BLOCKS = 2**16 - 1  # on each side of an image

# [item] is a list of such items, {key: value} an object with exactly these keys, {ANY: value} one with any keys.
Schema: TypeAlias = "Rule | list[Schema] | dict[str, Schema]"
ANY = "*"


def find_fault(content: Any, schema: Schema) -> str | None:
    """Finds the first value that does not match a schema.

    Returns:
        Place, value and condition, such as ``splits.train.shards[0].size is -1, must be …``; None if all values match.
    """
    fault = _find_fault(content, schema)
    return fault and fault.lstrip(" .:")


def _find_fault(content: Any, schema: Schema) -> str | None:
    if isinstance(schema, Rule):
        return None if schema.holds(content) else _describe(content, schema.wanted)
    if isinstance(schema, list):
        if not isinstance(content, list):
            return _describe(content, "a list")
        faults = ((i, _find_fault(item, schema[0])) for i, item in enumerate(content))
        return next((f"[{i}]{fault}" for i, fault in faults if fault), None)
    if not isinstance(content, dict):
        return _describe(content, "an object")
    if ANY in schema:
        schema = dict.fromkeys(content, schema[ANY])
    for key in schema:
        if key not in content:
            return f": missing key {key!r}"
        if fault := _find_fault(content[key], schema[key]):
            return f".{key[:40]}{fault}"
    unknown = next((key for key in content if key not in schema), None)
    return None if unknown is None else f": unknown key {unknown[:40]!r}"


def _describe(value: Any, wanted: str) -> str:
    return f" is {repr(value)[:80]}, must be {wanted}"


def _exactly(value: Any) -> Rule:
    # Compares the type too, because True == 1.
    return Rule(repr(value), lambda found: type(found) is type(value) and found == value)


def _text(wanted: str, pattern: str = ".*") -> Rule:
    return Rule(wanted, lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_side(value: Any) -> bool:
    return _is_count(value) and value > 0 and value % BLOCK == 0


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value <= sys.float_info.max


def _is_channel(value: Any) -> bool:
    return type(value) is int and 0 <= value < NUM_CHANNELS


def _is_list(value: Any, is_item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(is_item, value))


_NAME = _text("a string of 1…4096 characters", ".{1,4096}")
_STRING = _text("a string")
_OBJECT = Rule("an object", lambda value: isinstance(value, dict))
_COUNT = Rule("a whole number of at most 63 bits", _is_count)
_DIGEST = _text("64 hexadecimal digits", "[0-9a-f]{64}")
_PAIR = Rule("a pair of path and reason", lambda v: isinstance(v, list) and [type(part) for part in v] == [str, str])

HEADER = {
    "format": "dctnet-store",
    "version": 2,
    "block_size": BLOCK,
    "components": list(COMPONENTS),
    "index": "64*component + 8*v + u",
}
HEADER_SCHEMA: dict[str, Schema] = {
    **{key: _exactly(value) for key, value in HEADER.items()},
    "version": Rule(
        "1 or 2; pack again with this version of dctnet, or use the other version",
        lambda value: type(value) is int and value in (1, 2),
    ),
}
_SHARD: dict[str, Schema] = {
    "name": _text("a name such as train-00000", "(train|val|test)-[0-9]{5,9}"),
    "size": _COUNT,
    "sha256": _DIGEST,
    "index_sha256": _DIGEST,
    "images": _COUNT,
}
_SPLIT: dict[str, Schema] = {
    "scales": Rule(f"a list of multiples of {BLOCK}", lambda value: _is_list(value, _is_side)),
    "shards": [_SHARD],
    "skipped": [_PAIR],
}
# Since version 2 each split has an index of its own; before, the indices of its shards were read.
_FILE: dict[str, Schema] = {"size": _COUNT, "sha256": _DIGEST}
_SPLITS: dict[int, dict[str, Schema]] = {1: _SPLIT, 2: {**_SPLIT, "index": _FILE, "names": _FILE}}
_MANIFEST: dict[str, Schema] = {
    **HEADER_SCHEMA,
    "channels": Rule(
        f"a list of distinct channel indices 0…{NUM_CHANNELS - 1}",
        lambda value: _is_list(value, _is_channel) and len(value) == len(set(value)),
    ),
    "steps": Rule("a list of positive numbers", lambda value: _is_list(value, _is_positive)),
    "dtype": _text("int8 or int16", "int8|int16"),
    "error": _OBJECT,
    "image_size": Rule(f"pixels, a multiple of {BLOCK}", lambda value: _is_side(value) and value < 2**31),
    "crop_fraction": Rule("a number above 0 and at most 1", lambda value: _is_positive(value) and value <= 1),
    "transform": _STRING,
    "decoder": _STRING,
    "made_with": _OBJECT,
    "source": _STRING,
    "plan": _STRING,
    "classes": [_NAME],
    "sha256": _STRING,
}


def manifest_schema(version: int) -> dict[str, Schema]:
    """The schema of a manifest of version 1 or 2."""
    return {**_MANIFEST, "splits": {ANY: _SPLITS[version]}}


def index_schema(num_scales: int, num_classes: int) -> dict[str, Schema]:
    """The schema of a shard's index, by the number of scales of its split and of classes of the store."""

    def is_grid(value: Any) -> bool:
        return _is_list(value, _is_count) and len(value) == 2 and min(value) > 0 and max(value) <= MAX_BLOCKS

    image: dict[str, Schema] = {
        "path": _NAME,
        "sha256": _DIGEST,
        "target": Rule(f"a class index below {num_classes}", lambda value: _is_count(value) and value < num_classes),
        "blocks": Rule(
            f"rows and columns of blocks at {num_scales} scales",
            lambda value: _is_list(value, is_grid) and len(value) == num_scales,
        ),
    }
    return {"images": [image], "skipped": [_PAIR], "size": _COUNT, "sha256": _DIGEST}
