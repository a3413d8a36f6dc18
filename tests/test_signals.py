"""Signals to the process group reach the command, not its workers; children end with their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dctnet.signals import SIGNALS, blocked_signals
from tests.stress.dead_helpers import processes

needs_proc = pytest.mark.skipif(not Path("/proc").exists(), reason="processes are looked up in /proc")
READS = """
import multiprocessing, signal, sys
from dctnet.data.sampler import Loader
from dctnet.signals import SIGNALS

for number in SIGNALS:
    signal.signal(number, lambda *_: None)
multiprocessing.set_start_method(sys.argv[1])
print("starts", flush=True)
loader = Loader(list(range(100)), batch_size=4, num_workers=2, persistent_workers=True)
print(sum(int(batch.sum()) for batch in loader), flush=True)
sys.stdin.read()
# The workers still run, and must end when this process terminates them.
"""


def python(program, *args, **options):
    """Starts a program in a process group of its own."""
    command = [sys.executable, "-c", program, *args]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes, text=True, start_new_session=True, **options)


def output(process):
    """Status and output of a program, which must not write errors."""
    out, errors = process.communicate(timeout=120)
    assert not errors
    return process.returncode, out


@pytest.mark.parametrize(
    "method", ["fork", *(pytest.param(method, marks=pytest.mark.slow) for method in ("spawn", "forkserver"))]
)
def test_no_signal_to_the_group_reaches_a_loader_worker_from_its_start_on(method):
    process = python(READS, method)
    assert process.stdout.readline() == "starts\n"
    os.set_blocking(process.stdout.fileno(), False)
    while not (line := process.stdout.readline()) and process.poll() is None:
        for number in SIGNALS:
            os.killpg(process.pid, number)
        time.sleep(0.01)
    assert line == f"{sum(range(100))}\n"
    assert output(process) == (0, "")


@needs_proc
def test_loader_workers_end_with_a_killed_parent():
    process = python(READS, "fork")
    assert [process.stdout.readline() for _ in range(2)] == ["starts\n", "4950\n"]
    assert len(processes(process.pid)) == 3
    process.kill()
    process.wait()
    end = time.monotonic() + 30
    while processes(process.pid):
        assert time.monotonic() < end
        time.sleep(0.05)


RECORDS = """
import os, signal, sys, time
from dctnet.signals import SignalRecorder
with SignalRecorder() as signals:
    for number in map(int, sys.argv[1:]):
        os.kill(os.getpid(), number)
    print(signals.received, flush=True)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_same_signal_twice_at_once_is_one_request(number):
    # coreutils' timeout signals its child, and then the child's group.
    numbers = [str(int(number))] * 2
    assert output(python(RECORDS, *numbers)) == (0, f"{number:d}\n")


def test_a_second_signal_ends_a_process_within_a_long_operation():
    # Python handles no signal before the end of this one call, which would take hours.
    program = """
import hashlib, os, signal, subprocess
from dctnet.signals import SignalRecorder
with SignalRecorder():
    os.kill(os.getpid(), signal.SIGTERM)
    subprocess.Popen(["sh", "-c", f"sleep 1; kill -TERM {os.getpid()}"], stderr=subprocess.DEVNULL)
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
    process = python(program)
    assert "ended by a second signal" in process.communicate(timeout=120)[1]
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_that_starts_with_blocked_signals_records_them_once_it_can(number):
    with blocked_signals():
        process = python(RECORDS)
    os.killpg(process.pid, number)
    assert output(process) == (0, f"{number:d}\n")


def test_a_fit_records_signals_before_it_imports_torch():
    program = """
import os, signal, sys, types
from dctnet.cli import main

class Fit(types.ModuleType):
    @property
    def run_experiment(self):
        assert "torch" not in sys.modules
        os.kill(os.getpid(), signal.SIGTERM)
        return lambda args, signals: print(signals.received)

sys.modules["dctnet.cli.fit"] = Fit("fit")
sys.exit(main(["fit"]))
"""
    assert output(python(program)) == (0, f"{signal.SIGTERM:d}\n")


@pytest.mark.parametrize("recorder", ["SignalRecorder()", "contextlib.nullcontext()"])
def test_a_command_stops_when_the_process_that_started_it_is_killed(tmp_path, recorder):
    child = f"""
import contextlib, pathlib, time
from dctnet.signals import SignalRecorder, stop_with_parent
with {recorder} as signals:
    stop_with_parent()
    pathlib.Path("started").touch()
    while signals is None or signals.received is None:
        time.sleep(0.05)
    pathlib.Path("received").write_text(str(signals.received))
"""
    parent = python(f"""
import os, subprocess, sys
from dctnet.signals import ends_with_this_process
subprocess.run([sys.executable, "-c", {child!r}], env={{**os.environ, **ends_with_this_process()}})
""", cwd=tmp_path)  # fmt: skip
    wait_for((tmp_path / "started").exists)
    parent.kill()
    assert parent.communicate(timeout=30)  # the child has closed its output
    assert (tmp_path / "received").exists() == (recorder == "SignalRecorder()")


def wait_for(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
