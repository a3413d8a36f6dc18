"""What a finished run is worth: each evaluation image right or wrong. Run by the benchmark as a process of its own.

python -m dctnet.study.benchmark.evaluate CHECKPOINT OUT.json IMAGES.csv PRECISION SPLIT…
"""

import csv
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from dctnet import __version__
from dctnet.errors import UserError
from dctnet.study import checkpoint

_PACKAGES = ("torch", "torchvision", "pytorch-lightning")


class Ranks(pl.Callback):
    """Collects at which place the right class of each image came."""

    def __init__(self) -> None:
        self.found: dict[int, int] = {}

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        """Of a batch of val."""
        self.found |= dict(zip(outputs["index"].tolist(), outputs["rank"].tolist(), strict=True))

    def on_test_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        """Of a batch of test."""
        self.on_validation_batch_end(trainer, pl_module, outputs)


def evaluate(ckpt: str, images: Path, precision: Any, splits: list[str]) -> dict[str, Any]:
    """Asks a checkpoint for every image of some splits.

    Args:
        ckpt: A checkpoint of ``dctnet fit``.
        images: The list of evaluation images; written if there is none, else this run's must be the same.
        precision: As of the training.
        splits: ``val``, ``test`` or both.

    Returns:
        The columns of a row that evaluation knows.

    Raises:
        UserError: The images are not those of the other runs.
    """
    model, data = checkpoint.load(ckpt)
    correct, top5, listed = "", 0, []
    for split in splits:
        ranks = Ranks()
        trainer = pl.Trainer(
            devices=1, precision=precision, logger=False, enable_checkpointing=False, enable_model_summary=False,
            enable_progress_bar=False, callbacks=[ranks],
        )  # fmt: skip
        (trainer.validate if split == "val" else trainer.test)(model, data, verbose=False)
        files = data.files(split)  # type: ignore[arg-type]
        places = [ranks.found.get(i) for i in range(len(files))]
        correct += "".join("-" if place is None else "1" if place == 0 else "0" for place in places)
        top5 += sum(place is not None and place < 5 for place in places)
        listed += [
            [split, "/".join(Path(path).parts[-2:]), model.hparams["classes"][target]]
            for path, target in zip(files.paths, files.targets, strict=True)
        ]
    _same_images(images, listed)
    read = len(correct) - correct.count("-")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else platform.processor() or platform.machine()
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    cost = model.cost()
    wide = 1 if data.store is None else data.store.dtype.itemsize
    return {
        "top1": correct.count("1") / read,
        "top5": top5 / read,
        "images": read,
        "correct": correct,
        "gmac": round(cost["gmac"], 6),
        "parameters": cost["parameters"],
        "values": cost["values"],
        "bytes": cost["values"] * wide,
        "image_size": model.hparams["image_size"],
        "indices": " ".join(map(str, model.hparams["channels"])) if model.hparams["input"] == "channels" else "",
        "fed": "photographs" if data.store is None else "store",
        "versions": ", ".join([f"dctnet {__version__}", f"Python {platform.python_version()}", *packages]),
        "device": device,
    }


def _same_images(path: Path, listed: list[list[str]]) -> None:
    rows = [["split", "path", "class"], *listed]
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}")  # several runs may end at once
        with open(partial, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows(rows)
        partial.rename(path)
        return
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        before = list(csv.reader(file))
    if before != rows:
        other = next(
            (i for i, (a, b) in enumerate(zip(before, rows, strict=False)) if a != b), min(len(before), len(rows))
        )
        raise UserError(
            f"{path}: the evaluation images changed, first at line {other + 1}; other images need another --out"
        )


def main(args: list[str]) -> int:
    """Evaluates and writes the result, whole or not at all."""
    ckpt, out, images, precision, *splits = args
    try:
        found = evaluate(ckpt, Path(images), precision, splits)
    except UserError as error:
        print(f"dctnet: {error}", file=sys.stderr)
        return 2
    partial = Path(f"{out}.partial")
    partial.write_text(json.dumps(found))
    partial.rename(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
