"""The options that choose where the jobs of a study run."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

from dctnet.errors import UserError
from dctnet.studies.execution.job import Executor
from dctnet.studies.execution.local import LocalExecutor
from dctnet.studies.execution.slurm import Slurm, SlurmExecutor


def add_executor_options(parser: ArgumentParser) -> None:
    """Adds the options to a parser."""
    parser.add_argument(
        "--executor", type=Literal["local", "ray", "slurm"], default="local",
        help="Where trials run; on a cluster, its nodes share a file system with this machine.",
    )  # fmt: skip
    parser.add_argument("--address", type=str | None, help="HOST:PORT of the head node of the Ray cluster.")
    parser.add_argument("--slurm", type=Slurm, default=Slurm(), help="Resources of each trial on SLURM.")
    jobs = "Trials at a time; 0: one per GPU, or per core up to four per machine; 32 on SLURM."
    parser.add_argument("--jobs", type=int, default=0, help=jobs)


@contextlib.contextmanager
def chosen_executor(config: Namespace, slurm: Slurm, accelerator: str, out: Path) -> Iterator[Executor]:
    """The executor that the options choose, for studies that write to ``out``.

    Raises:
        UserError: The executor cannot be used here.
    """
    if config.executor == "slurm":
        yield SlurmExecutor(out, slurm, config.jobs, accelerator)
    elif config.executor == "ray":
        from dctnet.studies.execution.ray import RayExecutor

        with contextlib.closing(RayExecutor(config.address, config.jobs, accelerator)) as executor:
            yield executor
    else:
        yield LocalExecutor(config.jobs, accelerator)


def check_executor_options(config: Namespace, slurm: Slurm) -> None:
    """Checks that the options belong to the executor.

    Raises:
        UserError: They do not, or ``--jobs`` is negative.
    """
    if config.jobs < 0:
        raise UserError(f"--jobs must be at least 0, got {config.jobs}")
    if config.executor == "ray" and config.address is None:
        raise UserError("--executor ray needs --address HOST:PORT of the head node")
    if config.executor != "ray" and config.address is not None:
        raise UserError(f"--address {config.address}: of a Ray cluster, needs --executor ray")
    if config.executor != "slurm" and slurm != Slurm():
        raise UserError("--slurm: resources of trials on SLURM, needs --executor slurm")
