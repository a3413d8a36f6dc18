"""The process of a job, on this machine or on a node of a cluster, and the lock that keeps two of a trial apart."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import IO

from dctnet.errors import Stopped
from dctnet.signals import SIGNALS, ends_with_this_process
from dctnet.studies.execution.job import Interrupted, Job, failure, kill_group

_POLL = 0.5  # seconds between attempts to lock the log
_LEFT = 300.0  # seconds in which a job ends that lost its executor: it finishes a step and saves a checkpoint
# Statuses of a job that was told to stop: 75 after it has saved, the signal if there was nothing to save, and 128 more
# than a second signal.
_TOLD_TO_STOP = (os.EX_TEMPFAIL, *(-number for number in SIGNALS), *(128 + number for number in SIGNALS))


def lock_log(log: IO[str], stopping: Callable[[], bool]) -> None:
    """Locks the log of a job until it is closed here and in all processes that inherited it.

    A job of the same trial that was left behind, by a node that was cut off or a study that was killed, is awaited.

    Args:
        log: The open file.
        stopping: Whether to give up, without the lock.

    Raises:
        RuntimeError: A job that was left behind does not end.
    """
    end = time.monotonic() + _LEFT
    while not stopping():
        try:
            return fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > end:
                raise RuntimeError(f"a job that another run left behind still writes to {log.name}") from error
            time.sleep(_POLL)


class NodeJob:
    """Runs the process of a job on the node of the caller; :meth:`stop` may be called meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # stop() may be called by a signal handler, which interrupts run()
        self._process: subprocess.Popen | None = None
        self._stopped_by = 0  # the signal

    def run(
        self, command: list[str], log: str, folder: str, threads: int,
        device: str | None = None, keep_open: Sequence[int] = (),
    ) -> int:  # fmt: skip
        """Runs a job, which holds the lock on its log, and returns its status.

        Args:
            command: As that of :class:`~dctnet.studies.execution.job.Job`.
            log: Absolute path of the file to which standard output and error are appended.
            folder: Working directory.
            threads: Number of CPU threads.
            device: The visible GPU, as in ``CUDA_VISIBLE_DEVICES``; None for those that are visible here.
            keep_open: File descriptors that the process inherits.

        Raises:
            RuntimeError: A job that was left behind does not end.
            OSError: The node does not have the folder or the log.
        """
        environment = {**os.environ, **ends_with_this_process(), "OMP_NUM_THREADS": str(threads)}
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        with open(log, "a") as output:
            lock_log(output, lambda: self._stopped_by > 0)
            with self._lock:
                if self._stopped_by:
                    return os.EX_TEMPFAIL
                # A session of its own: otherwise Ctrl-C reaches the job in addition to the signal of stop(), and a
                # second signal ends a fit without a checkpoint.
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *command], stdout=output, stderr=output, cwd=folder, env=environment,
                    pass_fds=keep_open, start_new_session=True,
                )  # fmt: skip
                if self._stopped_by:  # by a signal handler while the process was started
                    self.stop(self._stopped_by)
        status = self._process.wait()
        if status:
            kill_group(self._process)  # processes that outlive it, such as the other ranks of a killed fit
        return status

    def stop(self, number: int) -> None:
        """Sends a signal to the process, and starts none; SIGKILL also to its child processes."""
        with self._lock:
            self._stopped_by = number
            if self._process is None:
                return
            if number == signal.SIGKILL:
                kill_group(self._process)
            else:
                self._process.send_signal(number)


def check_status(job: Job, status: int, stopping: bool) -> None:
    """Raises if a job on a node has not completed.

    Raises:
        Stopped: The executor was stopped.
        Interrupted: The job was told to stop, but not by the executor.
        RuntimeError: The job failed.
    """
    if status and stopping:
        raise Stopped
    if status in _TOLD_TO_STOP:
        raise Interrupted(str(failure(job, status)))
    if status:
        raise failure(job, status)
