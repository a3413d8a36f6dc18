"""Processes have their share of the machine, say why they failed, and stop together."""

import os
import threading
import time

import pytest
import torch

from dctnet.errors import UserError
from dctnet.study.benchmark.workers import Workers


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
        except RuntimeError as error:
            failed.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    while not ((tmp_path / "log.txt").exists() and "up" in (tmp_path / "log.txt").read_text()):
        time.sleep(0.02)
    workers.stop()
    thread.join(20)
    assert "killed by SIGTERM" in failed[0]
    with pytest.raises(RuntimeError, match="stopped"):
        workers.process([name], tmp_path / "log.txt", 0)


def test_gpus_keep_the_names_that_the_caller_gave_them(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-3f")
    assert Workers(3, "auto").devices == ["5", "GPU-3f", "5"]
