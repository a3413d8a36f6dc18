"""One row a finished run: written whole, read with distrust."""

import csv
import dataclasses
import math
import os
from dataclasses import dataclass
from pathlib import Path

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
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as CSV: {error}") from error
    names = [f.name for f in FIELDS]
    if not lines or lines[0] != names:
        raise UserError(
            f"{path}: line 1 must be {','.join(names)[:60]}…; got {','.join(lines[0] if lines else [])[:60]!r}"
        )
    rows: list[Row] = []
    for number, line in enumerate(lines[1:], 2):
        row = _parse(line, f"{path}, line {number}")
        if row.name in {other.name for other in rows}:
            raise UserError(f"{path}, line {number}: run {row.name} is there twice")
        if rows and len(row.correct) != len(rows[0].correct):
            raise UserError(
                f"{path}, line {number}: correct has {len(row.correct)} characters, line 2 has {len(rows[0].correct)}: "
                "rows of different evaluation images"
            )
        rows.append(row)
    return rows


def _parse(line: list[str], where: str) -> Row:
    if len(line) != len(FIELDS):
        raise UserError(f"{where}: {len(line)} columns, wanted {len(FIELDS)}")
    values = []
    for one, text in zip(FIELDS, line, strict=True):
        try:
            value = one.type(text)  # type: ignore[operator]
        except ValueError as error:
            kind = "a whole number" if one.type is int else "a number"
            raise UserError(f"{where}: {one.name} must be {kind}, got {text[:40]!r}") from error
        if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= 0):
            raise UserError(f"{where}: {one.name} must be finite and at least 0, got {text[:40]!r}")
        values.append(value)
    row = Row(*values)
    if set(row.correct) - set("01-"):
        raise UserError(f"{where}: correct must be of 0, 1 and -, got {row.correct[:20]!r}…")
    right, images = row.correct.count("1"), len(row.correct) - row.correct.count("-")
    if images != row.images or not images or abs(row.top1 - right / images) > 1e-6 or not row.top1 <= row.top5 <= 1:
        raise UserError(
            f"{where}: images {row.images}, top1 {row.top1} and top5 {row.top5} do not fit the column correct, "
            f"which has {right} right of {images}"
        )
    return row


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
