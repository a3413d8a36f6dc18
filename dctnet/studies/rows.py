"""One row a finished run: written whole, read with distrust."""

import csv
import dataclasses
import itertools
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dctnet.errors import UserError

ROWS = "rows.csv"
# Correctness of a large evaluation set stands in one field.
csv.field_size_limit(2**31 - 1)


@dataclass(frozen=True)
class Row:
    """What one run came to.

    Args:
        arm: Name of the arm.
        choose: How its channels are chosen, or what reads pixels.
        channels: How many channels come in; 0 for pixels.
        draw: Which of the random selections.
        label: Of a variant.
        seed: Of the run.
        top1: Share of the images with the right class first, 0…1.
        top5: The same, among the first five.
        images: How many could be read.
        correct: A character an image, in the order of ``images.csv``: 1 right, 0 wrong, - unreadable.
        gmac: Multiply-accumulates an image, counted, in 10⁹.
        parameters: Of the network.
        values: Numbers that an image comes in as.
        bytes: Of these as integers: one each, as 8-bit pixels or as a packed store's int8; two in a store of int16.
        images_per_second: Training throughput, median over the epochs.
        seconds: Wall time of the training, with validation.
        epochs: Trained.
        image_size: Side of the crops in source pixels.
        indices: The channels, separated by spaces.
        fed: Photographs or the packed store.
        config: SHA-256 of the run's configuration.
        versions: Of what it ran with.
        device: What it ran on.
        finished: When, UTC.
    """

    arm: str
    choose: str
    channels: int
    draw: int
    label: str
    seed: int
    top1: float
    top5: float
    images: int
    correct: str
    gmac: float
    parameters: int
    values: int
    bytes: int
    images_per_second: float
    seconds: float
    epochs: int
    image_size: int
    indices: str
    fed: str
    config: str
    versions: str
    device: str
    finished: str

    @property
    def name(self) -> str:
        """The run's folder."""
        return f"{self.arm}-s{self.seed}"


FIELDS = dataclasses.fields(Row)


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """Reads and checks a table of rows; none if there is no file.

    Raises:
        UserError: A row is damaged. Gives file, line, column, what came and what would be right.
    """
    if not Path(path).exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            lines = [(reader.line_num, line) for line in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    _check_header(lines[0][1] if lines else [], str(path))
    rows: dict[str, Row] = {}
    arms: dict[str, Row] = {}
    for number, line in lines[1:]:
        where = f"{path}, line {number}"
        row = _parse(line, where)
        if row.name in rows:
            raise UserError(f"{where}: run {row.name!r} is there twice")
        _check_arm(row, arms.setdefault(row.arm, row), where)
        first = next(iter(rows.values()), row)
        if len(row.correct) != len(first.correct):
            raise UserError(
                f"{where}: correct has {len(row.correct)} characters, line {lines[1][0]} has {len(first.correct)}: "
                "rows of different evaluation images"
            )
        rows[row.name] = row
    return list(rows.values())


def _check_header(line: list[str], path: str) -> None:
    wanted = [f.name for f in FIELDS]
    for place, (name, got) in enumerate(itertools.zip_longest(wanted, line), 1):
        if name != got:
            right = f"be {name!r}" if name else "not be there"
            raise UserError(
                f"{path}, line 1: column {place} must {right}, "
                + ("is missing" if got is None else f"got {got[:40]!r}")
            )


def _parse(line: list[str], where: str) -> Row:
    if len(line) != len(FIELDS):
        raise UserError(f"{where}: {len(line)} columns, wanted {len(FIELDS)}")
    row = Row(*(_value(one, text, where) for one, text in zip(FIELDS, line, strict=True)))
    _check_correct(row, where)
    if not re.fullmatch(r"(\d+( \d+)*)?", row.indices, re.ASCII) or len(row.indices.split()) != row.channels:
        raise UserError(
            f"{where}: indices must be as many whole numbers, one space between, as channels says, {row.channels}; "
            f"got {row.indices[:40]!r}"
        )
    return row


def _value(one: dataclasses.Field, text: str, where: str) -> Any:
    if one.type is str:
        return text
    kind = "a whole number" if one.type is int else "a number"
    try:
        value = one.type(text)  # type: ignore[operator]
        usable = math.isfinite(value) and value >= 0
    except (ValueError, OverflowError) as error:  # the latter of a whole number beyond any float
        raise UserError(f"{where}: {one.name} must be {kind}, got {text[:40]!r}") from error
    if not usable:
        raise UserError(f"{where}: {one.name} must be finite and at least 0, got {text[:40]!r}")
    return value


def _check_arm(row: Row, first: Row, where: str) -> None:
    for name in ("choose", "channels", "draw", "label"):
        if getattr(row, name) != getattr(first, name):
            raise UserError(
                f"{where}: {name} must be {getattr(first, name)!r}, as in run {first.name!r} of the same arm; "
                f"got {getattr(row, name)!r}"
            )


def _check_correct(row: Row, where: str) -> None:
    if set(row.correct) - set("01-"):
        raise UserError(f"{where}: correct must be of 0, 1 and -, got {row.correct[:20]!r}…")
    right, images = row.correct.count("1"), len(row.correct) - row.correct.count("-")
    if images != row.images or not images or abs(row.top1 - right / images) > 1e-6 or not row.top1 <= row.top5 <= 1:
        raise UserError(
            f"{where}: images {row.images}, top1 {row.top1} and top5 {row.top5} do not fit the column correct, "
            f"which has {right} right of {images}"
        )


def write_rows(path: str | os.PathLike[str], rows: list[Row]) -> None:
    """Writes the table, whole or not at all."""
    partial = Path(path).with_name(f".{Path(path).name}.partial")
    with open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f.name for f in FIELDS])
        writer.writerows([getattr(row, f.name) for f in FIELDS] for row in rows)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
