"""fit, validate, test and predict: LightningCLI with a new folder for each run."""

import argparse
import contextlib
import itertools
import re
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.cli import LightningArgumentParser
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_info, rank_zero_only

from dctnet.cli.evaluation import SPLIT_OF, check_folder, write_folder
from dctnet.cli.fit_summary import export_fitted_mask, print_summary
from dctnet.cli.lightning_errors import translate_class_errors, translate_lightning_errors
from dctnet.cli.parser_errors import one_line, option_names, unknown_option
from dctnet.cli.parsing import STRICT, check_folder_name, shorten_own_warnings
from dctnet.cli.plain_help import use_plain_help
from dctnet.cli.quiet import hide_noise
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.data.ignored import MARKER, mark_as_own
from dctnet.data.packed.manifest import is_store
from dctnet.data.sampler import translate_worker_errors
from dctnet.data.sources import PhotoSource
from dctnet.errors import UserError, first_line, no_folder, printable
from dctnet.export.onnx_file import OnnxNetwork, is_onnx, read_onnx_options
from dctnet.io.config_checks import Range, check_options
from dctnet.model.network import SHAPE_OPTIONS
from dctnet.signals import SignalRecorder
from dctnet.training import checkpoint
from dctnet.training.callbacks.answers import AnswerCollector
from dctnet.training.callbacks.averaging import MovingAverage
from dctnet.training.callbacks.bad_files import BadFileReport
from dctnet.training.callbacks.predictions import PredictionsCSV
from dctnet.training.callbacks.probes import ProbesCSV
from dctnet.training.callbacks.run_config import RunConfig
from dctnet.training.checkpointing import AtomicCheckpointIO, best_and_last
from dctnet.training.compiler import try_compiler
from dctnet.training.distributed import synchronized_exit
from dctnet.training.lightning_internals import (
    SubcommandCLI,
    accept_auto_precision,
    disable_signal_handlers,
    protect_ranks,
    read_counts_as_integers,
)
from dctnet.training.module import FrequencyClassifier
from dctnet.training.precision import choose_precision
from dctnet.training.preemption import StopOnSignal, translate_interrupt
from dctnet.training.resume import check_resumed, training_shape, translate_restore_errors
from dctnet.training.safetensors_file import SUFFIX as SAFETENSORS

_EXAMPLE = "dctnet fit --config configs/quickstart.yaml"
# Options of fit alone: type, default and help.
_OF_FIT: dict[str, tuple[type, Any, str]] = {
    "name": (str, "run", "Folder of this experiment."),
    "out_dir": (str, "checkpoints", "Folder of all experiments."),
    "allow_changes": (bool, False, "Resume although data or options have changed."),
    "probes": (
        bool, False, "Measure each epoch with only and without each frequency band; for dctnet lab learning-order.",
    ),
}  # fmt: skip
# Options that weights of dctnet bring with a gate, beside those of the network.
_OF_GATE = ("keep", "sparsity_weight")
# Files that a fit writes before its first step, beside the event file.
_AT_START = (MARKER, RunConfig.NAME, "hparams.yaml")
# The options by which a verb does nothing if they are 0.
_LENGTHS = {
    "fit": ("max_epochs", "max_steps", "limit_train_batches"),
    "validate": ("limit_val_batches",),
    "test": ("limit_test_batches",),
    "predict": ("limit_predict_batches",),
}
# Lightning divides by these.
_TRAINER_RANGES = {"accumulate_grad_batches": Range(at_least=1), "check_val_every_n_epoch": Range(1, nullable=True)}
_CLASSES = [
    name for part in (pl.callbacks, pl.loggers, pl.profilers, pl.strategies, pl.plugins) for name in part.__all__
]


