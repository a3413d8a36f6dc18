"""All uses of private names of Lightning 2.6. Check this file first when Lightning is upgraded."""

import os
import typing
from typing import Any, Literal, Union

import pytorch_lightning as pl
from jsonargparse import ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher

from dctnet.errors import UserError
from dctnet.signals import blocked_signals, ends_with_this_process

_COUNTS = ("trainer.overfit_batches", "trainer.val_check_interval")


def disable_signal_handlers(trainer: pl.Trainer) -> None:
    """Keeps Lightning from handling SIGTERM, after which it would exit with status 0 or continue."""
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]


def protect_ranks(trainer: pl.Trainer) -> None:
    """Makes the ranks that Lightning starts keep signals until they handle them, and end with this process.

    Raises:
        UserError: The strategy starts ranks by multiprocessing, which turns their end by a signal into a traceback.
    """
    launcher: Any = trainer.strategy.launcher
    if isinstance(launcher, _MultiProcessingLauncher):
        raise UserError(
            f"--trainer.strategy: ranks that are started by {launcher._start_method} cannot be stopped and resumed; "
            "give --trainer.strategy ddp"
        )
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    start = launcher._call_children_scripts

    def start_protected() -> None:
        inherited = ends_with_this_process()
        os.environ.update(inherited)
        with blocked_signals():
            start()
        for name in inherited:
            del os.environ[name]

    launcher._call_children_scripts = start_protected  # type: ignore[method-assign]


def release_ranks(trainer: pl.Trainer) -> None:
    """Keeps Lightning from killing this process because another rank ends with a status that is not 0."""
    launcher: Any = trainer.strategy.launcher
    if isinstance(launcher, _SubprocessScriptLauncher):
        launcher.procs.clear()  # the list that Lightning watches


def can_stop_after_batch(trainer: pl.Trainer) -> bool:
    """Whether a training can be saved and resumed after the batch that has just ended.

    Lightning cannot resume between the last batch of an epoch, or a batch that is followed by a validation, and what
    comes next; nor within gradient accumulation, because checkpoints do not hold gradients.
    """
    loop: Any = trainer.fit_loop.epoch_loop
    return not (
        loop._is_training_done or loop._should_accumulate() or loop._should_check_val_fx(trainer.fit_loop._data_fetcher)
    )


def rebuild_loaders_on_resume(trainer: pl.Trainer) -> None:
    """Makes Lightning create the training loader again after it has restored the epoch.

    Lightning creates it to count the steps, before it restores the epoch, so its workers prefetch epoch 0.
    """
    if trainer.ckpt_path:
        trainer.fit_loop._combined_loader = None


def restart_after_tuning(trainer: pl.Trainer) -> None:
    """Builds optimizer and schedule again, and forgets the metrics of a search for options that has just ended.

    Lightning's LearningRateFinder only sets the rate of the optimizer, which the next step of a schedule overrides.
    """
    trainer.strategy.setup_optimizers(trainer)
    trainer._logger_connector.reset_metrics()


def read_counts_as_integers(parser: ArgumentParser) -> None:
    """Makes ``--trainer.limit_val_batches 1`` and its like one batch, not the share 1.0, which is all of them.

    jsonargparse tries the types of a union in their order, and typing may put float first.
    """
    for action in parser._actions:
        if action.dest.startswith("trainer.limit_") or action.dest in _COUNTS:
            types = sorted(typing.get_args(action._typehint), key=lambda each: each is not int)  # type: ignore[attr-defined]
            action._typehint = Union[tuple(types)]  # type: ignore[attr-defined]  # noqa: UP007


def accept_auto_precision(parser: LightningArgumentParser) -> None:
    """Makes ``auto`` a value of ``--trainer.precision``, which Lightning does not have."""
    for action in parser._actions:
        if action.dest == "trainer.precision":
            action._typehint = Union[action._typehint, Literal["auto"]]  # type: ignore[attr-defined]  # noqa: UP007


class SubcommandCLI(LightningCLI):
    """LightningCLI with a hook for the arguments of a subcommand, and with options that override a checkpoint's.

    Attributes:
        running: The subcommand that runs; to be set before ``__init__``. Only its parser is built, because each takes a
            tenth of a second.
    """

    running: str

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """The subcommand that runs, and the arguments of its method that are no options."""
        return {self.running: LightningCLI.subcommands()[self.running]}

    def add_subcommand_arguments(self, subcommand: str, parser: LightningArgumentParser) -> None:
        """Adds arguments to the parser of one subcommand; to be overridden."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.add_subcommand_arguments(subcommand, parser)
        return parser

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning's version lets the checkpoint's options override the command line."""

    @property
    def subparser(self) -> LightningArgumentParser:
        """The parser of the subcommand that runs."""
        return self._subcommand_parsers[self.running]

    def option(self, name: str) -> Any:
        """The value of an option of the subcommand that runs, with classes instantiated where that has happened."""
        return self._get(getattr(self, "config_init", self.config), name)
