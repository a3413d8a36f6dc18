"""The executor of SLURM, through submitit: each job is a SLURM job, submitted on a machine that has ``sbatch``."""

import contextlib
import math
import os
import shutil
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dctnet.errors import Stopped, UserError, first_line, printable
from dctnet.studies.execution.job import Interrupted, Job
from dctnet.studies.execution.node import NodeJob, check_status

_JOBS = 32  # in the queue, if not given
_POLL = 1.0  # seconds between looks at the result of a job; submitit asks SLURM for the state less often
_LATE = 15.0  # seconds until the result of a job that has ended is seen on a slow file system
_ANSWER = 10.0  # seconds for scancel
_WARNING = 120  # seconds before the time limit at which SLURM sends SIGTERM
# States of a job that ended without a result by no fault of its own.
_LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "TIMEOUT", "DEADLINE", "REVOKED")
# Options of sbatch that have an option here; YAML reads a time such as 1:30:00 as a number.
_OWN = {"partition": "partition", "time": "hours", "cpus_per_task": "cpus", "gpus_per_node": "gpus", "gpus": "gpus"}
_FOLDER = "slurm"  # in the results, for the scripts and outputs of the SLURM jobs


@dataclass
class Slurm:
    """Resources of each training on SLURM.

    Args:
        partition: The partition; the default of the cluster if not given.
        hours: Time limit; a longer training with checkpoints continues in another job.
        cpus: Cores.
        gpus: 1 or 0; by default 1, and 0 for trainings that need no GPU, as with ``--trainer.accelerator cpu``.
        options: Other options of ``sbatch`` by name, such as ``{account: vision, mem: 32G}``; ``true`` for one without
            a value.
    """

    partition: str | None = None
    hours: float = 4.0
    cpus: int = 4
    gpus: int | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, valid, what in (
            ("hours", self.hours, math.isfinite(self.hours) and self.hours * 3600 > 2 * _WARNING, "more than 0.07"),
            ("cpus", self.cpus, self.cpus >= 1, "at least 1"),
            ("gpus", self.gpus, self.gpus in (None, 0, 1), "0 or 1: a trial trains on one GPU"),
            *(
                (f"options: {option}", value, value is True or type(value) in (str, int), "text, an integer or true")
                for option, value in self.options.items()
            ),
        ):
            if not valid:
                raise UserError(f"--slurm.{name} must be {what}; got {value}")
        for option in self.options:
            if own := _OWN.get(option.replace("-", "_")):
                raise UserError(f"--slurm.options: {option}: give --slurm.{own}")


