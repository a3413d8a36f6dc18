"""Jobs of a study, the executors that run them, and the signals that stop them."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dctnet.errors import Stopped
from dctnet.signals import SignalRecorder


@dataclass(frozen=True)
class Job:
    """A Python module that runs in a process of its own."""

    command: list[str]  # name of the module and its arguments, as after python -m
    log: Path  # file to which standard output and error are appended
    slot: int = 0  # from 0 to one less than the executor's jobs; decides which GPU the job sees
    keep_open: tuple[int, ...] = ()  # file descriptors that a local process inherits


class Interrupted(RuntimeError):
    """A job ended by no fault of its own, such as the loss of its node; it can run again."""


class Executor(Protocol):
    """Runs jobs in processes of their own, here or on other machines.

    Attributes:
        jobs: Number of jobs at a time.
        threads: CPU threads of each job.
    """

    jobs: int
    threads: int

    def run(self, job: Job) -> None:
        """Runs a job and returns when it has ended; called by several threads at a time.

        Raises:
            RuntimeError: The job failed. Gives the last line of its output and the log file.
            Interrupted: The job was interrupted, but not by :meth:`stop`.
            Stopped: The job did not complete because :meth:`stop` was called.
        """

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to all jobs and starts no further job; a fit saves a checkpoint before it ends."""

    def kill(self) -> None:
        """Ends all jobs at once and starts no further job."""


def failure(job: Job, status: int) -> RuntimeError:
    """The error of a job that ended with a status other than 0; negative ones are signals."""
    lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    reason = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
    return RuntimeError(f"{reason}: {lines[-1][:200] if lines else ''} ({job.log})")


def kill_group(process: subprocess.Popen) -> None:
    """Kills the process group that a process leads, also after the process itself has ended."""
    # ProcessLookupError: the group is empty; macOS reports zombies as PermissionError.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


class StopSignals(SignalRecorder):
    """Context in which SIGTERM, SIGINT and SIGUSR1 stop the jobs of a study.

    Before :meth:`attach`, a signal raises :class:`Stopped` at once. Afterwards the first signal is recorded and stops
    the jobs, so that a file being written is completed; a second signal kills the jobs and ends this process.

    Attributes:
        received: Number of the first signal, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stop: Callable[[int], None] | None = None
        self._kill: Callable[[], None] | None = None

    def attach(self, stop: Callable[[int], None], kill: Callable[[], None]) -> None:
        """Sets what the first signal, with its number, and the second signal call."""
        self._stop, self._kill = stop, kill

    def record_only(self) -> None:
        """From now on, the first signal is only recorded, for a study in this process that looks for it."""
        self.attach(lambda _: None, lambda: None)

    def stopped(self, done: str = "before the first training") -> Stopped:
        """The exception that ends the study, with the progress and how to resume."""
        assert self.received is not None
        return Stopped(f"stopped by {signal.Signals(self.received).name} {done}; to resume, repeat the same command")

    def first(self) -> None:
        """Stops the jobs, or this process if there is none yet."""
        if self._stop is None:
            raise self.stopped()
        assert self.received is not None
        self._stop(self.received)

    def second(self) -> None:
        """Kills the jobs."""
        if self._kill is not None:
            self._kill()
