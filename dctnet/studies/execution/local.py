"""Processes side by side, each on its share of the machine."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import torch

from dctnet.errors import Stopped, UserError


class Workers:
    """Runs modules as processes and stops them together.

    Args:
        jobs: Processes at a time; 0 for one on each GPU, or on a machine without, one on each core up to four.
        accelerator: What the trainer was told.

    Raises:
        UserError: A number of jobs below 0, or no GPU where one is asked for.
    """

    def __init__(self, jobs: int, accelerator: str) -> None:
        gpus = torch.cuda.device_count()
        if accelerator in ("gpu", "cuda") and not gpus:
            raise UserError(f"--trainer.accelerator {accelerator}: torch finds no GPU here; dctnet doctor says more")
        if jobs < 0:
            raise UserError(f"--jobs must be at least 0, got {jobs}")
        on_gpu = gpus > 0 and accelerator != "cpu"
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.jobs = jobs or (gpus if on_gpu else min(cores, 4))
        self.threads = max(1, cores // self.jobs)
        # By the names that the caller gave them: on a shared machine the others are somebody else's.
        names = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        names = names if len(names) >= gpus and names[0] else [str(i) for i in range(gpus)]
        self.devices = [names[i % gpus] for i in range(self.jobs)] if on_gpu else []
        self.inherit: tuple[int, ...] = ()  # file descriptors that the processes keep open
        # Reentrant: the handler of a second signal may come while that of the first has it.
        self._lock = threading.RLock()
        self._children: set[subprocess.Popen] = set()
        self._stopping = False

    def process(self, command: list[str], log: Path, slot: int) -> None:
        """Runs a module in a process of its own until it ends.

        Args:
            command: Name of the module and its arguments.
            log: File to which what it says is added.
            slot: Which of the jobs; each has a GPU of its own.

        Raises:
            RuntimeError: It failed. The last line that it said, and where the rest is.
            Stopped: It did not come to its end because all were told to stop.
        """
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        if self.devices:
            environment["CUDA_VISIBLE_DEVICES"] = self.devices[slot]
        with open(log, "a") as file, self._lock:
            if self._stopping:
                raise Stopped
            # A session of its own: Ctrl-C would reach it beside our SIGTERM, and a second signal ends a fit unsaved.
            child = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=file, stderr=file, env=environment, pass_fds=self.inherit,
                start_new_session=True,
            )  # fmt: skip
            self._children.add(child)
        status = child.wait()
        with self._lock:
            self._children.discard(child)
            if status:
                _kill(child)  # what it did not take with it, such as the other ranks of a fit that was killed
            if status and self._stopping:
                raise Stopped
        if status:
            lines = log.read_text(errors="replace").strip().splitlines()
            what = f"killed by {signal.Signals(-status).name}" if status < 0 else f"status {status}"
            raise RuntimeError(f"{what}: {lines[-1][:200] if lines else ''} ({log})")

    def stop(self) -> None:
        """Tells all of them to stop, and lets none start any more; a fit saves first."""
        with self._lock:
            self._stopping = True
            for child in self._children:
                child.terminate()

    def kill(self) -> None:
        """Ends all of them at once, with the processes that they started, and lets none start any more."""
        with self._lock:
            self._stopping = True
            for child in self._children:
                _kill(child)


def _kill(child: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody left; macOS says so of zombies in this way
        os.killpg(child.pid, signal.SIGKILL)
