"""A stand-in for the commands of SLURM that the executor and submitit call; jobs are processes of this machine.

``SLURM_STAND_IN`` is a folder with a file per job: its state. A job waits while the folder has a file ``hold``.
A signal reaches all processes of a job, which are known by their environment, as SLURM knows them by their cgroup.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STATES = Path(os.environ.get("SLURM_STAND_IN", ""))
ID = "SLURM_JOB_ID"


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
    while (STATES / "hold").exists():
        time.sleep(0.02)
        if (STATES / number).read_text() == "CANCELLED":
            return
    (STATES / number).write_text("RUNNING")
    status = subprocess.run(["bash", script], check=False, env={**os.environ, ID: number}).returncode
    if (STATES / number).read_text() == "RUNNING":
        (STATES / number).write_text("FAILED" if status else "COMPLETED")


def srun(*args):
    output = args[args.index("--output") + 1].replace("%j", os.environ[ID]).replace("%t", "0")
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    command = list(args[args.index("--output") + 2 :])
    os.environ |= {
        "SLURM_STEP_ID": "0",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_JOB_NAME": "dctnet",
    }
    os.execvp(command[0], command)


def processes(number):
    """The processes of the steps of a job, without the batch shell."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            environment = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if f"{ID}={number}".encode() in environment and b"SLURM_STEP_ID=0" in environment:
            yield int(path.parent.name)


def scancel(*args):
    option = args[0] if args[0].startswith("--") else None
    for number in args[option is not None :]:
        state = STATES / number
        if state.read_text() == "PENDING" and option in (None, "--state=PENDING"):
            state.write_text("CANCELLED")
        elif state.read_text() == "RUNNING" and option != "--state=PENDING":
            if option is None:
                state.write_text("CANCELLED")
            for pid in processes(number):
                os.kill(pid, signal.SIGTERM)


def sacct(*args):
    print("JobID|State|NodeList")
    for number in (args[i + 1] for i, arg in enumerate(args) if arg == "-j"):
        if (STATES / number).exists():
            print(f"{number}|{(STATES / number).read_text()}|here")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