class ExperimentCLI(SubcommandCLI):
    """LightningCLI with output in ``checkpoints/<name>/version_N/``.

    ``validate``, ``test`` and ``predict`` take the options of model and data from the checkpoint; options on the
    command line override them.

    Args:
        verb: ``fit``, ``validate``, ``test`` or ``predict``.
        signals: The recorder of signals that stop a fit.
        trained: The options that the checkpoint was trained with, dotted; empty for ``fit``.
        **kwargs: Arguments of LightningCLI.
    """

    def __init__(self, verb: str, signals: SignalRecorder, trained: dict[str, Any], **kwargs: Any) -> None:
        self.running, self.signals, self._trained, self._resumed_at = verb, signals, trained, -1
        self._folder: Path | None = None
        self._answers: AnswerCollector | None = None
        self._args: list[str] = kwargs["args"]
        try:
            super().__init__(FrequencyClassifier, FrequencyDataModule, save_config_callback=None, **kwargs)
        except BaseException:
            started = max(0, self._resumed_at)
            has_trained = "trainer" in vars(self) and self.trainer.global_step > started
            if self._folder is not None and not has_trained and not getattr(rank_zero_only, "rank", 0):
                _remove_unused(self._folder)
            raise

    def add_subcommand_arguments(self, subcommand: str, parser: LightningArgumentParser) -> None:
        """Adds the options of each subcommand, and links those that data and model share."""
        read_counts_as_integers(parser)
        accept_auto_precision(parser)
        parser.link_arguments("model.input", "data.input")
        parser.set_defaults({"weights_only": True})
        if subcommand != "fit":
            # As values, not as the text of a configuration file: YAML cannot represent every folder name.
            parser.set_defaults(self._trained)
        if subcommand == "predict":
            parser.add_argument("--out", type=str, default="predictions.csv", help="CSV file to write.")
            parser.set_defaults({"trainer.devices": 1})
        if subcommand in SPLIT_OF:
            text = "Folder to write: tables, pictures and a page. Default: a new one beside the checkpoint."
            parser.add_argument("--out", type=str | None, default=None, help=text)
        if subcommand == "fit":
            for name, (type_, default, text) in _OF_FIT.items():
                parser.add_argument(f"--{name}", type=type_, default=default, help=text)
            parser.link_arguments("seed_everything", "data.seed", compute_fn=int)
            # The model gets these from the data, so that the two cannot disagree.
            parser.link_arguments("data.size", "model.image_size", apply_on="instantiate")
            parser.link_arguments("data.class_names", "model.classes", apply_on="instantiate")
            parser.link_arguments("data.channel_set", "model.channels", _indices, apply_on="instantiate")
        use_plain_help(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; converts the parser's errors to one line."""
        try:
            super().parse_arguments(parser, args)
            if args[0] == "fit":
                self._inherit(parser, args)
        except argparse.ArgumentError as error:
            raise self._one_line(error, args[0]) from error
        except OverflowError as error:
            raise UserError(f"an option's number is too large: {first_line(error)}") from error
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"the configuration cannot be read: {first_line(error)}") from error
        if args[0] == "fit":
            check_folder_name(self.config["fit"]["name"])
        seed = self.config[args[0]]["seed_everything"]
        if not 0 <= int(seed) < 2**32:
            raise UserError(f"--seed_everything must be at least 0 and below 2³², got {seed}")

    def _inherit(self, parser: LightningArgumentParser, args: Any) -> None:
        """Makes the options of the network in ``--model.weights`` the defaults, and parses again.

        The weights can be named on the command line or in any file, so they are known only after parsing.
        """
        given = self.config["fit"]
        model = checkpoint.donor_options(given.model.weights) if given.model.weights else None
        if model is None:
            return
        inherited = {f"model.{name}": model[name] for name in SHAPE_OPTIONS if name in model}
        if not is_store(given.data.root):  # a store has its own image size
            inherited["data.image_size"] = model["image_size"]
        if model["input"] == "channels":
            inherited["data.channels"] = model["channels"]
        self.subparser.set_defaults(inherited)
        super().parse_arguments(parser, args)
        if model["gate"] == self.config["fit"].model.gate != "none":
            inherited |= {f"model.{name}": model[name] for name in _OF_GATE}
            self.subparser.set_defaults(inherited)
            super().parse_arguments(parser, args)
        now = self.config["fit"]
        changed = [f"--{name} {str(now[name])[:40]}" for name in inherited if now[name] != given[name]]
        if changed:
            rank_zero_info(printable(f"{given.model.weights} sets {', '.join(changed)}"))

    def _one_line(self, error: argparse.ArgumentError, verb: str) -> UserError:
        """Converts an error of the parser; an option of ``fit`` alone comes from the ``config.yaml`` of a run."""
        known, unknown = option_names(self.subparser), unknown_option(error)
        if re.search(r"arguments are required: .*data\.root", str(error.message)):
            return UserError(
                f"required: --data.root, a folder with train/ and val/. To try dctnet without photographs: {_EXAMPLE}"
            )
        if unknown and unknown not in known and Path(unknown).is_dir():
            return UserError(f"{unknown}: a folder of photographs is given by its option: --data.root {unknown}")
        if unknown in _OF_FIT and unknown not in known:
            return UserError(
                f"{unknown!r} is an option of fit. {verb} needs no configuration of a fit: --ckpt_path has its options "
                "of model and data; give only those to change"
            )
        return one_line(error, known, _CLASSES)

    def before_instantiate_classes(self) -> None:
        """Checks options that would fail late, or do nothing; chooses the precision."""
        trainer = self.option("trainer")
        if trainer.precision == "auto":
            trainer.precision = choose_precision(trainer.accelerator)
        for name in _LENGTHS[str(self.subcommand)]:
            if trainer[name] == 0:
                raise UserError(f"--trainer.{name} 0: nothing to {self.subcommand}")
        if trainer.barebones:
            raise UserError(
                "--trainer.barebones true: a run of dctnet has callbacks of its own; for the least overhead: "
                "--trainer.logger false --trainer.enable_checkpointing false"
            )
        check_options("trainer", {name: trainer[name] for name in _TRAINER_RANGES}, _TRAINER_RANGES)
        if self.option("model.compile"):
            try_compiler("cuda" if trainer.accelerator != "cpu" and torch.cuda.is_available() else "cpu")
        root = self.option("data.root")
        if not Path(root).exists() and not self.option("data.download"):
            raise UserError(f"--data.root {no_folder(root)}")

    def instantiate_classes(self) -> None:
        """Instantiates all classes; converts errors of those that the trainer's options name."""
        with translate_class_errors(self.option("trainer")):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Builds the trainer; a fit gets a new folder for its files."""
        config = self.option("trainer")
        if self.subcommand == "fit":
            kwargs |= self._fit_arguments(config)
            if ema := self.model.hparams["ema"]:  # first: others save the average
                kwargs["callbacks"].insert(0, MovingAverage(ema))
        else:
            kwargs["logger"] = False
            kwargs["callbacks"] = [BadFileReport()]
        if self.subcommand == "predict":
            kwargs["callbacks"].append(PredictionsCSV(self.option("out")))
        if self.subcommand in SPLIT_OF and not config.fast_dev_run:
            self._answers = AnswerCollector()
            kwargs["callbacks"].append(self._answers)
        kwargs["callbacks"] = [*_as_list(config.callbacks), *kwargs["callbacks"]]
        trainer = super().instantiate_trainer(**kwargs)
        disable_signal_handlers(trainer)
        protect_ranks(trainer)
        return trainer

    def _fit_arguments(self, config: Any) -> dict[str, Any]:
        """The trainer's arguments for the files of a fit, which do not depend on its loggers."""
        plugins = [*_as_list(config.plugins), AtomicCheckpointIO()]
        if config.fast_dev_run:
            return {"callbacks": [BadFileReport(), StopOnSignal(self.signals)], "plugins": plugins}
        experiment = Path(self.option("out_dir"), self.option("name"))
        self.datamodule.source.check_output(experiment, "--out_dir")
        self._folder = folder = _new_version(experiment)
        callbacks = [
            BadFileReport(folder),
            StopOnSignal(self.signals, folder),
            RunConfig(self.subparser, self.config["fit"], folder),
        ]
        if self.option("probes"):
            callbacks.append(ProbesCSV(folder))
        if config.enable_checkpointing is not False:
            callbacks += best_and_last(folder)
        logger = config.logger
        if logger is None or logger is True:
            where, version = (folder.parent.parent, folder.parent.name), int(folder.name.removeprefix("version_"))
            logger = [kind(*where, version=version) for kind in (CSVLogger, TensorBoardLogger)]
        return {
            "callbacks": callbacks,
            "plugins": plugins,
            "logger": logger,
            "default_root_dir": config.default_root_dir or folder,
        }

    def after_instantiate_classes(self) -> None:
        """Checks the resumed checkpoint of a fit; else gives the data the classes of the trained model."""
        if self.subcommand == "fit":
            # The callbacks of the user, and the one without which a resumed training has a hole in its records.
            callbacks = _as_list(self.option("trainer").callbacks)
            callbacks += [each for each in self.trainer.callbacks if isinstance(each, ProbesCSV)]  # type: ignore[attr-defined]
            self.model.training_shape = training_shape(self.trainer, callbacks)
            if path := self.option("ckpt_path"):
                self.model.weights_loaded = True  # by the checkpoint, later
                allow = self.option("allow_changes")
                self._resumed_at = check_resumed(path, self.trainer, self.model, self.datamodule, allow)
                folder = "" if self._folder is None else f", into the new folder {self._folder}"
                rank_zero_info(printable(f"resumed from {path}, step {self._resumed_at:,}{folder}"))
            else:
                self.model.load_weights()
            return
        self._evaluated = self.option("ckpt_path")
        self._take_exported()
        self.datamodule.class_names = self.model.hparams["classes"]
        if self.subcommand == "predict" and isinstance(self.datamodule.source, PhotoSource):
            self.datamodule.source.check_output(self.option("out"), "--out")
            self.datamodule.source.leave_out(self.option("out"))
        trained, given = self.model.hparams["channels"], list(self.datamodule.channel_set.indices)
        if self.model.hparams["input"] == "channels" and trained != given:
            raise UserError(
                f"the checkpoint was trained on {len(trained)} channels; --data.channels names {len(given)} others"
            )
        if self._answers is not None:
            out, ckpt = self.option("out"), self._evaluated
            self.datamodule.source.check_output(ckpt if out is None else out, "--out")
            check_folder(out, ckpt)

    def after_validate(self) -> None:
        """Writes the folder of the evaluation, and prints a summary."""
        if self.trainer.is_global_zero and self._answers is not None and self._answers.answers is not None:
            parts = self.trainer, self.model, self.datamodule, self._answers.answers
            write_folder(self.option("out"), *parts, self._args, self._evaluated)

    after_test = after_validate

    def _take_exported(self) -> None:
        """Takes the network from a file of ``dctnet export``, which Lightning cannot load."""
        path = self.option("ckpt_path")
        if is_onnx(path):
            self.model.network = OnnxNetwork(path)
        elif Path(path).suffix == SAFETENSORS:
            self.model.network = checkpoint.load(path)
        else:
            return
        self.config_init[self.subcommand]["ckpt_path"] = None

    def after_fit(self) -> None:
        """Validates the final weights, writes the mask of a gated fit, and prints a summary."""
        if 0 <= self.model.validated_at != self.trainer.global_step:
            # Accuracy and mask must be those of the weights that were saved last.
            self.trainer.validate(self.model, self.datamodule, verbose=False)
        if self._folder is None or not self.trainer.is_global_zero:
            return
        mask = export_fitted_mask(self.trainer, self.model, self.datamodule, self._folder)
        nothing_trained = self.trainer.global_step == self._resumed_at
        print_summary(self.trainer, self.model, self.datamodule, self._folder, mask, nothing_trained)


