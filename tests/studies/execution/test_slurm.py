"""The SLURM executor with a stand-in for SLURM's commands: submission, failures, lost jobs, stops, jobs left behind."""

import fcntl
import os
import sys
import time
from pathlib import Path

import pytest
import submitit

from dctnet.cli.main import main
from dctnet.errors import Stopped, UserError
from dctnet.studies.execution import slurm
from dctnet.studies.execution.job import Interrupted
from dctnet.studies.execution.slurm import Slurm, SlurmExecutor, stop_left_behind
from tests.studies.execution.conftest import SAVES, TINY_STUDY, InThread, rows_without_times, wait_until
from tests.studies.execution.slurm_stand_in import slurm as stand_in

COMMANDS = ("sbatch", "srun", "scancel", "sacct")


def replace_command(folder, name, script):
    command = folder / "bin" / name
    command.parent.mkdir(exist_ok=True)
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


@pytest.fixture
def states(tmp_path, monkeypatch):
    """The folder of the stand-in's jobs, whose commands are first in the path."""
    if not Path("/proc").exists():
        pytest.skip("processes are looked up in /proc")
    states = tmp_path / "states"
    states.mkdir()
    for name in COMMANDS:
        replace_command(tmp_path, name, f'exec {sys.executable} {stand_in.__file__} {name} "$@"')
    monkeypatch.setattr(stand_in, "STATES", states)
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
        return SlurmExecutor(tmp_path, resources or Slurm(), 0, accelerator)

    return make


def started(made):
    return made.log.exists() and "started" in made.log.read_text()


