"""Runs the tasks of a study in the slots of an executor, until all have ended or a signal has come."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Generic, TypeVar

from dctnet.errors import Stopped
from dctnet.studies.execution.job import Executor, Interrupted, StopSignals

_POLL = 2.0  # seconds between updates of the progress
_ATTEMPTS = 10  # without progress, of a task whose node is lost, or that a scheduler stops

Task = TypeVar("Task")


class Pool(Generic[Task]):
    """Tasks that wait and run, at most as many at a time as the executor has slots.

    Args:
        executor: Runs the jobs of the tasks.
        signals: Recorder of the signals that stop them.
        tasks: The tasks, in the order in which they start.

    Attributes:
        waiting: Tasks that have not started, or that were stopped.
    """

    def __init__(self, executor: Executor, signals: StopSignals, tasks: Iterable[Task]) -> None:
        self.executor, self.signals, self.waiting = executor, signals, list(tasks)
        self._slots: dict[Future, tuple[Task, int]] = {}

    @property
    def running(self) -> list[Task]:
        """Tasks that have started and not ended."""
        return [task for task, _ in self._slots.values()]

    def run(
        self,
        work: Callable[[Task, int], Any],
        collect: Callable[[Task, Future], None],
        update: Callable[[], None] = lambda: None,
        ready: Callable[[Task], bool] = lambda _: True,
    ) -> None:
        """Runs all tasks, or, after a signal, those that have started; the others are left in ``waiting``.

        Args:
            work: Runs a task in a slot, by jobs of the executor; called in a thread.
            collect: Called with each task that has completed or failed.
            update: Called every two seconds, and when a task has ended.
            ready: Whether a task can start.
        """
        free = list(range(self.executor.jobs))
        self.signals.attach(self.executor.stop, self.executor.kill)
        with ThreadPoolExecutor(self.executor.jobs) as threads:
            try:
                # After a signal no task is started, and the running ones are awaited: some may still complete.
                while self._slots or (self.waiting and self.signals.received is None):
                    for task in [task for task in self.waiting if ready(task)][: len(free)]:
                        if self.signals.received is None:
                            self.waiting.remove(task)
                            slot = free.pop()
                            self._slots[threads.submit(work, task, slot)] = task, slot
                    for future in wait(self._slots, _POLL, FIRST_COMPLETED).done:
                        task, slot = self._slots.pop(future)
                        free.append(slot)
                        if self._was_stopped(future):
                            self.waiting.append(task)
                        else:
                            collect(task, future)
                    update()
            except BaseException:
                self.executor.stop()
                raise

    def _was_stopped(self, future: Future) -> bool:
        # A scheduler can signal the jobs too, some of which end by it before the executor stops them.
        error = future.exception()
        return isinstance(error, Stopped) or (error is not None and self.signals.received is not None)


def retry(attempt: Callable[[], Any], progress: Callable[[], int] = lambda: 0) -> Any:
    """Attempts a task again each time that it is interrupted, and returns what it returns.

    Args:
        attempt: Runs what is left of the task.
        progress: A number that changes when an attempt has done something that remains.

    Raises:
        RuntimeError: It was interrupted ten times without progress, or failed.
    """
    attempts, done = 0, -1
    while True:
        try:
            return attempt()
        except Interrupted as error:
            before, done = done, progress()
            attempts = attempts + 1 if done == before else 1
            if attempts == _ATTEMPTS:
                raise RuntimeError(f"interrupted {attempts} times without progress; the last: {error}") from error
