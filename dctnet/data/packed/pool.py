"""Worker processes of a packing."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch

from dctnet.errors import UserError
from dctnet.signals import follow_parent, starting_workers


class _Pool(ProcessPoolExecutor):
    """Workers that leave signals to this process, which starts one with a task as long as there are too few."""

    def __init__(self, workers: int, context: BaseContext) -> None:
        super().__init__(workers, context, _start_worker)
        self._method = context.get_start_method()

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        """As that of the base class; ``map`` calls it too."""
        with starting_workers(self._method):
            return super().submit(fn, *args, **kwargs)


@contextlib.contextmanager
def worker_pool(workers: int, folder: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes with one thread each, for a packing to ``folder``.

    Raises:
        UserError: One of them died.
    """
    with _Pool(workers, _worker_context()) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise UserError(
                f"{folder}: a worker process died; run the command again, with fewer --workers if memory ran out"
            ) from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _worker_context() -> BaseContext:
    """Starts workers by a fork server, which imports torch once, so that they share its memory.

    Forked from this process, they would copy locks that torch's threads may hold.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dctnet.data.packed.workers"])
    return context


def _start_worker() -> None:
    torch.set_num_threads(1)
    follow_parent()
