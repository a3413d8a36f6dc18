"""Jobs of a few lines of code."""

import os
import threading
import time
from pathlib import Path

import pytest

from dctnet.studies.execution.job import Job

# Forks a child; both ignore SIGTERM.
IGNORES_SIGTERM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(os.getpid(), flush=True)
time.sleep(60)
"""
# Ends as a fit that was told to stop: with 75, after it has saved.
SAVES = """
import pathlib, signal, sys, time

def save(*_):
    pathlib.Path("saved").write_text("")
    sys.exit(75)

signal.signal(signal.SIGTERM, save)
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Makes a job of some code, which is found in the working directory also by a node of a cluster."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(code, slot=0, name="job_code"):
        (tmp_path / f"{name}.py").write_text(code)
        return Job([name], tmp_path / f"{name}.log", slot)

    return make


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def pids(log):
    return [int(word) for word in log.read_text().split()] if log.exists() else []


def has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class InThread:
    """Calls a function in a thread; ``error()`` waits for it and returns what it raised."""

    def __init__(self, function, *args):
        self._error = None
        self._thread = threading.Thread(target=self._call, args=(function, *args), daemon=True)
        self._thread.start()

    def _call(self, function, *args):
        try:
            function(*args)
        except BaseException as error:
            self._error = error

    def error(self, timeout=60):
        self._thread.join(timeout)
        assert not self._thread.is_alive()
        return self._error
