"""Runs commands of dctnet within the test's process."""

import csv
from pathlib import Path

from dctnet.cli import main

CKPT = "out/tiny/version_0/last.ckpt"  # within the fixture gated_run


def run(*args: object) -> int:
    """Runs a command; returns its exit status."""
    return main([str(each) for each in args])


def fails(capsys, *args: object) -> str:
    """Runs a command that must end with status 2 and one line on standard error; returns the line."""
    capsys.readouterr()
    assert run(*args) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dctnet: ")]
    assert len(lines) == 1
    return lines[0]


def read_csv(path: Path) -> list[dict[str, str]]:
    """All rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))
