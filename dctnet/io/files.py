"""Reading of regular files: no pipes or devices, which may never end, and no files beyond a size limit."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path


@contextlib.contextmanager
def open_regular(path: str | os.PathLike[str], max_bytes: int | None = None) -> Iterator[BufferedReader]:
    """Opens a file for reading, unless it is a pipe, socket or device, or too large.

    Args:
        path: The file.
        max_bytes: The largest size that is accepted. Default: any.

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


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: As :func:`open_regular`.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
