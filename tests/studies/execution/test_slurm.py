"""The SLURM executor with a stand-in for SLURM's commands: submission, failures, lost jobs, stops, jobs left behind."""

import os
import signal
import sys
from pathlib import Path

import pytest

from dctnet.errors import Stopped, UserError
from dctnet.studies.execution import slurm
from dctnet.studies.execution.job import Interrupted
from dctnet.studies.execution.slurm import Slurm, SlurmExecutor
from tests.studies.execution.conftest import SAVES, InThread, rows_without_times, wait_until
from tests.studies.execution.slurm_stand_in.slurm import processes

STAND_IN = Path(__file__).parent / "slurm_stand_in/slurm.py"


@pytest.fixture
def states(tmp_path, monkeypatch):
    """The folder of the stand-in's jobs, whose commands are first in the path."""
    submitit = pytest.importorskip("submitit", reason="submitit is not installed")
    if not Path("/proc").exists():
        pytest.skip("processes are looked up in /proc")
    states = tmp_path / "states"
    states.mkdir()
    for name in ("sbatch", "srun", "scancel", "sacct"):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} {name} "$@"\n')
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_STAND_IN", str(states))
    monkeypatch.setattr(slurm, "_POLL", 0.05)
    # It remembers the states of jobs by number, which start again with each test.
    monkeypatch.setattr(submitit.SlurmJob, "watcher", type(submitit.SlurmJob.watcher)())
    return states


@pytest.fixture
def executor(states, tmp_path):
    """Makes an executor."""

    def make(resources=None, accelerator="cpu"):
        return SlurmExecutor(tmp_path / "slurm", resources or Slurm(), 0, accelerator)

    return make


def started(made):
    return made.log.exists() and "started" in made.log.read_text()


def test_without_slurm_it_is_one_line(monkeypatch, tmp_path):
    pytest.importorskip("submitit", reason="submitit is not installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--executor slurm: sbatch is not found; run this on a login node of a SLURM"):
        SlurmExecutor(tmp_path, Slurm())


def test_without_submitit_it_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"--executor slurm needs submitit: pip install 'dctnet\[cluster\]'"):
        SlurmExecutor(tmp_path, Slurm())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hours": 0.05}, "--slurm.hours must be more than 0.07; got 0.05"),
        ({"hours": float("nan")}, "--slurm.hours must be"),
        ({"cpus": 0}, "--slurm.cpus must be at least 1; got 0"),
        ({"gpus": 2}, "--slurm.gpus must be 0 or 1: a trial trains on one GPU; got 2"),
    ],
)
def test_invalid_resources_are_errors(options, message):
    with pytest.raises(UserError, match=message):
        Slurm(**options)


def test_a_job_runs_with_the_resources_asked_for(executor, states, job, tmp_path):
    resources = Slurm("gpu", 1.51, 3, options={"account": "vision", "mem": "8G"})
    made = job("import os; print(os.getcwd(), os.environ['OMP_NUM_THREADS'], os.environ['SLURM_JOB_ID'])")
    executor(resources, "auto").run(made)
    assert made.log.read_text().split() == [str(tmp_path), "3", "1000"]
    lines = set((states / "script-1000").read_text().splitlines())
    expected = ["partition=gpu", "time=91", "cpus-per-task=3", "gpus-per-node=1", "account=vision", "mem=8G"]
    assert {f"#SBATCH --{each}" for each in [*expected, "no-requeue", "signal=TERM@120"]} <= lines
    executor(None, "cpu").run(made)
    assert "gpus" not in (states / "script-1001").read_text()


def test_a_failed_job_gives_its_reason(executor, job, tmp_path):
    made = executor()
    with pytest.raises(RuntimeError, match=r"status 1: dctnet: no such folder \(.*job_code.log\)"):
        made.run(job("import sys; sys.exit('dctnet: no such folder')"))
    with pytest.raises(RuntimeError, match="on a node of the cluster: FileNotFoundError: .*nowhere"):
        made.run(type(each := job(""))(each.command, tmp_path / "nowhere/log"))
    with pytest.raises(Interrupted, match="status 75"):
        made.run(job("import sys; sys.exit(75)"))
    (tmp_path / "bin/sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    with pytest.raises(RuntimeError, match="sbatch: .*sbatch: error: invalid partition"):
        made.run(job(""))


@pytest.mark.parametrize(
    ("state", "error"), [("NODE_FAIL", Interrupted), ("PREEMPTED", Interrupted), ("FAILED", RuntimeError)]
)
def test_a_job_that_slurm_ended_without_a_result_is_interrupted_if_its_node_was_lost(
    executor, states, job, monkeypatch, state, error
):  # fmt: skip
    made = executor()
    monkeypatch.setattr(made._executor.job_class, "_results_timeout_s", 0)
    running = job(SAVES)
    thread = InThread(made.run, running)
    wait_until(lambda: started(running))
    (states / "1000").write_text(state)
    for pid in processes("1000"):
        os.kill(pid, signal.SIGKILL)
    assert type(found := thread.error()) is error
    assert f"SLURM job 1000 ended as {state} (" in str(found)


def test_stop_lets_running_jobs_save_and_cancels_those_that_wait(executor, states, job, tmp_path):
    made, running = executor(), job(SAVES)
    threads = [InThread(made.run, running)]
    wait_until(lambda: started(running))
    (states / "hold").write_text("")
    threads.append(InThread(made.run, job("print('ran')", name="waits")))
    wait_until(lambda: (states / "1001").exists() and (tmp_path / "slurm/1001_submitted.pkl").exists())
    made.stop()
    assert [type(thread.error()) for thread in threads] == [Stopped] * 2
    assert (tmp_path / "saved").exists()
    assert (states / "1001").read_text() == "CANCELLED"
    assert not (tmp_path / "waits.log").exists()
    with pytest.raises(Stopped):
        made.run(running)
    assert not list(tmp_path.glob("slurm/*_submitted.pkl"))


def test_jobs_that_a_killed_benchmark_left_behind_are_stopped_first(executor, states, job, tmp_path):
    running = job(SAVES)
    InThread(executor().run, running)  # has no part in what follows, as if it had been killed
    wait_until(lambda: started(running))
    executor().run(job("print('went on')"))
    assert (tmp_path / "saved").exists()
    assert running.log.read_text().split() == ["started", "went", "on"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones")
def test_a_benchmark_has_the_rows_of_a_local_one_also_after_slurm_stopped_its_trials(states, folder, start):
    options = ["--arms", "[{choose: rgb_matched, channels: []}]", "--trainer.max_epochs", 40]
    process = start("slurm", "--executor", "slurm", *options)
    last = folder / "slurm/runs/rgb_matched-s0/version_0/last.ckpt"
    wait_until(lambda: process.poll() is not None or last.exists(), 200)
    for pid in processes("1000"):  # as before the time limit
        os.kill(pid, signal.SIGTERM)
    assert process.wait(300) == 0, process.stderr.read()
    assert last.parents[1].joinpath("version_1").exists()
    assert [path.name for path in sorted(states.glob("1*"))] == ["1000", "1001", "1002"]  # two fits, one evaluation
    local = start("local-slurm", *options)
    assert local.wait(300) == 0, local.stderr.read()
    assert rows_without_times(folder / "slurm") == rows_without_times(folder / "local-slurm")
