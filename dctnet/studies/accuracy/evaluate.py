"""What a finished run is worth: each evaluation image right or wrong. Run by the benchmark as a process of its own.

python -m dctnet.studies.accuracy.evaluate CHECKPOINT FIT.yaml OUT.json IMAGES.csv SPLIT…
"""

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from dctnet import __version__
from dctnet.data.datamodule import Split
from dctnet.errors import UserError, printable
from dctnet.studies.accuracy.images import list_images, same_images
from dctnet.studies.accuracy.provenance import read_yaml
from dctnet.training import checkpoint

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


def evaluate(ckpt: str, fit: Path, images: Path, splits: list[Split]) -> dict[str, Any]:
    """Asks a checkpoint for every image of some splits.

    Args:
        ckpt: A checkpoint of ``dctnet fit``.
        fit: The configuration of that fit: accelerator and precision are its own.
        images: The list of evaluation images; written if there is none, else this run's must be the same.
        splits: ``val``, ``test`` or both.

    Returns:
        The columns of a row that evaluation knows.

    Raises:
        UserError: The images are not those of the other runs.
    """
    model, data = checkpoint.load_classifier(ckpt)
    asked = read_yaml(fit)["trainer"]
    options = {key: asked[key] for key in ("accelerator", "precision") if key in asked}
    same_images(images, list_images(data, splits))
    correct, top5 = "", 0
    for split in splits:
        ranks = Ranks()
        trainer = pl.Trainer(
            **options, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False,
            enable_progress_bar=False, callbacks=[ranks],
        )  # fmt: skip
        (trainer.validate if split == "val" else trainer.test)(model, data, verbose=False)
        places = [ranks.found.get(i) for i in range(len(data.files(split)))]
        correct += "".join("-" if place is None else "1" if place == 0 else "0" for place in places)
        top5 += sum(place is not None and place < 5 for place in places)
    read = len(correct) - correct.count("-")
    packages = [f"{name} {version(name)}" for name in _PACKAGES]
    cost = model.network.cost()
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
        "device": _name(trainer.strategy.root_device),
    }


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()


def main(args: list[str]) -> int:
    """Evaluates and writes the result, whole or not at all."""
    ckpt, fit, out, images, *splits = args
    try:
        found = evaluate(ckpt, Path(fit), Path(images), splits)  # type: ignore[arg-type]
    except UserError as error:
        print(f"dctnet: {printable(str(error))}", file=sys.stderr)
        return 2
    partial = Path(f"{out}.partial")
    partial.write_text(json.dumps(found))
    partial.rename(out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
