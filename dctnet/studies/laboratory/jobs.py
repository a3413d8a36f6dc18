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
        command: Of the study, as after ``python -m``; a job's ends with ``--unit=NAME``.
    """

    executor: Executor
    signals: StopSignals
    command: Sequence[str]

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
        pool.run(lambda name, slot: retry(partial(self._run, study, name, slot)), collect, lambda: None)
        study.check_stop()
        with contextlib.suppress(OSError):  # logs of failed units
            folder.rmdir()
        if failed:
            name, error = next(iter(failed.items()))
            raise UserError(f"{len(failed)} of {len(units)} units failed, such as {name}: {error}")

    def _run(self, study: Study, name: str, slot: int) -> list[Measurement]:
        rows, log = _paths(study, name)
        rows.unlink(missing_ok=True)
        self.executor.run(Job([*self.command, f"--unit={name}"], log, slot))
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
        rows = [{"unit": self.name, **row} for row in units[self.name]()]
        study.check_stop()
        write_rows(_paths(study, self.name)[0], study.columns, rows)
        raise SystemExit(0)


def _paths(study: Study, name: str) -> tuple[Path, Path]:
    """Rows and log of a unit."""
    stem = study.out / _FOLDER / quote(name, safe=" =")
    return stem.with_name(f"{stem.name}.csv"), stem.with_name(f"{stem.name}.log")
