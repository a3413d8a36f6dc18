"""Exceptions that the command line reports in one line, and helpers for their messages."""

import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path

# Control and format characters, surrogates, line and paragraph separators.
_UNPRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


# Of names that look the same: macOS, for example, decomposes letters with accents (NFD).
OTHER_FORM = "the same letters in another Unicode form (NFC, NFD)"


class Stopped(Exception):
    """A run was stopped by a signal and has saved its state; the command line prints the message and exits with 75.

    75 is EX_TEMPFAIL of sysexits.h, "try again": schedulers can requeue a job by it.
    """


class UserError(ValueError):
    """An option, a file or a folder cannot be used.

    The message is one line: what was requested, what was found, where, and what would be right. The command line prints
    it and exits with status 2. Other exceptions, except filesystem errors, are defects and keep their traceback.
    """


def _composed(word: str) -> str:
    return unicodedata.normalize("NFC", word)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` Did you mean 'x'?`` with the most similar known word, or an empty string, to append to a message.

    A known word that differs only in its Unicode form, and so looks the same, is reported as such.
    """
    known = list(known)
    if any(other != word and _composed(other) == _composed(word) for other in known):
        return f" There is one with {OTHER_FORM}."
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean {near[0]!r}?" if near else ""


def did_you_mean_path(path: str | Path) -> str:
    """Suggests the most similar name in the folder of a path that does not exist."""
    parent = Path(path).parent
    if not parent.is_dir():
        return f" There is no folder {parent} either.{did_you_mean_path(parent) if parent.name else ''}"
    names = [entry.name for entry in parent.iterdir()]
    if any(_composed(name) == _composed(Path(path).name) for name in names):
        return did_you_mean(Path(path).name, names)
    near = difflib.get_close_matches(Path(path).name, names, n=1, cutoff=0.5)
    return f" Did you mean {parent / near[0]}?" if near else ""


def no_folder(path: str | Path) -> UserError:
    """Returns the error for a path that should be a folder: it is a file, or does not exist."""
    if Path(path).is_file():
        return UserError(f"{path}: a file, expected a folder")
    return UserError(f"{path}: no such folder.{did_you_mean_path(path)}")


def printable(text: str) -> str:
    """Escapes line breaks, control sequences, direction marks and undecodable bytes, so that text prints as one line.

    File names may contain any of these, and could forge lines of output or fail to print.
    """
    return "".join(_escape(char) if unicodedata.category(char) in _UNPRINTABLE else char for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape" if char <= "\x9f" else "ascii", "backslashreplace").decode()


def first_line(error: BaseException) -> str:
    """Returns the type and the first line of an exception, at most 200 characters of it."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