class SlurmExecutor:
    """Runs jobs as SLURM jobs on nodes that share a file system and the working directory with this machine.

    Args:
        out: Folder of the results.
        slurm: Resources of each job.
        jobs: Jobs at a time, waiting or running; 0 for 32.
        accelerator: The option ``--trainer.accelerator`` of the jobs.

    Raises:
        UserError: submitit is not installed, or there is no SLURM with accounting here.
    """

    def __init__(self, out: Path, slurm: Slurm, jobs: int = 0, accelerator: str = "auto") -> None:
        try:
            import submitit
        except ImportError as error:
            raise UserError("--executor slurm needs submitit: pip install 'dctnet[cluster]'") from error
        _check_commands()
        gpus = int(accelerator != "cpu") if slurm.gpus is None else slurm.gpus
        self._folder = (out / _FOLDER).resolve()
        self._executor = submitit.SlurmExecutor(self._folder)
        self._executor.update_parameters(
            time=math.ceil(60 * slurm.hours), cpus_per_task=slurm.cpus, job_name="dctnet", stderr_to_stdout=True,
            srun_args=[f"--cpus-per-task={slurm.cpus}"],  # srun takes it from the job only before SLURM 22.05
            **({"partition": slurm.partition} if slurm.partition else {}),
            **({"gpus_per_node": gpus} if gpus else {}),
            # A job that SLURM requeued would resume from an old checkpoint, so that the study submits another instead.
            additional_parameters={"signal": f"TERM@{_WARNING}", "no-requeue": True, **slurm.options},
        )  # fmt: skip
        self.jobs, self.threads = jobs or _JOBS, slurm.cpus
        self._submitit = threading.Lock()  # which is not made for threads
        # Reentrant: a signal handler calls stop(), also while the main thread stops the jobs after an exception.
        self._lock = threading.RLock()
        self._submitted: dict[str, Any] = {}
        self._stopping = False

    def run(self, job: Job) -> None:
        """Submits a job and returns when it has ended; raises as the interface."""
        submitted = self._submit(job)
        with self._lock:
            self._submitted[submitted.job_id] = submitted
        if self._stopping:  # stop() may have missed this job
            self._stop([submitted])
        try:
            status = self._wait(submitted)
        finally:
            with self._lock:
                del self._submitted[submitted.job_id]
        check_status(job, status, self._stopping)

    def _submit(self, job: Job) -> Any:
        with self._submitit:
            if self._stopping:
                raise Stopped
            try:
                arguments = job.command, str(job.log.resolve()), os.getcwd(), self.threads
                return self._executor.submit(_run_on_node, *arguments)
            except (RuntimeError, OSError) as error:
                raise RuntimeError(f"sbatch: {first_line(error)}") from error

    def _wait(self, submitted: Any) -> int:
        """Waits for a job; returns the status of its process."""
        late, paths = _LATE, submitted.paths
        while late > 0 and not paths.result_pickle.exists():
            if self._has_ended(submitted):
                late = 0 if self._stopping else late - _POLL
            time.sleep(_POLL)
        paths.submitted_pickle.unlink(missing_ok=True)
        if not paths.result_pickle.exists():
            if self._stopping:
                raise Stopped
            kind = Interrupted if submitted.state.startswith(_LOST) else RuntimeError
            raise kind(f"SLURM job {submitted.job_id} ended as {submitted.state} ({paths.stdout})")
        try:
            result = submitted.result()
        except RuntimeError as error:  # before _run_on_node(); the traceback is followed by a line of dashes and files
            trace = str(error).rpartition("\n---")[0] or str(error)
            last = trace.strip().splitlines()[-1][:200]
            raise RuntimeError(f"on a node of the cluster: {last} ({paths.stdout})") from None
        if isinstance(result, str):
            raise RuntimeError(f"on a node of the cluster: {result}")
        return result

    def _has_ended(self, submitted: Any) -> bool:
        with self._submitit:
            return submitted.done() or submitted.state == "PREEMPTED"  # submitit would wait until it is requeued

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends SIGTERM, for any signal, to running jobs and cancels the waiting ones."""
        self._stopping = True
        with self._lock:
            jobs = list(self._submitted.values())
        self._stop(jobs)

    def _stop(self, jobs: list[Any]) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            _scancel(self._folder, [each.job_id for each in jobs])
        for each in jobs:
            each.watcher.register_job(each.job_id)  # again: submitit asks for its state soon, not only after minutes

    def kill(self) -> None:
        """Cancels all jobs; SLURM kills them after the time that it gives them."""
        self._stopping = True
        with self._lock:
            ids = list(self._submitted)
        with contextlib.suppress(subprocess.TimeoutExpired):
            _call_scancel(ids)


def stop_left_behind(out: Path) -> None:
    """Stops the SLURM jobs that an earlier run of a study left behind; a warning if SLURM does not answer here.

    Args:
        out: Folder of the results.
    """
    left = {path.name.partition("_")[0]: path for path in (out / _FOLDER).glob("*_submitted.pkl")}
    try:
        _scancel(out / _FOLDER, left)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        command = f"scancel {' '.join(sorted(left))}"
        warnings.warn(f"SLURM jobs of an earlier run may still run; where SLURM is, end them: {command}", stacklevel=2)
        return
    for path in left.values():
        path.unlink(missing_ok=True)


def _check_commands() -> None:
    """Checks that the commands of SLURM are here, and that it records the states of jobs that have ended."""
    if missing := [name for name in ("sbatch", "srun", "scancel", "sacct") if shutil.which(name) is None]:
        raise UserError(f"--executor slurm: {missing[0]} is not found; run this on a login node of a SLURM cluster")
    answer = subprocess.run(["sacct", "--allocations"], check=False, capture_output=True, text=True)
    if answer.returncode:
        reason = printable(answer.stderr.strip()[:200])
        raise UserError(f"--executor slurm needs the accounting of SLURM; sacct ended with: {reason}")


def _run_on_node(command: list[str], log: str, folder: str, threads: int) -> int | str:
    """Status of the process of a job, or why the node could not run it."""
    job = NodeJob()
    # SLURM signals only the process that srun has started, which is this one, and submitit ignores SIGTERM.
    signal.signal(signal.SIGTERM, lambda number, _: job.stop(number))
    try:
        return job.run(command, log, folder, threads)
    except (OSError, RuntimeError) as error:
        return first_line(error)


def _scancel(folder: Path, ids: Collection[str]) -> None:
    """Sends SIGTERM to jobs that run, and cancels those that wait or have no output yet."""
    running = {each for each in ids if (folder / f"{each}_0_log.out").exists()}
    _call_scancel(running, "--signal=TERM")
    _call_scancel(set(ids) - running)


def _call_scancel(ids: Collection[str], *options: str) -> None:
    """Calls scancel. Errors, as for jobs that have ended, are ignored."""
    if ids:
        command = ["scancel", *options, *sorted(ids)]
        subprocess.run(command, check=False, timeout=_ANSWER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
