"""The options that choose where the jobs of a study run."""

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from dctnet.errors import UserError
from dctnet.studies.execution.job import Executor
from dctnet.studies.execution.local import LocalExecutor
from dctnet.studies.execution.slurm import Slurm, SlurmExecutor


def add_executor_options(parser: ArgumentParser) -> None:
    """Adds the options of a benchmark."""
    _add_options(parser)
    jobs = "Trials at a time; 0: one per GPU, or per core up to four per machine; 32 on SLURM."
    parser.add_argument("--jobs", type=int, default=0, help=jobs)


def add_unit_options(parser: ArgumentParser) -> None:
    """Adds the options of a study of the laboratory, whose units run in its own process unless one is given."""
    _add_options(parser)
    parser.add_argument(
        "--jobs", type=int | None,
        help="Trainings at a time, each in a process of its own; 0: one per core up to four per machine, 32 on SLURM. "
        "Default: one after the other in this process, or 0 on a cluster.",
    )  # fmt: skip
    parser.add_argument("--unit", type=str, default="", help=argparse.SUPPRESS)  # of the process of one of them


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--executor", type=Literal["local", "ray", "slurm"], default="local",
        help="Where trainings run; on a cluster, its nodes share a file system with this machine.",
    )  # fmt: skip
    parser.add_argument("--address", type=str | None, help="HOST:PORT of the head node of the Ray cluster.")
    parser.add_argument("--slurm", type=Slurm, default=Slurm(), help="Resources of each training on SLURM.")


@contextlib.contextmanager
def chosen_executor(options: Mapping[str, Any], accelerator: str, out: Path) -> Iterator[Executor]:
    """The executor that the options choose, for studies that write to ``out``.

    Raises:
        UserError: The executor cannot be used here.
    """
    executor, jobs = options["executor"], options["jobs"] or 0
    if executor == "slurm":
        yield SlurmExecutor(out, options["slurm"], jobs, accelerator)
    elif executor == "ray":
        from dctnet.studies.execution.ray import RayExecutor

        with contextlib.closing(RayExecutor(options["address"], jobs, accelerator)) as ray:
            yield ray
    else:
        yield LocalExecutor(jobs, accelerator)


def check_executor_options(options: Mapping[str, Any]) -> None:
    """Checks that the options belong to the executor.

    Raises:
        UserError: They do not, or ``--jobs`` is negative.
    """
    executor, address, jobs = options["executor"], options["address"], options["jobs"]
    if jobs is not None and jobs < 0:
        raise UserError(f"--jobs must be at least 0, got {jobs}")
    if executor == "ray" and address is None:
        raise UserError("--executor ray needs --address HOST:PORT of the head node")
    if executor != "ray" and address is not None:
        raise UserError(f"--address {address}: of a Ray cluster, needs --executor ray")
    if executor != "slurm" and options["slurm"] != Slurm():
        raise UserError("--slurm: resources of trainings on SLURM, needs --executor slurm")
