"""A stand-in for the commands of SLURM that the executor and submitit call; jobs are processes of this machine.

``SLURM_STAND_IN`` is a folder with a file per job: its state. A job waits while the folder has a file ``hold``; it
runs, but its script has not begun, while the folder has a file ``prolog``.

SIGKILL reaches all processes of a job, which are known by their environment, as SLURM knows them by their cgroup. Other
signals reach only the task, which is the process that srun starts (SLURM's proctrack_p_signal).
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STATES = Path(os.environ.get("SLURM_STAND_IN", ""))
ID = "SLURM_JOB_ID"
KILL_WAIT = 10.0  # seconds between SIGTERM and SIGKILL when a job is cancelled


def sbatch(script):
    number = str(1000 + len(list(STATES.glob("[0-9]*"))))
    (STATES / number).write_text("PENDING")
    (STATES / f"script-{number}").write_text(Path(script).read_text())
    runner = [sys.executable, __file__, "start", number, script]
    null = subprocess.DEVNULL
    subprocess.Popen(runner, start_new_session=True, stdin=null, stdout=null, stderr=null)
    print(f"Submitted batch job {number}")


def start(number, script):
    """Waits for the nodes and runs the script of a job."""
    state = STATES / number
    for wait in ("hold", "prolog"):
        while (STATES / wait).exists() and state.read_text() != "CANCELLED":
            time.sleep(0.02)
        if state.read_text() == "CANCELLED":
            return
        state.write_text("RUNNING")
    process, killed = subprocess.Popen(["bash", script], env={**os.environ, ID: number}), 0.0
    while process.poll() is None:
        time.sleep(0.05)
        if state.read_text() == "CANCELLED":
            killed = killed or time.monotonic() + KILL_WAIT
            if time.monotonic() > killed:
                kill(number)
    if state.read_text() == "RUNNING":
        state.write_text("FAILED" if process.returncode else "COMPLETED")


def srun(*args):
    output = args[args.index("--output") + 1].replace("%j", os.environ[ID]).replace("%t", "0")
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    options = args.index("--output") + 2
    command = list(itertools.dropwhile(lambda arg: arg.startswith("--"), args[options:]))
    os.environ |= {
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_JOB_NAME": "dctnet",
    }
    (STATES / f"task-{os.environ[ID]}").write_text(str(os.getpid()))
    os.execvp(command[0], command)


def terminate(number):
    """Sends SIGTERM to the task of a job, if it has begun."""
    if (task := STATES / f"task-{number}").exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(task.read_text()), signal.SIGTERM)


def kill(number):
    """Kills all processes of a job, but not the batch shell."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            environment = path.read_bytes().split(b"\0")
            if f"{ID}={number}".encode() in environment and b"SLURM_STEP_ID=0" in environment:
                os.kill(int(path.parent.name), signal.SIGKILL)


def scancel(*args):
    option = args[0] if args[0].startswith("--") else None
    for number in args[option is not None :]:
        state = STATES / number
        if state.read_text() == "PENDING" and option in (None, "--state=PENDING"):
            state.write_text("CANCELLED")
        elif state.read_text() == "RUNNING" and option != "--state=PENDING":
            if option is None:
                state.write_text("CANCELLED")
            terminate(number)


def sacct(*args):
    print("JobID|State|NodeList")
    for number in (args[i + 1] for i, arg in enumerate(args) if arg == "-j"):
        if (STATES / number).exists():
            print(f"{number}|{(STATES / number).read_text()}|here")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
