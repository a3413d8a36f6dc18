"""Atomic writes: a file or folder appears under its name only when it is complete and on the disk."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dctnet.errors import UserError, first_line


@contextlib.contextmanager
def atomic_open(path: str | Path, mode: str = "wb", suffix: str | None = None, **options: Any) -> Iterator[IO[Any]]:
    """Opens a temporary file in the same folder; the end of the block syncs it and renames it to ``path``.

    If the block raises, the temporary file is removed and the previous file under ``path`` stays as it was.

    Args:
        path: The file to write. An existing file is replaced.
        mode: ``"wb"`` or ``"w"``.
        suffix: Of the temporary file ``.NAME.SUFFIX``. Default: the process id, so that several processes can write
            the same file. With a fixed suffix the next write replaces the file that a killed process left behind.
        options: ``encoding``, ``newline`` and ``errors`` of :func:`open`.

    Raises:
        OSError: The file cannot be written. Its ``filename`` is ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{suffix or os.getpid()}")
    try:
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the rename survives a power failure
        finally:
            os.close(folder)
    except OSError as error:
        # ENOSPC from write() has no filename; other errors have the temporary one.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, content: bytes) -> None:
    """Writes a file with :func:`atomic_open`."""
    with atomic_open(path) as file:
        file.write(content)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Creates a temporary folder to fill; the end of the block renames it to ``path``.

    If two processes fill the same folder, the first to finish wins and the result of the other is removed.

    Args:
        path: The folder to create; it must not exist, or be empty.

    Raises:
        UserError: The folder cannot be created.
        OSError: The folder cannot be filled. Its ``filename`` is set.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be created: {first_line(error)}") from error
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    except OSError as error:
        if error.filename is None:  # ENOSPC from write()
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
