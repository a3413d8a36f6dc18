"""What the command line tells in one line: a mistake in what the user gave, with a hint, or a run that was stopped."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class Stopped(Exception):
    """A run was asked to stop and has saved where it was; the command line prints that and ends with status 75.

    75 is EX_TEMPFAIL of sysexits.h: try again. A scheduler can requeue a job by it.
    """


class UserError(ValueError):
    """Something given by the user cannot be used: an option, a file, a folder.

    Its message is one line: what was asked, what came, where, what would be right. The command line prints it and ends
    with status 2; any other exception is a defect of ours and keeps its traceback.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest known word, or nothing; to be put behind a message."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def did_you_mean_path(path: str | Path) -> str:
    """The same with the nearest name that lies beside a path that does not exist."""
    parent = Path(path).parent
    if not parent.is_dir():
        return f" There is no folder {parent} either.{did_you_mean_path(parent) if parent.name else ''}"
    near = difflib.get_close_matches(Path(path).name, [entry.name for entry in parent.iterdir()], n=1, cutoff=0.5)
    return f" Did you mean {parent / near[0]}?" if near else ""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, cut to a readable length."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def printable(name: object) -> str:
    """A file's name as a line that any terminal shows: as it is, or else in quotes, with escapes."""
    # Names are bytes: they may hold line ends, and what is no UTF-8, at which printing would raise an error.
    return text if (text := str(name)).isprintable() else ascii(text)
