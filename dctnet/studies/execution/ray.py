"""The executor of a Ray cluster: each job occupies cores and a GPU of some node; those of a lost node can run again."""

import contextlib
import math
import os
import signal
import threading
from typing import Any

from dctnet.cluster import connect
from dctnet.errors import Stopped, UserError, first_line
from dctnet.studies.execution.job import Interrupted, Job
from dctnet.studies.execution.node import NodeJob, check_status

_ANSWER = 10.0  # seconds in which a job that has started confirms a signal


class RayExecutor:
    """Runs jobs on a Ray cluster, whose nodes share a file system and the working directory with this machine.

    Args:
        address: Of the head node, as HOST:PORT.
        jobs: Jobs at a time; 0 for one per GPU or, without a GPU, one per core up to four per node.
        accelerator: The option ``--trainer.accelerator`` of the jobs.

    Raises:
        UserError: No cluster answers, or its nodes have no cores or no GPU that the accelerator needs.
    """

    def __init__(self, address: str, jobs: int = 0, accelerator: str = "auto") -> None:
        handler = signal.getsignal(signal.SIGTERM)
        self._ray = connect(address)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray replaces it by one that exits without stopping the jobs
        try:
            slots, self.threads, gpus = self._slots(address, accelerator, jobs)
        except UserError:
            self.close()
            raise
        self.jobs = jobs or slots
        # An actor and not a task, because a task that runs cannot be told to save. Two calls at a time: run and stop.
        resources = {"num_cpus": self.threads, "num_gpus": gpus, "max_concurrency": 2}
        self._node_job = self._ray.remote(**resources)(NodeJob)
        # Reentrant: a signal handler calls stop(), also while the main thread stops the jobs after an exception.
        self._lock = threading.RLock()
        self._actors: set[Any] = set()
        self._stopping = False

    def _slots(self, address: str, accelerator: str, jobs: int) -> tuple[int, int, int]:
        """Number of jobs that the nodes run at a time, and the cores and GPUs of each; fewer jobs have more cores."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        on_gpu = accelerator != "cpu" and any(node.get("GPU") for node in nodes)
        if accelerator in ("gpu", "cuda") and not on_gpu:
            raise UserError(f"--trainer.accelerator {accelerator}: no node of --address {address} has a GPU")
        cores = [int(node.get("CPU", 0)) for node in nodes]
        slots = [min(most, int(node.get("GPU", 0)) if on_gpu else 4) for most, node in zip(cores, nodes, strict=True)]
        if jobs:
            share = math.ceil(jobs / max(1, sum(map(bool, slots))))  # of a node
            slots = [min(slot, share) for slot in slots]
        if not any(slots):
            raise UserError(f"--address {address}: no node of the cluster has cores for a trial; ray status lists them")
        return sum(slots), min(most // slot for most, slot in zip(cores, slots, strict=True) if slot), int(on_gpu)

    def run(self, job: Job) -> None:
        """Runs a job on a node that is free, and returns when it has ended; raises as the interface."""
        with self._lock:
            if self._stopping:
                raise Stopped
            actor = self._node_job.remote()
            self._actors.add(actor)
        try:
            status = self._ray.get(actor.run.remote(job.command, str(job.log.resolve()), os.getcwd(), self.threads))
        except self._ray.exceptions.RayTaskError as error:  # raised on the node
            raise RuntimeError(f"on a node of the cluster: {first_line(error.cause)}") from None
        except self._ray.exceptions.RayError as error:
            if self._stopping:
                raise Stopped from error
            raise Interrupted(f"lost its node: {first_line(error)}") from error
        finally:
            with self._lock:
                self._actors.discard(actor)
            self._ray.kill(actor)  # frees its cores and GPU now
        check_status(job, status, self._stopping)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal to all jobs, cancels those that wait for a node, and starts no further job."""
        self._signal(number, _ANSWER)

    def kill(self) -> None:
        """Kills all jobs with their child processes and starts no further job."""
        self._signal(signal.SIGKILL, 2.0)

    def _signal(self, number: int, seconds: float) -> None:
        with self._lock:
            self._stopping = True
            answers = {actor.stop.remote(int(number)): actor for actor in self._actors}
        if answers:
            _, silent = self._ray.wait(list(answers), num_returns=len(answers), timeout=seconds)
            for answer in silent:  # it waits for a node, or its node does not answer; its process ends with it
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.kill(answers[answer])

    def close(self) -> None:
        """Leaves the cluster."""
        self._ray.shutdown()
