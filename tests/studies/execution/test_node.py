"""A job on a node: its status and output, signals, and the lock that keeps two of one trial apart."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dctnet.errors import Stopped
from dctnet.studies.execution import node
from dctnet.studies.execution.job import Interrupted
from dctnet.studies.execution.node import NodeJob, check_status
from tests.studies.execution.conftest import IGNORES_SIGTERM, SAVES, InThread, has_ended, pids, wait_until


def run(made, on=None, threads=1):
    return (on or NodeJob()).run(made.command, str(made.log), os.getcwd(), threads)


def test_a_job_runs_in_the_folder_with_its_threads_and_appends_to_its_log(job, tmp_path):
    made = job("import os, sys; print(os.getcwd(), os.environ['OMP_NUM_THREADS']); sys.exit(3)")
    assert [run(made, threads=2), run(made, threads=5)] == [3, 3]
    assert made.log.read_text().splitlines() == [f"{tmp_path} 2", f"{tmp_path} 5"]


def test_a_node_without_the_folders_is_an_error(job, tmp_path):
    made = job("pass")
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        NodeJob().run(made.command, str(made.log), str(tmp_path / "elsewhere"), 1)
    with pytest.raises(FileNotFoundError, match="elsewhere"):
        NodeJob().run(made.command, str(tmp_path / "elsewhere/log"), str(tmp_path), 1)


def test_a_signal_lets_a_job_save_and_none_starts_after_it(job, tmp_path):
    made, on = job(SAVES), NodeJob()
    statuses = []
    thread = InThread(lambda: statuses.append(run(made, on)))
    wait_until(lambda: made.log.exists() and made.log.read_text())
    on.stop(signal.SIGTERM)
    assert thread.error() is None
    assert statuses == [75]
    assert (tmp_path / "saved").exists()
    assert run(job("print('ran')", name="other"), on) == 75
    assert not (tmp_path / "other.log").read_text()


def test_a_signal_whose_handler_interrupts_the_start_of_a_job_reaches_it(job, monkeypatch):
    made, on, popen = job("import time; time.sleep(60)"), NodeJob(), subprocess.Popen

    def start(*args, **options):
        process = popen(*args, **options)
        on.stop(signal.SIGTERM)  # as a handler of the thread that starts it
        return process

    monkeypatch.setattr(subprocess, "Popen", start)
    assert run(made, on) == -signal.SIGTERM


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
def test_sigkill_reaches_the_children_of_a_job(job):
    made, on = job(IGNORES_SIGTERM), NodeJob()
    thread = InThread(run, made, on)
    wait_until(lambda: len(pids(made.log)) == 2)
    on.stop(signal.SIGKILL)
    assert thread.error() is None
    wait_until(lambda: all(map(has_ended, pids(made.log))))


def test_a_job_waits_for_one_of_the_same_trial_that_was_left_behind(job, monkeypatch):
    monkeypatch.setattr(node, "_POLL", 0.02)
    made = job("print('began', flush=True); import time; time.sleep(1); print('ended', flush=True)")
    first, second = InThread(run, made), InThread(run, made)
    assert first.error() is second.error() is None
    assert made.log.read_text().split() == ["began", "ended"] * 2
    # Also if only the process is left, as when its node is cut off.
    with open(made.log, "a") as log:
        node.fcntl.flock(log, node.fcntl.LOCK_EX)
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=log)
    monkeypatch.setattr(node, "_LEFT", 0.1)
    with pytest.raises(RuntimeError, match="a job that another run left behind still writes to .*job_code.log"):
        run(made)
    left.kill()
    left.wait()
    assert run(made) == 0


def test_a_job_ends_when_the_process_that_runs_it_is_killed(job, monkeypatch):
    monkeypatch.setattr(node, "_LEFT", 40.0)
    made = job(f"from dctnet.signals import stop_with_parent\nstop_with_parent()\n{SAVES}")
    code = (
        f"from dctnet.studies.execution.node import NodeJob; NodeJob().run({made.command}, {str(made.log)!r}, '.', 1)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: made.log.exists() and "started" in made.log.read_text())
    parent.kill()
    parent.wait()
    assert run(job("pass")) == 0  # gets the lock on the same log long before the other would have ended


@pytest.mark.parametrize("status", [75, -signal.SIGTERM, -signal.SIGUSR1, 128 + signal.SIGTERM])
def test_a_job_that_something_else_stopped_is_interrupted_and_one_that_failed_is_not(job, status):
    made = job("")
    made.log.write_text("dctnet: the reason\n")
    check_status(made, 0, False)
    with pytest.raises(Interrupted, match=r"dctnet: the reason \(.*job_code.log\)"):
        check_status(made, status, False)
    for failed, words in ((2, "status 2: dctnet: the reason"), (-signal.SIGKILL, "killed by SIGKILL")):
        with pytest.raises(RuntimeError, match=words) as caught:
            check_status(made, failed, False)
        assert not isinstance(caught.value, Interrupted)
    check_status(made, 0, True)  # completed before the signal arrived
    with pytest.raises(Stopped):
        check_status(made, status, True)
