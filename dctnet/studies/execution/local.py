"""The local executor: runs jobs as subprocesses, each with its share of the machine, and stops them together."""

import os
import signal
import threading

import torch

from dctnet.cores import available_cores
from dctnet.errors import Stopped, UserError
from dctnet.studies.execution.job import Job, failure
from dctnet.studies.execution.node import NodeJob


class LocalExecutor:
    """Runs jobs as subprocesses of this machine.

    Args:
        jobs: Jobs at a time; 0 for one per GPU or, without a GPU, one per core up to four.
        accelerator: The option ``--trainer.accelerator`` of the jobs.

    Raises:
        UserError: The accelerator is a GPU and there is none.
    """

    def __init__(self, jobs: int = 0, accelerator: str = "auto") -> None:
        gpus = torch.cuda.device_count()
        if accelerator in ("gpu", "cuda") and not gpus:
            raise UserError(f"--trainer.accelerator {accelerator}: torch finds no GPU here; run dctnet doctor")
        on_gpu = gpus > 0 and accelerator != "cpu"
        cores = available_cores()
        self.jobs = jobs or (gpus if on_gpu else min(cores, 4))
        self.threads = max(1, cores // self.jobs)
        # The names in CUDA_VISIBLE_DEVICES are kept: on a shared machine the other GPUs belong to other users.
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = names if len(names) >= gpus and names[0] else [str(i) for i in range(gpus)]
        self.devices = [names[slot % gpus] for slot in range(self.jobs)] if on_gpu else []
        # Reentrant: a signal handler calls stop(), also while the main thread stops the jobs after an exception.
        self._lock = threading.RLock()
        self._running: set[NodeJob] = set()
        self._stopping = False

    def run(self, job: Job) -> None:
        """Runs a job and returns when it has ended.

        Raises:
            RuntimeError: The job failed. Gives the last line of its output and the log file. Or a job of the same
                trial that was left behind does not end.
            Stopped: The job did not complete because :meth:`stop` was called.
        """
        running, device = NodeJob(), self.devices[job.slot] if self.devices else None
        with self._lock:
            if self._stopping:
                raise Stopped
            self._running.add(running)
        try:
            status = running.run(job.command, str(job.log), os.getcwd(), self.threads, device, job.keep_open)
        finally:
            with self._lock:
                self._running.discard(running)
        if status and self._stopping:
            raise Stopped
        if status:
            raise failure(job, status)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to all jobs and starts no further job; a fit saves a checkpoint before it ends."""
        with self._lock:
            self._stopping = True
            for running in self._running:
                running.stop(number)

    def kill(self) -> None:
        """Kills all jobs with their child processes and starts no further job."""
        self.stop(signal.SIGKILL)
