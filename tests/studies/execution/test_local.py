"""The local executor: each job has its share of the machine, failures give a reason, jobs stop together."""

import fcntl
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from dctnet.errors import Stopped, UserError
from dctnet.studies.execution.job import Job, StopSignals
from dctnet.studies.execution.local import LocalExecutor
from tests.studies.execution.conftest import IGNORES_SIGTERM, InThread, has_ended, pids, wait_until

needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_accelerator_that_does_not_exist_is_an_error():
    with pytest.raises(UserError, match="--trainer.accelerator gpu: torch finds no GPU here"):
        LocalExecutor(0, "gpu")


def test_each_slot_has_a_gpu(monkeypatch, job, tmp_path):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    executor = LocalExecutor()
    assert executor.jobs == 3
    for slot in range(3):
        executor.run(job("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", slot))
    assert (tmp_path / "job_code.log").read_text().split() == ["0", "1", "2"]
    assert LocalExecutor(0, "cpu").devices == []


def test_gpus_keep_their_names_in_cuda_visible_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-3f")
    assert LocalExecutor(3).devices == ["5", "GPU-3f", "5"]


def test_cores_are_divided_among_jobs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    assert (LocalExecutor().jobs, LocalExecutor().threads) == (4, 4)
    assert LocalExecutor(5).threads == 3


def test_a_failure_gives_status_last_line_and_log(job):
    with pytest.raises(RuntimeError, match=r"status 1: dctnet: no such folder \(.*job_code.log\)"):
        LocalExecutor(1, "cpu").run(job("import sys; print('first'); sys.exit('dctnet: no such folder')"))
    with pytest.raises(RuntimeError, match="killed by SIGKILL"):
        LocalExecutor(1, "cpu").run(job("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"))


def test_stop_ends_running_jobs_and_starts_no_others(job, tmp_path):
    executor, sleep, stopped = LocalExecutor(2, "cpu"), job("import time; print(1, flush=True); time.sleep(60)"), []

    def run():
        with pytest.raises(Stopped):
            executor.run(sleep)
        stopped.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: pids(tmp_path / "job_code.log"))
    executor.stop()
    thread.join(20)
    assert stopped
    with pytest.raises(Stopped):
        executor.run(sleep)


def test_a_job_waits_for_one_of_the_same_trial_that_was_left_behind(job):
    made = job("print('ran')")
    executor = LocalExecutor(1, "cpu")
    with open(made.log, "a") as left:  # by a cluster, for example
        fcntl.flock(left, fcntl.LOCK_EX)
        thread = InThread(executor.run, made)
        time.sleep(1)
        left.write("ended\n")
    assert thread.error() is None
    assert made.log.read_text().split() == ["ended", "ran"]


def test_a_job_inherits_the_descriptors_to_keep_open(job, tmp_path):
    with open(tmp_path / "lock", "w") as lock:
        made = job(f"import os; os.fstat({lock.fileno()})")
        LocalExecutor(1, "cpu").run(Job(made.command, made.log, 0, (lock.fileno(),)))
        with pytest.raises(RuntimeError, match="Bad file descriptor"):
            LocalExecutor(1, "cpu").run(made)


@needs_proc
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_second_signal_kills_all_processes_at_once(job, tmp_path, second):
    made, log = job(IGNORES_SIGTERM), tmp_path / "job_code.log"
    parent = os.fork()
    if not parent:  # a process with a main thread, without the seconds that importing torch takes
        try:
            executor = LocalExecutor(1, "cpu")
            with StopSignals() as signals:
                signals.attach(executor.stop, executor.kill)
                threading.Thread(target=executor.run, args=(made,), daemon=True).start()
                while True:
                    time.sleep(0.1)
        finally:
            os._exit(1)
    wait_until(lambda: len(pids(log)) == 2)
    os.kill(parent, signal.SIGTERM)
    time.sleep(0.5)
    assert os.waitpid(parent, os.WNOHANG) == (0, 0)  # still waits for the job
    os.kill(parent, second)
    assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == 128 + second
    wait_until(lambda: all(map(has_ended, pids(log))))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_before_the_first_job_stops_at_once(number):
    message = rf"stopped by {number.name} before the first training; to resume, repeat the same command"
    with StopSignals(), pytest.raises(Stopped, match=message):
        signal.raise_signal(number)


@needs_proc
def test_processes_of_a_killed_job_are_killed(job, tmp_path):
    log, failed = tmp_path / "job_code.log", []
    made = job(IGNORES_SIGTERM)

    def run():
        with pytest.raises(RuntimeError, match="killed by SIGKILL"):
            LocalExecutor(1, "cpu").run(made)
        failed.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(pids(log)) == 2)
    os.kill(next(pid for pid in pids(log) if os.getpgid(pid) == pid), signal.SIGKILL)
    thread.join(20)
    assert failed
    wait_until(lambda: all(map(has_ended, pids(log))))
