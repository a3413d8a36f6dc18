"""dctnet benchmark: the options of fit, shared by all arms, and those of the grid."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace

from dctnet.cli.executors import add_executor_options, check_executor_options, chosen_executor
from dctnet.cli.parser_errors import one_line, option_names, unknown_option
from dctnet.cli.parsing import STRICT, check_folder_name, shorten_own_warnings
from dctnet.cli.plain_help import use_plain_help
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import Stopped, UserError, printable
from dctnet.studies.accuracy.context import BenchmarkContext
from dctnet.studies.accuracy.dry_run import dry_run
from dctnet.studies.accuracy.grid import Arms, Grid, Ranking, Split, plan
from dctnet.studies.accuracy.report.report import write_report
from dctnet.studies.accuracy.runner import Runner
from dctnet.studies.execution.job import StopSignals
from dctnet.training.lightning_internals import read_counts_as_integers
from dctnet.training.module import FrequencyClassifier

# Options that the arms determine.
_DATA_OF_ARMS = {"channels", "input", "seed"}
_MODEL_OF_ARMS = {"classes", "channels", "image_size", "input", "stem"}
# Options that an arm or the ranking can set, but that the shared options cannot.
_GATE = {"gate", "keep", "sparsity_weight"}
# Trainer options that are objects, which a configuration file of the benchmark does not support.
_OBJECTS = {"callbacks", "logger", "plugins", "profiler", "strategy"}


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="dctnet benchmark", description=__doc__, **STRICT)
    parser.add_argument("--config", action=ActionConfigFile, help="A benchmark as YAML.")
    parser.add_argument("--name", type=str, default="benchmark", help="Folder under checkpoints/.")
    parser.add_argument("--out", type=str | None, help="Folder of the results instead of checkpoints/NAME.")
    add_executor_options(parser)
    parser.add_argument("--dry_run", "--dry-run", action="store_true", help="Only list the trials with cost and time.")
    parser.add_argument("--arms", type=list[Arms], default=[], help="Arms to compare, the most informative first.")
    parser.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="Seeds of each arm.")
    parser.add_argument("--evaluate", type=list[Split], default=["val"], help="Splits to evaluate, pooled.")
    parser.add_argument("--ranking", type=Ranking, default=Ranking(), help="Source of the learned ranking.")
    parser.add_argument("--store", type=str | None, help="A packed store for the arms whose channels it holds.")
    _add_fit_options(parser, _MODEL_OF_ARMS | _GATE)
    use_plain_help(parser)
    return parser


def _add_fit_options(parser: ArgumentParser, skipped_model_options: set[str]) -> None:
    parser.add_class_arguments(FrequencyDataModule, "data", skip=_DATA_OF_ARMS, instantiate=False)
    parser.add_class_arguments(FrequencyClassifier, "model", skip=skipped_model_options, instantiate=False)
    parser.add_class_arguments(pl.Trainer, "trainer", skip=_OBJECTS, instantiate=False)
    read_counts_as_integers(parser)


def _check_variants(arms: list[Arms], ranking: Ranking, shared: Namespace) -> None:
    """Parses the options of arms and ranking, so that an error is found before the first trial."""
    parser = ArgumentParser(**STRICT)
    _add_fit_options(parser, _MODEL_OF_ARMS)
    named: list[tuple[str, Arms | Ranking]] = [*((each.choose, each) for each in arms), ("ranking", ranking)]
    for name, variant in named:
        options = {key: shared[key].as_dict() for key in ("data", "model", "trainer")}
        options["data"] |= getattr(variant, "data", {})
        options["model"] |= variant.model
        options["trainer"] |= variant.trainer
        try:
            parser.parse_object(options)
        except argparse.ArgumentError as error:
            raise UserError(f"arms, {name}: {one_line(error, _known_options(parser))}") from error


def _known_options(parser: ArgumentParser) -> list[str]:
    """Names of all options: dotted, and without their section, as within an arm."""
    fields = [field.name for each in (Arms, Ranking) for field in dataclasses.fields(each)]
    names = [*option_names(parser), *(f"model.{name}" for name in _GATE)]
    return [*names, *fields, *(name.rpartition(".")[2] for name in names)]


def benchmark(args: list[str], signals: StopSignals) -> None:
    """Parses the command line after ``benchmark``, runs the benchmark and writes its report.

    Args:
        args: The command line.
        signals: The recorder of signals, which stop the benchmark.

    Raises:
        UserError: The command line, the grid or the folder is invalid, or trials failed.
        Stopped: A signal stopped the benchmark.
    """
    parser = _parser()
    shorten_own_warnings()
    try:
        config = parser.parse_args(args)
        objects = parser.instantiate(config)
    except argparse.ArgumentError as error:
        if (name := unknown_option(error)) in {f"model.{each}" for each in _GATE}:
            raise UserError(f"--{name}: an option of an arm or of the ranking, not of all arms") from error
        raise one_line(error, _known_options(parser)) from error
    check_executor_options(vars(objects))
    check_folder_name(config.name)
    shared: dict[str, Any] = {key: config[key].as_dict() for key in ("data", "model", "trainer")}
    grid = Grid(**shared, **{key: objects[key] for key in ("arms", "seeds", "evaluate", "ranking", "store")})
    _check_variants(grid.arms, grid.ranking, config)
    plan(grid)
    out = Path(config.out or Path("checkpoints", config.name))
    context = BenchmarkContext(grid, out)
    with chosen_executor(vars(objects), grid.trainer["accelerator"], out) as executor:
        if config.dry_run:
            dry_run(context, executor)
        else:
            _run(Runner(context, executor, signals))


def _run(runner: Runner) -> None:
    try:
        failed = runner.run()
    except Stopped:
        _report(runner)
        raise
    _report(runner)
    if failed:
        raise UserError(f"{len(failed)} trials failed, such as {failed[0]}; see {runner.out / 'failures.csv'}")


def _report(runner: Runner) -> None:
    if runner.rows:
        print(f"report: {printable(str(write_report(runner.out)))}")
