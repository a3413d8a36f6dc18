"""Jobs of a study, and the signals that stop them."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dctnet.errors import Stopped
from dctnet.signals import SignalRecorder


@dataclass(frozen=True)
class Job:
    """A Python module that runs in a process of its own."""

    command: list[str]  # name of the module and its arguments, as after python -m
    log: Path  # file to which standard output and error are appended
    slot: int = 0  # from 0 to one less than the executor's jobs; decides which GPU the job sees
    keep_open: tuple[int, ...] = ()  # file descriptors that a local process inherits


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

    def stopped(self, done: str = "before the first trial") -> Stopped:
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
