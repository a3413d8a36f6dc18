"""fit, validate, test and predict: LightningCLI with our folders, checkpoints and closing table."""

import argparse
import contextlib
import itertools
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from dctnet.cli.parsing import YAML, one_line, option_names
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.sampler import translate_worker_errors
from dctnet.errors import UserError, first_line, printable
from dctnet.export.mask import write_mask_and_map
from dctnet.training import checkpoint
from dctnet.training.best import BestCheckpoint
from dctnet.training.callbacks import PredictionsCSV, SkippedFiles
from dctnet.training.checkpoint_schema import translate_state_dict_errors
from dctnet.training.checkpointing import AtomicCheckpointIO
from dctnet.training.distributed import synchronized_exit
from dctnet.training.module import FrequencyClassifier
from dctnet.training.preemption import Signals, StopOnSignal, disable_lightning_signal_handlers, translate_interrupt
from dctnet.training.resume import check_resumed, translate_restore_errors


class ExperimentCLI(LightningCLI):
    """LightningCLI with output in ``checkpoints/<name>/version_N/``.

    ``validate``, ``test`` and ``predict`` take model and data from the checkpoint; what the command line says wins.

    Args:
        signals: What asks a fit to stop.
        trained: The options that a checkpoint was trained with, dotted; none for ``fit``.
        **kwargs: Of LightningCLI.
    """

    def __init__(self, signals: Signals, trained: dict[str, Any], **kwargs: Any) -> None:
        self.signals, self._trained, self._resumed_at = signals, trained, -1
        super().__init__(FrequencyClassifier, FrequencyDataModule, **kwargs)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        """Adds what only one of the verbs has; LightningCLI's own hook does not tell which it is called for."""
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        parser.link_arguments("model.input", "data.input")
        parser.set_defaults({"weights_only": True})
        if subcommand != "fit":
            # Not as the text of a configuration: YAML cannot hold every name that a folder can have.
            parser.set_defaults(self._trained)
        if subcommand == "predict":
            parser.add_argument("--out", default="predictions.csv", help="CSV file to write.")
            parser.set_defaults({"trainer.devices": 1})
        if subcommand == "fit":
            parser.add_argument("--name", default="run", help="Folder of this experiment.")
            parser.add_argument("--out_dir", default="checkpoints", help="Folder of all experiments.")
            parser.add_argument(
                "--allow_changes", type=bool, default=False, help="Resume although data or options have changed."
            )
            parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
            # The data tell the model, so that the two cannot disagree.
            parser.link_arguments("data.size", "model.image_size", apply_on="instantiate")
            parser.link_arguments("data.class_names", "model.classes", apply_on="instantiate")
            parser.link_arguments("data.channel_set", "model.channels", _indices, apply_on="instantiate")
        return parser

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Turns what the parser has to say into one line."""
        try:
            super().parse_arguments(parser, args)
        except argparse.ArgumentError as error:
            raise one_line(error, option_names(self._subcommand_parsers[args[0]])) from error
        except OverflowError as error:
            raise UserError(f"an option's number is too large: {first_line(error)}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the configuration cannot be read: {first_line(error)}") from error
        seed = self.config[args[0]]["seed_everything"]
        if not 0 <= int(seed) < 2**32:
            raise UserError(f"--seed_everything must be at least 0 and below 2³², got {seed}")

    def _parse_ckpt_path(self) -> None:
        """Does nothing: Lightning's own version lets the checkpoint win over the command line."""

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A trainer whose files land in one new folder, unless the configuration brings its own logger."""
        config = self._get(self.config_init, "trainer")
        callbacks = [*_as_list(config.callbacks), SkippedFiles()]
        if self.subcommand != "fit" or config.logger is False:
            self.save_config_callback = None  # without a run's folder it would write into the current one
            kwargs["logger"] = False
        if self.subcommand == "predict":
            callbacks.append(PredictionsCSV(self._get(self.config_init, "out")))
        elif self.subcommand == "fit" and config.logger is None and not config.fast_dev_run:
            out_dir, name = self._get(self.config_init, "out_dir"), self._get(self.config_init, "name")
            folder = _new_version(Path(out_dir, name))
            version = int(folder.name.removeprefix("version_"))
            kwargs["logger"] = [logger(out_dir, name, version=version) for logger in (CSVLogger, TensorBoardLogger)]
            callbacks += _best_and_last(folder)
        if self.subcommand == "fit":
            callbacks.append(StopOnSignal(self.signals))
            kwargs["plugins"] = [*_as_list(config.plugins), AtomicCheckpointIO()]
        try:
            trainer = super().instantiate_trainer(callbacks=callbacks, **kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            raise UserError(f"--trainer: {first_line(error)}") from error
        disable_lightning_signal_handlers(trainer)
        return trainer

    def after_instantiate_classes(self) -> None:
        """Gives the data the classes of a trained model, and refuses a checkpoint that does not fit."""
        if self.subcommand == "fit":
            self.model.training_shape = self._training_shape()
            self._check_resumed()
            return
        self.datamodule.class_names = self.model.hparams["classes"]
        trained, given = self.model.hparams["channels"], list(self.datamodule.channel_set.indices)
        if self.model.hparams["input"] == "channels" and trained != given:
            raise UserError(
                f"the checkpoint was trained on {len(trained)} channels, --data.channels names {len(given)} that differ"
            )

    def _check_resumed(self) -> None:
        path, allowed = self._get(self.config, "ckpt_path"), self._get(self.config, "allow_changes")
        try:
            if path:
                progress = self.trainer.fit_loop.state_dict()
                self._resumed_at = check_resumed(path, self.model, self.datamodule, progress, allowed)
        except UserError:
            if (folder := self.trainer.log_dir) and self.trainer.is_global_zero:
                with contextlib.suppress(OSError):  # there is something in it
                    Path(folder).rmdir()
            raise

    def _training_shape(self) -> dict[str, Any]:
        """What decides the steps of a training beside the options of model and data."""
        trainer = self.trainer
        names = (
            "max_epochs", "max_steps", "accumulate_grad_batches", "world_size", "limit_train_batches", "precision",
            "gradient_clip_val", "gradient_clip_algorithm", "limit_val_batches", "val_check_interval",
            "check_val_every_n_epoch", "reload_dataloaders_every_n_epochs",
        )  # fmt: skip
        callbacks = _as_list(self._get(self.config_init, "trainer").callbacks)
        plain = (bool, int, float, str, type(None))  # a checkpoint may hold nothing else, not even an enumeration
        found = {name: getattr(trainer, name) for name in names}
        return {
            **{name: value if type(value) in plain else str(value) for name, value in found.items()},
            "callbacks": sorted(type(callback).__name__ for callback in callbacks),
        }

    def after_fit(self) -> None:
        """Exports the mask of a gated fit, and closes with a table: what came out and where it is."""
        if 0 <= self.model.validated_at != self.trainer.global_step:
            # Training went on after the last validation; accuracy and mask must be of the weights that were saved.
            self.trainer.validate(self.model, self.datamodule, verbose=False)
        folder = self.trainer.log_dir  # asked on every rank: it is broadcast
        if self.trainer.fast_dev_run or folder is None or not self.trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        print("\n" + "\n".join(f"{name:<16}{printable(value)}" for name, value in self._closing_rows(Path(folder))))

    def _closing_rows(self, folder: Path) -> list[tuple[str, str]]:
        options, metrics, cost = self.model.hparams, self.trainer.callback_metrics, self.model.cost()
        rows = []
        if self.trainer.global_step == self._resumed_at:
            rows.append(("trained", "nothing: it had ended; for more, --trainer.max_epochs N --allow_changes true"))
        if "val_images" in metrics:  # unless validation was turned off
            images, skipped = int(metrics["val_images"]), int(metrics["val_skipped"])
            left_out = f", {skipped} could not be read: {folder / 'skipped.csv'}" if skipped else ""
            rows.append(("accuracy", f"{metrics['val_acc1']:.3f} top-1 on {images} validation images{left_out}"))
        if bad := len(self.datamodule.bad_files.of_kind("train")):
            total = len(self.datamodule.files("train"))
            rows.append(("left out", f"{bad} of {total} training files could not be read: {folder / 'skipped.csv'}"))
        if options["gate"] != "none":
            rows.append(("channels kept", self._export_mask(folder)))
        elif options["input"] == "channels":
            rows.append(("channels", f"{len(options['channels'])} of 192"))
        rows.append(("compute", f"{cost['gmac']:.3f} GMAC, {cost['values']:,} input values an image"))
        if by_pixels := len(self.datamodule.bad_files.of_kind("by_pixels")):
            rows.append(("by pixels", f"{by_pixels} files had no usable coefficients: {folder / 'by_pixels.csv'}"))
        rows += [(what, str(folder / file)) for what, file in _FILES.items() if (folder / file).is_file()]
        return rows

    def _export_mask(self, folder: Path) -> str:
        metrics, last, offered = (
            self.trainer.callback_metrics,
            folder / "last.ckpt",
            len(self.model.hparams["channels"]),
        )
        if "num_kept" not in metrics or not last.is_file():
            return "not counted, for want of a validation or of last.ckpt; dctnet export-mask counts later"
        count = f"{metrics['num_kept']:.1f} of {offered} an image"
        try:
            keep, root = self.model.hparams["keep"], str(self.datamodule.hparams["root"])
            kept = write_mask_and_map(self.model, folder / "mask.json", keep, str(last), root)
        except UserError as error:
            return f"{count}; no mask: {error}"
        return f"{count}; {len(kept)} in the mask"


# Of Lightning and for its own developers, or untrue here.
_NOISE = (
    r".*isinstance\(treespec, LeafSpec\)",
    r"Checkpoint directory .* exists and is not empty",
    r"The number of training batches .* is smaller than the logging interval",
    r".*does not have many workers",
    r"The dirpath has changed from",
    r"Be aware that when using `ckpt_path`",
    r"LightningCLI's args parameter is intended to run from within Python",
)
_FILES = {
    "checkpoint": "last.ckpt",
    "best": "best.ckpt",
    "mask": "mask.json",
    "heat map": "mask.png",
    "curves": "metrics.csv",
}


def _new_version(experiment: Path) -> Path:
    """Makes the next ``version_N``; whoever makes a folder has it, so two runs never share one."""
    if getattr(rank_zero_only, "rank", 0):
        return experiment / "version_0"  # rank 0 chooses; Lightning broadcasts what it chose
    if any("\ud800" <= char <= "\udfff" for char in str(experiment)):
        raise UserError(f"{experiment}: TensorBoard writes into folders named in UTF-8 only; give another --name")
    experiment.mkdir(parents=True, exist_ok=True)
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            folder = experiment / f"version_{number}"
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _as_list(given: Any) -> list[Any]:
    return given if isinstance(given, list) else [] if given is None else [given]


def _indices(channel_set: Any) -> list[int]:
    return list(channel_set.indices)


def _best_and_last(folder: Path) -> list[ModelCheckpoint]:
    # Two callbacks: with save_last=True one alone writes last.ckpt only when the best improves.
    return [
        BestCheckpoint(folder),
        ModelCheckpoint(folder, "last", save_on_train_epoch_end=True, enable_version_counter=False),
    ]


def _from_checkpoint(args: list[str]) -> dict[str, Any]:
    """The options that the checkpoint named in the arguments was trained with, dotted."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("--data.root", dest="root")
    given = parser.parse_known_args(args)[0]
    path = given.ckpt_path
    if path is None:
        raise UserError(
            "--ckpt_path is missing: the checkpoint to use, such as checkpoints/quickstart/version_0/last.ckpt"
        )
    model, data = checkpoint.read_options(path)
    data = checkpoint.adapt_data_options(data, model, given.root)
    data.pop("input")
    parts = {"model": model, "data": data}
    return {f"{part}.{name}": value for part, options in parts.items() for name, value in options.items()}


def run_experiment(args: list[str]) -> ExperimentCLI:
    """Runs ``fit``, ``validate``, ``test`` or ``predict``.

    Args:
        args: The verb and its options.

    Raises:
        UserError: The options, the configuration file, the data or the checkpoint cannot be used.
    """
    trained = {} if args[0] == "fit" or {"-h", "--help"} & set(args) else _from_checkpoint(args[1:])
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)
    # An abbreviation would be a misspelling that works until another option begins the same way.
    quiet = {"exit_on_error": False, "allow_abbrev": False, "parser_mode": YAML}
    # Only a fit has something to save; the others end on a signal as programs do.
    noted = Signals() if args[0] == "fit" else contextlib.nullcontext(Signals())
    with (
        noted as signals,
        translate_interrupt(),
        translate_state_dict_errors(),
        translate_worker_errors(),
        translate_restore_errors(),
        synchronized_exit(),
    ):
        return ExperimentCLI(
            signals,
            seed_everything_default=0,
            trainer_defaults={"enable_model_summary": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={**quiet, **{each: dict(quiet) for each in ExperimentCLI.subcommands()}},
            args=args,
            trained=trained,
        )
