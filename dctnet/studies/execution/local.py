"""The local executor: runs jobs as subprocesses, each with its share of the machine, and stops them together."""

import os
import signal
import subprocess
import sys
import threading

import torch

from dctnet.errors import Stopped, UserError
from dctnet.signals import ends_with_this_process
from dctnet.studies.execution.job import Job, failure, kill_group


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
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jobs = jobs or (gpus if on_gpu else min(cores, 4))
        self.threads = max(1, cores // self.jobs)
        # The names in CUDA_VISIBLE_DEVICES are kept: on a shared machine the other GPUs belong to other users.
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = names if len(names) >= gpus and names[0] else [str(i) for i in range(gpus)]
        self.devices = [names[slot % gpus] for slot in range(self.jobs)] if on_gpu else []
        # Reentrant: the handler of a second signal can interrupt that of the first one while it holds the lock.
        self._lock = threading.RLock()
        self._processes: set[subprocess.Popen] = set()
        self._stopping = False

    def environment(self, slot: int) -> dict[str, str]:
        """Environment variables of the jobs in a slot: number of threads and visible GPU."""
        environment = {**os.environ, **ends_with_this_process(), "OMP_NUM_THREADS": str(self.threads)}
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[slot]
        return environment

    def run(self, job: Job) -> None:
        """Runs a job and returns when it has ended.

        Raises:
            RuntimeError: The job failed. Gives the last line of its output and the log file.
            Stopped: The job did not complete because :meth:`stop` was called.
        """
        with open(job.log, "a") as log, self._lock:
            if self._stopping:
                raise Stopped
            # A session of its own: otherwise Ctrl-C reaches the job in addition to the SIGTERM of stop(), and a second
            # signal ends a fit without a checkpoint.
            process = subprocess.Popen(
                [sys.executable, "-m", *job.command], stdout=log, stderr=log, env=self.environment(job.slot),
                pass_fds=job.keep_open, start_new_session=True,
            )  # fmt: skip
            self._processes.add(process)
        status = process.wait()
        with self._lock:
            self._processes.discard(process)
            if status:
                kill_group(process)  # processes that outlive it, such as the other ranks of a killed fit
            if status and self._stopping:
                raise Stopped
        if status:
            raise failure(job, status)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to all jobs and starts no further job; a fit saves a checkpoint before it ends."""
        with self._lock:
            self._stopping = True
            for process in self._processes:
                process.send_signal(number)

    def kill(self) -> None:
        """Kills all jobs with their child processes and starts no further job."""
        with self._lock:
            self._stopping = True
            for process in self._processes:
                kill_group(process)
