"""All uses of private names of Lightning 2.6. Check this file first when Lightning is upgraded."""

import os
from typing import Any, Literal, Union

import pytorch_lightning as pl
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.strategies.launchers import _MultiProcessingLauncher, _SubprocessScriptLauncher

from dctnet.errors import UserError
from dctnet.signals import blocked_signals, ends_with_this_process


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


def read_counts_as_integers(parser: LightningArgumentParser) -> None:
    """Makes ``--trainer.limit_train_batches 1`` and its like one batch, as in a configuration file.

    jsonargparse tries the types of a union in their order, and typing may put float first: 1.0 is all batches.
    """
    for action in parser._actions:
        if action.dest.startswith("trainer.limit_"):
            action._typehint = Union[int, float, None]  # type: ignore[attr-defined]  # noqa: UP007


def accept_auto_precision(parser: LightningArgumentParser) -> None:
    """Makes ``auto`` a value of ``--trainer.precision``, which Lightning does not have."""
    for action in parser._actions:
        if action.dest == "trainer.precision":
            action._typehint = Union[action._typehint, Literal["auto"]]  # type: ignore[attr-defined]  # noqa: UP007


class SubcommandCLI(LightningCLI):
    """LightningCLI with a hook for the arguments of each subcommand, and with options that override a checkpoint's."""

    def add_subcommand_arguments(self, subcommand: str, parser: LightningArgumentParser) -> None:
        """Adds arguments to the parser of one subcommand; to be overridden."""

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.add_subcommand_arguments(subcommand, parser)
        return parser

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning's version lets the checkpoint's options override the command line."""

    def parser_of(self, subcommand: str) -> LightningArgumentParser:
        """The parser of one subcommand."""
        return self._subcommand_parsers[subcommand]

    def option(self, name: str) -> Any:
        """The value of an option of the subcommand that runs, with classes instantiated where that has happened."""
        return self._get(getattr(self, "config_init", self.config), name)