def test_without_slurm_it_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="--executor slurm: sbatch is not found; run this on a login node of a SLURM"):
        SlurmExecutor(tmp_path, Slurm())
    for name in COMMANDS:
        replace_command(tmp_path, name, "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/bin")
    SlurmExecutor(tmp_path, Slurm())
    replace_command(tmp_path, "sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    message = "--executor slurm needs the accounting of SLURM; sacct ended with: Slurm accounting storage is disabled"
    with pytest.raises(UserError, match=message):
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
        ({"options": {"time": 5400}}, "--slurm.options: time: give --slurm.hours"),
        ({"options": {"gpus-per-node": 2}}, "--slurm.options: gpus-per-node: give --slurm.gpus"),
        ({"options": {"mem": "8G", "exclusive": False}}, "--slurm.options: exclusive must be text, an integer or true"),
        (
            {"options": {"nodelist": ["one"]}},
            r"--slurm.options: nodelist must be text, an integer or true; got \['one'",
        ),
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
    assert any(line.startswith("srun ") and " --cpus-per-task=3 " in line for line in lines)
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
    replace_command(tmp_path, "sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1")
    with pytest.raises(RuntimeError, match="sbatch: .*sbatch: error: invalid partition"):
        made.run(job(""))


@pytest.mark.parametrize(
    ("state", "error"), [("NODE_FAIL", Interrupted), ("PREEMPTED", Interrupted), ("FAILED", RuntimeError)]
)
def test_a_job_that_slurm_ended_without_a_result_is_interrupted_if_its_node_was_lost(
    executor, states, job, monkeypatch, state, error
):  # fmt: skip
    made = executor()
    monkeypatch.setattr(slurm, "_LATE", 0.1)
    running = job(SAVES)
    thread = InThread(made.run, running)
    wait_until(lambda: started(running))
    (states / "1000").write_text(state)
    stand_in.kill("1000")
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
    stop_left_behind(tmp_path)
    assert not list(tmp_path.glob("slurm/*_submitted.pkl"))
    executor().run(job("print('went on')"))
    assert (tmp_path / "saved").exists()
    assert running.log.read_text().split() == ["started", "went", "on"]


def test_jobs_that_were_left_behind_where_slurm_does_not_answer_are_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    stop_left_behind(tmp_path)
    (tmp_path / "slurm").mkdir()
    for number in (1002, 1001):
        (tmp_path / f"slurm/{number}_submitted.pkl").touch()
    with pytest.warns(UserWarning, match="SLURM jobs of an earlier run may still run; .*: scancel 1001 1002$"):
        stop_left_behind(tmp_path)
    assert len(list(tmp_path.glob("slurm/*_submitted.pkl"))) == 2
    replace_command(tmp_path, "scancel", "exec /bin/sleep 60")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(slurm, "_ANSWER", 0.1)
    with pytest.warns(UserWarning, match="SLURM jobs of an earlier run may still run; .*: scancel 1001 1002$"):
        stop_left_behind(tmp_path)
    assert len(list(tmp_path.glob("slurm/*_submitted.pkl"))) == 2


def test_a_job_that_waits_for_one_that_was_left_behind_can_be_stopped(executor, job, tmp_path):
    made, waits = executor(), job("print('ran')")
    with open(waits.log, "a") as left:
        fcntl.flock(left, fcntl.LOCK_EX)
        thread = InThread(made.run, waits)
        output = tmp_path / "slurm/1000_0_log.out"
        wait_until(lambda: output.exists() and "Loading pickle" in output.read_text())
        time.sleep(1)  # until it waits
        made.stop()
        assert isinstance(thread.error(20), Stopped)
    assert not waits.log.read_text()


def test_a_job_that_is_stopped_while_it_starts_does_not_outlive_the_study(executor, states, job, tmp_path):
    made, starts = executor(), job("print('ran')")
    (states / "prolog").write_text("")
    thread = InThread(made.run, starts)
    wait_until(lambda: (states / "1000").exists() and (states / "1000").read_text() == "RUNNING")
    wait_until(lambda: (tmp_path / "slurm/1000_submitted.pkl").exists())
    made.stop()
    assert isinstance(thread.error(20), Stopped)
    assert (states / "1000").read_text() == "CANCELLED"
    (states / "prolog").unlink()
    assert not starts.log.exists()


def test_a_stop_does_not_wait_for_a_submission_whose_job_is_cancelled(executor, states, job, tmp_path):
    made, submit = executor(), (tmp_path / "bin/sbatch").read_text().splitlines()[-1]
    (states / "hold").write_text("")
    waiting = f"touch {tmp_path}/called; for i in $(seq 600); do [ -e {tmp_path}/go ] && break; sleep 0.05; done"
    replace_command(tmp_path, "sbatch", f"{waiting}\n{submit}")
    thread = InThread(made.run, job("print('ran')"))
    wait_until(lambda: (tmp_path / "called").exists())
    assert InThread(made.stop).error(20) is None
    (tmp_path / "go").touch()
    assert isinstance(thread.error(20), Stopped)
    assert (states / "1000").read_text() == "CANCELLED"


def test_slurm_is_asked_for_the_states_of_all_jobs_once_at_a_time(executor, states, job, tmp_path):
    made, ask = executor(), (tmp_path / "bin/sacct").read_text().splitlines()[-1].removeprefix("exec ")
    (states / "hold").write_text("")
    alone = f"mkdir {tmp_path}/asking || touch {tmp_path}/overlap"
    replace_command(tmp_path, "sacct", f"{alone}; echo >> {tmp_path}/asked; {ask}; rmdir {tmp_path}/asking")
    threads = [InThread(made.run, job("print('ran')", name=f"job{i}")) for i in range(4)]
    wait_until(lambda: len(list(tmp_path.glob("slurm/*_submitted.pkl"))) == 4)
    made.stop()
    assert [type(thread.error()) for thread in threads] == [Stopped] * 4
    assert len((tmp_path / "asked").read_text()) > 2
    assert not (tmp_path / "overlap").exists()


def test_a_second_signal_ends_the_jobs_also_if_slurm_does_not_answer_the_first(
    executor, states, job, tmp_path, monkeypatch
):
    monkeypatch.setattr(slurm, "_ANSWER", 3.0)
    made, running = executor(), job(SAVES)
    thread = InThread(made.run, running)
    wait_until(lambda: started(running))
    scancel = (tmp_path / "bin/scancel").read_text()
    replace_command(tmp_path, "scancel", f"touch {tmp_path}/called; exec sleep 60")
    stopping = InThread(made.stop)
    wait_until(lambda: (tmp_path / "called").exists())
    (tmp_path / "bin/scancel").write_text(scancel)
    made.kill()  # does not wait for the first
    assert (states / "1000").read_text() == "CANCELLED"
    assert stopping.error(20) is None
    assert isinstance(thread.error(20), Stopped)


def test_a_node_that_cannot_import_dctnet_gives_the_reason(executor, job, tmp_path):
    (tmp_path / "broken/dctnet").mkdir(parents=True)
    (tmp_path / "broken/dctnet/__init__.py").write_text("raise ImportError('libfoo.so: cannot open')")
    srun = f'PYTHONPATH={tmp_path}/broken exec {sys.executable} {stand_in.__file__} srun "$@"'
    made = executor()
    replace_command(tmp_path, "srun", srun)
    with pytest.raises(RuntimeError, match="on a node of the cluster: ImportError: libfoo.so: cannot open .*_log.out"):
        made.run(job("print('ran')"))


@pytest.mark.slow
@pytest.mark.usefixtures("small_backbones")
def test_a_benchmark_has_the_rows_of_a_local_one_also_after_slurm_stopped_its_trials(states, folder, start):
    options = ["--arms", "[{choose: rgb_matched, channels: []}]", "--trainer.max_epochs", 40]
    process = start("slurm", "--executor", "slurm", *options)
    last = folder / "slurm/runs/rgb_matched-s0/version_0/last.ckpt"
    wait_until(lambda: process.poll() is not None or last.exists(), 200)
    stand_in.terminate("1000")  # as before the time limit
    assert process.wait(300) == 0, process.stderr.read()
    assert last.parents[1].joinpath("version_1").exists()
    assert [path.name for path in sorted(states.glob("1*"))] == ["1000", "1001", "1002"]  # two fits, one evaluation
    local = start("local-slurm", *options)
    assert local.wait(300) == 0, local.stderr.read()
    assert rows_without_times(folder / "slurm") == rows_without_times(folder / "local-slurm")


def test_a_study_of_the_laboratory_has_the_rows_of_one_process(states, tmp_path, capsys):
    for out, where in (("here", ()), ("slurm", ("--executor", "slurm", "--slurm.cpus", "1"))):
        assert main(["lab", "spectral-bias", *TINY_STUDY, "--out", str(tmp_path / out), *where]) == 0
    assert (tmp_path / "slurm/rows.csv").read_bytes() == (tmp_path / "here/rows.csv").read_bytes()
    assert len(list(states.glob("script-*"))) == 2
