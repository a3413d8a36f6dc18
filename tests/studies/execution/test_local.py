"""Processes have their share of the machine, say why they failed, and stop together."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from dctnet.errors import Stopped, UserError
from dctnet.studies.execution.local import Workers
from dctnet.studies.execution.stopping import Stopping


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Makes a module of some code that a process can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(code):
        (tmp_path / "told.py").write_text(code)
        return "told"

    return make


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_asked_for():
    with pytest.raises(UserError, match="--trainer.accelerator gpu: torch finds no GPU here"):
        Workers(0, "gpu")


def test_each_job_has_a_gpu_of_its_own(monkeypatch, module, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    workers = Workers(0, "auto")
    assert workers.jobs == 3
    name = module("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])")
    for slot in range(3):
        workers.process([name], tmp_path / "log.txt", slot)
    assert (tmp_path / "log.txt").read_text().split() == ["0", "1", "2"]
    assert Workers(0, "cpu").devices == []


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert (Workers(0, "auto").jobs, Workers(0, "auto").threads) == (4, 4)
    assert Workers(5, "auto").threads == 3
    with pytest.raises(UserError, match="--jobs must be at least 0, got -1"):
        Workers(-1, "auto")


def test_a_failure_gives_status_last_line_and_log(module, tmp_path):
    name = module("import sys; print('first'); sys.exit('dctnet: no such folder')")
    with pytest.raises(RuntimeError, match=r"status 1: dctnet: no such folder \(.*log.txt\)"):
        Workers(1, "cpu").process([name], tmp_path / "log.txt", 0)
    name = module("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(RuntimeError, match="killed by SIGKILL"):
        Workers(1, "cpu").process([name], tmp_path / "log.txt", 0)


def test_stopping_ends_what_runs_and_starts_nothing_more(module, tmp_path):
    workers, name, failed = Workers(2, "cpu"), module("import time; print('up', flush=True); time.sleep(60)"), []

    def run():
        try:
            workers.process([name], tmp_path / "log.txt", 0)
        except Stopped as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while not ((tmp_path / "log.txt").exists() and "up" in (tmp_path / "log.txt").read_text()):
        time.sleep(0.02)
    workers.stop()
    thread.join(20)
    assert len(failed) == 1
    with pytest.raises(Stopped):
        workers.process([name], tmp_path / "log.txt", 0)


# Has a child of its own, and neither heeds what asks it to stop.
DEAF = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
print(os.getpid(), flush=True)
time.sleep(60)
"""


def pids(log):
    return [int(word) for word in log.read_text().split()] if log.exists() else []


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"  # nobody reaps it here
    except OSError:
        return True


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_second_signal_ends_it_at_once_and_leaves_nobody(module, tmp_path, second):
    name, log = module(DEAF), tmp_path / "log.txt"
    parent = os.fork()
    if not parent:  # a process with a main thread of its own, without the seconds that torch takes to be imported
        try:
            workers = Workers(1, "cpu")
            with Stopping() as stopping:
                stopping.leads(workers)
                threading.Thread(target=workers.process, args=([name], log, 0), daemon=True).start()
                while True:
                    time.sleep(0.1)
        finally:
            os._exit(1)
    until(lambda: len(pids(log)) == 2)
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.3)
    assert os.waitpid(parent, os.WNOHANG) == (0, 0)  # it waits for them
    os.kill(parent, second)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 128 + second
    until(lambda: all(map(gone, pids(log))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_before_there_are_processes_a_signal_stops_on_the_spot(number):
    words = rf"stopped by {number.name} before the first run; to go on, give the same command again"
    with Stopping(), pytest.raises(Stopped, match=words):
        signal.raise_signal(number)


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_a_process_that_is_killed_leaves_nobody_of_its_own(module, tmp_path):
    name, log, failed = module(DEAF), tmp_path / "log.txt", []

    def run():
        with pytest.raises(RuntimeError, match="killed by SIGKILL"):
            Workers(1, "cpu").process([name], log, 0)
        failed.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: len(pids(log)) == 2)
    os.kill(next(pid for pid in pids(log) if os.getpgid(pid) == pid), signal.SIGKILL)
    thread.join(20)
    assert failed
    until(lambda: all(map(gone, pids(log))))


def test_gpus_keep_the_names_that_the_caller_gave_them(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-3f")
    assert Workers(3, "auto").devices == ["5", "GPU-3f", "5"]
