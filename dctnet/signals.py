"""Signals that stop a run, and child processes, which leave signals to their parent and end with it."""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any, Self

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
# The same signal again within this time, in seconds, is one request: coreutils' timeout signals its child and then the
# child's group, and a scheduler that signals every process reaches a benchmark's trainings beside the benchmark itself.
_REPETITION = 0.2
_POLL = 0.5  # seconds between looks at the parent
_GRACE = 60.0  # seconds that a command has to stop after its parent has ended
_PARENT = "DCTNET_PARENT"  # environment variable of commands that end with their parent: its process id


class SignalRecorder:
    """Context manager that records SIGTERM, SIGINT and SIGUSR1; a second signal ends the process at once.

    The first signal is handled by Python, after the operation that the main thread is in. A thread watches for the
    second one, because a step can take longer than a user or a scheduler waits, and because only the time at which a
    signal arrives tells a repetition from a second one.

    Attributes:
        received: Number of the first signal, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._previous: dict[int, Any] = {}
        self._wakeup = -1  # writing end of a pipe, to which the interpreter writes the number of a signal on arrival
        self._previous_wakeup = -1

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            reader, self._wakeup = os.pipe()
            os.set_blocking(self._wakeup, False)
            threading.Thread(target=self._watch, args=(reader,), daemon=True).start()
            self._previous_wakeup = signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
            self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
            stop_with_parent(self)
        return self

    def __exit__(self, *_: object) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())
        if self._wakeup >= 0:
            signal.set_wakeup_fd(self._previous_wakeup)
            os.close(self._wakeup)  # ends the thread
            self._wakeup = -1

    def _handle(self, number: int, frame: Any) -> None:
        if self.received is None:
            self.received = number
            self.first()

    def _watch(self, reader: int) -> None:
        first, arrived = 0, 0.0
        while byte := os.read(reader, 1):
            number = byte[0]
            if number not in SIGNALS:
                continue
            if not first:
                first, arrived = number, time.monotonic()
            elif number != first or time.monotonic() - arrived > _REPETITION:
                self.second()
                with contextlib.suppress(OSError):  # the reader of standard error may have gone
                    os.write(2, b"dctnet: ended by a second signal; nothing was saved since the last checkpoint\n")
                os._exit(128 + number)
        os.close(reader)

    def first(self) -> None:
        """Called at the first signal, after it was recorded; to be overridden."""

    def second(self) -> None:
        """Called by a thread before a second signal ends the process; to be overridden."""


@contextlib.contextmanager
def blocked_signals() -> Iterator[None]:
    """Context in which this thread starts child processes that SIGTERM, SIGINT and SIGUSR1 do not reach.

    The mask is inherited, also by a new program, so that there is no moment at which a signal to the process group ends
    a child that has just started. :func:`stop_with_parent` unblocks them.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


@contextlib.contextmanager
def starting_workers(method: str | None = None) -> Iterator[None]:
    """Context in which multiprocessing starts workers that leave signals to their parent.

    Each worker must call :func:`follow_parent`, which ends it in time.

    Args:
        method: Start method of the workers; None for Python's default.
    """
    with blocked_signals():
        if (method or multiprocessing.get_start_method()) != "fork":
            # The process that multiprocessing starts with the first worker. It ends with its parent, too, but before
            # Python 3.13 its start unblocks signals.
            resource_tracker.ensure_running()
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if not hasattr(signal, "sigtimedwait"):  # macOS: follow_parent() cannot tell the parent's SIGTERM from others
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        yield


def follow_parent(*_: object) -> None:
    """Makes a worker process end with its parent, and when the parent terminates it; for a worker's initialisation."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # a fork server may have started before starting_workers()
    if not hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    first = os.getppid()  # the parent, or its fork server
    while os.getppid() == first and parent.is_alive():
        if not hasattr(signal, "sigtimedwait"):
            time.sleep(_POLL)
            continue
        received = signal.sigtimedwait(SIGNALS, _POLL)
        # Process.terminate(), by which multiprocessing and torch end workers when the parent exits.
        if received and received.si_signo == signal.SIGTERM and received.si_pid == parent.pid:
            break
    os._exit(0)


def ends_with_this_process() -> dict[str, str]:
    """Environment variables for a command of dctnet that stops when this process has ended."""
    return {_PARENT: str(os.getpid())}


def stop_with_parent(signals: SignalRecorder | None = None) -> None:
    """Makes a command stop, as by SIGTERM, when the process that started it ends.

    That is a process that used :func:`ends_with_this_process`, or torchrun, which SIGUSR1 kills. Commands that were
    started otherwise outlive their parent, such as a shell.

    A command that was started with :func:`blocked_signals` handles signals from then on.

    Args:
        signals: The recorder of a command that stops by itself; others are ended.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    parent = os.environ.pop(_PARENT, "")  # removed, because the children have another parent
    if not parent and "TORCHELASTIC_RUN_ID" in os.environ:
        parent = str(os.getppid())
    if parent:
        threading.Thread(target=_stop_with_parent, args=(int(parent), signals), daemon=True).start()


def _stop_with_parent(parent: int, signals: SignalRecorder | None) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    if signals is not None:
        signals.received = signals.received or signal.SIGTERM
        time.sleep(_GRACE)  # a rank can wait for its parent in a collective call
    os._exit(1)
