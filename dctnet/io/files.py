"""Regular files, their SHA-256, and JSON with the same bytes, so the same SHA-256, for the same content."""

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str], max_bytes: int | None = None) -> Iterator[BufferedReader]:
    """Opens a file for reading, unless it is a pipe, socket or device, which may never end, or larger than a limit.

    Raises:
        OSError: The file cannot be opened or is not accepted. ``strerror`` is the reason, ``filename`` the path.
    """
    status = os.stat(path)  # before open(), which waits for the other end of a pipe
    if stat.S_ISDIR(status.st_mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file", str(path))
    if max_bytes is not None and status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"{status.st_size:,} bytes; at most {max_bytes:,} are read", str(path))
    with open(path, "rb") as file:
        yield file


def expand_home(value: Any) -> Any:
    """Expands ``~/`` and ``~user/`` at the start of all texts in an option's value, as a shell does for an argument."""
    if isinstance(value, str):
        return os.path.expanduser(value) if "/" in value else value
    if isinstance(value, dict):
        return {key: expand_home(each) for key, each in value.items()}
    return [expand_home(each) for each in value] if isinstance(value, list) else value


def is_broken_link(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a link to something that does not exist, or to itself."""
    return os.path.islink(path) and not os.path.exists(path)


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: As :func:`open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def dump_json(content: dict[str, Any]) -> bytes:
    """Serialises an object with sorted keys, one per line. Undecodable bytes of file names are kept."""
    lines = (
        f"{json.dumps(key)}: {json.dumps(content[key], sort_keys=True, ensure_ascii=False)}" for key in sorted(content)
    )
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("utf-8", "surrogateescape")


def parse_json(raw: bytes) -> Any:
    """Parses the output of :func:`dump_json`."""
    return json.loads(raw.decode("utf-8", "surrogateescape"))
