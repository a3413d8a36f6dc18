"""Results of a study: one row per trial in ``rows.csv``, written atomically and validated when read."""

import csv
import dataclasses
import itertools
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctnet.errors import UserError
from dctnet.io.atomic import atomic_open

ROWS = "rows.csv"
csv.field_size_limit(2**31 - 1)  # the column ``correct`` has one character per image


@dataclass(frozen=True)
class Row:
    """The result of one trial."""

    arm: str  # the same for all seeds
    choose: str  # selection method of the channels (learned, square, …), or the kind of pixel network
    channels: int  # number of input channels; 0 for pixels
    draw: int  # number of the random selection
    label: str  # label of a variant, or empty
    seed: int
    top1: float  # top-1 accuracy, 0…1
    top5: float  # top-5 accuracy, 0…1
    images: int  # number of evaluation images that could be read
    correct: str  # one character per image, in the order of images.csv: 1 right, 0 wrong, - unreadable
    gmac: float  # multiply-accumulates per image, counted, in 10⁹
    parameters: int  # number of parameters of the network
    values: int  # number of input values per image
    bytes: int  # size of these values: one byte each as 8-bit pixels or in an int8 store, two in an int16 store
    images_per_second: float  # training throughput, median over epochs
    seconds: float  # wall time of training, with validation
    epochs: int  # number of epochs trained
    image_size: int  # side of the crops in source pixels
    indices: str  # channel indices, separated by spaces
    fed: str  # input data: photographs or store
    config: str  # SHA-256 of the configuration of the trial
    versions: str  # versions of dctnet, Python and the main packages
    device: str  # device of the evaluation
    finished: str  # time of completion, UTC

    @property
    def name(self) -> str:
        """Name of the trial and of its folder: arm and seed."""
        return f"{self.arm}-s{self.seed}"


FIELDS = dataclasses.fields(Row)

_OLD_NAME = re.compile(r"^patches(_dct)?(?=[+-]|$)")
_INDICES = re.compile(r"(\d+( \d+)*)?", re.ASCII)


def current_name(name: str) -> str:
    """Translates the former name of an arm, trial or selection method: ``patches…`` is now ``patchify…``."""
    return _OLD_NAME.sub(r"patchify\1", name)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Reads and validates a table of rows. A missing file has no rows. Former names are translated.

    Raises:
        UserError: The table is damaged. Gives file, line, column, the value and what would be valid.
    """
    if not Path(path).exists():
        return []
    rows: dict[str, Row] = {}
    first_of_arm: dict[str, Row] = {}
    for where, line in _read_lines(str(path)):
        row = _parse(line, where)
        if row.name in rows:
            raise UserError(f"{where}: duplicate trial {row.name!r}")
        _check_same(row, first_of_arm.setdefault(row.arm, row), where)
        first = next(iter(rows.values()), row)
        if len(row.correct) != len(first.correct):
            raise UserError(
                f"{where}: correct has {len(row.correct)} characters, but {len(first.correct)} in trial "
                f"{first.name!r}: rows of different evaluation images"
            )
        rows[row.name] = row
    return list(rows.values())


def _read_lines(path: str) -> list[tuple[str, list[str]]]:
    """The lines of the table below the header, each with its position for error messages."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            lines = [(f"{path}, line {reader.line_num}", line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    header, names = lines[0][1] if lines else [], [field.name for field in FIELDS]
    for number, (expected, column) in enumerate(itertools.zip_longest(names, header), 1):
        if column != expected:
            right = f"be {expected!r}" if expected else "not exist"
            got = "is missing" if column is None else f"got {column[:40]!r}"
            raise UserError(f"{path}, line 1: column {number} must {right}, {got}")
    return lines[1:]


def _parse(line: list[str], where: str) -> Row:
    if len(line) != len(FIELDS):
        raise UserError(f"{where}: {len(line)} columns, expected {len(FIELDS)}")
    row = Row(*(_parse_value(field, text, where) for field, text in zip(FIELDS, line, strict=True)))
    if problem := next(_contradictions(row), None):
        raise UserError(f"{where}: {problem}")
    return dataclasses.replace(row, arm=current_name(row.arm), choose=current_name(row.choose))


def _parse_value(field: dataclasses.Field, text: str, where: str) -> Any:
    if field.type is str:
        return text
    try:
        value = field.type(text)  # type: ignore[operator]
        valid = math.isfinite(value) and value >= 0
    except (ValueError, OverflowError) as error:  # OverflowError: an integer beyond the range of floats
        kind = "a whole number" if field.type is int else "a number"
        raise UserError(f"{where}: {field.name} must be {kind}, got {text[:40]!r}") from error
    if not valid:
        raise UserError(f"{where}: {field.name} must be finite and at least 0, got {text[:40]!r}")
    return value


def _contradictions(row: Row) -> Iterator[str]:
    """Columns of a row that contradict each other."""
    right, readable = row.correct.count("1"), len(row.correct) - row.correct.count("-")
    if set(row.correct) - set("01-"):
        yield f"correct must consist of 0, 1 and -, got {row.correct[:20]!r}…"
    elif row.images != readable or not readable or abs(row.top1 - right / readable) > 1e-6:
        yield f"images {row.images} and top1 {row.top1} do not match the column correct: {right} right of {readable}"
    if not row.top1 <= row.top5 <= 1:
        yield f"top5 must be between top1, {row.top1}, and 1, got {row.top5}"
    if not _INDICES.fullmatch(row.indices) or len(row.indices.split()) != row.channels:
        yield f"indices must be {row.channels} whole numbers separated by one space, got {row.indices[:40]!r}"


def _check_same(row: Row, first: Row, where: str) -> None:
    """Checks that all trials of an arm describe the same arm."""
    for name in ("choose", "channels", "draw", "label"):
        if getattr(row, name) != getattr(first, name):
            raise UserError(
                f"{where}: {name} must be {getattr(first, name)!r}, as in trial {first.name!r} of the same arm; "
                f"got {getattr(row, name)!r}"
            )


def write_rows(path: str | os.PathLike[str], rows: list[Row]) -> None:
    """Writes the table atomically."""
    with atomic_open(Path(path), "w", suffix="partial", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in FIELDS])
        writer.writerows([getattr(row, field.name) for field in FIELDS] for row in rows)
