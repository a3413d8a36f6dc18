"""Units of a study in processes of their own, here or on a cluster: the study's side, and that of such a process."""

import contextlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dctnet.errors import UserError
from dctnet.studies.execution.job import Executor, Job, StopSignals
from dctnet.studies.execution.pool import Pool, retry
from dctnet.studies.execution.slurm import stop_left_behind
from dctnet.studies.laboratory.study import Measure, Measurement, Record, Study, read_rows, write_rows
from dctnet.studies.machine import machine

_FOLDER = "units"  # in the study's; logs and rows of units


@dataclass(frozen=True)
class Jobs:
    """Jobs of an executor, one for each unit.

    Args:
        executor: Runs the jobs.
        signals: Recorder of the signals that stop them.
        args: The command line of the study, after ``dctnet lab``.
    """

    executor: Executor
    signals: StopSignals
    args: Sequence[str]

    def machine(self) -> dict[str, Any]:
        """The executor, and the machine that it runs on."""
        kind = type(self.executor).__name__.removesuffix("Executor").lower()
        return {"machine": f"{machine()}; processes of the executor {kind!r}", "threads": self.executor.threads}

    def measure(self, study: Study, units: Mapping[str, Measure], record: Record) -> None:
        """Measures all units; the logs of those that fail are kept.

        Raises:
            UserError: Units failed. Gives their number, and the cause of the first.
            Stopped: A signal came.
        """
        folder = study.out / _FOLDER
        folder.mkdir(exist_ok=True)
        stop_left_behind(study.out)
        failed: dict[str, BaseException] = {}

        def collect(name: str, ended: Future) -> None:
            if (error := ended.exception()) is not None:
                failed[name] = error
            else:
                record(name, ended.result())
                for path in _paths(study, name):
                    path.unlink()

        pool = Pool(self.executor, self.signals, units)
        pool.run(lambda name, slot: retry(partial(self._run, study, name, slot)), collect)
        study.check_stop()
        with contextlib.suppress(OSError):  # logs of failed units
            folder.rmdir()
        if failed:
            name, error = next(iter(failed.items()))
            what = f"{name} failed" if len(failed) == 1 else f"{len(failed)} units failed, such as {name}"
            raise UserError(f"{what}: {error}")

    def _run(self, study: Study, name: str, slot: int) -> list[Measurement]:
        rows, log = _paths(study, name)
        rows.unlink(missing_ok=True)
        study_name, *options = self.args  # a line with -- takes options only in front of it
        self.executor.run(Job(["dctnet", "lab", study_name, f"--unit={name}", *options], log, slot))
        if not (found := read_rows(rows, study.columns)):
            raise RuntimeError(f"ended without its rows ({log})")
        return found


@dataclass(frozen=True)
class OneUnit:
    """The process of a job: it measures one unit, writes the rows for the study, and ends.

    Args:
        name: Of the unit.
    """

    name: str

    def machine(self) -> None:
        """Nothing: the study writes it."""

    def measure(self, study: Study, units: Mapping[str, Measure], record: Record) -> None:
        """Measures the unit.

        Raises:
            SystemExit: With status 0, after it was measured.
        """
        if self.name not in units:
            raise UserError(f"--unit {self.name}: of those, the study has none to measure")
        rows = [{"unit": self.name, **row} for row in units[self.name]()]
        study.check_stop()
        path, _ = _paths(study, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_rows(path, study.columns, rows)
        raise SystemExit(0)


def _paths(study: Study, name: str) -> tuple[Path, Path]:
    """Rows and log of a unit."""
    stem = study.out / _FOLDER / quote(name, safe=" =")
    return stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.log")
