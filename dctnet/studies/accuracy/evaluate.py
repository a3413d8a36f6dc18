"""Evaluates a finished trial image by image; the benchmark runs it as a job.

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
from dctnet.errors import UserError, printable
from dctnet.io.atomic import atomic_write
from dctnet.io.streams import protect_streams
from dctnet.model.backbones.families import timm_name
from dctnet.signals import stop_with_parent
from dctnet.studies.accuracy.grid import Split
from dctnet.studies.accuracy.provenance import list_images, read_yaml, record_images
from dctnet.training import checkpoint


class RankCollector(pl.Callback):
    """Collects the rank of the right class for each image.

    Attributes:
        ranks: Rank from 0, by index of the image; unreadable images are missing.
    """

    def __init__(self) -> None:
        self.ranks: dict[int, int] = {}

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any, **__: Any) -> None:
        """Collects the ranks of a batch."""
        self.ranks |= dict(zip(outputs["index"].tolist(), outputs["rank"].tolist(), strict=True))

    on_test_batch_end = on_validation_batch_end


def evaluate(ckpt: str, fit: Path, images: Path, splits: list[Split]) -> dict[str, Any]:
    """Evaluates a checkpoint on every image of some splits.

    Args:
        ckpt: A checkpoint of ``dctnet fit``.
        fit: The configuration of that fit, for accelerator and precision.
        images: The list of evaluation images. Written if it does not exist; otherwise the images must be the same.
        splits: ``val``, ``test`` or both.

    Returns:
        The columns of a row that come from the evaluation.

    Raises:
        UserError: The images differ from those of the other trials.
    """
    model, data = checkpoint.load_classifier(ckpt)
    trained = read_yaml(fit)["trainer"]
    options = {key: trained[key] for key in ("accelerator", "precision") if key in trained}
    record_images(images, list_images(data, splits))
    correct, top5 = "", 0
    for split in splits:
        collector = RankCollector()
        trainer = pl.Trainer(
            **options, devices=1, logger=False, enable_checkpointing=False, enable_model_summary=False,
            enable_progress_bar=False, callbacks=[collector],
        )  # fmt: skip
        (trainer.validate if split == "val" else trainer.test)(model, data, verbose=False)
        ranks = [collector.ranks.get(i) for i in range(len(data.files(split)))]
        correct += "".join("-" if rank is None else "1" if rank == 0 else "0" for rank in ranks)
        top5 += sum(rank is not None and rank < 5 for rank in ranks)
    readable = len(correct) - correct.count("-")
    library = "torchvision" if timm_name(model.hparams["backbone"]) is None else "timm"
    packages = [
        f"{name} {version(name)}" for name in dict.fromkeys(("torch", "torchvision", library, "pytorch-lightning"))
    ]
    cost = model.network.cost()
    device, processor = trainer.strategy.root_device, platform.processor() or platform.machine()
    return {
        "top1": correct.count("1") / readable,
        "top5": top5 / readable,
        "images": readable,
        "correct": correct,
        "gmac": round(cost["gmac"], 6),
        "parameters": cost["parameters"],
        "values": cost["values"],
        "bytes": cost["values"] * (1 if data.store is None else data.store.dtype.itemsize),
        "image_size": model.hparams["image_size"],
        "indices": " ".join(map(str, model.hparams["channels"])) if model.hparams["input"] == "channels" else "",
        "fed": "photographs" if data.store is None else "store",
        "versions": ", ".join([f"dctnet {__version__}", f"Python {platform.python_version()}", *packages]),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else processor,
    }


def main(args: list[str]) -> int:
    """Evaluates a checkpoint and writes the result as JSON atomically; returns the exit status."""
    protect_streams()
    stop_with_parent()
    ckpt, fit, out, images, *splits = args
    try:
        result = evaluate(ckpt, Path(fit), Path(images), splits)  # type: ignore[arg-type]
    except UserError as error:
        print(f"dctnet: {printable(str(error))}", file=sys.stderr)
        return 2
    atomic_write(out, json.dumps(result).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
