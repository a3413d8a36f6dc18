"""Opens image files safely; every failure becomes an ImageError with path and reason."""

import contextlib
import os
import re
from collections.abc import Iterator
from io import BufferedReader

from dctnet.errors import UserError, first_line, printable
from dctnet.io.files import is_broken_link, open_regular

# Files are read into memory. More than any photograph; less than a video with the wrong name.
_MAX_BYTES = 1 << 28


class ImageError(UserError):
    """A file (or ``<bytes>``, or ``<image>``) that cannot be used as an image, with the reason in one line."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"{printable(str(path))}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        # Exceptions are unpickled from self.args, here the message: a worker process could not send this one.
        return type(self), (self.path, self.reason)

    def with_advice(self) -> "ImageError":
        """The same error with the option that skips such files."""
        return ImageError(self.path, f"{self.reason} (to leave such files out and list them: --data.on_error skip)")


@contextlib.contextmanager
def translate_image_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Converts every exception to an :class:`ImageError` with the path."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        link = f": a broken link to {printable(os.readlink(path))}" if is_broken_link(path) else ""
        raise ImageError(path, f"no such file{link}") from error
    # Pillow's plug-ins raise nearly anything for a damaged file: OSError, SyntaxError, struct.error, IndexError, …
    except Exception as error:
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(path, error.strerror) from error
        reason = re.sub(r" ?<_io\.\w+ [^>]*>", "", first_line(error)).replace(str(path), "file")
        raise ImageError(path, reason) from error


@contextlib.contextmanager
def open_image_file(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    """Opens a regular file for reading.

    Raises:
        ImageError: The file is missing, unreadable, not a regular file, or larger than 268 MB.
    """
    with translate_image_errors(path), open_regular(path, _MAX_BYTES) as file:
        yield file
