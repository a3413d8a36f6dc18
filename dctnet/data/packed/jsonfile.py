"""The JSON files of a packed store: the same bytes for the same content, and of a size that can be."""

import json
from pathlib import Path
from typing import Any

from dctnet.errors import UserError, first_line

MANIFEST, PLAN = "manifest.json", "plan.json"
# Of a manifest or an index, which has some 200 an image. A plan is our own, and has as much for all images together.
MAX_BYTES = 1 << 28


class StoreError(UserError):
    """A packed store that cannot be trusted or cannot serve; one line: file, place, what came, what would be right."""


def dump(content: Any) -> bytes:
    """JSON of an object with the same bytes for the same content, one line a key."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(content[key], sort_keys=True, ensure_ascii=False)}" for key in sorted(content)
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "surrogateescape")


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        OSError: It is missing or cannot be read.
        ValueError: It is longer than such a file can be.
    """
    if (size := path.stat().st_size) > MAX_BYTES and path.name != PLAN:
        raise ValueError(f"{size:,} bytes; such a file has at most {MAX_BYTES:,}")
    return path.read_bytes()


def parse_json(raw: bytes) -> Any:
    """What :func:`dump` wrote."""
    return json.loads(raw.decode("utf-8", "surrogateescape"))


def read_json(path: Path) -> Any:
    """A file that :func:`dump` wrote.

    Raises:
        StoreError: It is missing or no JSON.
    """
    try:
        return parse_json(read_bytes(path))
    except FileNotFoundError as error:
        raise StoreError(f"{path}: missing; not a packed store, or one whose packing did not end") from error
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read: {first_line(error)}") from error
