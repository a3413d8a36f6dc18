"""Standard output and error that never make a process fail, and UTF-8 for everything else."""

import io
import os
import select
import sys
from typing import Any, TextIO


class _Descriptor(io.FileIO):
    """A file descriptor that keeps the first error of a write, and drops what is written after it."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes all of the data, or drops it after an error; returns its size."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while len(rest) and self.error is None:  # unbuffered streams do not repeat a partial write
                written = super().write(rest)
                if written is None:  # the pipe is full, and another process has made it non-blocking
                    select.select([], [self], [])
                rest = rest[written or 0 :]
        except OSError as error:
            self.error = error
        return size


def restart_in_utf8_mode() -> None:
    """Replaces this process by one in Python's UTF-8 mode, unless the locale is UTF-8 already.

    Otherwise names of files could not be exchanged between folders and UTF-8 files, and libraries would read and write
    their files in the locale's encoding. The encoding of standard output stays.
    """
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    os.environ.setdefault("PYTHONIOENCODING", getattr(sys.stdout, "encoding", "ascii"))
    os.environ["PYTHONUTF8"] = "1"
    os.execv(sys.executable, sys.orig_argv)


def protect_streams() -> None:
    """Makes ``sys.stdout`` and ``sys.stderr`` accept all text, also what the terminal, pipe or file cannot represent.

    Characters that the encoding does not have, and undecodable bytes of file names, are written as escapes. If a pipe's
    reader leaves, a disk is full, or a stream is closed, the rest of the output is dropped and the work goes on:
    :func:`output_error` tells at the end. Streams that a caller has replaced stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # or else a file that is opened later gets the number, and the output
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _protected(stream, number))


def _protected(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # closed
        return io.TextIOWrapper(_Descriptor(number, "wb", closefd=False), "utf-8", "backslashreplace")
    assert isinstance(stream, io.TextIOWrapper)
    buffer: Any = stream.buffer
    if not isinstance(getattr(buffer, "raw", buffer), io.FileIO):  # a console of Windows
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    raw: Any = _Descriptor(number, "wb", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw) if hasattr(buffer, "raw") else raw,  # PYTHONUNBUFFERED
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def output_error() -> OSError | None:
    """Flushes standard output; returns why some of it could not be written, if its reader has not just left."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", getattr(sys.stdout, "buffer", None))
    if not isinstance(raw, _Descriptor):
        return None
    sys.stdout.flush()
    return None if isinstance(raw.error, BrokenPipeError) else raw.error