def _new_version(experiment: Path) -> Path:
    """Creates the next folder ``version_N``; concurrent runs never share one."""
    if getattr(rank_zero_only, "rank", 0):
        return experiment / "version_0"  # a placeholder: Lightning broadcasts the folder of rank 0
    if any("\ud800" <= char <= "\udfff" for char in str(experiment)):
        raise UserError(f"{experiment}: TensorBoard needs folder names in UTF-8; give another --name")
    try:
        experiment.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{experiment}: cannot be created: {error.strerror}; give another --out_dir") from error
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            folder = experiment / f"version_{number}"
            folder.mkdir(parents=True)  # a run that failed may have removed the experiment's folder meanwhile
            mark_as_own(folder)
            return folder
    raise AssertionError("unreachable")


def _remove_unused(folder: Path) -> None:
    """Removes the folder of a fit that failed before its first step, unless it has a result such as skipped.csv."""
    files = list(folder.iterdir())
    if all(file.name in _AT_START or file.name.startswith("events.out.tfevents.") for file in files):
        for file in files:
            file.unlink()
        with contextlib.suppress(OSError):  # other runs of the experiment
            folder.rmdir()
            folder.parent.rmdir()


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _indices(channel_set: Any) -> list[int]:
    return list(channel_set.indices)


def _trained_options(args: list[str]) -> dict[str, Any]:
    """The options that the checkpoint named in the arguments was trained with, dotted."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--ckpt_path")
    parser.add_argument("--data.root", dest="root")
    given = parser.parse_known_args(args)[0]
    if given.ckpt_path is None:
        raise UserError("--ckpt_path is missing: a checkpoint, such as checkpoints/quickstart/version_0/last.ckpt")
    read = read_onnx_options if is_onnx(given.ckpt_path) else checkpoint.read_options
    model, data = read(given.ckpt_path)
    data = checkpoint.adapt_data_options(data, model, given.root)
    if given.root is None and not Path(data["root"]).exists():  # an exported file has only the name of the folder
        raise UserError(f"{given.ckpt_path}: trained on {data['root']}, which is not here; give --data.root")
    data.pop("input")
    parts = {"model": model, "data": data}
    return {f"{part}.{name}": value for part, options in parts.items() for name, value in options.items()}


def run_experiment(args: list[str], signals: SignalRecorder) -> ExperimentCLI:
    """Runs ``fit``, ``validate``, ``test`` or ``predict``.

    Args:
        args: The verb and its options.
        signals: The recorder of signals that stop a fit.

    Raises:
        UserError: The options, the configuration file, the data or the checkpoint cannot be used.
        Stopped: A fit was stopped by a signal and has saved a checkpoint.
    """
    trained = {} if args[0] == "fit" or {"-h", "--help"} & set(args) else _trained_options(args[1:])
    hide_noise()
    shorten_own_warnings()
    with contextlib.ExitStack() as stack:
        # The last one is the innermost. Errors of workers are raised anywhere, also within a callback of Lightning.
        for translate in (
            translate_interrupt, translate_lightning_errors, translate_worker_errors, translate_restore_errors,
            checkpoint.translate_state_dict_errors, synchronized_exit,
        ):  # fmt: skip
            stack.enter_context(translate())
        return ExperimentCLI(
            args[0],
            signals,
            seed_everything_default=0,
            trainer_defaults={"enable_model_summary": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={**STRICT, args[0]: dict(STRICT)},
            args=args,
            trained=trained,
        )
