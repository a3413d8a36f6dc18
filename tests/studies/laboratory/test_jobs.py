"""Units of a study in processes of their own: rows as in one process, failures, interruptions, signals."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dctnet.cli.main import main
from dctnet.errors import Stopped, UserError
from dctnet.studies.execution.job import Interrupted, StopSignals
from dctnet.studies.laboratory.jobs import Jobs, OneUnit
from dctnet.studies.laboratory.study import Study
from tests.studies.execution.conftest import TINY_STUDY

COLUMNS = ("name", "value")
NAMES = ("a", "b/1", "b/2", "c d")


def units():
    return {name: lambda name=name: [{"name": name, "value": 1 / (3 + n)} for n in range(2)] for name in NAMES}


class StubExecutor:
    """Measures units in this process; ``effects`` are functions to call before that of a unit."""

    threads = 1

    def __init__(self, jobs=2, effects=None):
        self.jobs, self.effects, self.ran, self.stopped = jobs, effects or {}, [], threading.Event()

    def run(self, job):
        name = job.command[3].removeprefix("--unit=")
        job.log.write_text("started\n")
        if self.stopped.is_set():
            raise Stopped
        self.ran.append(name)
        self.effects.get(name, lambda: None)()
        with contextlib.suppress(SystemExit):
            Study("tested", job.log.parents[1], COLUMNS, {}).run(units(), OneUnit(name))

    def stop(self, number=signal.SIGTERM):
        self.stopped.set()

    kill = stop


def run(out, executor):
    with StopSignals() as signals:
        study = Study("tested", out, COLUMNS, {}, signals=signals)
        study.run(units(), Jobs(executor, signals, ["tested"]))
    return study


def test_rows_are_those_of_one_process_in_the_same_order(tmp_path):
    here = Study("tested", tmp_path / "here", COLUMNS, {})
    here.run(units())
    executor = StubExecutor(3, {"a": lambda: threading.Event().wait(0.2)})  # ends last
    study = run(tmp_path / "jobs", executor)
    assert study.rows == here.rows
    assert (tmp_path / "jobs/rows.csv").read_bytes() == (tmp_path / "here/rows.csv").read_bytes()
    assert sorted(executor.ran) == sorted(NAMES)
    assert sorted(os.listdir(tmp_path / "jobs")) == [".dctnet", ".lock", "rows.csv", "study.json"]
    content = json.loads((tmp_path / "jobs/study.json").read_text())
    assert "processes of the executor 'stub'" in content["machine"]


def test_quick_units_are_measured_in_this_process(tmp_path):
    executor = StubExecutor()
    with StopSignals() as signals:
        study = Study("tested", tmp_path, COLUMNS, {}, signals=signals)
        study.run(units(), Jobs(executor, signals, ["tested"]), quick=["b/1", "c d"])
    assert sorted(executor.ran) == ["a", "b/2"]
    assert [row["unit"] for row in study.rows] == [name for name in NAMES for _ in range(2)]


def test_a_unit_that_fails_is_named_and_the_others_are_recorded(tmp_path):
    def fail():
        raise RuntimeError("status 2: dctnet: diverged")

    message = "^b/1 failed: status 2: dctnet: diverged"
    with pytest.raises(UserError, match=message):
        run(tmp_path, StubExecutor(effects={"b/1": fail}))
    assert os.listdir(tmp_path / "units") == ["b%2F1.log"]
    again = StubExecutor()
    run(tmp_path, again)
    assert again.ran == ["b/1"]
    assert not (tmp_path / "units").exists()


def test_an_interrupted_unit_is_measured_again_and_one_without_rows_fails(tmp_path):
    lost = iter([Interrupted("lost its node")])

    def lose():
        for error in lost:
            raise error

    executor = StubExecutor(1, {"a": lose})
    run(tmp_path / "out", executor)
    assert executor.ran == ["a", *NAMES]

    executor = StubExecutor(1)
    executor.run = lambda job: None
    with pytest.raises(UserError, match="^4 units failed, such as a: ended without its rows"):
        run(tmp_path / "empty", executor)


def test_a_signal_stops_the_jobs_and_the_rest_follows(tmp_path):
    executor = StubExecutor(1, {"b/1": lambda: signal.raise_signal(signal.SIGTERM)})
    with pytest.raises(Stopped, match="stopped by SIGTERM after [12] of 4 units; to resume, repeat the same command"):
        run(tmp_path, executor)
    assert executor.stopped.is_set()
    again = StubExecutor()
    assert [row["unit"] for row in run(tmp_path, again).rows] == [name for name in NAMES for _ in range(2)]
    assert sorted({*executor.ran, *again.ran}) == sorted(NAMES)


def test_a_study_with_jobs_has_the_rows_and_the_answers_of_one_process(tmp_path, capsys):
    for out, jobs in (("here", ()), ("jobs", ("--jobs", "2"))):
        assert main(["lab", "spectral-bias", *TINY_STUDY, "--out", str(tmp_path / out), *jobs]) == 0
        assert capsys.readouterr().out == f"report: {tmp_path / out / 'report.html'}\n"
    assert (tmp_path / "jobs/rows.csv").read_bytes() == (tmp_path / "here/rows.csv").read_bytes()


def test_a_training_that_fails_in_its_process_is_one_line(tmp_path, capsys):
    options = (*TINY_STUDY[:-1], "1", "--lr", "1e30", "--optimizer", "sgd", "--jobs", "1")
    assert main(["lab", "spectral-bias", *options, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dctnet: base/seed 0 failed: status 2: dctnet: ")
    assert "diverge" in error


def test_a_study_in_use_is_refused_and_keeps_its_rows(tmp_path):
    def again():
        with pytest.raises(UserError, match="in use by another study"):
            run(tmp_path, StubExecutor())

    study = run(tmp_path, StubExecutor(1, {"b/2": again}))
    assert Study("tested", tmp_path, COLUMNS, {}).rows == study.rows


@pytest.mark.skipif(not Path("/proc").exists(), reason="caught signals are looked up in /proc")
@pytest.mark.parametrize("more", [(), ("--jobs", "1"), ("--unit=base/seed 0",)])
def test_a_signal_before_the_first_training_stops_the_study(tmp_path, more):
    command = [
        sys.executable,
        "-m",
        "dctnet",
        "lab",
        "spectral-bias",
        *TINY_STUDY,
        "--out",
        str(tmp_path / "out"),
        *more,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    caught = 1 << (signal.SIGTERM - 1)
    while not int(re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())[1], 16) & caught:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (75, "")
    assert error.startswith("dctnet: stopped by SIGTERM ")


def test_a_unit_that_the_study_does_not_have_is_one_line(tmp_path, capsys):
    assert main(["lab", "spectral-bias", *TINY_STUDY, "--out", str(tmp_path / "out"), "--unit", "nope"]) == 2
    assert capsys.readouterr().err == "dctnet: --unit nope: of those, the study has none to measure\n"
    assert main(["lab", "spectral-bias", *TINY_STUDY, "--out", str(tmp_path / "out"), "--units", "3"]) == 2
    assert "Did you mean 'unit'" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "-1"], "--jobs must be at least 0, got -1"),
        (["--executor", "ray"], "--executor ray needs --address HOST:PORT of the head node"),
        (["--slurm.cpus", "2"], "--slurm: resources of trainings on SLURM, needs --executor slurm"),
    ],
)
def test_options_of_another_executor_are_refused(tmp_path, capsys, options, message):
    assert main(["lab", "gate-causes", "--out", str(tmp_path / "out"), *options]) == 2
    assert capsys.readouterr().err == f"dctnet: {message}\n"
    assert not (tmp_path / "out").exists()
