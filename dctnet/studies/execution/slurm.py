"""The executor of SLURM, through submitit: each job is a SLURM job, submitted on a machine that has ``sbatch``."""

import math
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctnet.errors import Stopped, UserError, first_line
from dctnet.studies.execution.job import Interrupted, Job
from dctnet.studies.execution.node import NodeJob, check_status

_JOBS = 32  # in the queue, if not given
_POLL = 1.0  # seconds between looks at the result of a job; submitit asks SLURM for the state less often
_WARNING = 120  # seconds before the time limit at which SLURM sends SIGTERM
# States of a job that ended without a result by no fault of its own.
_LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "TIMEOUT", "DEADLINE", "REVOKED")


@dataclass
class Slurm:
    """Resources of each trial on SLURM.

    Args:
        partition: The partition; the default of the cluster if not given.
        hours: Time limit; a longer trial is resumed in another job.
        cpus: Cores.
        gpus: 1, or 0 for a training without a GPU; by default 1 unless ``--trainer.accelerator`` is ``cpu``.
        options: Other options of ``sbatch`` by name, such as ``{account: vision, mem: 32G}``.
    """

    partition: str | None = None
    hours: float = 4.0
    cpus: int = 4
    gpus: int | None = None
    options: dict[str, str | int | bool] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, valid, what in (
            ("hours", self.hours, math.isfinite(self.hours) and self.hours * 3600 > 2 * _WARNING, "more than 0.07"),
            ("cpus", self.cpus, self.cpus >= 1, "at least 1"),
            ("gpus", self.gpus, self.gpus in (None, 0, 1), "0 or 1: a trial trains on one GPU"),
        ):
            if not valid:
                raise UserError(f"--slurm.{name} must be {what}; got {value}")


class SlurmExecutor:
    """Runs jobs as SLURM jobs on nodes that share a file system and the working directory with this machine.

    Args:
        folder: Folder for the scripts and outputs of the SLURM jobs.
        slurm: Resources of each job.
        jobs: Jobs at a time, waiting or running; 0 for 32.
        accelerator: The option ``--trainer.accelerator`` of the jobs.

    Raises:
        UserError: submitit is not installed, or there is no SLURM here.
    """

    def __init__(self, folder: Path, slurm: Slurm, jobs: int = 0, accelerator: str = "auto") -> None:
        try:
            import submitit
        except ImportError as error:
            raise UserError("--executor slurm needs submitit: pip install 'dctnet[cluster]'") from error
        if missing := [name for name in ("sbatch", "srun", "scancel") if shutil.which(name) is None]:
            raise UserError(f"--executor slurm: {missing[0]} is not found; run this on a login node of a SLURM cluster")
        self._folder = folder.resolve()
        self._uncompleted = submitit.core.utils.UncompletedJobError
        self._unsubmitted = (self._uncompleted, submitit.core.utils.FailedSubmissionError, OSError)
        gpus = int(accelerator != "cpu") if slurm.gpus is None else slurm.gpus
        self._executor = submitit.SlurmExecutor(self._folder)
        self._executor.update_parameters(
            time=math.ceil(60 * slurm.hours), cpus_per_task=slurm.cpus, job_name="dctnet", stderr_to_stdout=True,
            **({"partition": slurm.partition} if slurm.partition else {}),
            **({"gpus_per_node": gpus} if gpus else {}),
            # SIGTERM reaches all processes of a job, of which a fit saves and ends with 75. A job that SLURM requeued
            # would resume from an old checkpoint, so that the study submits another one instead.
            additional_parameters={"signal": f"TERM@{_WARNING}", "no-requeue": True, **slurm.options},
        )  # fmt: skip
        self.jobs, self.threads = jobs or _JOBS, slurm.cpus
        self._lock = threading.RLock()  # as in the local executor
        self._submitted: dict[str, Any] = {}
        self._stopping = self._has_begun = False

    def run(self, job: Job) -> None:
        """Submits a job and returns when it has ended; raises as the interface."""
        with self._lock:
            if self._stopping:
                raise Stopped
            if not self._has_begun:
                self._stop_left_behind()
            submitted = self._submit(job)
            self._submitted[submitted.job_id] = submitted
        try:
            status = self._wait(submitted)
        finally:
            with self._lock:
                del self._submitted[submitted.job_id]
            submitted.paths.submitted_pickle.unlink(missing_ok=True)
        check_status(job, status, self._stopping)

    def _submit(self, job: Job) -> Any:
        try:
            return self._executor.submit(
                _run_on_node, job.command, str(job.log.resolve()), os.getcwd(), self.threads
            )  # fmt: skip
        except self._unsubmitted as error:
            raise RuntimeError(f"sbatch: {first_line(error)}") from error

    def _stop_left_behind(self) -> None:
        """Stops the jobs of an earlier run of the study that was killed; their trials resume in new jobs."""
        self._has_begun = True
        left = list(self._folder.glob("*_submitted.pkl"))
        _scancel(path.name.partition("_")[0] for path in left)
        for path in left:
            path.unlink(missing_ok=True)

    def _wait(self, submitted: Any) -> int:
        """Waits for a job; returns the status of its process."""
        # submitit would wait until a preempted job is requeued.
        while not (submitted.done() or submitted.state == "PREEMPTED" or self._is_cancelled(submitted)):
            time.sleep(_POLL)
        if self._is_cancelled(submitted):
            raise Stopped
        try:
            result = submitted.result() if submitted.done() else None
        except self._uncompleted:
            result = None
        if result is None and self._stopping:
            raise Stopped
        if result is None:
            what = f"SLURM job {submitted.job_id} ended as {submitted.state} ({submitted.paths.stdout})"
            raise (Interrupted if submitted.state.startswith(_LOST) else RuntimeError)(what)
        if isinstance(result, str):
            raise RuntimeError(f"on a node of the cluster: {result}")
        return result

    def _is_cancelled(self, submitted: Any) -> bool:
        """Whether a job was stopped before it started: SLURM has not opened its output."""
        return self._stopping and not submitted.paths.stdout.exists()

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends SIGTERM, whichever signal is given, to running jobs and cancels the waiting ones."""
        with self._lock:
            self._stopping = True
            _scancel(self._submitted)

    def kill(self) -> None:
        """Cancels all jobs; SLURM kills them after the time that it gives them."""
        with self._lock:
            self._stopping = True
            if self._submitted:
                subprocess.run(["scancel", *self._submitted], check=False, capture_output=True)


def _run_on_node(command: list[str], log: str, folder: str, threads: int) -> int | str:
    """Status of the process of a job, or why the node could not run it."""
    try:
        return NodeJob().run(command, log, folder, threads)
    except (OSError, RuntimeError) as error:
        return first_line(error)


def _scancel(ids: Iterable[str]) -> None:
    """Cancels jobs that wait and sends SIGTERM to those that run. Errors, as for those that have ended, are ignored."""
    if names := list(ids):
        for option in ("--state=PENDING", "--signal=TERM"):
            subprocess.run(["scancel", option, *names], check=False, capture_output=True)
