"""A benchmark that is asked to stop: its processes save and end, it waits for them, and says how to go on."""

import signal
from typing import Any

from dctnet.errors import Stopped
from dctnet.studies.execution.local import Workers
from dctnet.training.preemption import SignalRecorder


class Stopping(SignalRecorder):
    """SIGTERM, SIGINT and SIGUSR1 stop the processes of a benchmark, while the context lasts.

    Before there are any, a signal raises :class:`Stopped` on the spot. Later it is noted, so that it does not end what
    is being written; a second one kills the processes with all that they started, and ends the benchmark at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._workers: Workers | None = None

    def leads(self, workers: Workers) -> None:
        """From here on a signal stops these, and whoever waits for them looks at ``came``."""
        self._workers = workers

    def stopped(self, done: str = "before the first run") -> Stopped:
        """What ends the benchmark, and what to do next in one line."""
        assert self.received is not None
        name = signal.Signals(self.received).name
        return Stopped(f"stopped by {name} {done}; to go on, give the same command again")

    def _handle(self, number: int, frame: Any) -> None:
        if self.received is not None and self._workers is not None:
            self._workers.kill()
        super()._handle(number, frame)
        if self._workers is None:
            raise self.stopped()
        self._workers.stop()
