"""JSON with the same bytes for the same content, so that its checksum identifies the content."""

import json
from typing import Any


def dump_json(content: dict[str, Any]) -> bytes:
    """Serialises an object with sorted keys, one per line. Undecodable bytes of file names are kept."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(content[key], sort_keys=True, ensure_ascii=False)}" for key in sorted(content)
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "surrogateescape")


def parse_json(raw: bytes) -> Any:
    """Parses the output of :func:`dump_json`."""
    return json.loads(raw.decode("utf-8", "surrogateescape"))
