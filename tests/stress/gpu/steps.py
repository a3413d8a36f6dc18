"""Part 3: training steps per second, and whether the loader keeps up with them."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from dctnet.frequency.selections import named_channels
from dctnet.training.callbacks.finite import all_finite
from dctnet.training.module import FrequencyClassifier
from dctnet.training.optimizers import build_optimizer
from tests.stress.gpu.bench import Bench, Cell, deliver
from tests.stress.gpu.throughput import CHANNELS, CLASSES, PHOTOGRAPHS, RGB, STORE, open_data

_REPEATS = 5  # steps between two readings of the clock


# Networks of timm at their native sizes: RGB, and 24 channels in place of the stem.
_FAMILIES = {"convnext_tiny": (224, 448), "mobilenetv4_conv_medium": (224, 896), "csatv2": (512, 512)}


def make_network(
    bench: Bench,
    image_size: int,
    channels: str = "",
    input: str = "channels",
    backbone: str = "resnet50",
    **options: Any,
) -> FrequencyClassifier:
    """A network on channels or RGB."""
    names = [str(number) for number in range(CLASSES)]
    indices = list(named_channels(channels).indices) if channels else []
    return FrequencyClassifier(names, indices, bench.size(image_size), input, backbone=backbone, **options)


def make_step(bench: Bench, model: FrequencyClassifier, check: bool = False) -> Callable[[], None]:
    """A training step in bf16 from a batch on the device; with ``check``, also the check for NaN of a fit."""
    model.to(bench.device)
    optimizer = build_optimizer(model.network.backbone, None, model.hparams, 1000)[0]
    inputs = torch.randn(bench.batch, *model.network.input_shape, device=bench.device)
    target = torch.randint(CLASSES, (bench.batch,), device=bench.device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(bench.device, torch.bfloat16):
            loss = model.loss(model.network(inputs), target)
        loss.backward()
        if check:
            all_finite(p.grad for p in model.parameters() if p.grad is not None)
        optimizer.step()

    return step


def interleaved(bench: Bench, steps: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Median seconds of each step, over rounds in which all run in turn."""
    for step in steps.values():
        for _ in range(1 if bench.small else 10):  # compiles, chooses algorithms, fills caches
            step()
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(2 if bench.small else 20):
        for name, step in steps.items():
            bench.synchronize()
            began = time.perf_counter()
            for _ in range(_REPEATS):
                step()
            bench.synchronize()
            taken[name].append((time.perf_counter() - began) / _REPEATS)
    return {name: statistics.median(each) for name, each in taken.items()}


def networks(bench: Bench, compile: bool) -> dict[str, Any]:
    """The networks of the paper beside RGB."""
    kinds = {
        "DCT-24, 448 px": CHANNELS,
        "DCT-24, layer2_stride 1": {**CHANNELS, "layer2_stride": 1},
        "RGB, 224 px": RGB,
    }
    return _rates(bench, kinds, compile=compile)


def families(bench: Bench) -> dict[str, Any]:
    """Networks of timm on channels beside RGB."""
    kinds: dict[str, dict[str, Any]] = {}
    for backbone, (rgb, channels) in _FAMILIES.items():
        kinds[f"{backbone}, RGB"] = {"image_size": rgb, "input": "rgb", "backbone": backbone}
        kinds[f"{backbone}, DCT-24"] = {"image_size": channels, "channels": "square-24", "backbone": backbone}
    return _rates(bench, kinds)


def _rates(bench: Bench, kinds: dict[str, dict[str, Any]], **shared: Any) -> dict[str, Any]:
    """Images per second and GMAC of each kind of network."""
    models = {name: make_network(bench, **options, **shared) for name, options in kinds.items()}
    seconds = interleaved(bench, {name: make_step(bench, model) for name, model in models.items()})
    gmac = {name: make_network(bench, **options).network.cost()["gmac"] for name, options in kinds.items()}
    return {
        name: {"images/s": round(bench.batch / each), "GMAC": round(gmac[name], 2)} for name, each in seconds.items()
    }


def finite_check(bench: Bench) -> dict[str, Any]:
    """What the check for NaN adds to a step."""
    both = {name: make_step(bench, make_network(bench, **CHANNELS), name == "with") for name in ("without", "with")}
    seconds = interleaved(bench, both)
    return {"step, ms": round(1000 * seconds["without"], 2), "ratio": round(seconds["with"] / seconds["without"], 3)}


def fed(bench: Bench, **options: Any) -> dict[str, Any]:
    """A fit from a loader against a fit from one batch on the device."""
    data = open_data(bench, **options)
    model = make_network(bench, **{k: v for k, v in options.items() if k in ("image_size", "channels", "input")})
    count = min(2 if bench.small else 60, len(data.train_dataloader()))

    def rate(**source: Any) -> float:
        trainer = pl.Trainer(
            accelerator=bench.accelerator, devices=1, precision="bf16-mixed", max_epochs=2, limit_train_batches=count,
            limit_val_batches=0, logger=False, enable_checkpointing=False, enable_model_summary=False,
            enable_progress_bar=False,
        )  # fmt: skip
        trainer.fit(model, **source)
        return float(trainer.callback_metrics["images_per_second"])  # of the second epoch

    loader = rate(datamodule=data)
    batch = deliver(data, next(iter(data.train_dataloader())), bench.device)
    resident = rate(train_dataloaders=DataLoader([batch] * count, batch_size=None))
    return {"images/s": round(loader), "from one batch": round(resident), "ratio": round(loader / resident, 2)}


CELLS = (
    Cell("steps", 60, networks, {"compile": False}),
    Cell("steps, compiled", 150, networks, {"compile": True}),
    Cell("steps of timm's networks", 90, families),
    Cell("check for NaN", 30, finite_check),
    Cell("fed by photographs, DCT on the GPU", 60, fed, PHOTOGRAPHS),
    Cell("fed by a packed store on the GPU", 60, fed, STORE),
    Cell("fed by RGB of dctnet", 60, fed, RGB),
)
