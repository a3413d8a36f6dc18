"""Files and folders that are there whole or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dctnet.errors import UserError, first_line


def atomic_write(path: Path, content: bytes) -> None:
    """Writes a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A folder to fill that gets its name only when it is full, so that one that is there is whole.

    Two processes may fill one at the same time: the first to finish wins.

    Args:
        path: The folder to make; must not exist, or be empty.

    Raises:
        UserError: It cannot be made there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made: {first_line(error)}") from error
    try:
        yield temporary
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
    except OSError as error:
        if error.filename is None:  # that of a full disk does not say which
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
