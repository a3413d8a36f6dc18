"""A study's folder: rows of measurements, written unit by unit, so that a stopped study goes on where it was."""

import contextlib
import csv
import fcntl
import hashlib
import json
import platform
import signal
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm import tqdm

from dctnet import __version__
from dctnet.data.ignored import MARKER, mark_as_own
from dctnet.errors import Stopped, UserError, first_line
from dctnet.io.atomic import atomic_open, atomic_write
from dctnet.signals import SignalRecorder
from dctnet.studies.machine import machine

ROWS, STUDY, LOCK = "rows.csv", "study.json", ".lock"
Value = str | int | float
Measurement = dict[str, Any]  # values: Value
Measure = Callable[[], Iterable[Measurement]]
Record = Callable[[str, Iterable[Measurement]], None]  # takes a unit's name and its rows


class Study:
    """Runs the measurements of a study and keeps them in a folder.

    A *unit* is what is measured at once and recorded at once, as one or more rows; a finished unit is not measured
    again. ``rows.csv`` has the column ``unit`` and those of the study. ``study.json`` has the options, the versions,
    the machine, and the SHA-256 of the files that were read; a folder with rows is not continued with other ones.

    Args:
        name: Of the study.
        out: The folder; it is created.
        columns: Of the rows.
        options: Everything that determines the measurements.
        inputs: Files that determine the measurements.
        signals: Recorder of the signals that stop the study; None never stops it.
        streams: Version of the random numbers; rows of another one are shown, but no others are added to them.

    Raises:
        UserError: The folder belongs to another study or to other options, or its rows are damaged.
    """

    def __init__(
        self,
        name: str,
        out: str | Path,
        columns: Sequence[str],
        options: Mapping[str, Any],
        inputs: Sequence[str | Path] = (),
        signals: SignalRecorder | None = None,
        streams: int = 0,
    ) -> None:
        self.name, self.out, self.columns, self.signals = name, Path(out), ["unit", *columns], signals
        content = {
            "study": name,
            "options": json.loads(json.dumps(dict(options), default=str)),
            "inputs": {str(path): _sha256(path) for path in inputs},
        }
        self._check_out()
        self.rows = read_rows(self.out / ROWS, self.columns)
        self._total = self._done = 0
        self._streams = streams
        if self.rows:
            self.content = self._check_unchanged(content)
        else:
            versions = {"dctnet": __version__, "python": platform.python_version()}
            versions |= {package: version(package) for package in ("torch", "torchvision", "numpy", "scipy")}
            self.content = {**content, "versions": versions, "streams": streams}

    def _check_out(self) -> None:
        if self.out.exists() and not self.out.is_dir():
            raise UserError(f"--out {self.out}: is a file; it must be a folder")
        if (self.out / STUDY).exists():
            if (name := read_content(self.out / STUDY)["study"]) != self.name:
                raise UserError(
                    f"--out {self.out}: was made with study {name!r}, now {self.name!r}; give another --out"
                )
        elif self.out.exists() and {path.name for path in self.out.iterdir()} - {LOCK, MARKER}:
            raise UserError(f"--out {self.out}: a folder with other files; give a new or empty one")

    def _check_unchanged(self, content: dict[str, Any]) -> dict[str, Any]:
        before = read_content(self.out / STUDY)
        old = {**before["options"], **before["inputs"]}
        new = {**content["options"], **content["inputs"]}
        for key in [*new, *old]:
            if old.get(key) != new.get(key):
                was, now = (repr(each.get(key))[:60] for each in (old, new))
                raise UserError(f"--out {self.out}: was made with {key} {was}, now {now}; give another --out")
        return before

    def run(self, units: Mapping[str, Measure], place: "Place | None" = None, quick: Collection[str] = ()) -> None:
        """Measures the units that have no rows yet, with a progress bar.

        Args:
            units: The units by name.
            place: Where they are measured; None for this process, one after the other.
            quick: Names of units that take less time than the start of a process; they are measured in this one.

        Raises:
            UserError: A unit is missing, and the random numbers of the other rows are those of another version; or
                units failed in other processes.
            Stopped: A signal came; the finished units are recorded.
        """
        place = place or Here()
        here = place.machine()
        with contextlib.nullcontext() if here is None else self._lock(here):
            finished = {row["unit"] for row in self.rows}
            waiting = {name: measure for name, measure in units.items() if name not in finished}
            self._total, self._done = len(units), len(units) - len(waiting)
            if waiting and self.content.get("streams", 0) != self._streams:
                raise UserError(
                    f"--out {self.out}: its rows are of a version of dctnet with other random numbers, and "
                    f"{len(waiting)} of {len(units)} units are missing; give another --out"
                )
            with tqdm(initial=self._done, total=self._total, desc=self.name, unit="unit", disable=None) as bar:
                order = {name: number for number, name in enumerate(units)}

                def record(name: str, rows: Iterable[Measurement]) -> None:
                    self._record(name, rows, order)
                    bar.update()

                if here is not None:
                    Here().measure(self, {name: waiting.pop(name) for name in [*waiting] if name in quick}, record)
                place.measure(self, waiting, record)
        self.check_stop()

    def _record(self, name: str, rows: Iterable[Measurement], order: Mapping[str, int]) -> None:
        """Writes the rows of a unit, in the order of the units, in which other processes need not end."""
        found = [{"unit": name, **row} for row in rows]
        if not found or any(set(row) != set(self.columns) for row in found):
            raise AssertionError(f"unit {name}: rows without the columns {self.columns}")
        self.rows = sorted(self.rows + found, key=lambda row: order.get(str(row["unit"]), -1))
        write_rows(self.out / ROWS, self.columns, self.rows)
        self._done += 1

    @contextlib.contextmanager
    def _lock(self, here: dict[str, Any]) -> Iterator[None]:
        """Holds the folder, which is created; after an error in the first unit, a corrected command can use it."""
        self.out.mkdir(parents=True, exist_ok=True)
        with open(self.out / LOCK, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UserError(f"--out {self.out}: in use by another study") from error
            was_empty, self.rows = not self.rows, read_rows(self.out / ROWS, self.columns)
            if not self.rows:
                mark_as_own(self.out)
                self.content |= here
                text = json.dumps(self.content, indent=1, ensure_ascii=False) + "\n"
                atomic_write(self.out / STUDY, text.encode())
            elif was_empty:  # another study has begun since
                self.content = self._check_unchanged(self.content)
            yield

    def check_stop(self) -> None:
        """Ends the study if a signal has come; long units call it in their loops."""
        if self.signals is not None and self.signals.received is not None:
            name = signal.Signals(self.signals.received).name
            raise Stopped(
                f"stopped by {name} after {self._done} of {self._total} units; to resume, repeat the same command"
            )

    def of(self, unit: str) -> list[Measurement]:
        """The rows of the units with that name, or with that name before a slash."""
        return [row for row in self.rows if row["unit"] == unit or str(row["unit"]).startswith(f"{unit}/")]


class Place(Protocol):
    """Where the units of a study are measured."""

    def machine(self) -> dict[str, Any] | None:
        """``machine`` and ``threads`` for ``study.json``; None if another process writes it."""

    def measure(self, study: Study, units: Mapping[str, Measure], record: Record) -> None:
        """Measures units and records the rows of each, in any order.

        Raises:
            UserError: Units failed.
            Stopped: A signal came.
        """


class Here:
    """This process, in which the units are measured one after the other."""

    def machine(self) -> dict[str, Any]:
        """This machine."""
        return {"machine": machine(), "threads": torch.get_num_threads()}

    def measure(self, study: Study, units: Mapping[str, Measure], record: Record) -> None:
        """Measures all units; raises as the interface."""
        for name, measure in units.items():
            study.check_stop()
            record(name, measure())


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Measurement]) -> None:
    """Writes rows, with all digits of numbers."""
    with atomic_open(path, "w", suffix="partial", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows({k: _text(v) for k, v in row.items()} for row in rows)


def read_study(folder: Path, columns: Sequence[str]) -> tuple[dict[str, Any], list[Measurement]]:
    """The content of ``study.json`` and the rows of a finished or unfinished study.

    Raises:
        UserError: A file is missing or damaged.
    """
    return read_content(folder / STUDY), read_rows(folder / ROWS, ["unit", *columns])


def read_content(path: Path) -> dict[str, Any]:
    """Reads ``study.json``.

    Raises:
        UserError: It is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(content["study"], str)
        assert isinstance(content["options"], dict)
        assert isinstance(content["inputs"], dict)
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from error
    return content


def read_rows(path: Path, columns: list[str]) -> list[Measurement]:
    """Reads what :func:`write_rows` has written; no rows if there is no file.

    Raises:
        UserError: The file is damaged, or has other columns.
    """
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows: list[Any] = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from error
    if reader.fieldnames != columns:
        got = ", ".join(reader.fieldnames or [])
        raise UserError(f"{path}: expected the columns {', '.join(columns)}; got {got}")
    if wrong := next((n for n, row in enumerate(rows, 2) if None in row or None in row.values()), None):
        raise UserError(f"{path}, line {wrong}: expected {len(columns)} columns")
    return [{key: _number(value) for key, value in row.items()} for row in rows]


def _text(value: Value) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _number(text: str) -> Value:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _sha256(path: str | Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
