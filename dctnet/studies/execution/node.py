"""A job on a node of a cluster, whose file system the nodes share with the machine that runs the study."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from dctnet.errors import Stopped
from dctnet.signals import ends_with_this_process
from dctnet.studies.execution.job import Interrupted, Job, failure, kill_group

_POLL = 0.5  # seconds between attempts to lock the log
_LEFT = 300.0  # seconds in which a job ends that lost its executor: it finishes a step and saves a checkpoint
# Statuses of a job that was told to stop: 75 after it has saved, or the signal if there was nothing to save.
_TOLD_TO_STOP = (os.EX_TEMPFAIL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGUSR1)


class NodeJob:
    """Runs the process of a job on the node of the caller; :meth:`stop` may be called meanwhile."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._stopping = False

    def run(self, command: list[str], log: str, folder: str, threads: int) -> int:
        """Runs a job and returns its status.

        The job holds a lock on its log. One of the same trial that was left behind, by a node that was cut off or a
        study that was killed, is awaited.

        Args:
            command: As that of :class:`~dctnet.studies.execution.job.Job`.
            log: Absolute path of the file to which standard output and error are appended.
            folder: Working directory.
            threads: Number of CPU threads.

        Raises:
            RuntimeError: A job that was left behind does not end.
            OSError: The node does not have the folder or the log.
        """
        with open(log, "a") as output:
            self._wait_for_lock(output)
            with self._lock:
                if self._stopping:
                    return os.EX_TEMPFAIL
                self._process = subprocess.Popen(
                    [sys.executable, "-m", *command], stdout=output, stderr=output, cwd=folder, start_new_session=True,
                    env={**os.environ, **ends_with_this_process(), "OMP_NUM_THREADS": str(threads)},
                )  # fmt: skip
        status = self._process.wait()
        if status:
            kill_group(self._process)  # processes that outlive it, such as the other ranks of a killed fit
        return status

    def _wait_for_lock(self, output: IO[str]) -> None:
        end = time.monotonic() + _LEFT
        while not self._stopping:
            try:
                return fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the job inherits it with its output
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise RuntimeError(f"a job that another run left behind still writes to {output.name}") from error
                time.sleep(_POLL)

    def stop(self, number: int) -> None:
        """Sends a signal to the process, and starts none."""
        with self._lock:
            self._stopping = True
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
