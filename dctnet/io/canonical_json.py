"""JSON with the same bytes for the same content."""

import json
from typing import Any


def dump_json(content: Any) -> bytes:
    """JSON of an object with the same bytes for the same content, one line a key."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(content[key], sort_keys=True, ensure_ascii=False)}" for key in sorted(content)
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "surrogateescape")


def parse_json(raw: bytes) -> Any:
    """What :func:`dump_json` wrote."""
    return json.loads(raw.decode("utf-8", "surrogateescape"))
