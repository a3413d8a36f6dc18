"""Jobs of a few lines of code, and benchmarks of tiny trials."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from dctnet.studies.execution.job import Job
from dctnet.studies.rows import read_rows
from tests.conftest import make_photos

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
# Options of the study spectral-bias for two trainings of a second.
TINY_STUDY = ("--steps", "40", "--width", "8", "--directions", "0", "--label_noise", "[]", "--seeds", "2")


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


GRID = {
    "seeds": [0],
    "arms": [{"choose": "learned", "channels": [6]}, {"choose": "rgb_matched"}, {"choose": "square", "channels": [6]}],
    "ranking": {"model": {"gate": "static", "keep": 6}},
    "data": {"image_size": 32, "batch_size": 6, "num_workers": 0},
    "model": {"backbone": "resnet18", "lr": 0.01},
    "trainer": {"max_epochs": 40, "accelerator": "cpu", "log_every_n_steps": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with ``photos`` and ``grid.yaml``."""
    folder = tmp_path_factory.mktemp("benchmark")
    make_photos(folder / "photos", 8, 4)
    # Relative: the nodes work in the directory of the benchmark.
    (folder / "grid.yaml").write_text(yaml.safe_dump({**GRID, "data": {**GRID["data"], "root": "photos"}}))
    return folder


@pytest.fixture
def start(folder):
    """Starts a benchmark, which is killed after the test if it still runs."""
    started = []

    def call(out, *more):
        command = [sys.executable, "-m", "dctnet", "benchmark", "--config", "grid.yaml", "--out", out, *map(str, more)]
        options = {"cwd": folder, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        started.append(subprocess.Popen(command, **options))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def rows_without_times(out):
    rows = [
        dataclasses.replace(row, seconds=0, images_per_second=0, finished="") for row in read_rows(out / "rows.csv")
    ]
    return sorted(rows, key=lambda row: row.name)
