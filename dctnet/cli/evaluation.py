"""The folder that validate and test write: where it is, and what goes into it."""

import contextlib
import itertools
import os
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pytorch_lightning as pl

from dctnet import __version__
from dctnet.data.datamodule import FrequencyDataModule
from dctnet.errors import UserError, printable
from dctnet.io.files import file_sha256, parse_json
from dctnet.training.callbacks.answers import Answers
from dctnet.training.module import FrequencyClassifier

SPLIT_OF = {"validate": "val", "test": "test"}
_RECORD = "evaluation.json"


def check_folder(out: str | None, ckpt: str) -> None:
    """Checks, before an evaluation runs, that its folder can be written.

    Args:
        out: The folder as requested; None for a new one beside the checkpoint.
        ckpt: The checkpoint.

    Raises:
        UserError: The folder has files, or cannot be created.
    """
    folder = Path(ckpt).parent if out is None else Path(out)
    if out is not None and folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"--out {out}: {_describe(folder)}; choose another folder")
    nearest = next(each for each in (folder, *folder.parents) if each.exists())
    if not nearest.is_dir():
        raise UserError(f"--out {out}: {nearest} is a file; choose a folder")
    if not os.access(nearest, os.W_OK):
        raise UserError(f"{nearest}: no permission to write the evaluation there; choose a folder with --out")


def _new_folder(ckpt: str, verb: str) -> Path:
    """Creates the next empty folder beside a checkpoint; concurrent evaluations never share one."""
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            folder = Path(ckpt).with_name(f"{verb}_{Path(ckpt).stem}_{number}")
            folder.mkdir()
            return folder
    raise AssertionError("unreachable")


def _describe(folder: Path) -> str:
    """What a folder with files in it is, for a message."""
    try:
        content = parse_json((folder / _RECORD).read_bytes())
        return f"holds the evaluation of {content['facts']['checkpoint']} on {content['split']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "exists and is not empty"


def write_folder(
    out: str | None,
    trainer: pl.Trainer,
    model: FrequencyClassifier,
    data: FrequencyDataModule,
    answers: Answers,
    args: Sequence[str],
    ckpt: str,
) -> None:
    """Writes tables, pictures and the page of an evaluation, and prints a summary.

    Args:
        out: The folder; None for a new one beside the checkpoint, such as ``test_last_0``.
        trainer: The trainer after the evaluation.
        model: The evaluated model.
        data: Its data.
        answers: The answer to each image.
        args: The command line, for the page.
        ckpt: The checkpoint.
    """
    # They import matplotlib and SciPy.
    from dctnet.studies.evaluation.report import REPORT, write_evaluation
    from dctnet.studies.evaluation.results import Evaluation
    from dctnet.studies.evaluation.words import lines

    split, index = SPLIT_OF[args[0]], answers.index.tolist()
    files, skipped = data.files(split), data.bad_files.of_kind(split)
    evaluation = Evaluation(
        split,
        model.hparams["classes"],
        [files.paths[place] for place in index],
        answers.target.numpy(),
        answers.label.numpy(),
        answers.rank.numpy(),
        answers.probability.numpy(),
        answers.target_probability.numpy(),
        float(trainer.callback_metrics[f"{split}_loss"]),
        dict(skipped),
        len(files) - len(index) - len(skipped),
        _facts(trainer, model, data, args, ckpt),
    )
    folder = _new_folder(ckpt, args[0]) if out is None else Path(out)
    try:
        write_evaluation(folder, evaluation, data, index)
    except BaseException:
        with contextlib.suppress(OSError):  # not empty, or never created
            folder.rmdir()
        raise
    rows = [*lines(evaluation), ("report", str(folder / REPORT))]
    print("\n" + "\n".join(f"{name:<16}{printable(value)}" for name, value in rows))


def _facts(
    trainer: pl.Trainer, model: FrequencyClassifier, data: FrequencyDataModule, args: Sequence[str], ckpt: str
) -> dict[str, str]:
    options, cost = model.hparams, model.network.cost()
    channels = "RGB" if options["input"] == "rgb" else f"{len(options['channels'])} of 192 channels"
    network = f"{model.network.backbone_name} on {channels}, {options['image_size']} px; {cost['gmac']:.3f} GMAC"
    packages = [f"{name} {version(name)}" for name in ("torch", "torchvision", "pytorch-lightning")]
    return {
        "command": shlex.join(["dctnet", *args]),
        "checkpoint": ckpt,
        "SHA-256": file_sha256(ckpt),
        "data": f"{data.hparams['root']}, {'photographs' if data.store is None else 'a packed store'}",
        "network": network,
        "precision": str(trainer.precision),
        "versions": ", ".join([f"dctnet {__version__}", *packages]),
    }
