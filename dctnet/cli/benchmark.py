"""The command line of the benchmark: the options of fit, shared by all arms, and the grid."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from dctnet.cli.parsing import STRICT, one_line, option_names
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import Stopped, UserError, printable
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.dry_run import dry_run
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, Split, plan
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.accuracy.runner import Runner
from dctnet.studies.execution.stopping import Stopping
from dctnet.training.module import FrequencyClassifier

# What the arms decide.
_OF_ARMS = {"data": {"channels", "input", "seed"}, "model": {"classes", "channels", "image_size", "input", "stem"}}
_OBJECTS = {"callbacks", "logger", "plugins", "profiler", "strategy"}
_GATE = {"gate", "keep", "sparsity_weight"}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="dctnet benchmark", description=__doc__, **STRICT)
    parser.add_argument("--config", action=ActionConfigFile, help="A benchmark as YAML.")
    parser.add_argument("--name", type=str, default="benchmark", help="Folder under checkpoints/.")
    parser.add_argument("--out", type=str | None, help="Folder of the results instead of checkpoints/NAME.")
    parser.add_argument("--jobs", type=int, default=0, help="Runs at a time; 0: one a GPU, or a core up to four.")
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="List the runs with cost and time only.")
    parser.add_argument("--arms", type=list[Arms], default=[], help="What is compared, the most telling first.")
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="Each arm runs once with each.")
    parser.add_argument("--evaluate", type=list[Split], default=["val"], help="Splits whose images count.")
    parser.add_argument("--ranking", type=Ranking, default=Ranking(), help="Where the learned ranking comes from.")
    parser.add_argument("--store", type=str | None, help="A packed store that feeds the arms whose channels it has.")
    _add_fit(parser, _OF_ARMS["model"] | _GATE)
    return parser


def _add_fit(parser: ArgumentParser, decided: set[str]) -> None:
    parser.add_class_arguments(FrequencyDataModule, "data", skip=_OF_ARMS["data"], instantiate=False)
    parser.add_class_arguments(FrequencyClassifier, "model", skip=decided, instantiate=False)
    parser.add_class_arguments(pl.Trainer, "trainer", skip=_OBJECTS, instantiate=False)


def _check_overrides(arms: list[Arms], ranking: Ranking, shared: Namespace) -> None:
    """Parses the options of variants, so that a misspelt one is not found hours later."""
    parser = ArgumentParser(**STRICT)
    _add_fit(parser, _OF_ARMS["model"])
    named: list[tuple[str, Arms | Ranking]] = [*((each.choose, each) for each in arms), ("ranking", ranking)]
    for name, own in named:
        options = {key: shared[key].as_dict() for key in ("data", "model", "trainer")}
        options["model"] |= own.model
        options["trainer"] |= own.trainer
        try:
            parser.parse_object(options)
        except argparse.ArgumentError as error:
            raise UserError(f"arms, {name}: {one_line(error, _known(parser))}") from error


def _known(parser: ArgumentParser) -> list[str]:
    """All options, dotted, and as they stand in an arm: without what they belong to."""
    fields = [field.name for each in (Arms, Ranking) for field in dataclasses.fields(each)]
    names = [*option_names(parser), *(f"model.{name}" for name in _GATE)]
    return [*names, *fields, *(name.rpartition(".")[2] for name in names)]


def benchmark(args: list[str]) -> None:
    """Parses and runs a benchmark; ends with the report.

    Args:
        args: The command line after the verb.

    Raises:
        UserError: The command line, the grid or the folder cannot be used, or runs failed.
        Stopped: It was asked to stop before all runs had ended.
    """
    parser = _parser()
    try:
        given = parser.parse_args(args)
        made = parser.instantiate(given)
    except argparse.ArgumentError as error:
        raise one_line(error, _known(parser)) from error
    shared: dict[str, Any] = {key: given[key].as_dict() for key in ("data", "model", "trainer")}
    grid = Grid(**shared, **{key: made[key] for key in ("arms", "seeds", "evaluate", "ranking", "store")})
    _check_overrides(grid.arms, grid.ranking, given)
    plan(grid)
    out = Path(given.out or Path("checkpoints", given.name))
    if given.dry_run:
        dry_run(BenchmarkContext(grid, out), given.jobs)
        return
    with Stopping() as stopping:
        _run(Runner(BenchmarkContext(grid, out), given.jobs, stopping))


def _run(runner: Runner) -> None:
    try:
        failed = runner.run()
    except Stopped:
        _report(runner)
        raise
    _report(runner)
    if failed:
        raise UserError(f"{len(failed)} runs failed, such as {failed[0]}; {runner.out / 'failures.csv'} says why")


def _report(runner: Runner) -> None:
    if runner.rows:
        print(f"report: {printable(str(write_report(runner.out)))}")
