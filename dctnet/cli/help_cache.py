"""Help texts that were printed before. To make one, a verb's parser imports torch and Lightning, which takes seconds.

A text is printed again only while everything that it was made from is the same: the file of every module that was
loaded, the folders that Python finds modules in, its version, the environment, and the width of the terminal.
"""

import contextlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dctnet.io.atomic import atomic_write

# Environment variables that jsonargparse, argparse and Python's translations read.
_ENVIRONMENT = re.compile(r"JSONARGPARSE_.*|PYTHON.*|LANG|LANGUAGE|LC_.*|COLUMNS")


def is_help(args: list[str]) -> bool:
    """Whether a command line is only the name of a verb, or of a study, and ``--help``."""
    return args[-1] in ("-h", "--help") and all(re.fullmatch(r"[a-z-]+", arg) for arg in args)


def print_help(args: list[str], make: Callable[[], object]) -> None:
    """Prints a help text, from the cache if it is there and cannot have changed.

    Args:
        args: The command line, for which :func:`is_help` is true.
        make: Prints the text, and may raise SystemExit as parsers do.
    """
    file = _file(args)
    text = _read(file) if file else None
    if text is None:
        text = _capture(make)
        if file:
            _write(file, text)
    print(text, end="")


def _capture(make: Callable[[], object]) -> str:
    made = io.StringIO()
    with contextlib.redirect_stdout(made):
        try:
            make()
        except SystemExit as end:
            if end.code:
                raise
    return made.getvalue()


def _file(args: list[str]) -> Path | None:
    """The file of a text; None if the user has no folder for caches."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "dctnet", "help")
    return folder / f"{'-'.join(args[:-1])}.json" if folder.is_absolute() else None


def _conditions() -> dict[str, Any]:
    """What a text depends on beside files and folders, as JSON represents it."""
    environment = {name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)}
    return {"python": sys.version, "path": sys.path, "width": shutil.get_terminal_size().columns, "env": environment}


def _states(paths: Iterable[str]) -> dict[str, list[int]]:
    """Time of the last change and size of files and folders; a missing one has none."""
    states: dict[str, list[int]] = {}
    for path in paths:
        with contextlib.suppress(OSError):
            status = os.stat(path)
            states[path] = [status.st_mtime_ns, status.st_size]
    return states


def _read(file: Path) -> str | None:
    """The text in a file of the cache; None if there is none, or if it may be outdated."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        entry = json.loads(file.read_bytes())
        files, text = entry["files"], entry["text"]
        if entry["conditions"] == _conditions() and files == _states(files) and isinstance(text, str):
            return text
    return None


def _write(file: Path, text: str) -> None:
    loaded = {str(path) for module in [*sys.modules.values()] if (path := getattr(module, "__file__", None))}
    states = _states(sorted(loaded) + [path for path in sys.path if os.path.isdir(path)])
    entry = {"conditions": _conditions(), "files": states, "text": text}
    with contextlib.suppress(OSError):  # a home that cannot be written
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(file, json.dumps(entry).encode())
