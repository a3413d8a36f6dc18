"""One file to bytes, or one sentence that says why not."""

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from typing import BinaryIO

from dctnet.errors import UserError, first_line, printable

# A file is read as a whole. This is more than any photograph, and less than a film under the name of one.
MAX_BYTES = 1 << 28


class ImageError(UserError):
    """A file that cannot be used as an image.

    Args:
        path: The file.
        reason: Why, in one line.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{printable(str(path))}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        # By its own arguments: an exception's are its message, of which a process that sends one makes another.
        return type(self), (self.path, self.reason)

    def with_advice(self) -> "ImageError":
        """The same, saying how to go on without such files."""
        return ImageError(self.path, f"{self.reason} (to leave such files out and list them: --data.on_error skip)")


@contextlib.contextmanager
def translate_image_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turns whatever is raised within into an :class:`ImageError` that names the file."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(path, "no such file") from error
    # Pillow's plug-ins raise nearly anything on a damaged file: OSError, SyntaxError, struct.error, IndexError, …
    except Exception as error:
        reason = re.sub(r" ?<_io\.\w+ [^>]*>", "", first_line(error)).replace(str(path), "file")
        raise ImageError(path, reason) from error


@contextlib.contextmanager
def open_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Opens a file of bytes that end.

    Raises:
        ImageError: Missing, not to be read, no regular file (a pipe would never end), or over 268 MB.
    """
    with translate_image_errors(path):
        status = os.stat(path)
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):  # of a folder, open says what it is
            raise ImageError(path, "a pipe, socket or device, no file")
        if status.st_size > MAX_BYTES:
            raise ImageError(path, f"{status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
        with open(path, "rb") as file:
            yield file
