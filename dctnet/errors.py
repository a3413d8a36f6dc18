"""What the command line tells in one line: a mistake in what the user gave, with a hint, or a run that was stopped."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

# Control, format, surrogate, and the separators of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


class Stopped(Exception):
    """A run was asked to stop and has saved where it was; the command line prints that and ends with status 75.

    75 is EX_TEMPFAIL of sysexits.h: try again. A scheduler can requeue a job by it.
    """


class UserError(ValueError):
    """Something given by the user cannot be used: an option, a file, a folder.

    Its message is one line: what was asked, what came, where, what would be right. The command line prints it and ends
    with status 2. So it does with what a disk refuses; any other exception is a defect of ours and keeps its traceback.
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


def no_folder(path: str | Path) -> UserError:
    """What to raise where a folder is wanted and is not: it is a file, or there is none, but perhaps a near one."""
    if Path(path).is_file():
        return UserError(f"{path}: a file, wanted a folder")
    return UserError(f"{path}: no such folder.{did_you_mean_path(path)}")


def printable(text: str) -> str:
    """Text as one line that looks like what it is: line feeds, escape sequences and marks of direction are spelt out.

    A file's name may hold any of them, and could otherwise write lines of its own, or be undecodable and end the run.
    """
    return "".join(_spelt_out(char) if unicodedata.category(char) in _UNPRINTABLE else char for char in text)


def _spelt_out(char: str) -> str:
    return char.encode("unicode_escape" if char <= "\x9f" else "ascii", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, cut to a readable length."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
